//! The `[flow]` section of the configuration: flow tables, timers, names of applications.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use sonde_probe::flow::{ApplicationTimeouts, Timers};
use sonde_proto::flow::ApplicationPorts;
use sonde_proto::plan::KeyMode;
use sonde_proto::record::Layer;

/// Flow tables and timers.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FlowSection {
    /// Seconds between two reports of a flow that goes on.
    pub(crate) update: u64,
    /// Seconds of silence after which a flow ends.
    pub(crate) expire: u64,
    /// Seconds of silence after which a flow ends whose TCP ends said goodbye, and seconds that
    /// queries see a flow after its end.
    pub(crate) hold: u64,
    /// Seconds after which a flow ends, however busy, and starts anew; 0 for never.
    pub(crate) active: u64,
    /// Seconds of silence after which flows of an application end at an update tick, by the name
    /// of a layer; 0 for no such limit.
    application_timeout: BTreeMap<String, u64>,
    /// Names of applications by their port.
    application_ports: PortNames,
    /// `LayerKeyMode` of captures that name none.
    pub(crate) layer_key_mode: KeyModeChoice,
    /// Flows in the table of one lcore at most.
    pub(crate) max_flows: usize,
    /// Flows that queries can see at most.
    pub(crate) store: usize,
    /// Flows in one WebSocket message at most.
    pub(crate) bulk: usize,
    /// Seconds that a flow waits for its message to fill at most.
    pub(crate) bulk_delay: u64,
}

/// How flows are keyed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum KeyModeChoice {
    /// By MAC and IP addresses.
    #[default]
    L2,
    /// By IP addresses where there are any.
    L3,
}

impl From<KeyModeChoice> for KeyMode {
    fn from(choice: KeyModeChoice) -> Self {
        match choice {
            KeyModeChoice::L2 => Self::L2,
            KeyModeChoice::L3 => Self::L3,
        }
    }
}

/// Names of applications by port number.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct PortNames {
    tcp: BTreeMap<String, String>,
    udp: BTreeMap<String, String>,
}

impl FlowSection {
    /// What serde cannot see.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let Self { update, expire, hold, max_flows, store, bulk, .. } = *self;
        ensure!(update > 0, "flow.update: expected at least 1 second, found 0");
        ensure!(expire > 0, "flow.expire: expected at least 1 second, found 0");
        ensure!(hold > 0, "flow.hold: expected at least 1 second, found 0");
        ensure!(
            (1..=MAX_FLOWS).contains(&max_flows),
            "flow.max_flows: expected 1 to {MAX_FLOWS}, found {max_flows}"
        );
        ensure!(store > 0, "flow.store: expected at least 1 flow, found 0");
        ensure!(bulk > 0, "flow.bulk: expected at least 1 flow, found 0");
        self.timers()?;
        self.application_ports()?;
        Ok(())
    }

    /// What holds of another one while the daemon runs: tables and timers are those of the start.
    pub(crate) fn renewed(&self, other: Self) -> Self {
        Self { application_ports: other.application_ports, ..self.clone() }
    }

    /// When flows are reported and when they end.
    pub(crate) fn timers(&self) -> anyhow::Result<Timers> {
        let mut applications = ApplicationTimeouts::default();
        for (name, seconds) in &self.application_timeout {
            let layer = Layer::named(name).with_context(|| {
                format!("flow.application_timeout: expected the name of a layer, found '{name}'")
            })?;
            ensure!(
                applications.set(layer, or_never(*seconds)),
                "flow.application_timeout: expected at most {} applications",
                ApplicationTimeouts::ROOM
            );
        }
        Ok(Timers {
            update: Duration::from_secs(self.update),
            expire: Duration::from_secs(self.expire),
            hold: self.hold(),
            active: or_never(self.active),
            applications,
        })
    }

    /// Names of applications by their port.
    pub(crate) fn application_ports(&self) -> anyhow::Result<ApplicationPorts> {
        let PortNames { tcp, udp } = &self.application_ports;
        Ok(ApplicationPorts::new(ports("tcp", tcp)?, ports("udp", udp)?))
    }

    /// How long queries see a flow after its end.
    pub(crate) fn hold(&self) -> Duration {
        Duration::from_secs(self.hold)
    }

    /// How long a flow waits for its message to fill.
    pub(crate) fn bulk_delay(&self) -> Duration {
        Duration::from_secs(self.bulk_delay)
    }
}

impl Default for FlowSection {
    fn default() -> Self {
        Self {
            update: 60,
            expire: 600,
            hold: 15,
            active: 0,
            application_timeout: BTreeMap::new(),
            application_ports: PortNames::default(),
            layer_key_mode: KeyModeChoice::default(),
            max_flows: 500_000,
            store: 1_000_000,
            bulk: 100,
            bulk_delay: 5,
        }
    }
}

/// The table indexes flows with 31 bits.
const MAX_FLOWS: usize = 0x7fff_ffff;

/// So many seconds, of which none are without end.
pub(crate) fn or_never(seconds: u64) -> Duration {
    if seconds == 0 { Duration::MAX } else { Duration::from_secs(seconds) }
}

fn ports(protocol: &str, names: &BTreeMap<String, String>) -> anyhow::Result<Vec<(u16, String)>> {
    let named = |(port, name): (&String, &String)| {
        let place = || format!("flow.application_ports.{protocol}");
        let number = port.parse().ok().filter(|port| *port != 0);
        let number =
            number.with_context(|| format!("{}: expected a port, found '{port}'", place()))?;
        ensure!(!name.is_empty(), "{}.{port}: expected a name, found none", place());
        Ok((number, name.clone()))
    };
    names.iter().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> FlowSection {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn defaults_are_skydives() {
        let flow = section("");
        assert_eq!(flow.timers().unwrap(), Timers::default());
        assert_eq!(flow.application_ports().unwrap(), ApplicationPorts::default());
    }

    #[test]
    fn timers_and_ports_are_taken() {
        let flow = section(
            "active = 1800\nhold = 5\napplication_timeout = { dns = 3, ARP = 0, ntp = 20 }\n\
             application_ports.tcp = { 8080 = 'http' }\n\
             application_ports.udp = { 4500 = 'ipsec' }",
        );
        flow.check().unwrap();
        let timers = flow.timers().unwrap();
        let seconds = |layer| timers.applications.of(layer).map(|timeout| timeout.as_secs());
        assert_eq!((timers.active.as_secs(), timers.hold.as_secs()), (1800, 5));
        assert_eq!((seconds(Layer::Dns), seconds(Layer::Ntp)), (Some(3), Some(20)));
        assert_eq!(timers.applications.of(Layer::Arp), Some(Duration::MAX));
        let expected = ApplicationPorts::new([(8080, "HTTP".into())], [(4500, "IPSEC".into())]);
        assert_eq!(flow.application_ports().unwrap(), expected);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("hold = 0", "flow.hold"),
            ("application_timeout = { smtp = 3 }", "found 'smtp'"),
            ("application_timeout = { '' = 3 }", "found ''"),
            ("application_ports.tcp = { 0 = 'x' }", "flow.application_ports.tcp: expected a port"),
            ("application_ports.udp = { 65536 = 'x' }", "found '65536'"),
            ("application_ports.udp = { 1 = '' }", "flow.application_ports.udp.1: expected a name"),
        ] {
            let error = format!("{:#}", section(text).check().unwrap_err());
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(toml::from_str::<FlowSection>("application_ports.sctp = {}").is_err());
    }
}

//! The configuration: everything has a default. A file, the environment and flags change it, in this
//! order; an unknown key is an error.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{bail, ensure};
use serde::{Deserialize, Serialize};
use sonde_control_plane::connections::ConnectionLimits;
use sonde_control_plane::discovery::NETNS_DIR;
use sonde_control_plane::upload;

use crate::access_config::{AuthSection, HttpSection, RbacSection, Sections, TlsSection};
use crate::flow_config::FlowSection;
use crate::log_config::LogSection;
use crate::pcap_socket_config::PcapSocketSection;
use crate::query_config::{GraphSection, QuerySection};
use crate::workflow_config::WorkflowSection;

mod draft;
mod environment;
mod keys;
mod load;
mod published;
mod renewal;
mod skydive;
mod suggestion;

pub(crate) use keys::unset;
pub(crate) use load::Loaded;
pub(crate) use published::published;
pub(crate) use renewal::Renewal;

/// All of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Address of REST and WebSocket.
    pub(crate) listen: SocketAddr,
    /// Name of this host in the topology; the host name when empty.
    host_id: String,
    /// Directory of what must survive a restart; nothing survives without one.
    pub(crate) state_dir: Option<PathBuf>,
    /// Which lines are logged.
    pub(crate) log: LogSection,
    /// How users prove who they are.
    auth: AuthSection,
    /// What they may.
    rbac: RbacSection,
    /// From which pages browsers may ask.
    http: HttpSection,
    /// TLS.
    pub(crate) tls: TlsSection,
    /// Flow tables and timers.
    pub(crate) flow: FlowSection,
    /// The topology's past.
    pub(crate) graph: GraphSection,
    /// What a query may cost.
    pub(crate) query: QuerySection,
    /// What is looked for on this host.
    pub(crate) discovery: DiscoverySection,
    /// What scripts may take.
    pub(crate) workflow: WorkflowSection,
    /// AF_PACKET captures.
    pub(crate) af_packet: AfPacketSection,
    /// Where clients write captures.
    pub(crate) pcap_socket: PcapSocketSection,
    /// DPDK.
    pub(crate) dpdk: DpdkSection,
    /// Capture files that clients send.
    pub(crate) upload: UploadSection,
    /// Alerts.
    pub(crate) alert: AlertSection,
    /// A capture that is created at start, unless the same is there already.
    pub(crate) startup_capture: Option<StartupCapture>,
    /// What user interfaces want to know: nothing of it means anything here.
    pub(crate) ui: toml::Table,
}

/// What is looked for on this host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DiscoverySection {
    /// Directory of named network namespaces.
    pub(crate) netns_dir: PathBuf,
    /// Whether network namespaces without a name are looked for, by the processes in them.
    pub(crate) processes: bool,
    /// Whether the sockets of processes are looked for.
    pub(crate) sockets: bool,
}

/// AF_PACKET captures.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AfPacketSection {
    /// Threads per interface; the kernel spreads flows over them.
    pub(crate) workers: u16,
}

/// Capture files that clients send.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct UploadSection {
    /// Bytes of one file at most.
    pub(crate) max_bytes: u64,
}

/// Alerts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AlertSection {
    /// Whether they may run programs: whoever may create an alert then runs what he likes, as us.
    pub(crate) scripts: bool,
}

/// DPDK.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DpdkSection {
    /// CPU of DPDK's main thread, which only waits.
    pub(crate) main_cpu: usize,
    /// Mbufs per NUMA socket.
    pub(crate) mempool: usize,
    /// Whether the nodes of ports show all that their drivers count.
    pub(crate) xstats: bool,
    /// The ports to poll. None: DPDK is not started.
    pub(crate) port: Vec<PortSection>,
}

/// A DPDK port.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PortSection {
    /// Name of the port's node in the topology.
    pub(crate) name: String,
    /// PCI address, or a vdev with its arguments: `net_pcap0,iface=eth0`.
    pub(crate) device: String,
    /// CPUs that poll the port, one queue each.
    pub(crate) cpus: Vec<usize>,
    /// Receive descriptors per queue.
    #[serde(default = "rx_descriptors")]
    pub(crate) rx_descriptors: u16,
    /// Whether the port takes frames for others too.
    #[serde(default = "promiscuous")]
    pub(crate) promiscuous: bool,
    /// What is asked of the port's RSS when it has several queues.
    #[serde(default)]
    pub(crate) rss: RssChoice,
    /// What an lcore does when there are no frames; `spin` for PCI devices, `adaptive` for vdevs
    /// when absent.
    pub(crate) idle: Option<IdleChoice>,
}

/// What is asked of the RSS of a port with several queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RssChoice {
    /// Both directions of a flow in one queue: a PCI port that cannot is refused.
    #[default]
    Symmetric,
    /// Nothing.
    Any,
}

/// What an lcore does when there are no frames.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum IdleChoice {
    /// Poll on.
    Spin,
    /// Nap, for at most 100 us at a time.
    Adaptive,
}

/// A capture that is created at start.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StartupCapture {
    /// Which nodes.
    pub(crate) gremlin: String,
    /// Which frames.
    pub(crate) bpf: String,
    /// Capture type; the node type's default when empty.
    #[serde(rename = "type")]
    pub(crate) kind: String,
}

impl Config {
    /// Who may, and how clients are spoken to.
    pub(crate) fn access(&self) -> Sections<'_> {
        Sections { auth: &self.auth, rbac: &self.rbac, http: &self.http, tls: &self.tls }
    }

    /// What clients may take.
    pub(crate) fn connections(&self) -> ConnectionLimits {
        self.http.limits()
    }

    /// Name of this host in the topology, where `host` is its name.
    pub(crate) fn host_id<'a>(&'a self, host: &'a str) -> &'a str {
        if self.host_id.is_empty() { host } else { &self.host_id }
    }

    /// Logs what others may do to those who listen there, if anything.
    pub(crate) fn warn_of_dangers(&self) {
        for danger in self.access().dangers(self.listen) {
            tracing::warn!(listen = %self.listen, "{danger}");
        }
    }

    /// What serde cannot see.
    fn check(&self) -> anyhow::Result<()> {
        self.log.check()?;
        self.flow.check()?;
        self.query.check()?;
        self.http.check()?;
        self.access().access("")?;
        self.workflow.check()?;
        self.pcap_socket.check()?;
        if let Some(capture) = &self.startup_capture {
            let some = !capture.gremlin.is_empty();
            ensure!(some, "startup_capture.gremlin: expected a query, found none");
        }
        let workers = self.af_packet.workers;
        ensure!(
            (1..=64).contains(&workers),
            "af_packet.workers: expected 1 to 64, found {workers}"
        );
        for (i, port) in self.dpdk.port.iter().enumerate() {
            let name = &port.name;
            ensure!(!name.is_empty(), "dpdk.port[{i}].name: expected a name, found none");
            ensure!(!port.device.is_empty(), "dpdk.port '{name}': expected a device, found none");
            ensure!(!port.cpus.is_empty(), "dpdk.port '{name}': expected at least one cpu");
            if self.dpdk.port.iter().take(i).any(|other| other.name == *name) {
                bail!("dpdk.port[{i}].name: '{name}' names another port already");
            }
        }
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8082)),
            host_id: String::new(),
            state_dir: None,
            log: LogSection::default(),
            auth: AuthSection::default(),
            rbac: RbacSection::default(),
            http: HttpSection::default(),
            tls: TlsSection::default(),
            flow: FlowSection::default(),
            graph: GraphSection::default(),
            query: QuerySection::default(),
            discovery: DiscoverySection::default(),
            workflow: WorkflowSection::default(),
            af_packet: AfPacketSection::default(),
            pcap_socket: PcapSocketSection::default(),
            dpdk: DpdkSection::default(),
            upload: UploadSection::default(),
            alert: AlertSection::default(),
            startup_capture: None,
            ui: toml::Table::new(),
        }
    }
}

impl Default for DiscoverySection {
    fn default() -> Self {
        Self { netns_dir: NETNS_DIR.into(), processes: false, sockets: false }
    }
}

impl Default for AfPacketSection {
    fn default() -> Self {
        Self { workers: 1 }
    }
}

impl Default for DpdkSection {
    fn default() -> Self {
        Self { main_cpu: 0, mempool: 16_384, xstats: false, port: Vec::new() }
    }
}

impl Default for UploadSection {
    fn default() -> Self {
        Self { max_bytes: upload::LIMIT }
    }
}

fn rx_descriptors() -> u16 {
    1024
}

fn promiscuous() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use sonde_proto::flow::ApplicationPorts;

    use super::Config;

    #[test]
    fn values_are_checked() {
        for (text, part) in [
            ("[flow]\nupdate = 0", "flow.update"),
            ("[flow]\nmax_flows = 0", "flow.max_flows"),
            ("[flow]\nexpire = -1", "line 2"),
            ("[[dpdk.port]]\nname='a'\ndevice='net_null0'\ncpus=[]", "at least one cpu"),
            ("[[dpdk.port]]\nname='a'\ndevice='b'\ncpus=[1]\nrss='none'", "`symmetric` or `any`"),
            ("[query]\nmax_steps = 0", "query.max_steps: expected at least 1, found 0"),
            ("[workflow]\ntimeout = 0", "workflow.timeout: expected at least 1 second, found 0"),
            ("[workflow]\nmax_memory = 1000", "workflow.max_memory: expected at least 16777216"),
            ("[workflow]\nat_once = 0", "workflow.at_once: expected 1 to 256, found 0"),
            ("[startup_capture]\nbpf = 'tcp'", "startup_capture.gremlin: expected a query"),
            ("flow.layer_key_mode = 'L4'", "expected `L2` or `L3`"),
            ("pcap_socket.min_port = 0", "pcap_socket.min_port: expected at least 1, found 0"),
            ("pcap_socket.max_port = 80", "expected at least min_port, 8100, found 80"),
            ("pcap_socket.address = 'localhost'", "invalid IP address"),
            ("listen = 'nowhere'", "line 1"),
        ] {
            let error = format!("{:#}", Config::parse(text).unwrap_err());
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    /// The sample says every option with its default.
    #[test]
    fn the_sample_is_the_default() {
        let sample = include_str!("../../scripts/sonde.toml");
        let (sample, default) = (Config::parse(sample).unwrap(), Config::default());
        assert_eq!(sample.flow.timers().unwrap(), default.flow.timers().unwrap());
        assert_eq!(sample.flow.bulk, default.flow.bulk);
        assert_eq!(sample.flow.layer_key_mode, default.flow.layer_key_mode);
        assert_eq!(sample.pcap_socket, default.pcap_socket);
        assert_eq!(format!("{:?}", sample.access()), format!("{:?}", default.access()));
        assert_eq!((sample.query, sample.graph), (default.query, default.graph));
        assert_eq!((sample.alert, sample.log), (default.alert, default.log));
        assert_eq!(sample.workflow, default.workflow);
        assert_eq!(sample.listen, default.listen);
        assert_eq!(sample.discovery, default.discovery);
        assert_eq!(sample.flow.application_ports().unwrap(), ApplicationPorts::default());
    }

    #[test]
    fn empty_file_is_the_default() {
        let config = Config::parse("").unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8082");
        assert!(config.dpdk.port.is_empty());
    }
}

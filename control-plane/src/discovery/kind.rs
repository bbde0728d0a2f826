//! What only links of some kinds have: the ends of tunnels, modes, roles.

use std::net::IpAddr;

use rtnetlink::packet_route::link::{
    InfoBond, InfoBondPort, InfoData, InfoGeneve, InfoGre, InfoGre6, InfoIpVlan, InfoMacVlan,
    InfoMacVtap, InfoPortData, InfoVxlan, LinkInfo, LinkVfInfo, VfInfo, VfLinkState,
};
use serde_json::Value;
use sonde_proto::graph::Metadata;

use super::element::{mac_text, put};

/// The keys written by [`metadata`] and [`vfs`].
pub(super) const KEYS: &[&str] =
    &["BondMode", "BondSlave", "GENEVE", "GRE", "IPVLAN", "MACVLAN", "VXLAN", "Vfs"];

/// Metadata that only links of this kind have.
pub(super) fn metadata(infos: &[LinkInfo]) -> Metadata {
    let mut metadata = Metadata::new();
    for info in infos {
        match info {
            LinkInfo::Data(data) => {
                if let Some((key, value)) = of_kind(data) {
                    metadata.insert(key.to_owned(), value);
                }
            }
            LinkInfo::PortData(InfoPortData::BondPort(port)) => {
                metadata.insert("BondSlave".into(), bond_slave(port));
            }
            _ => {}
        }
    }
    metadata
}

fn of_kind(data: &InfoData) -> Option<(&'static str, Value)> {
    Some(match data {
        InfoData::Vxlan(infos) => ("VXLAN", vxlan(infos)),
        InfoData::Geneve(infos) => ("GENEVE", geneve(infos)),
        InfoData::GreTap(infos) | InfoData::GreTun(infos) | InfoData::ErSpan(infos) => {
            ("GRE", gre(infos))
        }
        InfoData::GreTap6(infos) | InfoData::GreTun6(infos) | InfoData::Ip6ErSpan(infos) => {
            ("GRE", gre6(infos))
        }
        InfoData::MacVlan(infos) => {
            let mode = infos.iter().find_map(|info| match info {
                InfoMacVlan::Mode(mode) => Some(mode.to_string()),
                _ => None,
            });
            ("MACVLAN", with_mode(mode?))
        }
        InfoData::MacVtap(infos) => {
            let mode = infos.iter().find_map(|info| match info {
                InfoMacVtap::Mode(mode) => Some(mode.to_string()),
                _ => None,
            });
            ("MACVLAN", with_mode(mode?))
        }
        InfoData::IpVlan(infos) => {
            let mode = infos.iter().find_map(|info| match info {
                InfoIpVlan::Mode(mode) => Some(mode.to_string()),
                _ => None,
            });
            ("IPVLAN", with_mode(mode?))
        }
        InfoData::Bond(infos) => {
            let mode = infos.iter().find_map(|info| match info {
                InfoBond::Mode(mode) => Some(mode.to_string()),
                _ => None,
            });
            ("BondMode", mode?.into())
        }
        _ => return None,
    })
}

/// The ends of a tunnel.
#[derive(Default)]
struct Tunnel {
    /// Its number on the wire, and what that is called.
    id: Option<(&'static str, u32)>,
    local: Option<IpAddr>,
    remote: Option<IpAddr>,
    port: Option<u16>,
}

impl Tunnel {
    fn json(self) -> Value {
        let mut tunnel = Metadata::new();
        if let Some((name, id)) = self.id {
            put(&mut tunnel, name, Some(id));
        }
        // Zeros: any.
        let end =
            |end: Option<IpAddr>| end.filter(|ip| !ip.is_unspecified()).map(|ip| ip.to_string());
        put(&mut tunnel, "Local", end(self.local));
        put(&mut tunnel, "Remote", end(self.remote));
        put(&mut tunnel, "Port", self.port);
        Value::Object(tunnel)
    }
}

fn vxlan(infos: &[InfoVxlan]) -> Value {
    let mut tunnel = Tunnel::default();
    for info in infos {
        match info {
            InfoVxlan::Id(vni) => tunnel.id = Some(("VNI", *vni)),
            InfoVxlan::Local(ip) => tunnel.local = Some((*ip).into()),
            InfoVxlan::Local6(ip) => tunnel.local = Some((*ip).into()),
            // A multicast group, or a single remote end.
            InfoVxlan::Group(ip) => tunnel.remote = Some((*ip).into()),
            InfoVxlan::Group6(ip) => tunnel.remote = Some((*ip).into()),
            InfoVxlan::Port(port) => tunnel.port = Some(*port),
            _ => {}
        }
    }
    tunnel.json()
}

fn geneve(infos: &[InfoGeneve]) -> Value {
    let mut tunnel = Tunnel::default();
    for info in infos {
        match info {
            InfoGeneve::Id(vni) => tunnel.id = Some(("VNI", *vni)),
            InfoGeneve::Remote(ip) => tunnel.remote = Some((*ip).into()),
            InfoGeneve::Remote6(ip) => tunnel.remote = Some((*ip).into()),
            InfoGeneve::Port(port) => tunnel.port = Some(*port),
            _ => {}
        }
    }
    tunnel.json()
}

fn gre(infos: &[InfoGre]) -> Value {
    let mut tunnel = Tunnel::default();
    for info in infos {
        match info {
            InfoGre::OKey(key) => tunnel.id = gre_key(*key),
            InfoGre::Local(ip) => tunnel.local = Some((*ip).into()),
            InfoGre::Remote(ip) => tunnel.remote = Some((*ip).into()),
            _ => {}
        }
    }
    tunnel.json()
}

fn gre6(infos: &[InfoGre6]) -> Value {
    let mut tunnel = Tunnel::default();
    for info in infos {
        match info {
            InfoGre6::OKey(key) => tunnel.id = gre_key(*key),
            InfoGre6::Local(ip) => tunnel.local = Some((*ip).into()),
            InfoGre6::Remote(ip) => tunnel.remote = Some((*ip).into()),
            _ => {}
        }
    }
    tunnel.json()
}

/// The key that goes out, if any: zero is none.
fn gre_key(key: u32) -> Option<(&'static str, u32)> {
    (key != 0).then_some(("Key", key))
}

fn with_mode(mode: String) -> Value {
    Value::Object([("Mode".to_owned(), mode.into())].into_iter().collect())
}

fn bond_slave(port: &[InfoBondPort]) -> Value {
    let mut slave = Metadata::new();
    for info in port {
        match info {
            InfoBondPort::BondPortState(state) => {
                put(&mut slave, "State", Some(state.to_string().to_uppercase()));
            }
            InfoBondPort::MiiStatus(status) => {
                put(&mut slave, "MiiStatus", Some(status.to_string().to_uppercase()));
            }
            InfoBondPort::LinkFailureCount(count) => {
                put(&mut slave, "LinkFailureCount", Some(*count));
            }
            InfoBondPort::PermHwaddr(mac) => put(&mut slave, "PermMAC", mac_text(mac)),
            InfoBondPort::QueueId(queue) => put(&mut slave, "QueueID", Some(*queue)),
            InfoBondPort::AdAggregatorId(id) => put(&mut slave, "AggregatorID", Some(*id)),
            _ => {}
        }
    }
    Value::Object(slave)
}

/// The virtual functions of a link (`Vfs`).
pub(super) fn vfs(functions: &[LinkVfInfo]) -> Value {
    functions.iter().map(|function| Value::Object(vf(&function.0))).collect()
}

fn vf(infos: &[VfInfo]) -> Metadata {
    let mut vf = Metadata::new();
    for info in infos {
        match info {
            VfInfo::Mac(info) => {
                put(&mut vf, "ID", Some(info.vf_id));
                // The field has room for the longest of all addresses.
                put(&mut vf, "MAC", info.mac.get(..6).and_then(mac_text));
            }
            VfInfo::Vlan(info) => {
                put(&mut vf, "Vlan", Some(info.vlan_id));
                put(&mut vf, "Qos", Some(info.qos));
            }
            VfInfo::TxRate(info) => put(&mut vf, "TxRate", Some(info.rate)),
            VfInfo::SpoofCheck(info) => put(&mut vf, "Spoofchk", Some(info.enabled)),
            VfInfo::Trust(info) => put(&mut vf, "Trust", Some(info.enabled)),
            VfInfo::LinkState(info) => {
                let state = match info.state {
                    VfLinkState::Auto => "auto",
                    VfLinkState::Enable => "enable",
                    VfLinkState::Disable => "disable",
                    _ => continue,
                };
                put(&mut vf, "LinkState", Some(state));
            }
            _ => {}
        }
    }
    vf
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtnetlink::packet_route::link::{
        BondMode, BondPortState, MacVlanMode, MiiStatus, VfInfoMac, VfInfoVlan,
    };
    use serde_json::json;

    #[test]
    fn kinds_say_what_is_theirs() {
        let local = "10.0.0.1".parse().unwrap();
        let remote = "10.0.0.2".parse().unwrap();
        for (data, expected) in [
            (
                InfoData::Vxlan(vec![
                    InfoVxlan::Id(42),
                    InfoVxlan::Local(local),
                    InfoVxlan::Group6("ff02::7".parse().unwrap()),
                    InfoVxlan::Port(4789),
                ]),
                json!({"VXLAN": {"VNI": 42, "Local": "10.0.0.1", "Remote": "ff02::7", "Port": 4789}}),
            ),
            (
                InfoData::GreTun(vec![
                    InfoGre::OKey(7),
                    InfoGre::Local(local),
                    InfoGre::Remote(remote),
                ]),
                json!({"GRE": {"Key": 7, "Local": "10.0.0.1", "Remote": "10.0.0.2"}}),
            ),
            (
                InfoData::GreTap6(vec![
                    InfoGre6::OKey(0),
                    InfoGre6::Local("::".parse().unwrap()),
                    InfoGre6::Remote("fd00::2".parse().unwrap()),
                ]),
                json!({"GRE": {"Remote": "fd00::2"}}),
            ),
            (
                InfoData::Geneve(vec![InfoGeneve::Id(9), InfoGeneve::Port(6081)]),
                json!({"GENEVE": {"VNI": 9, "Port": 6081}}),
            ),
            (
                InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Bridge)]),
                json!({"MACVLAN": {"Mode": "bridge"}}),
            ),
            (
                InfoData::Bond(vec![InfoBond::Mode(BondMode::Ieee8023Ad)]),
                json!({"BondMode": "802.3ad"}),
            ),
            (InfoData::Vlan(Vec::new()), json!({})),
        ] {
            let found = metadata(&[LinkInfo::Data(data)]);
            assert!(found.keys().all(|key| KEYS.contains(&key.as_str())));
            assert_eq!(Value::Object(found), expected);
        }
    }

    #[test]
    fn a_port_of_a_bond_says_its_part() {
        let port = InfoPortData::BondPort(vec![
            InfoBondPort::BondPortState(BondPortState::Backup),
            InfoBondPort::MiiStatus(MiiStatus::Up),
            InfoBondPort::LinkFailureCount(3),
            InfoBondPort::PermHwaddr(vec![2, 0, 0, 0, 0, 1]),
        ]);
        assert_eq!(
            Value::Object(metadata(&[LinkInfo::PortData(port)])),
            json!({"BondSlave": {"State": "BACKUP", "MiiStatus": "UP", "LinkFailureCount": 3,
                                 "PermMAC": "02:00:00:00:00:01"}})
        );
    }

    #[test]
    fn virtual_functions_are_listed() {
        let function = LinkVfInfo(vec![
            VfInfo::Mac(VfInfoMac::new(1, &[2, 0, 0, 0, 0, 3])),
            VfInfo::Vlan(VfInfoVlan::new(1, 100, 5)),
        ]);
        assert_eq!(
            vfs(&[function]),
            json!([{"ID": 1, "MAC": "02:00:00:00:00:03", "Vlan": 100, "Qos": 5}])
        );
    }
}

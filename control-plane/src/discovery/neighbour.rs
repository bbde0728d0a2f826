//! Who is reached how: entries of neighbour tables and of the forwarding tables of bridges and
//! tunnels, which have the same form (API §8.5).

use std::net::IpAddr;

use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage};
use serde_json::Value;
use sonde_proto::graph::Metadata;

use super::element::{hex_text, put};

/// An entry; what it does not have is `None` or zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Neighbour {
    pub(super) ip: Option<IpAddr>,
    /// A link-layer address; of a tunnel over IP, an IP address.
    pub(super) mac: Vec<u8>,
    vlan: u16,
    vni: u32,
    link: u32,
    /// `NTF_*` (linux/neighbour.h).
    flags: u8,
    /// `NUD_*`.
    state: u16,
}

impl Neighbour {
    pub(super) fn read(message: &NeighbourMessage) -> Self {
        let header = &message.header;
        let mut neighbour = Self {
            link: header.ifindex,
            flags: header.flags.bits(),
            state: header.state.into(),
            ..Self::default()
        };
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::Destination(address) => neighbour.ip = ip(address),
                NeighbourAttribute::LinkLayerAddress(mac) => neighbour.mac.clone_from(mac),
                NeighbourAttribute::Vlan(vlan) => neighbour.vlan = *vlan,
                NeighbourAttribute::Vni(vni) => neighbour.vni = *vni,
                _ => {}
            }
        }
        neighbour
    }

    pub(super) fn json(&self) -> Value {
        let mut entry = Metadata::new();
        put(&mut entry, "Flags", names(self.flags.into(), &FLAGS));
        // Zeros mean something in a forwarding table: where a VXLAN sends what it floods.
        put(&mut entry, "MAC", (!self.mac.is_empty()).then(|| hex_text(&self.mac)));
        put(&mut entry, "IP", self.ip.map(|ip| ip.to_string()));
        put(&mut entry, "State", names(self.state, &STATES));
        put(&mut entry, "Vlan", (self.vlan != 0).then_some(self.vlan));
        put(&mut entry, "VNI", (self.vni != 0).then_some(self.vni));
        put(&mut entry, "IfIndex", Some(self.link));
        Value::Object(entry)
    }
}

/// The destination of an entry. In a forwarding table it is of no family: its length tells.
fn ip(address: &NeighbourAddress) -> Option<IpAddr> {
    match address {
        NeighbourAddress::Inet(ip) => Some((*ip).into()),
        NeighbourAddress::Inet6(ip) => Some((*ip).into()),
        NeighbourAddress::Other(bytes) => {
            let v4 = <[u8; 4]>::try_from(bytes.as_slice()).map(IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(bytes.as_slice()).map(IpAddr::from)).ok()
        }
        _ => None,
    }
}

/// The names of the bits that are set.
fn names(bits: u16, all: &[&'static str]) -> Option<Vec<&'static str>> {
    let set = all.iter().enumerate().filter(|(bit, _)| bits & 1 << bit != 0);
    let names: Vec<&'static str> = set.map(|(_, name)| *name).collect();
    (!names.is_empty()).then_some(names)
}

/// By bit.
const FLAGS: [&str; 8] = [
    "NTF_USE",
    "NTF_SELF",
    "NTF_MASTER",
    "NTF_PROXY",
    "NTF_EXT_LEARNED",
    "NTF_OFFLOADED",
    "NTF_STICKY",
    "NTF_ROUTER",
];

/// By bit.
const STATES: [&str; 8] = [
    "NUD_INCOMPLETE",
    "NUD_REACHABLE",
    "NUD_STALE",
    "NUD_DELAY",
    "NUD_PROBE",
    "NUD_FAILED",
    "NUD_NOARP",
    "NUD_PERMANENT",
];

#[cfg(test)]
mod tests {
    use super::*;
    use rtnetlink::packet_route::neighbour::{NeighbourFlags, NeighbourState};
    use serde_json::json;

    fn entry(attributes: Vec<NeighbourAttribute>) -> Value {
        let mut message = NeighbourMessage::default();
        message.header.ifindex = 3;
        message.header.flags = NeighbourFlags::Own | NeighbourFlags::Router;
        message.header.state = NeighbourState::Other(0x82);
        message.attributes = attributes;
        Neighbour::read(&message).json()
    }

    #[test]
    fn an_entry_says_what_it_has() {
        assert_eq!(
            entry(vec![
                NeighbourAttribute::Destination(NeighbourAddress::Other(vec![10, 0, 0, 7])),
                NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, 1]),
                NeighbourAttribute::Vlan(9),
                NeighbourAttribute::Vni(42),
            ]),
            json!({
                "IP": "10.0.0.7", "MAC": "02:00:00:00:00:01", "Vlan": 9, "VNI": 42, "IfIndex": 3,
                "Flags": ["NTF_SELF", "NTF_ROUTER"], "State": ["NUD_REACHABLE", "NUD_PERMANENT"],
            })
        );
        let flooded = NeighbourAttribute::LinkLayerAddress(vec![0; 6]);
        assert_eq!(entry(vec![flooded])["MAC"], "00:00:00:00:00:00");
        let odd = NeighbourAttribute::Destination(NeighbourAddress::Other(vec![1; 7]));
        let odd = entry(vec![odd]);
        assert_eq!((odd.get("IP"), odd.get("MAC")), (None, None));
    }
}

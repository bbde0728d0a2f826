//! Capture types, and which node takes which (Skydive API §9.1, §9.2).

use std::fmt;

use crate::graph::INTERFACES;

/// The capture types that sonde serves. Each can filter, keep raw packets and extra TCP metrics, so
/// that nothing of a capture is refused for its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// AF_PACKET on a kernel interface.
    AfPacket,
    /// Skydive's libpcap capture; served by AF_PACKET.
    Pcap,
    /// A DPDK port.
    Dpdk,
    /// A TCP port into which clients write captures, metered as if seen on the node.
    PcapSocket,
}

impl Kind {
    /// All, in the order of their names.
    pub const ALL: [Self; 4] = [Self::AfPacket, Self::Dpdk, Self::Pcap, Self::PcapSocket];

    /// The type of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The type a node gets when a capture asks for `asked`, `None` for the node's default. `None`
    /// when a node of `node_type` cannot be captured so.
    pub fn on(node_type: &str, asked: Option<Self>) -> Option<Self> {
        let (default, others): (Option<Self>, &[Self]) = match node_type {
            "dpdkport" => (Some(Self::Dpdk), &[]),
            // Skydive's default is sFlow, which we have not.
            "ovsbridge" => (None, &[Self::PcapSocket]),
            _ if INTERFACES.contains(&node_type) => {
                (Some(Self::AfPacket), &[Self::Pcap, Self::PcapSocket])
            }
            _ => (None, &[]),
        };
        match asked {
            Some(kind) => (default == asked || others.contains(&kind)).then_some(kind),
            None => default,
        }
    }

    /// The name in the resource.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AfPacket => "afpacket",
            Self::Pcap => "pcap",
            Self::Dpdk => "dpdk",
            Self::PcapSocket => "pcapsocket",
        }
    }

    /// Whether two captures of this type may differ in nothing but their filter.
    pub const fn several(self) -> bool {
        match self {
            Self::AfPacket | Self::Pcap => true,
            Self::Dpdk | Self::PcapSocket => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Skydive's table, without the types that we have not.
    #[test]
    fn each_type_of_node_has_its_types_and_its_default() {
        let interface = "afpacket pcap pcapsocket";
        for (nodes, default, able) in [
            ("dpdkport", "dpdk", "dpdk"),
            ("ovsbridge", "", "pcapsocket"),
            ("ovsport host netns fabric", "", ""),
            (
                "internal veth tun bridge dummy gre bond can hsr ifb macvlan macvtap vlan vxlan gretap \
                 ip6gretap geneve ipoib vcan ipip ipvlan lowpan ip6tnl ip6gre sit device",
                "afpacket",
                interface,
            ),
        ] {
            for node in nodes.split(' ') {
                assert_eq!(Kind::on(node, None), Kind::named(default), "{node}");
                for kind in Kind::ALL {
                    let expected = able.split(' ').any(|able| able == kind.name()).then_some(kind);
                    assert_eq!(Kind::on(node, Some(kind)), expected, "{kind} on {node}");
                }
            }
        }
    }
}

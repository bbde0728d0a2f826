//! Capture types, and which node takes which (Skydive API §9.1, §9.2).

use std::fmt;

use crate::graph::INTERFACES;

/// The capture types that sonde serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// AF_PACKET on a kernel interface.
    AfPacket,
    /// Skydive's libpcap capture; served by AF_PACKET.
    Pcap,
    /// A DPDK port.
    Dpdk,
}

impl Kind {
    /// All, in the order of their names.
    pub const ALL: [Self; 3] = [Self::AfPacket, Self::Dpdk, Self::Pcap];

    /// The type of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The type a node gets when a capture asks for `asked`, `None` for the node's default. `None`
    /// when a node of `node_type` cannot be captured so.
    pub fn on(node_type: &str, asked: Option<Self>) -> Option<Self> {
        let able: &[Self] = match node_type {
            "dpdkport" => &[Self::Dpdk],
            _ if INTERFACES.contains(&node_type) => &[Self::AfPacket, Self::Pcap],
            _ => &[],
        };
        match asked {
            Some(kind) => able.contains(&kind).then_some(kind),
            None => able.first().copied(),
        }
    }

    /// The name in the resource.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AfPacket => "afpacket",
            Self::Pcap => "pcap",
            Self::Dpdk => "dpdk",
        }
    }

    /// Whether two captures of this type may differ in nothing but their filter.
    pub const fn several(self) -> bool {
        match self {
            Self::AfPacket | Self::Pcap => true,
            Self::Dpdk => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

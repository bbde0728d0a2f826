//! What travels down the ring: all that the data plane shall do.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use uuid::Uuid;

use crate::record::WatchId;

/// The whole desired state of the data plane, immutable. The newest wins; following one twice
/// changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Grows with each new content; reports echo the one they follow.
    pub revision: u64,
    /// When it grows, each shard reports every flow touched since its last report, then echoes it.
    pub sweep: u64,
    /// The points to be watched. A point that is absent is unwatched.
    pub points: Vec<PlannedPoint>,
}

impl Plan {
    /// The watches of `point`, none when the plan does not name it.
    pub fn watches(&self, point: &Point) -> &[Watch] {
        self.points.iter().find(|p| p.point == *point).map_or(&[], |p| &p.watches)
    }
}

/// An observation point and the captures that shall run on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedPoint {
    /// Where.
    pub point: Point,
    /// What, one entry a capture.
    pub watches: Vec<Watch>,
}

/// An observation point: where frames are seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Point {
    /// A DPDK port, by its name in the configuration. Always polled.
    Port(String),
    /// A kernel interface, opened while it is watched.
    Interface {
        /// `ifindex` in its network namespace.
        index: u32,
        /// Path of the network namespace; the daemon's own when absent.
        netns: Option<PathBuf>,
    },
    /// A TCP port into which clients write captures; it listens while it is watched.
    Socket(SocketAddr),
    /// A capture file.
    File(PathBuf),
}

/// A capture at one observation point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Comes back in every record and every [`crate::report::WatchReport`].
    pub id: WatchId,
    /// TID of the node, part of each flow's `UUID`; absent offline. It does not change under an id.
    pub node_tid: Option<Uuid>,
    /// Classic BPF over Ethernet; empty admits all.
    pub filter: Arc<[BpfInstruction]>,
    /// What is made of the frames.
    pub options: Options,
}

/// What a capture asks for beyond plain flows (Skydive's capture options, API §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How flows are keyed.
    pub key_mode: KeyMode,
    /// Bytes of a frame that are looked at (`HeaderSize`), at least 14.
    pub header_size: u32,
    /// One in so many flows is metered, the same ones on every lcore (`SamplingRate`); 0 and 1:
    /// all are.
    pub sampling: u32,
    /// Packets of each flow that are sent up whole (`RawPacketLimit`).
    pub raw_packets: u32,
    /// Times and TTLs of TCP flags (`ExtraTCPMetric`).
    pub tcp_metric: bool,
    /// Segments in order, out of order, missing (`ReassembleTCP`).
    pub reassemble_tcp: bool,
    /// IP fragments are put together before they are metered (`IPDefrag`).
    pub defragment: bool,
    /// Application layers whose packets are sent up to be read (`ExtraLayers`).
    pub extra_layers: ExtraLayers,
    /// UDP port that carries MPLS (OpenContrail: 51234).
    pub mpls_udp_port: Option<u16>,
    /// Every frame is sent up, as far as it is looked at (`TargetType` `erspanv1`).
    pub mirror: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            key_mode: KeyMode::L2,
            header_size: 256,
            sampling: 0,
            raw_packets: 0,
            tcp_metric: false,
            reassemble_tcp: false,
            defragment: false,
            extra_layers: ExtraLayers::default(),
            mpls_udp_port: None,
            mirror: false,
        }
    }
}

/// A set of application layers, in Skydive's bit mask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtraLayers(pub u8);

impl ExtraLayers {
    /// VRRP version 2 (RFC 3768).
    pub const VRRP: Self = Self(1);
    /// DNS (RFC 1035).
    pub const DNS: Self = Self(2);
    /// DHCP for IPv4 (RFC 2131).
    pub const DHCPV4: Self = Self(4);

    /// Whether all layers of `other` are in this set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Skydive's `LayerKeyMode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeyMode {
    /// MAC addresses are part of the key.
    #[default]
    L2,
    /// MAC addresses are left out when there is IP.
    L3,
}

/// One instruction of the classic BPF machine, as in `struct bpf_insn` of libpcap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BpfInstruction {
    /// Operation.
    pub code: u16,
    /// Jump offset if true.
    pub jt: u8,
    /// Jump offset if false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

//! What travels down the ring: all that the data plane shall do.

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
    /// A capture file.
    File(PathBuf),
}

/// A capture at one observation point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Comes back in every record and every [`crate::report::WatchReport`].
    pub id: WatchId,
    /// TID of the node, part of each flow's `UUID`; absent offline.
    pub node_tid: Option<Uuid>,
    /// Classic BPF over Ethernet; empty admits all.
    pub filter: Arc<[BpfInstruction]>,
    /// How flows are keyed.
    pub key_mode: KeyMode,
    /// Bytes of a frame that are looked at (Skydive's `HeaderSize`), at least 14.
    pub header_size: u32,
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

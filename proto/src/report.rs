//! What travels up the ring: records, and the books of an lcore.

use crate::entry::{Extra, FlowEntry};
use crate::plan::{ExtraLayers, Point};
use crate::record::{EndReason, FlowRecord, WatchId};
use crate::time::Timestamp;

/// What an lcore says of itself when it opens its ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LcoreInfo {
    /// Where its frames come from.
    pub point: Point,
    /// Index of the queue (or fanout member) of the point.
    pub queue: u16,
    /// The CPU it is pinned to, if it is.
    pub cpu: Option<u16>,
    /// The kind of source: `dpdk`, `af_packet`, `pcap_socket`, `pcap`, `upload`; or [`Self::SUPERVISOR`].
    pub source: &'static str,
}

impl LcoreInfo {
    /// The source of what takes no frames, but opens and closes sources and says how that went.
    pub const SUPERVISOR: &'static str = "supervisor";

    /// Whether it takes frames.
    pub fn is_queue(&self) -> bool {
        self.source != Self::SUPERVISOR
    }
}

/// A snapshot an lcore pushes: flows changed, watches and counters as they stand.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The source's clock.
    pub at: Timestamp,
    /// Revision of the plan that is followed.
    pub plan: u64,
    /// The last sweep whose every record is in this report or an earlier one.
    pub sweep: u64,
    /// Flows, each with cumulative counters: the newest entry of a flow heals the loss of those
    /// before.
    pub flows: Vec<FlowEntry>,
    /// What captures want to know of some of the flows beyond counters.
    pub extras: Vec<Extra>,
    /// Packets that captures want whole.
    pub packets: Packets,
    /// State and counters of each watch.
    pub watches: Vec<WatchReport>,
    /// The counters of the queue since it was opened.
    pub books: Books,
}

impl Report {
    /// Room for so many extras.
    pub fn reserve_extras(&mut self, extras: usize) {
        self.extras.reserve_exact(extras.saturating_sub(self.extras.len()));
    }

    /// The records of the flows.
    pub fn records(&self) -> impl Iterator<Item = FlowRecord> {
        self.flows.iter().map(|entry| self.record(entry))
    }

    /// The record of one of the flows.
    pub fn record(&self, entry: &FlowEntry) -> FlowRecord {
        let extra = entry.extra.and_then(|place| self.extras.get(usize::from(place)));
        entry.record(extra)
    }
}

/// Copies of packets, their bytes one after the other.
#[derive(Clone, Debug, Default)]
pub struct Packets {
    heads: Vec<PacketHead>,
    bytes: Vec<u8>,
}

/// What is known of a copied packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketHead {
    /// The watch that wants it.
    pub watch: WatchId,
    /// `uuid` of its flow.
    pub flow: u64,
    /// What it is wanted for.
    pub want: PacketWant,
    /// When it was captured.
    pub at: Timestamp,
    /// LINKTYPE of its bytes: 1 Ethernet, 101 raw IP.
    pub link: u16,
    /// Bytes on the wire.
    pub length: u32,
    /// Bytes copied.
    captured: u32,
}

/// What a packet is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketWant {
    /// To be served as it is: the flow's packet of this number, from 0.
    Raw(u32),
    /// The payload is a message of this layer, to be read for the flow.
    Layer(ExtraLayers),
    /// A frame that somebody else wants to see; of no flow.
    Mirror,
}

impl Packets {
    /// Room for `packets` packets of `bytes` bytes together.
    pub fn reserve(&mut self, packets: usize, bytes: usize) {
        self.heads.reserve_exact(packets.saturating_sub(self.heads.len()));
        self.bytes.reserve_exact(bytes.saturating_sub(self.bytes.len()));
    }

    /// Copies a packet; `false`, and no copy, when it does not fit into what was reserved.
    pub fn push(&mut self, head: PacketHead, bytes: &[u8]) -> bool {
        let fits = self.heads.len() < self.heads.capacity()
            && self.bytes.capacity() - self.bytes.len() >= bytes.len();
        let Ok(captured) = u32::try_from(bytes.len()) else { return false };
        if fits {
            self.heads.push(PacketHead { captured, ..head });
            self.bytes.extend_from_slice(bytes);
        }
        fits
    }

    /// The packets, in the order they were pushed.
    pub fn iter(&self) -> impl Iterator<Item = (&PacketHead, &[u8])> {
        self.heads.iter().scan(0_usize, |start, head| {
            let end = *start + head.captured as usize;
            let bytes = self.bytes.get(*start..end)?;
            *start = end;
            Some((head, bytes))
        })
    }

    /// Forgets the packets and keeps the room.
    pub fn clear(&mut self) {
        self.heads.clear();
        self.bytes.clear();
    }
}

impl PacketHead {
    /// The head of a packet that was not copied yet.
    pub const fn new(
        watch: WatchId,
        flow: u64,
        want: PacketWant,
        at: Timestamp,
        link: u16,
        length: u32,
    ) -> Self {
        Self { watch, flow, want, at, link, length, captured: 0 }
    }
}

/// A watch as the data plane sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchReport {
    /// Which.
    pub watch: WatchId,
    /// Whether it runs.
    pub state: WatchState,
    /// Frames metered for it.
    pub packets: u64,
    /// Bytes of those frames, wire length.
    pub bytes: u64,
    /// Frames its table had no room for.
    pub dropped: u64,
    /// Flows now in its table.
    pub flows: u64,
    /// Packets it wanted whole and that no report had room for.
    pub copies_lost: u64,
}

/// Whether a watch runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WatchState {
    /// Frames are metered.
    #[default]
    Active,
    /// The point could not be opened; the errno of what failed.
    Failed(i32),
}

/// Per queue: every frame received is in exactly one of the counters below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// Frames taken from the source.
    pub received: u64,
    /// Frames metered for at least one watch.
    pub metered: u64,
    /// Frames refused by the filter of every watch.
    pub filtered: u64,
    /// Frames left out by sampling.
    pub sampled_out: u64,
    /// Frames that are no flow, by [`Skip`].
    pub skipped: [u64; Skip::COUNT],
    /// Frames of new flows that no table had room for.
    pub table_full: u64,
    /// Frames seen while no capture ran.
    pub unwatched: u64,
    /// What the source itself lost before us. Of DPDK, the whole port's: in no report of its queues,
    /// for counters of a port are read off the lcores; the control plane enters them.
    pub lost: Lost,
    /// Frames whose bytes end before their headers do; metered all the same.
    pub truncated: u64,
    /// Frames with more tunnels inside each other than are opened; metered all the same.
    pub too_deep: u64,
    /// Flows that ended, by [`EndReason`].
    pub ended: [u64; EndReason::COUNT],
    /// Reports that had to wait because the ring was full.
    pub ring_full: u64,
}

impl Books {
    /// Frames received that no counter explains. Zero, or a defect of ours.
    pub fn unaccounted(&self) -> i64 {
        let skipped: u64 = self.skipped.iter().sum();
        let explained = self
            .metered
            .wrapping_add(self.filtered)
            .wrapping_add(self.sampled_out)
            .wrapping_add(skipped)
            .wrapping_add(self.table_full)
            .wrapping_add(self.unwatched);
        self.received.wrapping_sub(explained) as i64
    }

    /// Every counter by name, what was skipped or ended by its reason: `skipped.runt`,
    /// `ended.idle`.
    pub fn named(&self) -> Vec<(String, u64)> {
        let mut named = vec![
            ("received".into(), self.received),
            ("metered".into(), self.metered),
            ("filtered".into(), self.filtered),
            ("sampled_out".into(), self.sampled_out),
        ];
        let skipped = Skip::ALL.iter().zip(self.skipped);
        named.extend(skipped.map(|(skip, n)| (format!("skipped.{}", skip.name()), n)));
        named.extend([
            ("table_full".into(), self.table_full),
            ("unwatched".into(), self.unwatched),
            ("truncated".into(), self.truncated),
            ("too_deep".into(), self.too_deep),
            ("missed".into(), self.lost.missed),
            ("no_mbuf".into(), self.lost.no_mbuf),
            ("errors".into(), self.lost.errors),
            ("ring_full".into(), self.ring_full),
        ]);
        let ended = EndReason::ALL.iter().zip(self.ended);
        named.extend(ended.map(|(reason, n)| (format!("ended.{}", reason.name()), n)));
        named
    }

    /// Adds the counters of another queue.
    pub fn add(&mut self, other: &Self) {
        let Self {
            received,
            metered,
            filtered,
            sampled_out,
            skipped,
            table_full,
            unwatched,
            lost,
            truncated,
            too_deep,
            ended,
            ring_full,
        } = other;
        self.received += received;
        self.metered += metered;
        self.filtered += filtered;
        self.sampled_out += sampled_out;
        for (sum, n) in self.skipped.iter_mut().zip(skipped) {
            *sum += n;
        }
        self.table_full += table_full;
        self.unwatched += unwatched;
        self.lost.add(*lost);
        self.truncated += truncated;
        self.too_deep += too_deep;
        for (sum, n) in self.ended.iter_mut().zip(ended) {
            *sum += n;
        }
        self.ring_full += ring_full;
    }
}

/// Frames that never reached us, as the port counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// DPDK `imissed`; AF_PACKET `tp_drops`.
    pub missed: u64,
    /// DPDK `rx_nombuf`.
    pub no_mbuf: u64,
    /// DPDK `ierrors`; of a socket, captures that were damaged and clients that were not served.
    pub errors: u64,
}

impl Lost {
    /// Adds what another point lost.
    pub fn add(&mut self, other: Self) {
        self.missed += other.missed;
        self.no_mbuf += other.no_mbuf;
        self.errors += other.errors;
    }
}

/// Why a frame made no flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Skip {
    /// Shorter than its link-layer header.
    Runt,
    /// The link type of the capture file is not one we know.
    LinkType,
    /// A fragment of a datagram that was metered whole, with its last fragment.
    Fragment,
    /// A fragment whose datagram is not complete yet. Not a count: becomes one of those beside.
    FragmentHeld,
    /// A fragment whose datagram was never complete, or was broken.
    FragmentLost,
}

impl Skip {
    /// How many reasons there are.
    pub const COUNT: usize = 5;
    /// All reasons, in the order of [`Books::skipped`].
    pub const ALL: [Self; Self::COUNT] =
        [Self::Runt, Self::LinkType, Self::Fragment, Self::FragmentHeld, Self::FragmentLost];

    /// The reason's name in status answers and summaries.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Runt => "runt",
            Self::LinkType => "link_type",
            Self::Fragment => "fragment",
            Self::FragmentHeld => "fragment_held",
            Self::FragmentLost => "fragment_lost",
        }
    }
}

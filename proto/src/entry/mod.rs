//! A flow as its shard holds it: what travels up the ring.
//!
//! An entry is copied as it lies; the record that is made of it, with addresses, digests and
//! identities, is made where somebody has the time: in the control plane.

pub mod first;
mod identity;
pub mod key;

use uuid::Uuid;

pub use self::first::First;
pub use self::identity::Identity;
pub use self::key::{Key, ordered};
use crate::record::{Cause, FinishType, FlowRecord, IpMetric, Metric, TcpMetric, WatchId};
use crate::time::Timestamp;

/// One flow (biflow) of one watch, with cumulative counters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlowEntry {
    /// What makes it a flow of its own.
    pub key: Key,
    /// What its first packet left, beyond the key.
    pub first: First,
    /// Whether the first packet came from the `hi` end of the key.
    pub swap: bool,
    /// Source port of the first packet, 0 without.
    pub port: u16,
    /// The node where it was seen, nil without one.
    pub tid: Uuid,
    /// Time of the first packet.
    pub start: Timestamp,
    /// Time of the newest packet.
    pub last: Timestamp,
    /// Totals since the first packet.
    pub totals: Totals,
    /// Round trip time in nanoseconds, 0 when unknown.
    pub rtt: u64,
    /// What was added between the last two update ticks, and when these were; absent before the
    /// first.
    pub last_update: Option<(Totals, [Timestamp; 2])>,
    /// The capture and observation point that metered the flow.
    pub watch: WatchId,
    /// Packets that were sent up whole.
    pub raw_packets: u32,
    /// Place of what the capture wanted to know beyond counters among [`crate::report::Report`]'s
    /// extras.
    pub extra: Option<u16>,
    /// How the flow ended, as Skydive says it.
    pub finish: FinishType,
    /// Why the entry was reported.
    pub cause: Cause,
}

const _: () = assert!(size_of::<FlowEntry>() <= 256);

impl FlowEntry {
    /// A flow that begins at `start` and has no packet yet.
    pub fn new(watch: WatchId, key: Key, first: First, start: Timestamp, cause: Cause) -> Self {
        Self {
            key,
            first,
            swap: false,
            port: 0,
            tid: Uuid::nil(),
            start,
            last: start,
            totals: Totals::default(),
            rtt: 0,
            last_update: None,
            watch,
            raw_packets: 0,
            extra: None,
            finish: FinishType::NotFinished,
            cause,
        }
    }

    /// Whether its record has IPv4 addresses.
    pub fn shows_ipv4(&self) -> bool {
        let network = self.first.network(&self.key, self.swap);
        network.is_some_and(|network| network.a.is_ipv4())
    }

    /// The record of the flow; `extra` is what its place among the extras holds.
    pub fn record(&self, extra: Option<&Extra>) -> FlowRecord {
        let Self { key, first, swap, start, last, totals, rtt, .. } = self;
        let identity = Identity::of(key);
        let tid = (!self.tid.is_nil()).then_some(self.tid);
        FlowRecord {
            watch: self.watch,
            uuid: identity.uuid(*start, tid),
            parent: (key.parent() != 0).then_some(key.parent()),
            tracking_id: identity.tracking_id(),
            l3_tracking_id: identity.l3_tracking_id(),
            layers: first.layers,
            link: first.link(key, *swap),
            network: first.network(key, *swap),
            transport: first.transport(self.port),
            icmp: first.icmp(key),
            metric: totals.metric(*start, *last, *rtt),
            last_update: self.last_update.map(|(totals, [from, to])| totals.metric(from, to, *rtt)),
            tcp: extra.and_then(|extra| extra.tcp),
            ip: extra.and_then(|extra| extra.ip),
            raw_packets: self.raw_packets,
            finish: self.finish,
            cause: self.cause,
        }
    }
}

/// What a capture wants to know of a flow beyond counters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Extra {
    /// What TCP says.
    pub tcp: Option<TcpMetric>,
    /// Fragments.
    pub ip: Option<IpMetric>,
}

/// Packets and bytes, of A and of B.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals(pub [[u64; 2]; 2]);

impl Totals {
    /// What came since they were `before`.
    pub fn less(&self, before: &Self) -> Self {
        let Self([[ab_packets, ab_bytes], [ba_packets, ba_bytes]]) = *self;
        let Self([[ab_packets0, ab_bytes0], [ba_packets0, ba_bytes0]]) = *before;
        Self([
            [ab_packets - ab_packets0, ab_bytes - ab_bytes0],
            [ba_packets - ba_packets0, ba_bytes - ba_bytes0],
        ])
    }

    /// Packets of both.
    pub fn packets(&self) -> u64 {
        let Self([[ab_packets, _], [ba_packets, _]]) = *self;
        ab_packets + ba_packets
    }

    fn metric(&self, start: Timestamp, last: Timestamp, rtt: u64) -> Metric {
        let Self([[ab_packets, ab_bytes], [ba_packets, ba_bytes]]) = *self;
        Metric { ab_packets, ab_bytes, ba_packets, ba_bytes, start, last, rtt }
    }
}

//! What is kept of a flow: hot lines that each packet touches, a cold record that few do.

use std::time::Duration;

use sonde_proto::record::{Cause, EndReason, FinishType, FlowRecord, Metric, WatchId};
use sonde_proto::time::Timestamp;

use super::first::First;
use super::identity::Identity;
use super::key::{Direction, Key};
use super::staged::Staged;
use crate::parse::tcp_flags;

/// What each packet touches: the key's line and the counters' line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Hot {
    pub(crate) key: Key,
    totals: Totals,
    pub(crate) last: Timestamp,
    pub(crate) uuid: u64,
    /// When the SYN or echo request came that waits for its answer.
    pub(super) asked: Timestamp,
    /// The next flow of the list that this one is on.
    pub(super) next: u32,
    pub(super) flags: u16,
    /// Source port of the first packet, 0 without.
    port: u16,
}

/// What is touched when a flow begins, at its ticks and when it is reported.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Cold {
    pub(crate) start: Timestamp,
    /// Totals at the last update tick.
    ticked: Totals,
    /// What was added between the last two update ticks.
    added: Totals,
    pub(super) rtt: u64,
    /// Update ticks since the start.
    ticks: u32,
    pub(super) first: First,
}

const _: () = assert!(size_of::<Hot>() == 128 && size_of::<Cold>() == 128);

/// Packets and bytes, of A and of B.
#[derive(Clone, Copy, Debug, Default)]
struct Totals([[u64; 2]; 2]);

impl Hot {
    /// A flow that begins with a packet which is yet to be counted.
    #[inline]
    pub(crate) fn new(
        key: Key,
        swap: bool,
        first: &First,
        port: u16,
        at: Timestamp,
        uuid: u64,
    ) -> Self {
        let mut flags = LIVE;
        flags |= if swap { SWAP } else { 0 };
        // Who begins with goodbye needs no answer.
        flags |= match first.finish() {
            FinishType::TcpRst => RST,
            FinishType::TcpFin => FIN_A | FIN_B,
            _ => 0,
        };
        Self {
            key,
            totals: Totals::default(),
            last: at,
            uuid,
            asked: Timestamp::default(),
            next: 0,
            flags,
            port,
        }
    }

    /// Counts a packet; whether it came from A.
    #[inline(always)]
    pub(crate) fn count(&mut self, item: &Staged) -> bool {
        let ab = if item.direction == Direction::Ends {
            self.is_from_a(item.swap)
        } else {
            self.is_from_a_otherwise(item)
        };
        self.flags |= CHANGED | UNREPORTED | REFERENCED;
        // Packets go back and forth at random: a place is found faster than a branch foreseen.
        let [packets, bytes] = &mut self.totals.0[usize::from(!ab)];
        *packets += 1;
        *bytes += u64::from(item.length);
        self.last = self.last.max(item.at);
        ab
    }

    #[cold]
    fn is_from_a_otherwise(&self, item: &Staged) -> bool {
        match item.direction {
            Direction::Ends => self.is_from_a(item.swap),
            Direction::Ports => self.port > item.ports[0],
            Direction::Ab => true,
            Direction::Ba => false,
        }
    }

    /// Counts the packet that the flow begins with; whether it came from A. A flow of one packet is
    /// no flow in use: floods and scans evict their own.
    pub(crate) fn count_first(&mut self, item: &Staged) -> bool {
        let ab = self.count(item);
        self.flags &= !REFERENCED;
        ab
    }

    /// Takes note of TCP's goodbyes; whether this one made the flow over.
    pub(super) fn close(&mut self, tcp: u8, ab: bool) -> bool {
        let before = self.finish();
        if tcp & tcp_flags::RST != 0 {
            self.flags |= RST;
        }
        if tcp & tcp_flags::FIN != 0 {
            self.flags |= if ab { FIN_A } else { FIN_B };
        }
        before == FinishType::NotFinished && self.finish() != before
    }

    /// An update tick: the totals become those of the tick.
    pub(crate) fn tick(&mut self, cold: &mut Cold) {
        cold.added = self.totals.less(&cold.ticked);
        cold.ticked = self.totals;
        cold.ticks = cold.ticks.saturating_add(1);
        self.flags = self.flags & !CHANGED | TICKED;
    }

    /// Passes over ticks at which nothing changed, up to the `ticks`-th.
    pub(crate) fn pass_ticks(&mut self, cold: &mut Cold, ticks: u64) {
        if ticks > u64::from(cold.ticks) {
            cold.ticks = ticks.try_into().unwrap_or(u32::MAX);
            cold.added = Totals::default();
            self.flags |= TICKED;
        }
    }

    /// The flow as it stands.
    pub(crate) fn record(
        &self,
        cold: &Cold,
        watch: WatchId,
        cause: Cause,
        update: Duration,
    ) -> FlowRecord {
        let identity = Identity::of(&self.key);
        let ticked_at = cold.tick(cold.ticks, update);
        let ticks = update != Duration::MAX;
        let last_update = if matches!(cause, Cause::End(_)) && self.is(CHANGED) && ticks {
            let added = self.totals.less(&cold.ticked);
            Some(added.metric(ticked_at, self.last.max(ticked_at), cold.rtt))
        } else if self.is(TICKED) {
            let before = cold.tick(cold.ticks.saturating_sub(1), update);
            Some(cold.added.metric(before, ticked_at, cold.rtt))
        } else {
            None
        };
        FlowRecord {
            watch,
            uuid: self.uuid,
            parent: (self.key.parent() != 0).then_some(self.key.parent()),
            tracking_id: identity.tracking_id(),
            l3_tracking_id: identity.l3_tracking_id(),
            layers: cold.first.layers,
            link: cold.first.link(&self.key, self.is(SWAP)),
            network: cold.first.network(&self.key, self.is(SWAP)),
            transport: cold.first.transport(self.port),
            icmp: cold.first.icmp(&self.key),
            metric: self.totals.metric(cold.start, self.last, cold.rtt),
            last_update,
            tcp: None,
            ip: None,
            raw_packets: 0,
            finish: self.finish_told(cold, cause, ticks),
            cause,
        }
    }

    /// What a record says of how the flow ended: Skydive's word when its first packet says it;
    /// what later packets say is ours. A drain without update ticks is how a file ends, where
    /// Skydive looks at first packets only: there later ones count once the hold time is over.
    fn finish_told(&self, cold: &Cold, cause: Cause, ticks: bool) -> FinishType {
        let drained = cause == Cause::End(EndReason::Drained);
        let began = cold.first.finish();
        if began != FinishType::NotFinished || drained && !ticks { began } else { self.finish() }
    }

    #[inline]
    pub(super) fn is(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Whether a packet so ordered has the source of the first one.
    pub(crate) fn is_from_a(&self, swap: bool) -> bool {
        swap == self.is(SWAP)
    }

    /// Whether a flow lives here.
    pub(crate) fn lives(&self) -> bool {
        self.is(LIVE)
    }

    /// Whether no packet was counted yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.totals.packets() == 0
    }

    /// Whether one packet was counted, not more.
    pub(crate) fn is_first(&self) -> bool {
        self.totals.packets() == 1
    }

    /// Whether packets came since the last update tick.
    pub(crate) fn changed(&self) -> bool {
        self.is(CHANGED)
    }

    /// Whether packets came since the flow was last reported.
    pub(crate) fn unreported(&self) -> bool {
        self.is(UNREPORTED)
    }

    /// Whether a TCP end has said goodbye.
    pub(crate) fn closed(&self) -> bool {
        self.is(FIN_A | FIN_B | RST)
    }

    /// Whether the flow was in use since the last call.
    pub(crate) fn take_referenced(&mut self) -> bool {
        let referenced = self.is(REFERENCED);
        self.flags &= !REFERENCED;
        referenced
    }

    /// How TCP ended, if it did: by RST, or by FIN from both ends.
    #[inline]
    pub(crate) fn finish(&self) -> FinishType {
        if self.is(RST) {
            FinishType::TcpRst
        } else if self.flags & (FIN_A | FIN_B) == FIN_A | FIN_B {
            FinishType::TcpFin
        } else {
            FinishType::NotFinished
        }
    }
}

impl Cold {
    /// A flow that begins at `at`.
    #[inline]
    pub(crate) fn new(first: First, at: Timestamp) -> Self {
        Self {
            start: at,
            ticked: Totals::default(),
            added: Totals::default(),
            rtt: 0,
            ticks: 0,
            first,
        }
    }

    /// When the `n`-th update tick is due.
    pub(crate) fn tick(&self, n: u32, update: Duration) -> Timestamp {
        self.start.after(update.saturating_mul(n))
    }

    /// When the next update tick is due.
    pub(crate) fn next_tick(&self, update: Duration) -> Timestamp {
        match self.ticks.checked_add(1) {
            Some(ticks) => self.tick(ticks, update),
            None => Timestamp::from_nanos(u64::MAX),
        }
    }
}

impl Totals {
    fn less(&self, before: &Self) -> Self {
        let Self([[ab_packets, ab_bytes], [ba_packets, ba_bytes]]) = *self;
        let Self([[ab_packets0, ab_bytes0], [ba_packets0, ba_bytes0]]) = *before;
        Self([
            [ab_packets - ab_packets0, ab_bytes - ab_bytes0],
            [ba_packets - ba_packets0, ba_bytes - ba_bytes0],
        ])
    }

    fn packets(&self) -> u64 {
        let Self([[ab_packets, _], [ba_packets, _]]) = *self;
        ab_packets + ba_packets
    }

    fn metric(&self, start: Timestamp, last: Timestamp, rtt: u64) -> Metric {
        let Self([[ab_packets, ab_bytes], [ba_packets, ba_bytes]]) = *self;
        Metric { ab_packets, ab_bytes, ba_packets, ba_bytes, start, last, rtt }
    }
}

// `Hot::flags`.
/// A flow lives here.
const LIVE: u16 = 1;
/// The first packet came from the `hi` end of the key.
const SWAP: u16 = 1 << 1;
/// Packets came since the last update tick.
const CHANGED: u16 = 1 << 2;
/// Packets came since the flow was last reported.
pub(super) const UNREPORTED: u16 = 1 << 3;
/// The place is on a list of the slab.
pub(super) const LISTED: u16 = 1 << 4;
/// Packets beside the first came since the hand of the clock passed.
const REFERENCED: u16 = 1 << 5;
/// A sent FIN, or the first packet carried it.
const FIN_A: u16 = 1 << 6;
/// B sent FIN, or the first packet carried it.
const FIN_B: u16 = 1 << 7;
/// RST was seen.
const RST: u16 = 1 << 8;
/// An update tick has passed.
const TICKED: u16 = 1 << 9;
/// `Hot::asked` waits for an answer.
pub(super) const ASKED: u16 = 1 << 10;

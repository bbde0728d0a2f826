//! What is kept of a flow: hot lines that each packet touches, a cold record that few do.

use sonde_proto::entry::{First, FlowEntry, Key, Totals};
use sonde_proto::record::{Cause, EndReason, FinishType, WatchId};
use sonde_proto::time::Timestamp;
use uuid::Uuid;

use super::key::Direction;
use super::staged::Staged;
use crate::parse::tcp_flags;

/// What each packet touches: the key's line and the counters' line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Hot {
    pub(crate) key: Key,
    totals: Totals,
    pub(crate) last: Timestamp,
    /// Its `UUID`, if somebody asked for it; else 0.
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

impl Hot {
    /// A flow that begins with a packet which is yet to be counted.
    #[inline]
    pub(crate) fn new(key: Key, swap: bool, first: &First, port: u16, at: Timestamp) -> Self {
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
            uuid: 0,
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

    /// The flow as it stands, seen by a watch at the node of that TID.
    #[inline]
    pub(crate) fn entry(
        &self,
        cold: &Cold,
        (watch, tid): (WatchId, Uuid),
        cause: Cause,
        update: u64,
    ) -> FlowEntry {
        let ticks = update != u64::MAX;
        let last_update = if matches!(cause, Cause::End(_)) && self.is(CHANGED) && ticks {
            let ticked_at = cold.tick(cold.ticks, update);
            Some((self.totals.less(&cold.ticked), [ticked_at, self.last.max(ticked_at)]))
        } else if self.is(TICKED) {
            let before = cold.tick(cold.ticks.saturating_sub(1), update);
            Some((cold.added, [before, cold.tick(cold.ticks, update)]))
        } else {
            None
        };
        FlowEntry {
            key: self.key,
            first: cold.first,
            swap: self.is(SWAP),
            port: self.port,
            tid,
            start: cold.start,
            last: self.last,
            totals: self.totals,
            rtt: cold.rtt,
            last_update,
            watch,
            raw_packets: 0,
            extra: None,
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

    /// When the `n`-th update tick is due, one each `update` nanoseconds.
    pub(crate) fn tick(&self, n: u32, update: u64) -> Timestamp {
        let age = update.saturating_mul(n.into());
        Timestamp::from_nanos(self.start.nanos().saturating_add(age))
    }

    /// When the next update tick is due.
    pub(crate) fn next_tick(&self, update: u64) -> Timestamp {
        match self.ticks.checked_add(1) {
            Some(ticks) => self.tick(ticks, update),
            None => Timestamp::from_nanos(u64::MAX),
        }
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

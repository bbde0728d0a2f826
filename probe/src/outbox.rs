//! The way up: entries wait in a report until the ring takes it.

use sonde_proto::entry::{Extra, FlowEntry};
use sonde_proto::record::Cause;
use sonde_proto::report::{Books, PacketHead, Report, WatchReport};
use sonde_proto::ring::LcoreEnd;
use sonde_proto::time::Timestamp;

use crate::flow::Export;

/// Fills reports and sends them. When the ring is full, the report at hand is kept, entries that
/// do not fit stay in the shard, and it is counted once each time.
#[derive(Debug)]
pub(crate) struct Outbox {
    pub(crate) ring: LcoreEnd,
    /// The report that is filled.
    open: Option<Box<Report>>,
    /// What goes with the next report, apart from its flows.
    head: Report,
    blocked: bool,
    ring_full: u64,
}

impl Outbox {
    /// The lcore's end of a ring, and nothing to send.
    pub(crate) fn new(ring: LcoreEnd) -> Self {
        Self { ring, open: None, head: Report::default(), blocked: false, ring_full: 0 }
    }

    /// Gives reports room for what captures want to know beyond counters.
    pub(crate) fn carry_extras(&mut self) {
        self.ring.reserve_extras();
        let records = self.ring.records();
        if let Some(report) = &mut self.open {
            report.reserve_extras(records);
        }
    }

    /// Gives reports room for packets.
    pub(crate) fn carry_packets(&mut self) {
        self.ring.reserve(PACKETS, PACKET_BYTES);
        if let Some(report) = &mut self.open {
            report.packets.reserve(PACKETS, PACKET_BYTES);
        }
    }

    /// Which plan and which sweep the next report answers.
    pub(crate) fn echo(&mut self, plan: u64, sweep: u64) {
        self.head.plan = plan;
        self.head.sweep = sweep;
    }

    /// What else the next report says. The books must close: no frame may be on its way.
    pub(crate) fn stamp(
        &mut self,
        at: Timestamp,
        books: Books,
        watches: impl Iterator<Item = WatchReport>,
    ) {
        self.head.at = at;
        self.head.books = books;
        self.head.watches.clear();
        self.head.watches.extend(watches);
    }

    /// Sends what waits, even if it is only counters. `false`: the ring is full, it waits on.
    pub(crate) fn send(&mut self) -> bool {
        let Some(mut report) = self.open.take().or_else(|| self.ring.blank()) else {
            return self.block();
        };
        report.at = self.head.at;
        report.plan = self.head.plan;
        report.sweep = self.head.sweep;
        report.books = self.head.books;
        report.books.ring_full = self.ring_full;
        report.watches.clear();
        report.watches.extend_from_slice(&self.head.watches);
        match self.ring.push(report) {
            Ok(()) => {
                self.blocked = false;
                true
            }
            Err(report) => {
                self.open = Some(report);
                self.block()
            }
        }
    }

    /// Gives up what the ring has no room for: ends that wait in the report at hand, and so many
    /// flows that are still in the shard.
    pub(crate) fn give_up(&mut self, flows: u64) {
        let ended = |entry: &&FlowEntry| matches!(entry.cause, Cause::End(_));
        let waiting = self.open.iter().flat_map(|report| &report.flows).filter(ended).count();
        self.ring.give_up(flows + waiting as u64);
    }

    /// Whether the ring was full when a report was last sent or asked for.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// How often a report had to wait.
    pub(crate) fn ring_full(&self) -> u64 {
        self.ring_full
    }

    fn block(&mut self) -> bool {
        self.ring_full += u64::from(!self.blocked);
        self.blocked = true;
        false
    }
}

impl Export for Outbox {
    #[inline]
    fn ready(&mut self) -> bool {
        let room = self.ring.records();
        let full = |report: &Report| report.flows.len() >= room;
        if self.open.as_deref().is_some_and(full) && !self.send() {
            return false;
        }
        if self.open.is_none() {
            self.open = self.ring.blank();
        }
        self.open.is_some() || self.block()
    }

    #[inline]
    fn export(&mut self, entry: FlowEntry) {
        if let Some(report) = &mut self.open {
            report.flows.push(entry);
        }
    }

    fn extra(&mut self, extra: Extra) -> Option<u16> {
        let report = self.open.as_mut()?;
        let place = u16::try_from(report.extras.len()).ok()?;
        report.extras.push(extra);
        Some(place)
    }

    fn packet(&mut self, head: PacketHead, bytes: &[u8]) -> bool {
        if !self.ready() {
            return false;
        }
        let push = |report: &mut Box<Report>| report.packets.push(head, bytes);
        if self.open.as_mut().is_some_and(push) {
            return true;
        }
        self.send() && self.ready() && self.open.as_mut().is_some_and(push)
    }
}

/// Packets in a report at most.
const PACKETS: usize = 1024;

/// Bytes of packets in a report at most: as many packets of the usual 256 bytes.
const PACKET_BYTES: usize = 256 * 1024;

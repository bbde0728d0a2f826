//! What the rings said of queues and watches.

use std::collections::{BTreeMap, HashMap};

use sonde_proto::plan::Point;
use sonde_proto::record::WatchId;
use sonde_proto::report::{Books, LcoreInfo, Lost, Report, WatchReport, WatchState};
use sonde_proto::ring::RingId;
use sonde_proto::time::Timestamp;

use crate::upload;

/// A queue, as its newest report had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStatus {
    /// Who polls it.
    pub lcore: LcoreInfo,
    /// Its counters since it was opened.
    pub books: Books,
    /// The source's clock at the newest report; the epoch when there was none yet.
    pub at: Timestamp,
    /// Revision of the plan that its lcore follows.
    pub plan: u64,
    /// Whether its ring is open.
    pub open: bool,
}

/// A watch, over all lcores that have a part in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchTotals {
    /// Failed when it failed on any lcore.
    pub state: WatchState,
    /// Frames metered.
    pub packets: u64,
    /// Bytes of those frames, wire length.
    pub bytes: u64,
    /// Frames its tables had no room for.
    pub dropped: u64,
    /// Flows now in its tables.
    pub flows: u64,
    /// Packets it wanted whole and that no report had room for.
    pub copies_lost: u64,
}

/// The newest word of every ring.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    open: BTreeMap<RingId, Queue>,
    /// The most recently closed queues, oldest first, for show.
    closed: Vec<QueueStatus>,
    /// Sums over all queues that were closed.
    closed_books: Books,
    closed_watches: HashMap<WatchId, WatchTotals>,
    /// What points lost whose queues cannot say: ports count, not queues, and no lcore asks them.
    lost: HashMap<Point, Lost>,
}

#[derive(Debug)]
struct Queue {
    status: QueueStatus,
    sweep: u64,
    watches: Vec<WatchReport>,
}

/// A report without its flows.
#[derive(Debug)]
pub(super) struct Head {
    ring: RingId,
    lcore: LcoreInfo,
    at: Timestamp,
    plan: u64,
    sweep: u64,
    books: Books,
    watches: Vec<WatchReport>,
}

impl Head {
    pub(super) fn new(ring: RingId, lcore: &LcoreInfo, report: &Report) -> Self {
        Self {
            ring,
            lcore: lcore.clone(),
            at: report.at,
            plan: report.plan,
            sweep: report.sweep,
            books: report.books,
            watches: report.watches.clone(),
        }
    }
}

impl Ledger {
    /// A ring is open, whether it has reported or not.
    pub(super) fn opened(&mut self, ring: RingId, lcore: &LcoreInfo) {
        self.queue(ring, lcore);
    }

    pub(super) fn reported(&mut self, head: Head) {
        let queue = self.queue(head.ring, &head.lcore);
        queue.status.at = head.at;
        queue.status.plan = head.plan;
        queue.status.books = head.books;
        queue.sweep = head.sweep;
        queue.watches = head.watches;
    }

    /// A ring was closed, and all it held was taken.
    pub(super) fn closed(&mut self, ring: RingId) {
        let Some(queue) = self.open.remove(&ring) else {
            return;
        };
        self.closed_books.add(&queue.status.books);
        for report in &queue.watches {
            let totals = self.closed_watches.entry(report.watch).or_default();
            // What the last to close says, so that a failure that was overcome is forgotten.
            totals.state = report.state;
            totals.count(report);
            totals.flows = 0;
        }
        self.closed.retain(|status| status.lcore != queue.status.lcore);
        if self.closed.len() >= SHOWN {
            self.closed.remove(0);
        }
        self.closed.push(QueueStatus { open: false, ..queue.status });
    }

    /// What a point says it lost, all its queues together, since it was opened.
    pub(super) fn lost(&mut self, point: Point, lost: Lost) {
        let known = self.lost.entry(point).or_default();
        // A driver may clear its counters when it is stopped.
        known.missed = known.missed.max(lost.missed);
        known.no_mbuf = known.no_mbuf.max(lost.no_mbuf);
        known.errors = known.errors.max(lost.errors);
    }

    /// Forgets what closed queues said of the other watches.
    pub(super) fn retain(&mut self, mut known: impl FnMut(WatchId) -> bool) {
        self.closed_watches.retain(|watch, _| known(*watch));
    }

    /// Rings that are open.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// The last sweep that every open ring answered, those of uploads apart; `None` when none is
    /// open.
    pub(super) fn answered(&self) -> Option<u64> {
        let waited = self.open.values().filter(|queue| queue.status.lcore.source != upload::SOURCE);
        waited.map(|queue| queue.sweep).min()
    }

    pub(super) fn status(&self) -> Vec<QueueStatus> {
        let open = self.open.values().map(|queue| &queue.status);
        let closed = self.closed.iter();
        // A queue that was opened again is shown once.
        let closed = closed.filter(|c| self.open.values().all(|o| o.status.lcore != c.lcore));
        let mut all: Vec<_> = open.chain(closed).cloned().collect();
        // The first queue speaks for its point, or the sum would be a multiple.
        for queue in all.iter_mut().filter(|queue| queue.lcore.queue == 0) {
            queue.books.lost.add(self.lost.get(&queue.lcore.point).copied().unwrap_or_default());
        }
        all
    }

    pub(super) fn totals(&self) -> Books {
        let mut sum = self.closed_books;
        for queue in self.open.values() {
            sum.add(&queue.status.books);
        }
        self.lost.values().for_each(|lost| sum.lost.add(*lost));
        sum
    }

    pub(super) fn watches(&self) -> HashMap<WatchId, WatchTotals> {
        let mut sums = HashMap::<_, WatchTotals>::new();
        for report in self.open.values().flat_map(|queue| &queue.watches) {
            let totals = sums.entry(report.watch).or_default();
            if let WatchState::Failed(_) = report.state {
                totals.state = report.state;
            }
            totals.count(report);
        }
        for (watch, closed) in &self.closed_watches {
            let totals = sums
                .entry(*watch)
                .or_insert(WatchTotals { state: closed.state, ..WatchTotals::default() });
            totals.packets += closed.packets;
            totals.bytes += closed.bytes;
            totals.dropped += closed.dropped;
            totals.copies_lost += closed.copies_lost;
        }
        sums
    }

    /// The queue of that ring. By the ring, not by the lcore: one that closes its ring and opens
    /// another counts from zero again.
    fn queue(&mut self, ring: RingId, lcore: &LcoreInfo) -> &mut Queue {
        self.open.entry(ring).or_insert_with(|| Queue {
            status: QueueStatus {
                lcore: lcore.clone(),
                books: Books::default(),
                at: Timestamp::default(),
                plan: 0,
                open: true,
            },
            sweep: 0,
            watches: Vec::new(),
        })
    }
}

impl WatchTotals {
    fn count(&mut self, report: &WatchReport) {
        self.packets += report.packets;
        self.bytes += report.bytes;
        self.dropped += report.dropped;
        self.flows += report.flows;
        self.copies_lost += report.copies_lost;
    }
}

/// Closed queues that are shown.
const SHOWN: usize = 256;

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn lcore(queue: u16) -> LcoreInfo {
        LcoreInfo { point: Point::File(PathBuf::from("a.pcap")), queue, cpu: None, source: "pcap" }
    }

    /// From the first ring of a queue.
    fn head(queue: u16, received: u64, state: WatchState) -> Head {
        head_on(ring(queue), queue, received, state)
    }

    fn ring(queue: u16) -> RingId {
        RingId(queue.into())
    }

    fn head_on(ring: RingId, queue: u16, received: u64, state: WatchState) -> Head {
        let report = Report {
            books: Books { received, ..Books::default() },
            watches: vec![WatchReport {
                watch: WatchId(1),
                state,
                packets: received,
                bytes: received * 64,
                dropped: 1,
                flows: 2,
                copies_lost: 3,
            }],
            ..Report::default()
        };
        Head::new(ring, &lcore(queue), &report)
    }

    #[test]
    fn totals_outlive_the_queues() {
        let mut ledger = Ledger::default();
        ledger.reported(head(0, 10, WatchState::Active));
        ledger.reported(head(0, 15, WatchState::Active));
        ledger.reported(head(1, 20, WatchState::Active));
        assert_eq!(ledger.totals().received, 35);
        // The new ring of queue 0 reports before the old one is known to be closed.
        ledger.reported(head_on(RingId(2), 0, 1, WatchState::Active));
        ledger.closed(ring(0));
        assert_eq!(ledger.totals().received, 36);
        let watch = ledger.watches()[&WatchId(1)];
        assert_eq!((watch.packets, watch.dropped, watch.flows), (36, 3, 4));
        assert_eq!(watch.copies_lost, 9);
        assert_eq!(ledger.status().len(), 2, "queue 0 was opened again");
    }

    #[test]
    fn what_a_point_lost_is_in_the_books_once() {
        let mut ledger = Ledger::default();
        let point = lcore(0).point;
        ledger.lost(point.clone(), Lost { missed: 5, no_mbuf: 1, errors: 0 });
        ledger.reported(head(0, 10, WatchState::Active));
        ledger.reported(head(1, 20, WatchState::Active));
        ledger.lost(point.clone(), Lost { missed: 7, no_mbuf: 1, errors: 2 });
        let lost = Lost { missed: 7, no_mbuf: 1, errors: 2 };
        assert_eq!(ledger.totals().lost, lost);
        let queues: Vec<_> = ledger.status().iter().map(|queue| queue.books.lost).collect();
        assert_eq!(queues, [lost, Lost::default()]);
        ledger.closed(ring(0));
        ledger.closed(ring(1));
        ledger.lost(point, Lost { missed: 9, ..Lost::default() });
        assert_eq!(ledger.totals().lost, Lost { missed: 9, ..lost }, "said after the last ring");
        assert_eq!(ledger.totals().received, 30);
    }

    #[test]
    fn failed_wins_until_it_is_overcome() {
        let mut ledger = Ledger::default();
        ledger.reported(head(0, 10, WatchState::Failed(19)));
        ledger.reported(head(1, 10, WatchState::Active));
        assert_eq!(ledger.watches()[&WatchId(1)].state, WatchState::Failed(19));
        ledger.closed(ring(0));
        assert_eq!(ledger.watches()[&WatchId(1)].state, WatchState::Active);
        ledger.closed(ring(1));
        let watch = ledger.watches()[&WatchId(1)];
        assert_eq!((watch.state, watch.packets, watch.flows), (WatchState::Active, 20, 0));
        ledger.retain(|_| false);
        assert!(ledger.watches().is_empty());
    }

    #[test]
    fn a_ring_that_never_reported_has_answered_nothing() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.answered(), None);
        let mut answer = head(0, 1, WatchState::Active);
        answer.sweep = 7;
        ledger.reported(answer);
        assert_eq!(ledger.answered(), Some(7));
        ledger.opened(ring(1), &lcore(1));
        assert_eq!(ledger.answered(), Some(0));
        ledger.closed(ring(1));
        assert_eq!(ledger.answered(), Some(7));
    }
}

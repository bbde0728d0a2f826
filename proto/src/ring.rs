//! The rings between the planes: [`Report`]s up, the newest [`Plan`] down.
//!
//! Each lcore opens one ring through an [`Announcer`]; the control plane holds all of them in
//! [`Rings`]. Nothing blocks, nothing wakes anybody, and once a ring is open nothing is
//! allocated: reports travel up full and come back empty through a return ring.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam::queue::{ArrayQueue, SegQueue};

use crate::plan::Plan;
use crate::report::{LcoreInfo, Report};

/// Makes the two sides of all rings: the data plane opens, the control plane drains.
pub fn rings() -> (Announcer, Rings) {
    let shared = Arc::new(Shared { opened: SegQueue::new(), plan: Mutex::default() });
    (
        Announcer { shared: shared.clone() },
        Rings { shared, ends: Vec::new(), adopted: 0, strain: Strain::default() },
    )
}

/// Opens rings; one clone for each part of the data plane that starts lcores.
#[derive(Clone, Debug)]
pub struct Announcer {
    shared: Arc<Shared>,
}

/// What the two sides share beyond the rings themselves; touched when a ring is opened or a plan
/// is made, never by a polling lcore.
#[derive(Debug)]
struct Shared {
    opened: SegQueue<ControlEnd>,
    plan: Mutex<Arc<Plan>>,
}

impl Shared {
    fn plan(&self) -> MutexGuard<'_, Arc<Plan>> {
        // A pointer is whole even if the thread that wrote it panicked.
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Announcer {
    /// Opens the ring of an lcore and announces it to the control plane. The newest plan is in the
    /// ring already, so that no frame is polled before it.
    pub fn open(&self, lcore: LcoreInfo, size: RingSize) -> LcoreEnd {
        let records = size.records.min(usize::from(u16::MAX));
        let channel = Arc::new(Channel {
            up: ArrayQueue::new(size.reports.max(1)),
            back: ArrayQueue::new(size.reports.max(1) + 1),
            plan: ArrayQueue::new(1),
            given_up: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        });
        for _ in 0..=size.reports.max(1) {
            let report = Box::new(Report {
                flows: Vec::with_capacity(records),
                watches: Vec::with_capacity(WATCHES),
                ..Report::default()
            });
            // The return ring has room for every report there is.
            let _ = channel.back.push(report);
        }
        channel.plan.force_push(self.shared.plan().clone());
        self.shared.opened.push(ControlEnd { lcore, channel: channel.clone() });
        LcoreEnd {
            channel,
            spare: Vec::with_capacity(size.reports.max(1) + 1),
            records,
            copies: (0, 0),
            extras: 0,
        }
    }
}

/// How large a ring is.
#[derive(Clone, Copy, Debug)]
pub struct RingSize {
    /// Reports under way at most.
    pub reports: usize,
    /// Records in a report at most; more than 65535 count as so many.
    pub records: usize,
}

impl Default for RingSize {
    fn default() -> Self {
        Self { reports: 16, records: 512 }
    }
}

/// Watches a report has room for before it has to grow.
const WATCHES: usize = 16;

#[derive(Debug)]
struct Channel {
    up: ArrayQueue<Box<Report>>,
    back: ArrayQueue<Box<Report>>,
    plan: ArrayQueue<Arc<Plan>>,
    given_up: AtomicU64,
    closed: AtomicBool,
}

/// The lcore's end of its ring. Dropping it closes the ring; what was pushed is still drained.
#[derive(Debug)]
pub struct LcoreEnd {
    channel: Arc<Channel>,
    /// Reports that came back; the last one goes first, as its memory may still be near.
    #[expect(clippy::vec_box, reason = "the rings move boxes, and so does this")]
    spare: Vec<Box<Report>>,
    records: usize,
    /// Packets, and bytes of them, that a report has room for.
    copies: (usize, usize),
    /// Extras that a report has room for.
    extras: usize,
}

impl LcoreEnd {
    /// The newest plan, if it came since the last call.
    pub fn plan(&mut self) -> Option<Arc<Plan>> {
        self.channel.plan.pop()
    }

    /// An empty report to fill, with room for [`Self::records`] flows. `None`: the ring is full.
    pub fn blank(&mut self) -> Option<Box<Report>> {
        while let Some(report) = self.channel.back.pop() {
            self.spare.push(report);
        }
        let mut report = self.spare.pop()?;
        report.packets.reserve(self.copies.0, self.copies.1);
        report.reserve_extras(self.extras);
        Some(report)
    }

    /// Gives each report room for an extra of each flow, as [`Self::reserve`] does for packets.
    pub fn reserve_extras(&mut self) {
        self.extras = self.records;
        self.renew();
    }

    /// Gives each report room for copies of packets. Allocates now for the reports at hand, and
    /// once for each that is under way when it comes back.
    pub fn reserve(&mut self, packets: usize, bytes: usize) {
        self.copies = (packets, bytes);
        self.renew();
    }

    /// Gives the reports at hand the room that is wanted now.
    fn renew(&mut self) {
        let mut at_hand = Vec::with_capacity(self.spare.capacity());
        while let Some(report) = self.blank() {
            at_hand.push(report);
        }
        self.spare = at_hand;
    }

    /// Sends a report up. Hands it back when the ring is full.
    pub fn push(&mut self, report: Box<Report>) -> Result<(), Box<Report>> {
        self.channel.up.push(report)
    }

    /// Says, before the ring is closed, how many flows end with it that found no room in it.
    pub fn give_up(&mut self, flows: u64) {
        self.channel.given_up.store(flows, Ordering::Relaxed);
    }

    /// Records a report may hold without growing.
    pub fn records(&self) -> usize {
        self.records
    }
}

impl Drop for LcoreEnd {
    fn drop(&mut self) {
        self.channel.closed.store(true, Ordering::Release);
    }
}

#[derive(Debug)]
struct ControlEnd {
    lcore: LcoreInfo,
    channel: Arc<Channel>,
}

/// Names a ring. None is given twice, also where an lcore closes its ring and opens another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RingId(pub u64);

/// The control plane's ends of all rings.
#[derive(Debug)]
pub struct Rings {
    shared: Arc<Shared>,
    ends: Vec<(RingId, ControlEnd)>,
    /// Rings so far.
    adopted: u64,
    strain: Strain,
}

/// What became of rings that were drained too late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strain {
    /// Times that a drain found a ring full.
    pub full: u64,
    /// Flows that lcores gave up, because their rings had no room when they ended.
    pub given_up: u64,
}

impl Rings {
    /// Hands every lcore a new plan, those included that open a ring later.
    pub fn follow(&mut self, plan: Arc<Plan>) {
        for (_, end) in &self.ends {
            end.channel.plan.force_push(plan.clone());
        }
        *self.shared.plan() = plan;
    }

    /// Lends every report that waits to `take`, ring by ring, oldest first; then each report goes
    /// back to its lcore empty. `gone` is told of every ring that its lcore closed, once all its
    /// reports were taken.
    pub fn drain(
        &mut self,
        mut take: impl FnMut(RingId, &LcoreInfo, &Report),
        mut gone: impl FnMut(RingId, &LcoreInfo),
    ) {
        while let Some(end) = self.shared.opened.pop() {
            // The plan may have changed between opening and now.
            end.channel.plan.force_push(self.shared.plan().clone());
            self.adopted += 1;
            self.ends.push((RingId(self.adopted), end));
        }
        let Strain { full, given_up } = &mut self.strain;
        self.ends.retain(|(id, end)| {
            *full += u64::from(end.channel.up.is_full());
            // Closed is read before the ring is emptied: what was pushed before closing is seen.
            let closed = end.channel.closed.load(Ordering::Acquire);
            // Bounded, so that one busy ring cannot keep the others waiting.
            let mut room = end.channel.up.capacity();
            while let Some(mut report) =
                (closed || room > 0).then(|| end.channel.up.pop()).flatten()
            {
                room = room.saturating_sub(1);
                take(*id, &end.lcore, &report);
                report.flows.clear();
                report.extras.clear();
                report.packets.clear();
                report.watches.clear();
                let _ = end.channel.back.push(report);
            }
            if closed {
                *given_up += end.channel.given_up.load(Ordering::Relaxed);
                gone(*id, &end.lcore);
            }
            !closed
        });
    }

    /// The rings that are open and their lcores, as of the last [`Self::drain`].
    pub fn lcores(&self) -> impl Iterator<Item = (RingId, &LcoreInfo)> {
        self.ends.iter().map(|(id, end)| (*id, &end.lcore))
    }

    /// What became of rings that were drained too late, up to the last [`Self::drain`].
    pub fn strain(&self) -> Strain {
        self.strain
    }

    /// Whether an lcore has announced a ring that was not drained yet.
    pub fn pending(&self) -> bool {
        !self.shared.opened.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Point;
    use crate::record::WatchId;
    use crate::report::{PacketHead, PacketWant};
    use crate::time::Timestamp;

    fn lcore(name: &str) -> LcoreInfo {
        LcoreInfo { point: Point::Port(name.into()), queue: 0, cpu: None, source: "test" }
    }

    fn plan(revision: u64) -> Arc<Plan> {
        Arc::new(Plan { revision, ..Plan::default() })
    }

    #[test]
    fn newest_plan_wins_and_is_there_from_the_start() {
        let (announcer, mut rings) = rings();
        rings.follow(plan(1));
        let mut end = announcer.open(lcore("a"), RingSize::default());
        assert_eq!(end.plan().unwrap().revision, 1);
        rings.follow(plan(2));
        rings.drain(|_, _, _| {}, |_, _| {});
        rings.follow(plan(3));
        rings.follow(plan(4));
        assert_eq!(end.plan().unwrap().revision, 4);
        assert!(end.plan().is_none());
    }

    #[test]
    fn full_ring_hands_nothing_out_until_it_is_drained() {
        let (announcer, mut rings) = rings();
        let size = RingSize { reports: 2, records: 4 };
        let mut end = announcer.open(lcore("a"), size);
        for at in 0..2 {
            let mut report = end.blank().unwrap();
            report.sweep = at;
            end.push(report).unwrap();
        }
        let spare = end.blank().unwrap();
        assert!(end.blank().is_none());
        let spare = end.push(spare).unwrap_err();
        let mut seen = Vec::new();
        rings.drain(|_, _, report| seen.push(report.sweep), |_, _| {});
        assert_eq!(seen, [0, 1]);
        end.push(spare).unwrap();
        assert!(end.blank().is_some());
    }

    #[test]
    fn every_report_gets_room_for_packets() {
        let (announcer, mut rings) = rings();
        let mut end = announcer.open(lcore("a"), RingSize { reports: 1, records: 1 });
        let head = PacketHead::new(WatchId(1), 2, PacketWant::Raw(0), Timestamp::default(), 1, 9);
        let mut first = end.blank().unwrap();
        assert!(!first.packets.push(head, b"123"));
        end.push(first).unwrap();
        end.reserve(2, 4);
        let mut second = end.blank().unwrap();
        assert!(second.packets.push(head, b"123"));
        assert!(!second.packets.push(head, b"45"), "five bytes");
        rings.drain(|_, _, _| {}, |_, _| {});
        let mut first = end.blank().unwrap();
        assert!(first.packets.push(head, b"12"));
        assert!(first.packets.push(head, b"34"));
        assert!(!first.packets.push(head, b""), "three packets");
    }

    #[test]
    fn closed_ring_is_drained_before_it_goes() {
        let (announcer, mut rings) = rings();
        let mut end = announcer.open(lcore("a"), RingSize::default());
        let report = end.blank().unwrap();
        end.push(report).unwrap();
        drop(end);
        let (mut reports, mut gone) = (0, 0);
        rings.drain(|_, _, _| reports += 1, |_, _| gone += 1);
        assert_eq!((reports, gone), (1, 1));
        assert_eq!(rings.lcores().count(), 0);
    }

    #[test]
    fn what_comes_too_late_is_counted() {
        let (announcer, mut rings) = rings();
        let mut end = announcer.open(lcore("a"), RingSize { reports: 1, records: 1 });
        rings.drain(|_, _, _| {}, |_, _| {});
        assert_eq!(rings.strain(), Strain::default());
        let report = end.blank().unwrap();
        end.push(report).unwrap();
        end.give_up(3);
        rings.drain(|_, _, _| {}, |_, _| {});
        assert_eq!(rings.strain(), Strain { full: 1, given_up: 0 }, "it may find room yet");
        drop(end);
        rings.drain(|_, _, _| {}, |_, _| {});
        assert_eq!(rings.strain(), Strain { full: 1, given_up: 3 });
    }

    #[test]
    fn an_lcore_that_comes_back_has_another_ring() {
        let (announcer, mut rings) = rings();
        for _ in 0..2 {
            let mut end = announcer.open(lcore("a"), RingSize::default());
            let report = end.blank().unwrap();
            end.push(report).unwrap();
        }
        let (mut reports, mut gone) = (Vec::new(), Vec::new());
        rings.drain(|id, _, _| reports.push(id), |id, _| gone.push(id));
        assert_eq!(reports, [RingId(1), RingId(2)]);
        assert_eq!(gone, reports);
    }
}

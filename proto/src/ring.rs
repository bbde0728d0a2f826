//! The rings between the planes: [`Report`]s up, the newest [`Plan`] down.
//!
//! Each lcore opens one ring through an [`Announcer`]; the control plane holds all of them in
//! [`Rings`]. Nothing blocks, nothing wakes anybody, and once a ring is open nothing is
//! allocated: reports travel up full and come back empty through a return ring.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::queue::{ArrayQueue, SegQueue};

use crate::plan::Plan;
use crate::report::{LcoreInfo, Report};

/// Makes the two sides of all rings: the data plane opens, the control plane drains.
pub fn rings() -> (Announcer, Rings) {
    let opened = Arc::new(SegQueue::new());
    (
        Announcer {
            opened: opened.clone(),
        },
        Rings {
            opened,
            ends: Vec::new(),
            plan: Arc::default(),
        },
    )
}

/// Opens rings; one clone for each part of the data plane that starts lcores.
#[derive(Clone, Debug)]
pub struct Announcer {
    opened: Arc<SegQueue<ControlEnd>>,
}

impl Announcer {
    /// Opens the ring of an lcore and announces it to the control plane.
    pub fn open(&self, lcore: LcoreInfo, size: RingSize) -> LcoreEnd {
        let channel = Arc::new(Channel {
            up: ArrayQueue::new(size.reports.max(1)),
            back: ArrayQueue::new(size.reports.max(1) + 1),
            plan: ArrayQueue::new(1),
            closed: AtomicBool::new(false),
        });
        for _ in 0..=size.reports.max(1) {
            let report = Box::new(Report {
                flows: Vec::with_capacity(size.records),
                watches: Vec::with_capacity(WATCHES),
                ..Report::default()
            });
            // The return ring has room for every report there is.
            let _ = channel.back.push(report);
        }
        self.opened.push(ControlEnd {
            lcore,
            channel: channel.clone(),
        });
        LcoreEnd {
            channel,
            records: size.records,
        }
    }
}

/// How large a ring is.
#[derive(Clone, Copy, Debug)]
pub struct RingSize {
    /// Reports under way at most.
    pub reports: usize,
    /// Records in a report at most.
    pub records: usize,
}

impl Default for RingSize {
    fn default() -> Self {
        Self {
            reports: 16,
            records: 512,
        }
    }
}

/// Watches a report has room for before it has to grow.
const WATCHES: usize = 16;

#[derive(Debug)]
struct Channel {
    up: ArrayQueue<Box<Report>>,
    back: ArrayQueue<Box<Report>>,
    plan: ArrayQueue<Arc<Plan>>,
    closed: AtomicBool,
}

/// The lcore's end of its ring. Dropping it closes the ring; what was pushed is still drained.
#[derive(Debug)]
pub struct LcoreEnd {
    channel: Arc<Channel>,
    records: usize,
}

impl LcoreEnd {
    /// The newest plan, if it came since the last call.
    pub fn plan(&mut self) -> Option<Arc<Plan>> {
        self.channel.plan.pop()
    }

    /// An empty report to fill, with room for [`Self::records`] flows. `None`: the ring is full.
    pub fn blank(&mut self) -> Option<Box<Report>> {
        self.channel.back.pop()
    }

    /// Sends a report up. Hands it back when the ring is full.
    pub fn push(&mut self, report: Box<Report>) -> Result<(), Box<Report>> {
        self.channel.up.push(report)
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

/// The control plane's ends of all rings.
#[derive(Debug)]
pub struct Rings {
    opened: Arc<SegQueue<ControlEnd>>,
    ends: Vec<ControlEnd>,
    plan: Arc<Plan>,
}

impl Rings {
    /// Hands every lcore a new plan, those included that open a ring later.
    pub fn follow(&mut self, plan: Arc<Plan>) {
        for end in &self.ends {
            end.channel.plan.force_push(plan.clone());
        }
        self.plan = plan;
    }

    /// Lends every report that waits to `take`, ring by ring, oldest first; then each report goes
    /// back to its lcore empty. `gone` is told of every ring that its lcore closed, once all its
    /// reports were taken.
    pub fn drain(
        &mut self,
        mut take: impl FnMut(&LcoreInfo, &Report),
        mut gone: impl FnMut(&LcoreInfo),
    ) {
        while let Some(end) = self.opened.pop() {
            end.channel.plan.force_push(self.plan.clone());
            self.ends.push(end);
        }
        self.ends.retain(|end| {
            // Closed is read before the ring is emptied: what was pushed before closing is seen.
            let closed = end.channel.closed.load(Ordering::Acquire);
            // Bounded, so that one busy ring cannot keep the others waiting.
            let mut room = end.channel.up.capacity();
            while let Some(mut report) =
                (closed || room > 0).then(|| end.channel.up.pop()).flatten()
            {
                room = room.saturating_sub(1);
                take(&end.lcore, &report);
                report.flows.clear();
                report.watches.clear();
                let _ = end.channel.back.push(report);
            }
            if closed {
                gone(&end.lcore);
            }
            !closed
        });
    }

    /// The lcores whose rings are open, as of the last [`Self::drain`].
    pub fn lcores(&self) -> impl Iterator<Item = &LcoreInfo> {
        self.ends.iter().map(|end| &end.lcore)
    }

    /// Whether an lcore has announced a ring that was not drained yet.
    pub fn pending(&self) -> bool {
        !self.opened.is_empty()
    }
}

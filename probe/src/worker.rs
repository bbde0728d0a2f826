//! The loop of an lcore: follow the plan, take a burst, meter it, report.

use std::sync::Arc;
use std::time::Duration;

use sonde_proto::plan::{Plan, Point, Watch};
use sonde_proto::record::EndReason;
use sonde_proto::report::Books;
use sonde_proto::ring::LcoreEnd;
use sonde_proto::time::Timestamp;

use crate::flow::{Shard, Timers};
use crate::outbox::Outbox;
use crate::source::{Closed, Source};

/// One queue of one observation point, the flows seen there, and the ring they are reported to.
#[derive(Debug)]
pub struct Worker<S> {
    source: S,
    point: Point,
    /// What is watched whatever the plan says.
    watches: Option<Vec<Watch>>,
    shard: Shard,
    outbox: Outbox,
    /// Revision of the plan that is followed.
    plan: u64,
    sweep: Sweep,
    report_every: Duration,
    reported: Timestamp,
    /// Something happened that the control plane wants to know now.
    news: bool,
    /// Bursts without a frame, up to now.
    empty: u32,
    ending: Option<EndReason>,
    /// All flows have ended, and the last report was accepted.
    drained: bool,
}

/// The sizes and times of a flow table.
#[derive(Clone, Copy, Debug)]
pub struct FlowConfig {
    /// Flows in the table at most; memory for them is reserved at the start.
    pub max_flows: usize,
    /// When flows are reported and when they end.
    pub timers: Timers,
    /// The longest that counters go unreported.
    pub report_every: Duration,
}

impl Default for FlowConfig {
    fn default() -> Self {
        Self { max_flows: 500_000, timers: Timers::default(), report_every: Duration::from_secs(1) }
    }
}

/// Where the sweeps of the plan stand.
#[derive(Clone, Copy, Debug, Default)]
struct Sweep {
    /// The one the plan asks for.
    wanted: u64,
    /// The one that runs.
    running: Option<u64>,
    /// The last that is over.
    done: u64,
}

impl<S: Source> Worker<S> {
    /// A worker that watches `point` through `source`, once a plan names it.
    pub fn new(source: S, point: Point, ring: LcoreEnd, config: &FlowConfig) -> Self {
        Self {
            source,
            point,
            watches: None,
            shard: Shard::new(config.max_flows, config.timers),
            outbox: Outbox::new(ring),
            plan: 0,
            sweep: Sweep::default(),
            report_every: config.report_every,
            reported: Timestamp::default(),
            news: false,
            empty: 0,
            ending: None,
            drained: false,
        }
    }

    /// Takes all memory for flows from the kernel now, so that no packet waits for a page; for
    /// lcores that do nothing else. To be called on the thread that polls, so that the memory is
    /// near it. Whether the kernel gave it.
    pub fn populate(&mut self) -> bool {
        self.shard.populate()
    }

    /// Watches what is given here instead of what a plan says of the point.
    #[must_use]
    pub fn watching(mut self, watches: Vec<Watch>) -> Self {
        self.watches = Some(watches);
        self
    }

    /// Follows the newest plan, meters the frames that wait, and does a slice of what else is
    /// due. Returns how many frames there were; never waits.
    pub fn turn(&mut self) -> Result<usize, Closed> {
        if let Some(plan) = self.outbox.ring.plan() {
            self.follow(&plan);
        }
        let taken = self.burst()?;
        let now = self.source.now();
        self.shard.expire(now, SLICE, &mut self.outbox);
        self.news |= self.shard.retire(PLACES, &mut self.outbox);
        self.sweep();
        self.report_if_due(now);
        Ok(taken)
    }

    /// Waits for frames as suits the source, `limit` at most. For a turn that took none. Does not
    /// wait while there is work left that is done in slices, unless the ring has no room for it.
    pub fn idle(&mut self, limit: Duration) {
        let busy = self.sweep.running.is_some() || self.shard.is_retiring();
        if !busy || self.outbox.is_blocked() {
            self.source.idle(self.empty, limit);
        }
    }

    /// Ends all flows of all watches, as [`Self::drain`] finds room for their records. To be
    /// called after the last turn.
    pub fn end(&mut self, reason: EndReason) {
        self.ending = Some(reason);
        self.drained = false;
    }

    /// Sends what waits, and after [`Self::end`] all flows. `true` once everything was accepted,
    /// down to a report with the final books; until then it wants to be called again.
    pub fn drain(&mut self) -> bool {
        if self.drained {
            return true;
        }
        if let Some(reason) = self.ending {
            if !self.shard.end(reason, &mut self.outbox) {
                return false;
            }
            self.ending = None;
        }
        self.stamp(self.source.now());
        self.drained = self.outbox.send();
        self.drained
    }

    /// Where the frames come from.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// The same, to give it more to play. Its clock must not be set back.
    pub fn source_mut(&mut self) -> &mut S {
        &mut self.source
    }

    /// The counters of the queue, as of the last turn.
    pub fn books(&mut self) -> Books {
        Books {
            lost: self.source.lost(),
            ring_full: self.outbox.ring_full(),
            ..*self.shard.books()
        }
    }

    fn follow(&mut self, plan: &Arc<Plan>) {
        let watches = self.watches.as_deref();
        self.shard.follow(watches.unwrap_or_else(|| plan.watches(&self.point)));
        if self.shard.wants_packets() {
            self.outbox.carry_packets();
        }
        if self.shard.wants_extras() {
            self.outbox.carry_extras();
        }
        self.plan = plan.revision;
        self.sweep.wanted = plan.sweep;
        self.outbox.echo(self.plan, self.sweep.done);
        self.news = true;
        self.drained = false;
    }

    fn burst(&mut self) -> Result<usize, Closed> {
        let Self { source, shard, outbox, .. } = self;
        let taken = source.burst(|frame| shard.meter(&frame, outbox));
        shard.settle(outbox);
        match taken {
            Ok(0) => self.empty = self.empty.saturating_add(1),
            _ => {
                self.empty = 0;
                self.drained = false;
            }
        }
        taken
    }

    fn sweep(&mut self) {
        if self.sweep.running.is_none() && self.sweep.wanted != self.sweep.done {
            self.shard.begin_sweep();
            self.sweep.running = Some(self.sweep.wanted);
        }
        if let Some(number) = self.sweep.running
            && self.shard.sweep(SLICE, &mut self.outbox)
        {
            self.sweep.running = None;
            self.sweep.done = number;
            self.outbox.echo(self.plan, number);
            self.news = true;
        }
    }

    fn report_if_due(&mut self, now: Timestamp) {
        // A clock that was set back must not silence us.
        let due = now < self.reported || now.since(self.reported) >= self.report_every;
        if !self.news && !due {
            return;
        }
        // What waits for a full ring goes as it is: asking the source may cost a system call.
        if self.outbox.is_blocked() && !self.outbox.send() {
            return;
        }
        self.stamp(now);
        if self.outbox.send() {
            self.reported = now;
            self.news = false;
        }
    }

    fn stamp(&mut self, now: Timestamp) {
        let books = self.books();
        self.outbox.stamp(now, books, self.shard.watches());
    }
}

impl<S> Drop for Worker<S> {
    /// Says how many flows no report could take to the control plane.
    fn drop(&mut self) {
        let flows: u64 = self.shard.watches().map(|watch| watch.flows).sum();
        self.outbox.give_up(flows);
    }
}

/// Flows that are looked at in a turn: more than begin in a burst of plain frames.
const SLICE: usize = 128;

/// Places that are looked at in a turn for flows of watches that left.
const PLACES: usize = 1024;

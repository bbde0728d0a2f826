//! Opens kernel interfaces, and sockets for captures, while they are watched.

mod starter;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sonde_proto::plan::{Plan, PlannedPoint, Point};
use sonde_proto::record::EndReason;
use sonde_proto::report::{LcoreInfo, WatchReport, WatchState};
use sonde_proto::ring::{Announcer, LcoreEnd, RingSize};
use sonde_proto::time::Timestamp;

use self::starter::{Member, Starter};
use crate::source::af_packet::AfPacketConfig;
use crate::source::pcap_socket::OnDamage;
use crate::source::wall_clock;
use crate::worker::FlowConfig;

/// A thread that follows the plan: each kernel interface and each socket with a watch is opened,
/// and gets workers on threads of their own; one that the plan no longer names is closed. One that
/// cannot be opened, or goes away, is tried again every few seconds, and its watches are reported
/// as failed meanwhile.
#[derive(Debug)]
pub struct Supervisor {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Supervisor {
    /// Opens a ring of its own and starts to follow the plan.
    pub fn start(
        announcer: Announcer,
        flow: FlowConfig,
        config: SupervisorConfig,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = thread::Builder::new().name("sonde-supervise".into()).spawn(move || {
            let mut reconciler = Reconciler::new(announcer, flow, config);
            while !told.load(Ordering::Relaxed) {
                reconciler.turn();
                thread::sleep(TICK);
            }
            reconciler.end();
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Ends all flows of all points, waits until the rings took their records, for three
    /// seconds at most, and joins the threads.
    pub fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for Supervisor {
    /// Stops without waiting for it.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// How interfaces and sockets are opened.
#[derive(Clone, Copy, Debug)]
pub struct SupervisorConfig {
    /// Workers that share an interface, each with a flow table of its own.
    pub workers_per_interface: u16,
    /// The queue of each of them.
    pub af_packet: AfPacketConfig,
    /// Told of damaged captures that clients write into sockets.
    pub on_damage: OnDamage,
    /// The ring of each worker.
    pub ring: RingSize,
}

impl Default for SupervisorConfig {
    fn default() -> Self {
        Self {
            workers_per_interface: 1,
            af_packet: AfPacketConfig::default(),
            on_damage: |_, _| {},
            ring: RingSize::default(),
        }
    }
}

/// What runs, made equal to what the plan wants, turn by turn.
#[derive(Debug)]
struct Reconciler {
    starter: Starter,
    ring: LcoreEnd,
    plan: Arc<Plan>,
    groups: Vec<Group>,
    /// Something happened that the control plane wants to know now.
    news: bool,
    reported: Timestamp,
}

impl Reconciler {
    fn new(announcer: Announcer, flow: FlowConfig, config: SupervisorConfig) -> Self {
        let lcore = LcoreInfo {
            // No interface has index 0: the supervisor speaks for all of them.
            point: Point::Interface { index: 0, netns: None },
            queue: 0,
            cpu: None,
            source: LcoreInfo::SUPERVISOR,
        };
        let size = RingSize { reports: 4, records: 0 };
        Self {
            ring: announcer.open(lcore, size),
            starter: Starter { announcer, flow, config },
            plan: Arc::default(),
            groups: Vec::new(),
            news: false,
            reported: Timestamp::default(),
        }
    }

    fn turn(&mut self) {
        if let Some(plan) = self.ring.plan() {
            self.follow(plan);
        }
        for group in &mut self.groups {
            let before = group.failed;
            group.reap();
            group.open_if_due(&self.starter);
            self.news |= group.failed != before;
        }
        self.groups.retain(|group| group.wanted || !group.members.is_empty());
        self.report_if_due(wall_clock());
    }

    /// Ends all workers and joins them.
    fn end(&mut self) {
        for group in &mut self.groups {
            group.end(EndReason::Drained);
        }
        for member in self.groups.drain(..).flat_map(|group| group.members) {
            // One that panicked has told so on its way.
            let _ = member.thread.join();
        }
    }

    fn follow(&mut self, plan: Arc<Plan>) {
        for group in &mut self.groups {
            group.wanted = wanted(&plan).any(|planned| planned.point == group.point);
            if !group.wanted {
                group.end(EndReason::Stopped);
            }
        }
        for PlannedPoint { point, .. } in wanted(&plan) {
            if self.groups.iter().all(|group| group.point != *point) {
                self.groups.push(Group::new(point.clone()));
            }
        }
        self.plan = plan;
        self.news = true;
    }

    /// Reports news at once, and a failure that lasts every second.
    fn report_if_due(&mut self, now: Timestamp) {
        // A clock that was set back must not silence us.
        let again = now < self.reported || now.since(self.reported) >= REPORT_EVERY;
        let failing = self.groups.iter().any(|group| group.failed.is_some());
        if !(self.news || failing && again) {
            return;
        }
        let Some(mut report) = self.ring.blank() else {
            return;
        };
        report.at = now;
        report.plan = self.plan.revision;
        report.sweep = self.plan.sweep;
        for planned in wanted(&self.plan) {
            let group = self.groups.iter().find(|group| group.point == planned.point);
            let Some(errno) = group.and_then(|group| group.failed) else {
                continue;
            };
            report.watches.extend(planned.watches.iter().map(|watch| WatchReport {
                watch: watch.id,
                state: WatchState::Failed(errno),
                packets: 0,
                bytes: 0,
                dropped: 0,
                flows: 0,
                copies_lost: 0,
            }));
        }
        if self.ring.push(report).is_ok() {
            self.reported = now;
            self.news = false;
        }
    }
}

/// The interfaces and sockets that a plan wants open, and what it wants there.
fn wanted(plan: &Plan) -> impl Iterator<Item = &PlannedPoint> {
    let watched = plan.points.iter().filter(|planned| !planned.watches.is_empty());
    watched.filter(|planned| matches!(planned.point, Point::Interface { .. } | Point::Socket(_)))
}

/// The workers of a point.
#[derive(Debug)]
struct Group {
    point: Point,
    wanted: bool,
    /// While there are any, the point is not opened again: a ring is closed before another
    /// takes its place.
    members: Vec<Member>,
    /// Why it is not open.
    failed: Option<i32>,
    /// Turns until it is tried again.
    wait: u32,
}

impl Group {
    fn new(point: Point) -> Self {
        Self { point, wanted: true, members: Vec::new(), failed: None, wait: 0 }
    }

    /// Tells all workers to end; the first reason counts.
    fn end(&self, reason: EndReason) {
        for member in &self.members {
            let _ = member.ending.set(reason);
        }
    }

    /// Joins workers that ended. When one did so untold, the point is gone for all.
    fn reap(&mut self) {
        let ended = self.members.extract_if(.., |member| member.thread.is_finished());
        let failure = ended
            // EIO stands for a panic, which has told of itself.
            .filter_map(|member| member.thread.join().unwrap_or(Some(libc::EIO)))
            .last();
        if let Some(errno) = failure {
            self.fail(errno);
        }
    }

    fn open_if_due(&mut self, starter: &Starter) {
        if !self.wanted || !self.members.is_empty() {
            return;
        }
        if self.wait > 0 {
            self.wait -= 1;
            return;
        }
        self.failed = None;
        if let Err(errno) = starter.start(&self.point, &mut self.members) {
            self.fail(errno);
        }
    }

    fn fail(&mut self, errno: i32) {
        self.failed = Some(errno);
        self.wait = RETRY_TURNS;
        self.end(EndReason::Stopped);
    }
}

/// Between two turns of the supervisor, and the longest that a worker waits for frames: so old
/// may a plan be before it is followed.
const TICK: Duration = Duration::from_millis(10);

const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Three seconds.
const RETRY_TURNS: u32 = 300;

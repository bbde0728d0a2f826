//! The data plane does not allocate: a whole worker runs under a counting allocator while flows
//! begin, go on, are reported, and end in every way. A binary of its own, for the allocator.

use std::sync::Arc;
use std::time::Duration;

use sonde_probe::flow::Timers;
use sonde_probe::source::{Closed, Frame, Source};
use sonde_probe::traffic::{Frames, Generator, Kind, Replay, Spec};
use sonde_probe::worker::{FlowConfig, Worker};
use sonde_proto::plan::{Options, Plan, PlannedPoint, Point, Watch};
use sonde_proto::record::{Cause, EndReason, WatchId};
use sonde_proto::report::{Books, LcoreInfo, Lost};
use sonde_proto::ring::{RingSize, Rings, rings};
use sonde_proto::time::Timestamp;

#[test]
fn a_worker_with_room_allocates_nothing() {
    steady(100_000, &[EndReason::Idle, EndReason::Finished]);
}

#[test]
fn a_worker_with_a_full_table_allocates_nothing() {
    steady(2000, &[EndReason::Evicted]);
}

/// Runs a worker whose flows end for all of these reasons.
fn steady(max_flows: usize, reasons: &[EndReason]) {
    let mut lab = Lab::new(max_flows);
    lab.plan(1, Options::default());
    for _ in 0..TURNS * 2 / 3 {
        lab.turn();
    }
    let (warm, updates) = (lab.worker.books(), lab.updates);
    let mut allocations = 0;
    while let Some(turn) = lab.turn() {
        allocations += turn;
    }
    assert_eq!(allocations, 0);

    // All there is to do was done meanwhile.
    let books = lab.worker.books();
    assert!(books.metered > warm.metered + FRAMES / 4);
    assert!(lab.updates > updates, "flows are reported as they go on");
    for reason in reasons {
        let ended = |books: &Books| books.ended[*reason as usize];
        assert!(ended(&books) > ended(&warm) + 100, "flows end: {}", reason.name());
    }
}

#[test]
fn what_a_worker_allocates_is_counted() {
    let mut lab = Lab::new(1000);
    lab.plan(1, Options::default());
    lab.turn();
    assert_eq!(lab.turn(), Some(0));
    // Room for packets is made when a plan wants some.
    lab.plan(2, Options { raw_packets: 1, ..Options::default() });
    assert!(lab.turn() > Some(0));
}

/// A worker, frames before it, and who takes its reports.
struct Lab {
    worker: Worker<Slow>,
    rings: Rings,
    updates: u64,
}

impl Lab {
    fn new(max_flows: usize) -> Self {
        let spec = Spec { packets: FRAMES, flows: 5000, ..Spec::of(Kind::Mix) };
        let frames = Frames::of(&mut Generator::new(spec), usize::MAX);
        let config = FlowConfig {
            max_flows,
            timers: Timers {
                update: Duration::from_secs(1),
                expire: Duration::from_millis(1500),
                hold: Duration::from_secs(1),
                ..Timers::default()
            },
            ..FlowConfig::default()
        };
        let (announcer, rings) = rings();
        let info = LcoreInfo { point: point(), queue: 0, cpu: None, source: "test" };
        let ring = announcer.open(info, RingSize::default());
        let worker = Worker::new(Slow(Replay::new(Arc::new(frames))), point(), ring, &config);
        Self { worker, rings, updates: 0 }
    }

    fn plan(&mut self, revision: u64, options: Options) {
        let watch = Watch { id: WatchId(1), node_tid: None, filter: Arc::default(), options };
        let points = vec![PlannedPoint { point: point(), watches: vec![watch] }];
        self.rings.follow(Arc::new(Plan { revision, sweep: 0, points }));
        self.take();
    }

    /// Lets the worker take a burst. Returns what it allocated; `None` once there are no frames.
    fn turn(&mut self) -> Option<u64> {
        let mut turned = Ok(0);
        let made = allocation_counter::measure(|| turned = self.worker.turn());
        self.take();
        turned.ok().map(|_| made.count_total)
    }

    fn take(&mut self) {
        let updates = &mut self.updates;
        self.rings.drain(
            |_, _, report| {
                let update = |cause: Cause| matches!(cause, Cause::Update);
                let records = report.flows.iter();
                *updates += records.filter(|record| update(record.cause)).count() as u64;
            },
            |_, _| {},
        );
    }
}

/// Frames as if they had come more slowly, so that timers come due.
struct Slow(Replay);

impl Source for Slow {
    fn burst(&mut self, mut meter: impl FnMut(Frame<'_>)) -> Result<usize, Closed> {
        self.0.burst(|frame| meter(Frame { at: slow(frame.at), ..frame }))
    }

    fn now(&self) -> Timestamp {
        slow(self.0.now())
    }

    fn lost(&mut self) -> Lost {
        self.0.lost()
    }

    fn idle(&mut self, empty: u32, limit: Duration) {
        self.0.idle(empty, limit);
    }
}

/// A hundred times as long after the first frame.
fn slow(at: Timestamp) -> Timestamp {
    let first = Timestamp::from_millis(1_600_000_000_000);
    first.after(at.since(first) * 100)
}

fn point() -> Point {
    Point::Port("test".into())
}

/// A seventh of a second of the mix: 14 s, slowed down.
const FRAMES: u64 = 200_000;
/// Bursts of 64.
const TURNS: u64 = FRAMES / 64;

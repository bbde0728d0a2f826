//! Frames in memory through a whole worker, to drained reports, and beside it the bare loop: a
//! five-tuple counted in a hash map. Both in turns, on the same frames, so that what else the
//! machine does slows both. CPU time of this thread; compare ratios, not days.

#![expect(clippy::expect_used, reason = "a bench that cannot go on fails here")]

mod bare;
#[path = "../harness/mod.rs"]
mod harness;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use sonde_probe::traffic::{Frames, Generator, Kind, Replay, Spec};
use sonde_probe::worker::{FlowConfig, Worker};
use sonde_proto::plan::{Options, Plan, PlannedPoint, Point, Watch};
use sonde_proto::record::{EndReason, WatchId};
use sonde_proto::report::LcoreInfo;
use sonde_proto::ring::{RingSize, Rings, rings};

use crate::bare::Bare;
use crate::harness::{Bench, Cost, Costs, ROUNDS, cost, cpu_time};

fn main() {
    let bench = Bench::from_arguments();
    if !bench.is_short() {
        println!("{HEAD}");
    }
    for kind in Kind::ALL {
        if !bench.wants(&format!("pipeline/{}", kind.name())) {
            continue;
        }
        let spec = if bench.is_short() { short(kind) } else { Spec::of(kind) };
        let frames = Arc::new(Frames::of(&mut Generator::new(spec), usize::MAX));
        if bench.is_short() {
            Pipeline::new(&frames).run();
            println!("items: {}", frames.len());
        } else {
            measure(kind, &frames);
        }
    }
}

/// A hundredth or so of the traffic, with as many packets to a flow.
fn short(kind: Kind) -> Spec {
    let (packets, flows) = match kind {
        Kind::Mix => (200_000, 4000),
        Kind::Flood => (100_000, 0),
        Kind::Elephants => (200_000, 1000),
    };
    Spec { packets, flows, ..Spec::of(kind) }
}

/// Both loops in turns.
fn measure(kind: Kind, frames: &Arc<Frames>) {
    let packets = frames.len() as u64;
    let (mut ours, mut bare) = (Costs::default(), Costs::default());
    let mut seen = Seen::default();
    let (mut bare_flows, mut bare_bytes) = (0, 0);
    for _ in 0..ROUNDS {
        let mut pipeline = Pipeline::new(frames);
        ours.0.push(pipeline.run());
        seen = pipeline.seen;
        drop(pipeline);
        let counted = run_bare(frames);
        bare.0.push(counted.cost);
        (bare_flows, bare_bytes) = (counted.flows, counted.bytes);
    }
    let (nanos, bare_nanos) = (ours.nanos(packets), bare.nanos(packets));
    println!(
        "{:<10}  {nanos:>9.1}  {:>11.4}  {:>8}  {:>6}  {:>6.1}  {bare_nanos:>9.1}  {:>9}  {:>7}  {:>6.2}",
        kind.name(),
        ours.allocations(packets),
        seen.flows,
        seen.bytes >> 20,
        seen.drained.as_nanos() as f64 / packets as f64,
        bare_flows,
        bare_bytes >> 20,
        nanos / bare_nanos,
    );
}

/// A worker, and the control plane's end of its ring.
struct Pipeline {
    worker: Worker<Replay>,
    rings: Rings,
    packets: u64,
    seen: Seen,
}

/// What came out of a pipeline.
#[derive(Clone, Copy, Default)]
struct Seen {
    metered: u64,
    flows: u64,
    /// Bytes of the worker's memory.
    bytes: i64,
    /// CPU time of taking the reports, which a lcore does not spend.
    drained: Duration,
}

impl Pipeline {
    fn new(frames: &Arc<Frames>) -> Self {
        let point = Point::Port("bench".into());
        let watch = Watch {
            id: WatchId(1),
            node_tid: None,
            filter: Arc::default(),
            options: Options::default(),
        };
        let points = vec![PlannedPoint { point: point.clone(), watches: vec![watch] }];
        let (announcer, mut rings) = rings();
        rings.follow(Arc::new(Plan { revision: 1, sweep: 0, points }));
        let lcore = LcoreInfo { point: point.clone(), queue: 0, cpu: None, source: "bench" };
        let ring = announcer.open(lcore, RingSize::default());
        let mut worker = None;
        let memory = allocation_counter::measure(|| {
            let source = Replay::new(frames.clone());
            worker = Some(Worker::new(source, point, ring, &FlowConfig::default()));
        });
        let mut worker = worker.expect("it was made");
        // As lcores do before they poll.
        worker.populate();
        let seen = Seen { bytes: memory.bytes_current, ..Seen::default() };
        Self { worker, rings, packets: frames.len() as u64, seen }
    }

    /// Meters all frames, and ends all flows.
    fn run(&mut self) -> Cost {
        let spent = cost(|| {
            let mut turns = 0_u32;
            while self.worker.turn().is_ok() {
                turns += 1;
                if turns.is_multiple_of(TURNS) {
                    self.drain();
                }
            }
            self.worker.end(EndReason::Drained);
            while !self.worker.drain() {
                self.drain();
            }
            self.drain();
        });
        assert_eq!(self.seen.metered, self.packets, "every frame is metered");
        spent
    }

    /// Takes the reports that wait, and only counts what is in them.
    fn drain(&mut self) {
        let start = cpu_time();
        let seen = &mut self.seen;
        self.rings.drain(
            |_, _, report| {
                seen.flows += report.flows.len() as u64;
                seen.metered = report.books.metered;
            },
            |_, _| {},
        );
        seen.drained += cpu_time() - start;
    }
}

/// What the bare loop came to.
struct Counted {
    cost: Cost,
    flows: usize,
    bytes: usize,
}

fn run_bare(frames: &Frames) -> Counted {
    let mut bare = Bare::default();
    let cost = cost(|| {
        for frame in frames.iter() {
            bare.count(&frame);
        }
        black_box(&mut bare);
    });
    Counted { cost, flows: bare.flows(), bytes: bare.bytes() }
}

/// Turns between two looks at the ring: it has room for eight times as many records as frames
/// come in them.
const TURNS: u32 = 16;

const HEAD: &str = "\
            ------------------- sonde -----------------------  ------- bare loop --------
traffic     ns/packet  allocs/pkt   records  MB      drain  ns/packet  flows       MB  ratio";

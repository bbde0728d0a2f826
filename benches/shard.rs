//! Frames into a shard of the flow table, and flows out of it, without a worker around.

mod harness;

use std::sync::Arc;
use std::time::Duration;

use sonde_probe::flow::{Export, Shard, Timers};
use sonde_probe::source::BURST;
use sonde_probe::traffic::{Frames, Generator, Kind, Spec};
use sonde_proto::entry::{Extra, FlowEntry};
use sonde_proto::plan::{Options, Watch};
use sonde_proto::record::WatchId;
use sonde_proto::report::PacketHead;
use sonde_proto::time::Timestamp;

use crate::harness::Bench;

fn main() {
    let mut bench = Bench::from_arguments();
    let frames = |kind, flows| {
        let spec = Spec { packets: FRAMES, flows, ..Spec::of(kind) };
        Frames::of(&mut Generator::new(spec), usize::MAX)
    };
    let few = frames(Kind::Elephants, 1000);
    let many = frames(Kind::Elephants, FRAMES as u32);
    let flood = frames(Kind::Flood, 0);

    for (name, frames) in [("shard/hit", &few), ("shard/hit_far", &many)] {
        // All flows are there already.
        let prepare = || Lab::new(FRAMES as usize).with(frames);
        bench.case(name, FRAMES, prepare, |lab| lab.meter(frames));
    }
    bench.case("shard/miss", FRAMES, || Lab::new(FRAMES as usize), |lab| lab.meter(&flood));
    let full = || Lab::new(PLACES);
    bench.case("shard/miss_full", FRAMES, full, |lab| lab.meter(&flood));

    let lab = || Lab::new(FRAMES as usize).with(&flood);
    bench.case("shard/update", FRAMES, lab, |lab| lab.expire(Timers::default().update));
    bench.case("shard/expire", FRAMES, lab, |lab| lab.expire(Timers::default().expire));
}

/// A shard, and who takes its records.
struct Lab {
    shard: Shard,
    taker: Taker,
    now: Timestamp,
}

impl Lab {
    fn new(max_flows: usize) -> Self {
        let mut shard = Shard::new(max_flows, Timers::default());
        let options = Options::default();
        shard.follow(&[Watch { id: WatchId(1), node_tid: None, filter: Arc::default(), options }]);
        Self { shard, taker: Taker(0), now: Timestamp::default() }
    }

    /// With these frames metered.
    fn with(mut self, frames: &Frames) -> Self {
        self.meter(frames);
        self
    }

    fn meter(&mut self, frames: &Frames) {
        let mut burst = 0;
        for frame in frames.iter() {
            self.shard.meter(&frame, &mut self.taker);
            burst += 1;
            if burst == BURST {
                self.shard.settle(&mut self.taker);
                burst = 0;
            }
            self.now = frame.at;
        }
        self.shard.settle(&mut self.taker);
    }

    /// Turns the clock, and takes a record of every flow.
    fn expire(&mut self, time: Duration) {
        let now = self.now.after(time + Duration::from_secs(1));
        for _ in 0..FRAMES {
            if self.taker.0 >= FRAMES {
                return;
            }
            self.shard.expire(now, SLICE, &mut self.taker);
        }
        panic!("{} of {FRAMES} flows were due", self.taker.0);
    }
}

/// Counts entries.
struct Taker(u64);

impl Export for Taker {
    fn ready(&mut self) -> bool {
        true
    }

    fn export(&mut self, _: FlowEntry) {
        self.0 += 1;
    }

    fn extra(&mut self, _: Extra) -> Option<u16> {
        None
    }

    fn packet(&mut self, _: PacketHead, _: &[u8]) -> bool {
        true
    }
}

/// Frames in a round, and flows where each frame has its own.
const FRAMES: u64 = 100_000;
/// Flows in a table that is full.
const PLACES: usize = 10_000;
/// Flows that a worker looks at in a turn.
const SLICE: usize = 128;

//! Entries up the ring, filled and taken on one thread: what the two ends spend, without the way
//! between two cores.

#![expect(clippy::expect_used, reason = "a bench that cannot go on fails here")]

mod harness;
#[path = "harness/records.rs"]
mod records;

use sonde_proto::entry::FlowEntry;
use sonde_proto::plan::Point;
use sonde_proto::report::LcoreInfo;
use sonde_proto::ring::{LcoreEnd, RingSize, Rings, rings};

use crate::harness::Bench;

fn main() {
    let mut bench = Bench::from_arguments();
    let entries = records::entries(RingSize::default().records);
    bench.case("ring/report", REPORTS, Ring::new, |ring| ring.carry(&[]));
    let items = REPORTS * entries.len() as u64;
    bench.case("ring/entry", items, Ring::new, |ring| ring.carry(&entries));
}

/// Both ends of a ring.
struct Ring {
    lcore: LcoreEnd,
    rings: Rings,
    taken: usize,
}

impl Ring {
    fn new() -> Self {
        let (announcer, rings) = rings();
        let info =
            LcoreInfo { point: Point::Port("bench".into()), queue: 0, cpu: None, source: "bench" };
        let lcore = announcer.open(info, RingSize::default());
        let mut ring = Self { lcore, rings, taken: 0 };
        // The control plane learns of the ring.
        ring.drain();
        ring
    }

    /// Sends these entries again and again, each time in a report of their own.
    fn carry(&mut self, entries: &[FlowEntry]) {
        for _ in 0..REPORTS {
            let mut report = self.lcore.blank().expect("the ring was drained");
            for entry in entries {
                report.flows.push(*entry);
            }
            self.lcore.push(report).expect("the ring was drained");
            self.drain();
        }
        assert_eq!(self.taken, entries.len() * REPORTS as usize);
    }

    fn drain(&mut self) {
        self.rings.drain(|_, _, report| self.taken += report.flows.len(), |_, _| {});
    }
}

const REPORTS: u64 = 200;

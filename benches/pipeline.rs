//! Frames in memory through a whole worker, to drained reports: ns of this thread per packet, by
//! the number of flows. `cargo bench --bench pipeline`; compare figures of one run only.

#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![expect(clippy::expect_used, reason = "a bench that cannot go on fails here")]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use etherparse::PacketBuilder;
use sonde_probe::source::{BURST, Closed, Frame, LinkType, Source};
use sonde_probe::worker::{FlowConfig, Worker};
use sonde_proto::plan::{Options, Plan, PlannedPoint, Point, Watch};
use sonde_proto::record::{EndReason, WatchId};
use sonde_proto::report::{LcoreInfo, Lost};
use sonde_proto::ring::{RingSize, rings};
use sonde_proto::time::Timestamp;

fn main() {
    println!("{:>9}  {:>9}  {:>9}", "flows", "packets", "ns/packet");
    for flows in [1_000, 10_000, 100_000, 300_000] {
        let frames = Frames::new(flows);
        let packets = frames.left;
        println!("{flows:>9}  {packets:>9}  {:>9.1}", run(frames));
    }
}

/// Meters all frames; ns per packet, from the first burst to the last report.
fn run(frames: Frames) -> f64 {
    let packets = frames.left;
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
    let mut worker = Worker::new(frames, point, ring, &FlowConfig::default());
    let (mut metered, mut flows) = (0, 0);
    let start = Instant::now();
    let mut drain = |metered: &mut u64| {
        let take = |_, _: &LcoreInfo, report: &sonde_proto::report::Report| {
            flows += report.flows.len();
            *metered = report.books.metered;
        };
        rings.drain(take, |_, _| {});
    };
    while worker.turn().is_ok() {
        drain(&mut metered);
    }
    worker.end(EndReason::Drained);
    while !worker.drain() {
        drain(&mut metered);
    }
    drain(&mut metered);
    let spent = start.elapsed();
    assert_eq!(metered, packets, "every frame is metered");
    assert!(flows > 0);
    spent.as_nanos() as f64 / packets as f64
}

/// Frames of so many TCP flows, both ways, in an order that no cache foresees.
struct Frames {
    frames: Vec<Vec<u8>>,
    next: usize,
    left: u64,
    now: Timestamp,
}

impl Frames {
    fn new(flows: u32) -> Self {
        let frame = |n: u32, back: bool| {
            let (mut a, mut b) = (Ipv4Addr::from(0x0a00_0000 + n), Ipv4Addr::new(172, 16, 0, 1));
            let (mut from, mut to) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
            let (mut source, mut destination) = (1024 + (n % 60_000) as u16, 443);
            if back {
                std::mem::swap(&mut a, &mut b);
                std::mem::swap(&mut from, &mut to);
                std::mem::swap(&mut source, &mut destination);
            }
            let mut bytes = Vec::new();
            PacketBuilder::ethernet2(from, to)
                .ipv4(a.octets(), b.octets(), 64)
                .tcp(source, destination, 1, 1000)
                .write(&mut bytes, &[0; 10])
                .expect("a vector takes it");
            bytes
        };
        let frames = (0..flows).flat_map(|n| [frame(n, false), frame(n, true)]).collect();
        let now = Timestamp::from_millis(1_600_000_000_000);
        Self { frames, next: 0, left: u64::from(flows).max(100_000) * 10, now }
    }
}

impl Source for Frames {
    fn burst(&mut self, mut meter: impl FnMut(Frame<'_>)) -> Result<usize, Closed> {
        let burst = self.left.min(BURST as u64);
        if burst == 0 {
            return Err(Closed::End);
        }
        for _ in 0..burst {
            // A stride without a factor in common with any number of frames used here.
            self.next = (self.next + 49_999_991) % self.frames.len();
            let bytes = &self.frames[self.next];
            let length = bytes.len() as u32;
            meter(Frame { bytes, length, at: self.now, link: LinkType::Ethernet });
        }
        self.left -= burst;
        self.now = self.now.after(Duration::from_micros(10));
        Ok(burst as usize)
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    fn lost(&mut self) -> Lost {
        Lost::default()
    }

    fn idle(&mut self, _: u32, _: Duration) {}
}

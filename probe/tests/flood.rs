//! A table at its limit: who stays, who goes, and what it costs in memory. A test binary of its
//! own, because it looks at the memory of the whole process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use etherparse::PacketBuilder;
use sonde_probe::flow::Shard;
use sonde_probe::source::{BURST, Closed, Frame, LinkType, Source};
use sonde_probe::traffic::{Generator, Kind, Spec};
use sonde_probe::worker::{FlowConfig, Worker};
use sonde_proto::plan::{Options, Plan, PlannedPoint, Point, Watch};
use sonde_proto::record::{Cause, EndReason, WatchId};
use sonde_proto::report::{Books, LcoreInfo, Lost};
use sonde_proto::ring::{RingSize, Rings, rings};
use sonde_proto::time::Timestamp;

/// Flows that the table takes.
const TABLE: usize = 50_000;
/// Established flows, which is what 10 000 are to a table of half a million.
const ESTABLISHED: u16 = 1000;
/// Flows of one packet, twenty times as many as the table takes.
const FLOOD: u64 = 20 * TABLE as u64;

#[test]
fn a_flood_leaves_established_flows_alone_and_memory_within_its_bound() {
    let before = resident();
    let (announcer, mut rings) = rings();
    let point = Point::Port("p0".into());
    let info = LcoreInfo { point: point.clone(), queue: 0, cpu: None, source: "test" };
    let ring = announcer.open(info, RingSize::default());
    let config = FlowConfig { max_flows: TABLE, ..FlowConfig::default() };
    let mut worker = Worker::new(Flood::new(), point.clone(), ring, &config);
    let options = Options::default();
    let watch = Watch { id: WatchId(1), node_tid: None, filter: Arc::default(), options };
    let points = vec![PlannedPoint { point, watches: vec![watch] }];
    rings.follow(Arc::new(Plan { revision: 1, sweep: 0, points }));

    let mut seen = Seen::default();
    while worker.turn().is_ok() {
        seen.take(&mut rings);
    }
    let grown = resident().saturating_sub(before);
    worker.end(EndReason::Drained);
    while !worker.drain() {
        seen.take(&mut rings);
    }
    seen.take(&mut rings);

    // Who was established before the flood is one flow to its end.
    let whole = seen.established.values().filter(|ends| **ends == [EndReason::Drained]).count();
    assert!(whole * 100 >= usize::from(ESTABLISHED) * 95, "{whole} of {ESTABLISHED} are whole");
    // All others left by eviction, one record each, or are there at the end.
    let [evicted, drained] =
        [EndReason::Evicted, EndReason::Drained].map(|reason| seen.books.ended[reason as usize]);
    assert_eq!(evicted + drained, seen.ended);
    assert!(evicted > FLOOD - TABLE as u64 && drained <= TABLE as u64);
    assert_eq!(seen.packets, seen.books.metered);
    assert_eq!((seen.books.table_full, seen.books.unaccounted()), (0, 0));
    let bound = Shard::bytes(TABLE) as u64;
    assert!(grown <= bound + bound / 20 + REST, "{grown} bytes, expected {bound} and 5 %");
}

/// What was reported.
#[derive(Default)]
struct Seen {
    /// Why flows of each established connection ended, by its port.
    established: HashMap<u16, Vec<EndReason>>,
    /// Flows that ended, and their packets.
    ended: u64,
    packets: u64,
    books: Books,
}

impl Seen {
    fn take(&mut self, rings: &mut Rings) {
        rings.drain(
            |_, _, report| {
                self.books = report.books;
                for entry in &report.flows {
                    let Cause::End(reason) = entry.cause else { continue };
                    self.ended += 1;
                    self.packets += entry.totals.packets();
                    if entry.first.port == SERVICE {
                        self.established.entry(entry.port).or_default().push(reason);
                    }
                }
            },
            |_, _| {},
        );
    }
}

/// Established flows that send a packet now and then, and a flood between.
struct Flood {
    flood: Generator,
    established: Vec<Vec<u8>>,
    next: usize,
    sent: u64,
    now: Timestamp,
}

impl Flood {
    fn new() -> Self {
        let connection = |port: u16| {
            let mut frame = Vec::new();
            PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
                .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
                .tcp(port, SERVICE, 1, 1000)
                .write(&mut frame, b"payload")
                .expect("a Vec takes all");
            frame
        };
        Self {
            flood: Generator::new(Spec { packets: FLOOD, ..Spec::of(Kind::Flood) }),
            established: (1..=ESTABLISHED).map(connection).collect(),
            next: 0,
            sent: 0,
            now: Timestamp::from_millis(1_600_000_000_000),
        }
    }
}

impl Source for Flood {
    fn burst(&mut self, mut meter: impl FnMut(Frame<'_>)) -> Result<usize, Closed> {
        self.now = self.now.after(Duration::from_micros(40));
        for n in 0..BURST {
            self.sent += 1;
            // Three packets each before the flood; then one in a burst is theirs.
            if self.sent <= 3 * u64::from(ESTABLISHED) || n == 0 {
                let bytes = &self.established[self.next];
                self.next = (self.next + 1) % self.established.len();
                let length = bytes.len() as u32;
                meter(Frame { bytes, length, at: self.now, link: LinkType::Ethernet });
            } else {
                let frame = self.flood.next_frame().ok_or(Closed::End)?;
                meter(Frame { at: self.now, ..frame });
            }
        }
        Ok(BURST)
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    fn lost(&mut self) -> Lost {
        Lost::default()
    }

    fn idle(&mut self, _: u32, _: Duration) {}
}

/// Bytes of this process in memory.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux says so");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("the second number is of pages") * 4096
}

/// The port of the service that established flows use.
const SERVICE: u16 = 4433;
/// Bytes of ring and staging, and of this test.
const REST: u64 = 8 << 20;

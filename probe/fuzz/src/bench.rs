//! A worker whose frames, clock, plans and ring are all in the fuzzer's hand.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use sonde_probe::flow::Timers;
use sonde_probe::source::{Closed, Frame, LinkType, Source};
use sonde_probe::worker::{FlowConfig, Worker};
use sonde_proto::plan::{ExtraLayers, KeyMode, Options, Plan, PlannedPoint, Point, Watch};
use sonde_proto::record::{Cause, EndReason, WatchId};
use sonde_proto::report::{LcoreInfo, Lost, Report};
use sonde_proto::ring::{RingSize, Rings, rings};
use sonde_proto::time::Timestamp;

use crate::Head;

/// How large the bench is, and what its first watch asks for.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub struct Setup {
    max_flows: u8,
    reports: u8,
    records: u8,
    /// Seconds.
    update: u8,
    /// Seconds.
    expire: u8,
    /// Seconds; 0: flows may last for ever.
    active: u8,
    options: Asked,
}

/// What a watch asks for, one bit each.
#[derive(Clone, Copy, Debug, Arbitrary)]
struct Asked {
    flags: u8,
    layers: u8,
    header_size: u8,
    sampling: u8,
}

/// What happens next.
#[derive(Clone, Debug)]
pub enum Step {
    /// So many frames of these bytes, each so many milliseconds after the one before, then a turn.
    Frames { times: u8, gap: u16, head: Head, bytes: Vec<u8> },
    /// The control plane takes all reports.
    Drain,
    /// The plan asks for a sweep.
    Sweep,
    /// The second watch comes, changes or goes.
    Plan(Option<Watch>),
}

/// The worker and what is around it.
pub struct Bench {
    worker: Worker<Tape>,
    tape: Tape,
    rings: Rings,
    plan: Plan,
    seen: Seen,
}

impl Bench {
    /// A worker that follows a plan with one watch, which takes all frames.
    pub fn new(setup: Setup) -> Self {
        let (announcer, rings) = rings();
        let size = RingSize { reports: setup.reports.into(), records: setup.records.into() };
        let point = Point::File(PathBuf::new());
        let lcore = LcoreInfo { point: point.clone(), queue: 0, cpu: None, source: "tape" };
        let tape = Tape::default();
        let config = FlowConfig {
            max_flows: setup.max_flows.into(),
            timers: Timers {
                update: Duration::from_secs(setup.update.into()),
                expire: Duration::from_secs(setup.expire.into()),
                hold: Duration::from_secs(1),
                active: match setup.active {
                    0 => Duration::MAX,
                    seconds => Duration::from_secs(seconds.into()),
                },
                ..Timers::default()
            },
            ..FlowConfig::default()
        };
        let worker = Worker::new(tape.clone(), point.clone(), announcer.open(lcore, size), &config);
        let watches = vec![setup.options.watch(ALWAYS)];
        let points = vec![PlannedPoint { point, watches }];
        let plan = Plan { points, ..Plan::default() };
        let mut bench = Self { worker, tape, rings, plan, seen: Seen::default() };
        // The rings learn of the lcore.
        bench.drain();
        bench.follow();
        bench
    }

    /// Lets a step happen.
    pub fn take(&mut self, step: Step) {
        match step {
            Step::Frames { times, gap, head, bytes } => {
                let gap = Duration::from_millis(gap.into());
                self.tape.0.borrow_mut().load = Load { times, gap, head, bytes };
                self.turn();
            }
            Step::Drain => self.drain(),
            Step::Sweep => {
                self.plan.sweep += 1;
                self.follow();
            }
            Step::Plan(watch) => {
                self.plan.points[0].watches.truncate(1);
                self.plan.points[0].watches.extend(watch);
                self.follow();
            }
        }
    }

    /// Ends all flows, and compares.
    pub fn finish(mut self) {
        self.worker.end(EndReason::Drained);
        for _ in 0..100_000 {
            let done = self.worker.drain();
            self.drain();
            if done {
                return self.compare();
            }
        }
        panic!("the worker does not drain");
    }

    fn follow(&mut self) {
        self.plan.revision += 1;
        self.rings.follow(Arc::new(self.plan.clone()));
        self.turn();
    }

    fn turn(&mut self) {
        self.worker.turn().expect("the tape never ends");
        assert_eq!(self.worker.books().unaccounted(), 0);
    }

    fn drain(&mut self) {
        let seen = &mut self.seen;
        self.rings.drain(|_, _, report| seen.report(report), |_, _| {});
    }

    fn compare(&mut self) {
        let Seen { last, packets, bytes } = &self.seen;
        assert_eq!(last.books.received, self.tape.0.borrow().given);
        let watch = last.watches.iter().find(|watch| watch.watch == ALWAYS);
        let watch = watch.expect("the plan names it always");
        assert_eq!(watch.flows, 0);
        // Datagrams that are put together are counted otherwise than frames.
        if !self.plan.points[0].watches[0].options.defragment {
            assert_eq!(packets.get(&ALWAYS).copied().unwrap_or(0), watch.packets);
            // Without Ethernet the IP header gives the length.
            let bytes = bytes.get(&ALWAYS).copied().unwrap_or(0);
            assert!(bytes == watch.bytes || self.tape.0.borrow().others);
        }
    }
}

/// What came up the ring.
#[derive(Default)]
struct Seen {
    last: Report,
    /// Packets of the outermost flows that ended, by watch.
    packets: BTreeMap<WatchId, u64>,
    /// Their bytes.
    bytes: BTreeMap<WatchId, u64>,
}

impl Seen {
    fn report(&mut self, report: &Report) {
        assert_eq!(report.books.unaccounted(), 0);
        for flow in report.records() {
            if matches!(flow.cause, Cause::End(_)) && flow.parent.is_none() {
                let metric = flow.metric;
                assert!(metric.start <= metric.last);
                *self.packets.entry(flow.watch).or_default() +=
                    metric.ab_packets + metric.ba_packets;
                *self.bytes.entry(flow.watch).or_default() += metric.ab_bytes + metric.ba_bytes;
            }
        }
        self.last = report.clone();
    }
}

/// The watch that is always there.
const ALWAYS: WatchId = WatchId(1);
/// The watch that comes and goes.
const SOMETIMES: WatchId = WatchId(2);

impl Asked {
    fn watch(self, id: WatchId) -> Watch {
        let asks = |bit: u8| self.flags & 1 << bit != 0;
        let options = Options {
            key_mode: if asks(0) { KeyMode::L3 } else { KeyMode::L2 },
            header_size: self.header_size.into(),
            sampling: self.sampling.into(),
            raw_packets: if asks(1) { 3 } else { 0 },
            tcp_metric: asks(2),
            reassemble_tcp: asks(3),
            defragment: asks(4),
            extra_layers: ExtraLayers(self.layers),
            mpls_udp_port: asks(5).then_some(51234),
            mirror: asks(6),
        };
        Watch { id, node_tid: None, filter: Arc::default(), options }
    }
}

impl<'a> Arbitrary<'a> for Step {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match input.arbitrary::<u8>()? {
            0xff => Self::Drain,
            0xfe => Self::Sweep,
            0xfd => Self::Plan(None),
            0xfc => Self::Plan(Some(input.arbitrary::<Asked>()?.watch(SOMETIMES))),
            times => {
                let (gap, head, length): (u16, Head, u8) = input.arbitrary()?;
                let bytes = input.bytes(input.len().min(length.into()))?.to_vec();
                Self::Frames { times: times % 65, gap, head, bytes }
            }
        })
    }
}

/// Gives the frames of a step in one burst.
#[derive(Clone, Default)]
struct Tape(Rc<RefCell<Reel>>);

#[derive(Default)]
struct Reel {
    load: Load,
    now: Timestamp,
    /// Frames given.
    given: u64,
    /// Whether one of them was not of Ethernet.
    others: bool,
}

struct Load {
    times: u8,
    gap: Duration,
    head: Head,
    bytes: Vec<u8>,
}

impl Default for Load {
    fn default() -> Self {
        let head = Head { link: LinkType::Ethernet, more: 0 };
        Self { times: 0, gap: Duration::ZERO, head, bytes: Vec::new() }
    }
}

impl Source for Tape {
    fn burst(&mut self, mut meter: impl FnMut(Frame<'_>)) -> Result<usize, Closed> {
        let mut reel = self.0.borrow_mut();
        let Load { times, gap, head, bytes } = std::mem::take(&mut reel.load);
        for _ in 0..times {
            reel.now = reel.now.after(gap);
            meter(head.frame(&bytes, reel.now));
        }
        reel.given += u64::from(times);
        reel.others |= head.link != LinkType::Ethernet;
        Ok(times.into())
    }

    fn now(&self) -> Timestamp {
        self.0.borrow().now
    }

    fn lost(&mut self) -> Lost {
        Lost::default()
    }

    fn idle(&mut self, _: u32, _: Duration) {}
}

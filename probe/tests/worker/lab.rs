//! A worker on a bench: frames played by hand, a clock turned by hand, a ring drained by hand.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use etherparse::PacketBuilder;
use sonde_probe::flow::Timers;
use sonde_probe::source::{BURST, Closed, Frame, LinkType, Source};
use sonde_probe::worker::{FlowConfig, Worker};
use sonde_proto::plan::{KeyMode, Options, Plan, PlannedPoint, Point, Watch};
use sonde_proto::record::{Cause, EndReason, FlowRecord, WatchId};
use sonde_proto::report::{LcoreInfo, Lost, PacketHead, Report};
use sonde_proto::ring::{RingSize, Rings, rings};
use sonde_proto::time::Timestamp;

/// A worker and all that is around it.
pub(crate) struct Lab {
    pub(crate) worker: Worker<Tape>,
    pub(crate) tape: Tape,
    pub(crate) rings: Rings,
    /// Records that were reported and not looked at.
    pub(crate) records: Vec<FlowRecord>,
    /// Packets that were sent up whole.
    pub(crate) packets: Vec<(PacketHead, Vec<u8>)>,
    /// The newest report, its flows apart.
    pub(crate) head: Report,
    plan: Plan,
}

impl Lab {
    pub(crate) fn new(watches: Vec<Watch>) -> Self {
        Self::with(watches, &FlowConfig::default(), RingSize::default())
    }

    /// A lab whose worker follows a plan with these watches, at second 0.
    pub(crate) fn with(watches: Vec<Watch>, config: &FlowConfig, size: RingSize) -> Self {
        let (announcer, rings) = rings();
        let info = LcoreInfo { point: point(), queue: 0, cpu: None, source: "tape" };
        let ring = announcer.open(info, size);
        let tape = Tape::default();
        tape.turn_to(0);
        let mut lab = Self {
            worker: Worker::new(tape.clone(), point(), ring, config),
            tape,
            rings,
            records: Vec::new(),
            packets: Vec::new(),
            head: Report::default(),
            plan: Plan::default(),
        };
        lab.take();
        lab.plan(watches);
        lab
    }

    /// Gives the worker a plan with these watches, and lets it follow.
    pub(crate) fn plan(&mut self, watches: Vec<Watch>) {
        self.plan.points = vec![PlannedPoint { point: point(), watches }];
        self.give_plan();
        self.turn();
    }

    /// Asks for a sweep; the worker sees it at its next turn.
    pub(crate) fn ask_sweep(&mut self) -> u64 {
        self.plan.sweep += 1;
        self.give_plan();
        self.plan.sweep
    }

    fn give_plan(&mut self) {
        self.plan.revision += 1;
        self.rings.follow(Arc::new(self.plan.clone()));
    }

    /// Plays a frame at a second of the lab's clock.
    pub(crate) fn play(&mut self, second: f64, frame: &[u8]) {
        self.tape.add(second, frame);
        self.turn();
    }

    /// Turns the clock, then the worker.
    pub(crate) fn wait_until(&mut self, second: u64) {
        self.tape.turn_to(second);
        // A slice each: all that is due is done after a few.
        for _ in 0..20 {
            self.turn();
        }
    }

    /// One turn of the worker, and all reports taken.
    pub(crate) fn turn(&mut self) {
        self.worker.turn().expect("the tape never ends");
        self.take();
        assert_eq!(self.worker.books().unaccounted(), 0);
    }

    /// Takes all reports.
    pub(crate) fn take(&mut self) {
        let (records, packets) = (&mut self.records, &mut self.packets);
        let head = &mut self.head;
        self.rings.drain(
            |_, _, report| {
                assert_eq!(report.books.unaccounted(), 0);
                records.extend(report.records());
                packets.extend(report.packets.iter().map(|(head, bytes)| (*head, bytes.to_vec())));
                *head = Report { flows: Vec::new(), ..report.clone() };
            },
            |_, _| {},
        );
    }

    /// Ends all flows, takes what is reported, and gives the records of all flows that ended.
    pub(crate) fn finish(&mut self, reason: EndReason) -> Vec<FlowRecord> {
        self.worker.end(reason);
        for _ in 0..10_000 {
            let done = self.worker.drain();
            self.take();
            if done {
                let ended = |record: &FlowRecord| matches!(record.cause, Cause::End(_));
                return self.records.iter().copied().filter(ended).collect();
            }
        }
        panic!("the worker does not drain");
    }

    /// The records reported since the last call.
    pub(crate) fn news(&mut self) -> Vec<FlowRecord> {
        std::mem::take(&mut self.records)
    }
}

/// Frames in order, and a clock.
#[derive(Clone, Default)]
pub(crate) struct Tape(Rc<RefCell<Reel>>);

#[derive(Default)]
struct Reel {
    frames: VecDeque<(Timestamp, Vec<u8>, u32)>,
    now: Timestamp,
}

impl Tape {
    /// Adds a frame.
    pub(crate) fn add(&self, second: f64, frame: &[u8]) {
        self.add_cut(second, frame, frame.len() as u32);
    }

    /// Adds a frame of which these bytes were captured, and that is said to have that length.
    pub(crate) fn add_cut(&self, second: f64, frame: &[u8], length: u32) {
        let at = at(second);
        self.0.borrow_mut().frames.push_back((at, frame.to_vec(), length));
    }

    /// Turns the clock.
    pub(crate) fn turn_to(&self, second: u64) {
        self.0.borrow_mut().now = at(second as f64);
    }
}

impl Source for Tape {
    fn burst(&mut self, mut meter: impl FnMut(Frame<'_>)) -> Result<usize, Closed> {
        let mut reel = self.0.borrow_mut();
        let Reel { frames, now } = &mut *reel;
        let count = frames.len().min(BURST);
        for (at, bytes, length) in frames.drain(..count) {
            *now = at.max(*now);
            meter(Frame { bytes: &bytes, length, at, link: LinkType::Ethernet });
        }
        Ok(count)
    }

    fn now(&self) -> Timestamp {
        self.0.borrow().now
    }

    fn lost(&mut self) -> Lost {
        Lost::default()
    }

    fn idle(&mut self, _: u32, _: Duration) {}
}

pub(crate) fn point() -> Point {
    Point::File(PathBuf::from("tape"))
}

/// A watch that takes all frames, in L2 key mode, without node.
pub(crate) fn watch(id: u32) -> Watch {
    Watch { id: WatchId(id), node_tid: None, filter: Arc::new([]), options: Options::default() }
}

/// A watch that takes all frames, in that key mode, without node.
pub(crate) fn watch_in(key_mode: KeyMode, id: u32) -> Watch {
    Watch { options: Options { key_mode, ..Options::default() }, ..watch(id) }
}

/// A second of the lab's clock.
pub(crate) fn at(second: f64) -> Timestamp {
    Timestamp::from_millis(START + (second * 1000.0).round() as u64)
}

/// When the lab's clock begins, in milliseconds: the start of the worked example.
pub(crate) const START: u64 = 1_490_086_703_768;

/// The ends of the worked example.
pub(crate) const A: End = End { mac: [0x46, 0x9b, 0xb0, 0xe6, 0x70, 0xfb], ip: [192, 168, 0, 2] };
pub(crate) const B: End = End { mac: [0x92, 0x46, 0xc1, 0x21, 0x00, 0xae], ip: [192, 168, 0, 1] };

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct End {
    pub(crate) mac: [u8; 6],
    pub(crate) ip: [u8; 4],
}

/// TCP flags, as in the header.
pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;

pub(crate) fn tcp(from: (End, u16), to: (End, u16), flags: u8) -> Vec<u8> {
    let mut header = etherparse::TcpHeader::new(from.1, to.1, 1, 1000);
    header.fin = flags & FIN != 0;
    header.syn = flags & SYN != 0;
    header.rst = flags & RST != 0;
    header.ack = flags & ACK != 0;
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(from.0.mac, to.0.mac)
        .ipv4(from.0.ip, to.0.ip, 64)
        .tcp_header(header)
        .write(&mut frame, b"hello")
        .expect("a Vec takes all");
    frame
}

pub(crate) fn udp(from: (End, u16), to: (End, u16), payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(from.0.mac, to.0.mac)
        .ipv4(from.0.ip, to.0.ip, 64)
        .udp(from.1, to.1)
        .write(&mut frame, payload)
        .expect("a Vec takes all");
    frame
}

pub(crate) fn echo(from: End, to: End, reply: bool, id: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2(from.mac, to.mac).ipv4(from.ip, to.ip, 64);
    let builder =
        if reply { builder.icmpv4_echo_reply(id, 1) } else { builder.icmpv4_echo_request(id, 1) };
    builder.write(&mut frame, &[]).expect("a Vec takes all");
    frame
}

/// `inner` in VXLAN from A to B.
pub(crate) fn vxlan(vni: u32, port: u16, inner: &[u8]) -> Vec<u8> {
    let mut payload = vec![8, 0, 0, 0];
    payload.extend_from_slice(&(vni << 8).to_be_bytes());
    payload.extend_from_slice(inner);
    udp((A, port), (B, 4789), &payload)
}

/// `inner`, an IP packet, in GRE.
pub(crate) fn gre(from: End, to: End, inner: &[u8]) -> Vec<u8> {
    let payload = [&[0, 0, 8, 0], inner].concat();
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(from.mac, to.mac)
        .ipv4(from.ip, to.ip, 64)
        .write(&mut frame, etherparse::ip_number::GRE, &payload)
        .expect("a Vec takes all");
    frame
}

/// Timers of whole seconds.
pub(crate) fn timers(update: u64, expire: u64, hold: u64) -> FlowConfig {
    FlowConfig {
        timers: Timers {
            update: Duration::from_secs(update),
            expire: Duration::from_secs(expire),
            hold: Duration::from_secs(hold),
            ..Timers::default()
        },
        ..FlowConfig::default()
    }
}

use std::path::PathBuf;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use sonde_proto::entry::first::shows;
use sonde_proto::entry::key::kind;
use sonde_proto::entry::{First, FlowEntry, Key, Totals};
use sonde_proto::plan::{Options, PlannedPoint, Point, Watch};
use sonde_proto::record::{Cause, EndReason};
use sonde_proto::report::{LcoreInfo, PacketHead, PacketWant, Report, WatchReport, WatchState};
use sonde_proto::ring::{Announcer, LcoreEnd, RingId, RingSize, rings};

use super::ledger::Head;
use super::*;
use crate::flow::LazyFlow;
use crate::flow_store::{FlowKey, FlowStore, Times};
use crate::live::Live;
use crate::stream::{BulkConfig, Namespaces, Obj, QueueLimits, Subscriber};

const WATCH: WatchId = WatchId(1);
const LONG: Duration = Duration::from_secs(20);
const A: [u8; 6] = [2, 0, 0, 0, 0, 1];

struct World {
    announcer: Announcer,
    store: SharedFlowStore,
    stream: FlowStream,
    subscriber: Subscriber,
    lcores: Lcores,
}

impl World {
    fn new() -> Self {
        let (announcer, rings) = rings();
        let store = SharedFlowStore::new(RwLock::new(FlowStore::new(
            1 << 20,
            Times { hold: LONG, idle: LONG, silence: LONG },
        )));
        let stream = FlowStream::new(BulkConfig::default());
        let subscriber = stream.subscribe(Namespaces::parse(["flow"]), QueueLimits::default());
        let tid_of_mac: TidOfMac = Arc::new(|mac| (*mac == A).then(|| "tid-of-a".into()));
        let now = Timestamp::from_millis(1_000);
        let lcores = start(rings, store.clone(), stream.clone(), names(tid_of_mac), move || now);
        lcores.follow(desired(&[WATCH]));
        Self { announcer, store, stream, subscriber, lcores }
    }

    fn stored(&self, flow: u64) -> Option<Arc<sonde_proto::flow::Flow>> {
        let key = FlowKey { watch: WATCH, uuid: uuid(flow) };
        self.store.read().unwrap().get(&key).map(LazyFlow::flow)
    }

    fn published(&mut self) -> Vec<String> {
        self.stream.flush();
        let mut uuids = Vec::new();
        while let Some(message) = self.subscriber.take() {
            if let Obj::Flows(flows) = message.obj() {
                uuids.extend(flows.iter().map(|flow| flow.uuid.clone()));
            }
        }
        uuids
    }
}

fn names(tid_of_mac: TidOfMac) -> Names {
    Names { tid_of_mac, application_ports: Live::default() }
}

fn desired(watches: &[WatchId]) -> Desired {
    let watch = |id: &WatchId| Watch {
        id: *id,
        node_tid: None,
        filter: Arc::default(),
        options: Options::default(),
    };
    let watched = |id: &WatchId| Watched {
        capture_id: format!("capture-{}", id.0),
        node_id: "node".into(),
        node_tid: "tid".into(),
        ..Watched::default()
    };
    Desired {
        plan: Plan {
            points: vec![PlannedPoint {
                point: Point::Port("p0".into()),
                watches: watches.iter().map(watch).collect(),
            }],
            ..Plan::default()
        },
        watched: watches.iter().map(|id| (*id, Arc::new(watched(id)))).collect(),
        ..Desired::default()
    }
}

fn info(queue: u16) -> LcoreInfo {
    LcoreInfo { point: Point::File(PathBuf::from("a.pcap")), queue, cpu: None, source: "pcap" }
}

/// An entry of the flow of that number, from A.
fn record(flow: u64, packets: u64, cause: Cause) -> FlowEntry {
    let [a, b] = [A, [2, 0, 0, 0, 0, 2]]
        .map(|[m0, m1, m2, m3, m4, m5]| u64::from_be_bytes([0, 0, m0, m1, m2, m3, m4, m5]));
    let kind = (kind::IPV4 | kind::UDP | kind::MACS).into();
    let words = [0, 0x0a00_0001, 0, 0x0a00_0002, 0, a << 16 | b >> 32, b << 32 | flow, kind];
    let first = First { shows: shows::LINK | shows::NETWORK, ..First::default() };
    FlowEntry {
        totals: Totals([[packets, 0], [0, 0]]),
        ..FlowEntry::new(WATCH, Key::new(words), first, Timestamp::default(), cause)
    }
}

/// The `UUID` of the flow of that number.
fn uuid(flow: u64) -> u64 {
    record(flow, 0, Cause::Update).record(None).uuid
}

fn push(end: &mut LcoreEnd, fill: impl FnOnce(&mut Report)) {
    let mut report = end.blank().expect("the ring has room");
    fill(&mut report);
    end.push(report).expect("the ring has room");
}

/// An lcore whose shard counts one flow up and reports it when a sweep asks for it.
fn lcore(announcer: &Announcer, queue: u16, stop: Arc<AtomicBool>) -> JoinHandle<u64> {
    let mut end = announcer.open(info(queue), RingSize::default());
    std::thread::spawn(move || {
        let (mut packets, mut plan, mut sweep) = (0, 0, 0);
        while !stop.load(Ordering::Relaxed) {
            packets += 1;
            if let Some(newest) = end.plan() {
                plan = newest.revision;
                if newest.sweep > sweep
                    && let Some(mut report) = end.blank()
                {
                    sweep = newest.sweep;
                    report.flows.push(record(queue.into(), packets, Cause::Sweep));
                    (report.plan, report.sweep) = (plan, sweep);
                    end.push(report).expect("a blank report has its place");
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut report = loop {
            if let Some(report) = end.blank() {
                break report;
            }
        };
        let end_of = Cause::End(EndReason::Drained);
        report.flows.push(record(queue.into(), packets, end_of));
        (report.plan, report.sweep) = (plan, sweep);
        report.books.received = packets;
        report.books.metered = packets;
        end.push(report).expect("a blank report has its place");
        packets
    })
}

fn packets(flow: &sonde_proto::flow::Flow) -> u64 {
    let metric = flow.metric.as_ref().expect("every flow has totals");
    u64::try_from(metric.ab_packets).unwrap()
}

#[tokio::test]
async fn records_become_named_flows() {
    let mut world = World::new();
    let mut end = world.announcer.open(info(0), RingSize::default());
    push(&mut end, |report| {
        report.flows.push(record(0xa, 1, Cause::Update));
        report.flows.push(record(0xb, 2, Cause::Sweep));
        report.flows.push(record(0xc, 3, Cause::End(EndReason::Idle)));
    });
    drop(end);
    assert!(world.lcores.closed(LONG).await);
    let flow = world.stored(0xa).unwrap();
    assert_eq!((&*flow.node_tid, &*flow.capture_id), ("tid", "capture-1"));
    assert_eq!((&*flow.a_node_tid, &*flow.b_node_tid), ("tid-of-a", ""));
    assert_eq!(packets(&world.stored(0xb).unwrap()), 2);
    assert_eq!(world.published(), [0xa, 0xc].map(|flow| format!("{:x}", uuid(flow))));
}

#[tokio::test]
async fn packets_go_with_the_flow_until_an_update() {
    let mut world = World::new();
    let mut end = world.announcer.open(info(0), RingSize::default());
    end.reserve(4, 100);
    push(&mut end, |report| {
        for (flow, want) in [(0xa, PacketWant::Raw(0)), (0xb, PacketWant::Raw(0))] {
            let at = Timestamp::from_millis(1);
            let head = PacketHead::new(WATCH, uuid(flow), want, at, 1, 60);
            assert!(report.packets.push(head, b"bytes"));
        }
        report.flows.push(record(0xa, 1, Cause::Update));
        report.flows.push(record(0xb, 1, Cause::Sweep));
    });
    drop(end);
    assert!(world.lcores.closed(LONG).await);
    let held = |flow| world.stored(flow).unwrap().last_raw_packets.len();
    assert_eq!((held(0xa), held(0xb)), (0, 1));
    world.stream.flush();
    let message = world.subscriber.take().unwrap();
    let Obj::Flows(flows) = message.obj() else { panic!("flows were published") };
    assert_eq!(&*flows[0].last_raw_packets[0].data, b"bytes");
}

#[tokio::test]
async fn a_flow_that_ended_leaves_the_store_after_its_hold_time() {
    let (announcer, rings) = rings();
    let times = Times { hold: Duration::from_secs(1), idle: LONG, silence: LONG };
    let store = SharedFlowStore::new(RwLock::new(FlowStore::new(10, times)));
    let millis = Arc::new(std::sync::atomic::AtomicU64::new(5_000));
    let clock = {
        let millis = millis.clone();
        move || Timestamp::from_millis(millis.load(Ordering::Relaxed))
    };
    let stream = FlowStream::new(BulkConfig::default());
    let lcores = start(rings, store.clone(), stream, names(Arc::new(|_| None)), clock);
    let mut end = announcer.open(info(0), RingSize::default());
    push(&mut end, |report| {
        report.flows.push(record(1, 1, Cause::End(EndReason::Idle)));
        report.flows.push(record(2, 1, Cause::Update));
    });
    drop(end);
    assert!(lcores.closed(LONG).await);
    assert_eq!(store.read().unwrap().len(), 2);
    millis.store(6_001, Ordering::Relaxed);
    assert!(lcores.closed(LONG).await);
    assert_eq!(store.read().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refresh_shows_what_every_lcore_has_seen() {
    let world = World::new();
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> =
        (0..3).map(|queue| lcore(&world.announcer, queue, stop.clone())).collect();
    assert!(world.lcores.refresh(LONG).await);
    let first: Vec<u64> = (0..3).map(|id| packets(&world.stored(id).unwrap())).collect();

    let callers = (0..20).map(|_| world.lcores.refresh(LONG));
    assert!(futures_util::future::join_all(callers).await.iter().all(|all| *all));
    for (id, before) in first.iter().enumerate() {
        assert!(packets(&world.stored(id as u64).unwrap()) > *before);
    }
    let sweeps = world.lcores.shared.state().plan.sweep;
    assert!(sweeps <= 3, "who comes during a sweep shares the next: {sweeps}");
    assert_eq!(world.lcores.status().len(), 3);

    stop.store(true, Ordering::Relaxed);
    let seen: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert!(world.lcores.closed(LONG).await);
    assert_eq!(world.lcores.totals().received, seen);
    assert_eq!(world.lcores.totals().unaccounted(), 0);
    assert!(world.lcores.status().iter().all(|queue| !queue.open && queue.plan == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_lcore_holds_a_refresh_up_to_its_limit() {
    let world = World::new();
    let stop = Arc::new(AtomicBool::new(false));
    let thread = lcore(&world.announcer, 0, stop.clone());
    let silent = world.announcer.open(info(1), RingSize::default());
    assert!(!world.lcores.refresh(Duration::from_millis(100)).await);
    assert!(world.stored(0).is_some(), "the others have answered");

    let refresh = tokio::spawn({
        let lcores = world.lcores.clone();
        async move { lcores.refresh(LONG).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(silent);
    assert!(refresh.await.unwrap(), "a ring that closes holds nothing up");
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
}

#[tokio::test]
async fn refresh_without_lcores_is_at_once() {
    assert!(World::new().lcores.refresh(LONG).await);
}

#[tokio::test]
async fn a_watch_that_left_the_plan_is_still_understood() {
    let world = World::new();
    let mut end = world.announcer.open(info(0), RingSize::default());
    world.lcores.follow(desired(&[WatchId(2)]));
    push(&mut end, |report| {
        report.flows.push(record(1, 1, Cause::End(EndReason::Stopped)));
    });
    drop(end);
    assert!(world.lcores.closed(LONG).await);
    assert_eq!(world.stored(1).unwrap().capture_id, "capture-1");
}

#[tokio::test]
async fn watches_are_summed_over_lcores() {
    let world = World::new();
    let mut ends: Vec<_> =
        (0..2).map(|queue| world.announcer.open(info(queue), RingSize::default())).collect();
    for (end, state) in ends.iter_mut().zip([WatchState::Failed(19), WatchState::Active]) {
        push(end, |report| {
            report.watches.push(WatchReport {
                watch: WATCH,
                state,
                packets: 5,
                bytes: 320,
                dropped: 1,
                flows: 2,
                copies_lost: 0,
            });
        });
    }
    let watch = loop {
        match world.lcores.watches().get(&WATCH) {
            Some(watch) if watch.packets == 10 => break *watch,
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    assert_eq!(watch.state, WatchState::Failed(19));
    assert_eq!((watch.bytes, watch.dropped, watch.flows), (640, 2, 4));
}

#[tokio::test]
async fn the_books_hold_both_rings_of_an_lcore_that_came_back() {
    let world = World::new();
    // Nothing is drained before the first await.
    for (received, closes) in [(10, true), (4, false)] {
        let mut end = world.announcer.open(info(0), RingSize::default());
        push(&mut end, |report| report.books.received = received);
        if !closes {
            std::mem::forget(end);
        }
    }
    while world.lcores.status().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(world.lcores.totals().received, 14);
    let status = world.lcores.status();
    assert_eq!(status.len(), 1);
    assert!(status[0].open);
    assert_eq!(status[0].books.received, 4);
}

#[test]
fn the_same_desired_state_is_no_news() {
    let mut state = State::default();
    state.follow(desired(&[WATCH]));
    assert_eq!(state.news(true).unwrap().revision, 1);
    state.follow(desired(&[WATCH]));
    assert!(state.news(true).is_none());
    state.follow(desired(&[]));
    assert_eq!(state.news(true).unwrap().revision, 2);
}

#[test]
fn a_sweep_waits_for_the_one_under_way() {
    let mut state = State::default();
    assert_eq!((state.want_sweep(), state.want_sweep()), (1, 1));
    assert_eq!(state.news(true).unwrap().sweep, 1);
    assert_eq!((state.want_sweep(), state.want_sweep()), (2, 2));
    assert!(state.news(false).is_none());
    state.follow(desired(&[WATCH]));
    assert_eq!(state.news(false).unwrap().sweep, 1, "a plan waits for no sweep");
    assert_eq!(state.news(true).unwrap().sweep, 2);
}

#[test]
fn a_watch_that_left_is_told_of_while_it_has_flows() {
    let mut state = State::default();
    let told = |state: &State| {
        let tables = state.tables().into_iter();
        let mut told: Vec<_> = tables.map(|(watched, _)| watched.capture_id.clone()).collect();
        told.sort();
        told
    };
    let report = |state: &mut State, flows: [u64; 2]| {
        let mut report = Report::default();
        report.watches.extend([1, 2].into_iter().zip(flows).map(|(id, flows)| WatchReport {
            watch: WatchId(id),
            state: WatchState::Active,
            packets: 5,
            bytes: 320,
            dropped: 0,
            flows,
            copies_lost: 0,
        }));
        state.ledger.reported(Head::new(RingId(0), &info(0), &report));
    };
    state.follow(desired(&[WatchId(1), WatchId(2)]));
    report(&mut state, [0, 1]);
    assert_eq!(told(&state), ["capture-1", "capture-2"]);
    state.follow(desired(&[]));
    assert_eq!(told(&state), ["capture-2"]);
    report(&mut state, [0, 0]);
    assert!(told(&state).is_empty());
}

#[test]
fn few_watches_that_left_are_remembered() {
    let mut state = State::default();
    let many: Vec<_> = (0..2 * REMEMBERED as u32).map(WatchId).collect();
    state.follow(desired(&many));
    assert_eq!(state.watched.len(), 2 * REMEMBERED);
    state.follow(desired(&[WatchId(u32::MAX)]));
    assert_eq!(state.watched.len(), REMEMBERED + 1);
    state.follow(desired(&[]));
    assert_eq!(state.watched.len(), REMEMBERED);
    assert!(state.watched.contains_key(&WatchId(u32::MAX)), "the oldest go first");
}

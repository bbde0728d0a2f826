//! The supervisor, over kernel interfaces in network namespaces: plans in, records out.

mod netns;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use etherparse::PacketBuilder;
use netns::{Pair, index, ip, netns, send};
use sonde_probe::supervisor::{Supervisor, SupervisorConfig};
use sonde_probe::worker::FlowConfig;
use sonde_proto::plan::{Options, Plan, PlannedPoint, Point, Watch};
use sonde_proto::record::{Cause, EndReason, FlowRecord, WatchId};
use sonde_proto::report::{LcoreInfo, WatchState};
use sonde_proto::ring::{Rings, rings};

/// A supervisor, and the control plane's side of it.
struct World {
    supervisor: Option<Supervisor>,
    rings: Rings,
    /// What the supervisor last said of watches, and the sweep it echoed.
    failed: Vec<(WatchId, WatchState)>,
    sweep: u64,
    flows: Vec<FlowRecord>,
    /// Queues whose rings were closed.
    gone: Vec<LcoreInfo>,
}

impl World {
    fn new(config: SupervisorConfig) -> Self {
        let (announcer, rings) = rings();
        let flow = FlowConfig { max_flows: 1_000, ..FlowConfig::default() };
        let supervisor = Supervisor::start(announcer, flow, config).expect("a thread starts");
        Self {
            supervisor: Some(supervisor),
            rings,
            failed: Vec::new(),
            sweep: 0,
            flows: Vec::new(),
            gone: Vec::new(),
        }
    }

    fn follow(&mut self, revision: u64, points: &[&Point]) {
        let points = points.iter().map(|point| PlannedPoint {
            point: (*point).clone(),
            watches: vec![Watch {
                id: WATCH,
                node_tid: None,
                filter: Arc::new([]),
                options: Options::default(),
            }],
        });
        self.rings.follow(Arc::new(Plan { revision, sweep: revision, points: points.collect() }));
    }

    fn drain(&mut self) {
        let Self { failed, sweep, flows, gone, .. } = self;
        self.rings.drain(
            |_, lcore, report| {
                flows.extend(report.records());
                if lcore.source == LcoreInfo::SUPERVISOR {
                    *failed = report.watches.iter().map(|w| (w.watch, w.state)).collect();
                    *sweep = report.sweep;
                }
            },
            |_, lcore| gone.push(lcore.clone()),
        );
    }

    /// Drains until it is so, for ten seconds at most.
    fn until(&mut self, what: &str, so: impl Fn(&Self) -> bool) {
        for _ in 0..1_000 {
            self.drain();
            if so(self) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("never {what}");
    }

    fn stop(&mut self) {
        if let Some(supervisor) = self.supervisor.take() {
            supervisor.stop();
        }
        self.drain();
    }

    fn queues(&self) -> usize {
        let queues = self.rings.lcores().filter(|(_, l)| l.source == "af_packet");
        queues.count()
    }

    fn packets(&self) -> u64 {
        // Records are cumulative: the newest of each flow counts.
        let newest = |i: usize| self.flows[i + 1..].iter().all(|r| r.uuid != self.flows[i].uuid);
        let newest = (0..self.flows.len()).filter(|i| newest(*i));
        newest.map(|i| self.flows[i].metric.ab_packets).sum()
    }

    fn ended(&self, reason: EndReason) -> bool {
        self.flows.iter().any(|record| record.cause == Cause::End(reason))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
    }
}

const WATCH: WatchId = WatchId(7);

fn point(namespace: &str) -> Point {
    Point::Interface { index: index(namespace, "end"), netns: Some(netns(namespace)) }
}

fn udp(source_port: u16) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(source_port, 53);
    let mut frame = Vec::new();
    builder.write(&mut frame, b"payload").expect("a Vec takes all");
    frame
}

#[test]
fn an_interface_is_open_while_it_is_watched() {
    let pair = Pair::new();
    let mut world =
        World::new(SupervisorConfig { workers_per_interface: 2, ..SupervisorConfig::default() });
    let point = point(&pair.right);
    world.follow(1, &[&point]);
    world.until("opened", |world| world.queues() == 2);
    let frames: Vec<_> = (0..60).map(|i| udp(1_000 + i % 20)).collect();
    send(&pair.left, "end", &frames);
    // Flows are reported by the sweep of a new plan, which else changes nothing.
    world.follow(2, &[&point]);
    world.until("reported", |world| world.packets() == 60);
    assert!(world.gone.is_empty());

    world.follow(3, &[]);
    world.until("closed", |world| world.gone.len() == 2);
    assert!(world.ended(EndReason::Stopped));
    assert_eq!(world.packets(), 60);
    assert!(world.gone.iter().all(|l| l.point == point && l.source == "af_packet"));
    assert_eq!((world.gone[0].queue + world.gone[1].queue, world.queues()), (1, 0));

    world.follow(4, &[&point]);
    world.until("opened again", |world| world.queues() == 2);
}

#[test]
fn what_cannot_be_opened_is_reported() {
    let pair = Pair::new();
    let mut world = World::new(SupervisorConfig::default());
    let missing = Point::Interface { index: 4_000_000, netns: Some(netns(&pair.left)) };
    let port = Point::Port("not a kernel interface".into());
    world.follow(1, &[&missing, &port]);
    let failed = vec![(WATCH, WatchState::Failed(libc::ENODEV))];
    world.until("failed", |world| world.failed == failed);
    assert_eq!((world.sweep, world.queues()), (1, 0));
    world.follow(2, &[&port]);
    world.until("forgotten", |world| world.failed.is_empty() && world.sweep == 2);
}

#[test]
fn an_interface_that_vanished_may_come_back() {
    let pair = Pair::new();
    let mut world = World::new(SupervisorConfig::default());
    let point = point(&pair.right);
    world.follow(1, &[&point]);
    world.until("opened", |world| world.queues() == 1);
    send(&pair.left, "end", &[udp(1)]);
    ip(&["-n", &pair.right, "link", "del", "end"]);
    world.until("reported as gone", |world| !world.failed.is_empty());
    world.until("closed", |world| world.gone.len() == 1);
    assert!(world.ended(EndReason::Stopped));
    assert_eq!(world.packets(), 1);

    let Point::Interface { index, .. } = point else { unreachable!() };
    let index = index.to_string();
    let right = pair.right.as_str();
    ip(&[
        "-n", right, "link", "add", "end", "index", &index, "type", "veth", "peer", "name", "far",
    ]);
    world.until("back", |world| world.failed.is_empty() && world.queues() == 1);
}

#[test]
fn stopping_hands_over_all_flows() {
    let pair = Pair::new();
    let mut world = World::new(SupervisorConfig::default());
    world.follow(1, &[&point(&pair.right)]);
    world.until("opened", |world| world.queues() == 1);
    send(&pair.left, "end", &[udp(1), udp(2)]);
    // Longer than the kernel keeps a block that is not full.
    thread::sleep(Duration::from_millis(100));
    world.stop();
    let ended = |r: &&FlowRecord| r.cause == Cause::End(EndReason::Drained);
    assert_eq!(world.flows.iter().filter(ended).count(), 2);
    assert_eq!(world.gone.len(), 2, "the queue's ring and the supervisor's");
}

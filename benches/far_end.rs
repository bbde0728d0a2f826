//! Records in rings through ingest, flow store and flow stream to encoded messages: ns of this
//! thread, and allocations, per record. `cargo bench --bench far_end`; compare figures of one run
//! only.

#![expect(clippy::expect_used, reason = "a bench that cannot go on fails here")]

mod harness;

use std::any::Any;
use std::collections::HashMap;
use std::hint::black_box;
use std::net::SocketAddr;
use std::ops::AddAssign;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use futures_util::StreamExt as _;
use sonde_control_plane::access;
use sonde_control_plane::control::{self, Control, DataPlane};
use sonde_control_plane::discovery::{HostConfig, MacTids, NETNS_DIR};
use sonde_control_plane::flow_store::{FlowStore, SharedFlowStore, Times};
use sonde_control_plane::graph::{Graph, SharedGraph};
use sonde_control_plane::ingest::{self, Desired, Lcores, Names, Watched};
use sonde_control_plane::injection::Injector;
use sonde_control_plane::live::Live;
use sonde_control_plane::script::Launch;
use sonde_control_plane::server::{self, Entrance};
use sonde_control_plane::stream::{
    BulkConfig, Encoding, FlowStream, Namespaces, QueueLimits, Subscriber,
};
use sonde_control_plane::ws::KeepAlive;
use sonde_proto::entry::first::shows;
use sonde_proto::entry::key::kind;
use sonde_proto::entry::{First, FlowEntry, Key, Totals};
use sonde_proto::flow::ApplicationPorts;
use sonde_proto::graph::{Metadata, Node};
use sonde_proto::plan::{KeyMode, Plan, Point};
use sonde_proto::record::{Cause, EndReason, FinishType, Layer, LayersPath, Transport, WatchId};
use sonde_proto::report::LcoreInfo;
use sonde_proto::ring::{Announcer, LcoreEnd, RingSize, rings};
use sonde_proto::time::Timestamp;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Message};

use crate::harness::{Bench, Cost, cost};

fn main() {
    let bench = Bench::from_arguments();
    let flows = if bench.is_short() { 20_000 } else { 500_000 };
    if !bench.is_short() {
        println!("{flows} flows, then an update and the end of each; ns per record by stage");
        println!(
            "subscribers   phase  ingest    json  protobuf  fan-out     all  records/s  allocs"
        );
    }
    for subscribers in [0, 1, 2, 10, 50] {
        if !bench.wants(&format!("far_end/queues_{subscribers}")) {
            continue;
        }
        let mut world = World::with_queues(flows, subscribers);
        let phases = [
            ("new", world.phase(Cause::Update, false)),
            ("update", world.phase(Cause::Update, true)),
            ("end", world.phase(Cause::End(EndReason::Idle), true)),
        ];
        if bench.is_short() {
            println!("items: {}", u64::from(flows) * phases.len() as u64);
            continue;
        }
        for (name, spent) in &phases {
            spent.print(flows, subscribers as u64, name);
        }
        if subscribers == 0 {
            println!("a stored flow takes {} bytes", phases[0].1.held / i64::from(flows));
        }
    }
    if !bench.is_short() {
        println!("over WebSockets on loopback, which is in fan-out with all encoding");
        for subscribers in [1, 10, 50] {
            let spent = World::with_sockets(flows, subscribers).phase(Cause::Update, false);
            spent.print(flows, subscribers, "new");
        }
    }
}

/// The far end, on a runtime that has this thread only.
struct World {
    flows: u32,
    runtime: Runtime,
    lcores: Lcores,
    ring: LcoreEnd,
    audience: Audience,
    /// What else has to live.
    _kept: Box<dyn Any>,
}

/// Who receives. Every other subscriber wants JSON, the others Protobuf.
enum Audience {
    Queues(Vec<(Encoding, Subscriber)>),
    Sockets { subscribers: u64, sent: u64, received: Arc<AtomicU64> },
}

impl World {
    /// Subscribers that take messages and let them encode.
    fn with_queues(flows: u32, subscribers: usize) -> Self {
        let runtime = runtime();
        let entered = runtime.enter();
        let graph = graph();
        let tids = MacTids::follow(&graph);
        let times = Times {
            hold: Duration::from_secs(60),
            idle: Duration::from_secs(540),
            silence: Duration::from_secs(600),
        };
        let store = SharedFlowStore::new(RwLock::new(FlowStore::new(1 << 20, times)));
        let stream = FlowStream::new(BulkConfig::default());
        let encodings = [Encoding::Json, Encoding::Protobuf].into_iter().cycle();
        let subscribers = encodings.take(subscribers).map(|encoding| {
            let all = Namespaces::parse(["flow"]);
            (encoding, stream.subscribe(all, QueueLimits::default()))
        });
        let audience = Audience::Queues(subscribers.collect());
        let (announcer, rings) = rings();
        let names = Names {
            tid_of_mac: Arc::new(move |mac| tids.tid(mac)),
            application_ports: ApplicationPorts::new([(443, "https".into())], []).into(),
        };
        let lcores = ingest::start(rings, store, stream, names, || NOW);
        drop(entered);
        Self::new(flows, runtime, lcores, &announcer, audience, Box::new(graph))
    }

    /// Subscribers on a thread of their own, that count what comes.
    fn with_sockets(flows: u32, subscribers: u64) -> Self {
        let runtime = runtime();
        let (announcer, rings) = rings();
        let data_plane = DataPlane {
            rings,
            ports: Vec::new(),
            replay: Arc::new(|_| Ok(())),
            injector: Injector {
                open: Arc::new(|_| Err(std::io::ErrorKind::Unsupported.into())),
                read: Arc::new(|_| Ok(Vec::new())),
            },
        };
        let control = Control::start(config(), data_plane);
        let control = runtime.block_on(control).expect("the control plane starts");
        let listener = TcpListener::bind("127.0.0.1:0");
        let listener = runtime.block_on(listener).expect("loopback is there");
        let address = listener.local_addr().expect("it listens");
        let entrance = Entrance { listener, tls: None, limits: Live::default() };
        runtime.spawn(server::serve(entrance, control.router(), std::future::pending()));
        let received = Arc::<AtomicU64>::default();
        let counted = received.clone();
        std::thread::spawn(move || {
            let clients = (0..subscribers).map(|n| client(address, n, &counted));
            self::runtime().block_on(futures_util::future::join_all(clients));
        });
        let stream = control.state().ws.stream.clone();
        runtime.block_on(until(|| stream.status().subscribers as u64 == subscribers));
        let lcores = control.state().lcores.clone();
        let audience = Audience::Sockets { subscribers, sent: 0, received };
        Self::new(flows, runtime, lcores, &announcer, audience, Box::new(control))
    }

    fn new(
        flows: u32,
        runtime: Runtime,
        lcores: Lcores,
        announcer: &Announcer,
        audience: Audience,
        kept: Box<dyn Any>,
    ) -> Self {
        lcores.follow(Desired {
            plan: Plan::default(),
            watched: HashMap::from([(WATCH, Arc::new(watched()))]),
            mirrors: HashMap::new(),
        });
        let point = Point::File(PathBuf::from("bench"));
        let info = LcoreInfo { point, queue: 0, cpu: None, source: "bench" };
        let ring = announcer.open(info, RingSize::default());
        Self { flows, runtime, lcores, ring, audience, _kept: kept }
    }

    /// A record of every flow, in an order that no cache foresees.
    fn phase(&mut self, cause: Cause, again: bool) -> Spent {
        let mut spent = Spent::default();
        let mut next = 0_u32;
        let mut left = self.flows;
        while left > 0 {
            let before = left;
            // Not metered: what an lcore would do.
            for _ in 0..RingSize::default().reports {
                let mut report = self.ring.blank().expect("the ring was drained");
                for _ in 0..left.min(RECORDS) {
                    next = (next + STRIDE) % self.flows;
                    report.flows.push(entry(next, cause, again));
                    left -= 1;
                }
                // Has seen all sweeps, so that a refresh is a drain.
                report.sweep = u64::MAX;
                self.ring.push(report).expect("a blank report has its place");
            }
            self.drain(u64::from(before - left), &mut spent);
        }
        spent
    }

    /// Takes all records that the ring holds to the subscribers.
    fn drain(&mut self, records: u64, spent: &mut Spent) {
        let Self { runtime, lcores, audience, .. } = self;
        let counted = allocation_counter::measure(|| {
            spent.ingest += cost(|| {
                assert!(runtime.block_on(lcores.refresh(Duration::from_secs(60))));
            });
            match audience {
                Audience::Queues(subscribers) => spent.take(subscribers),
                Audience::Sockets { subscribers, sent, received } => {
                    *sent += records / BULK * *subscribers;
                    let arrived = until(|| received.load(Ordering::Relaxed) >= *sent);
                    spent.fan_out += cost(|| runtime.block_on(arrived));
                }
            }
        });
        spent.held += counted.bytes_current;
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Asks now and then.
async fn until(so: impl Fn() -> bool) {
    while !so() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Counts the messages that come, for as long as they do.
async fn client(address: SocketAddr, n: u64, received: &AtomicU64) {
    let url = format!("ws://{address}/ws/subscriber/flow").parse().expect("an address");
    let mut request = ClientRequestBuilder::new(url)
        .with_header("X-Client-Type", "bench")
        .with_header("X-Host-ID", n.to_string());
    if n % 2 == 1 {
        request = request
            .with_header("X-Client-Protocol", "protobuf")
            .with_header("X-Flow-Encoding", "protobuf");
    }
    let connected = tokio_tungstenite::connect_async(request).await;
    let (mut socket, _) = connected.expect("the server answers");
    while let Some(Ok(frame)) = socket.next().await {
        let message = matches!(frame, Message::Text(_) | Message::Binary(_));
        received.fetch_add(message.into(), Ordering::Relaxed);
    }
}

fn config() -> control::Config {
    let minute = Duration::from_secs(60);
    control::Config {
        host: HostConfig {
            id: "here".into(),
            metadata: Metadata::new(),
            clock: || NOW,
            counters_every: 10 * minute,
            netns_dir: NETNS_DIR.into(),
            processes: false,
            sockets: false,
        },
        version: String::new(),
        settings: Default::default(),
        access: access::Config::default(),
        flows: 1 << 20,
        times: Times { hold: minute, idle: 9 * minute, silence: 10 * minute },
        bulk: BulkConfig::default(),
        history: None,
        limits: QueueLimits::default(),
        keep_alive: KeepAlive::default(),
        directory: None,
        // None is run.
        launch: Launch::program(PathBuf::new(), &[]),
        key_mode: KeyMode::default(),
        pcap_sockets: Default::default(),
        start_up: None,
    }
}

/// What a phase took.
#[derive(Default)]
struct Spent {
    /// From the ring to the store and the queues.
    ingest: Cost,
    /// Taking messages and encoding them, by the first subscriber that wants JSON.
    json: Cost,
    /// The same for Protobuf.
    protobuf: Cost,
    /// Taking messages that are encoded already, by all other subscribers.
    fan_out: Cost,
    /// Bytes that it left allocated.
    held: i64,
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.time += other.time;
        self.allocations += other.allocations;
    }
}

impl Spent {
    fn take(&mut self, subscribers: &mut [(Encoding, Subscriber)]) {
        for (n, (encoding, subscriber)) in subscribers.iter_mut().enumerate() {
            let stage = match n {
                0 => &mut self.json,
                1 => &mut self.protobuf,
                _ => &mut self.fan_out,
            };
            *stage += cost(|| {
                while let Some(message) = subscriber.take() {
                    black_box(message.encoded(*encoding));
                }
            });
            assert_eq!(subscriber.lost(), 0);
        }
    }

    fn print(&self, records: u32, subscribers: u64, name: &str) {
        let stages = [&self.ingest, &self.json, &self.protobuf, &self.fan_out];
        let [ingest, json, protobuf, fan_out] =
            stages.map(|cost| cost.time.as_nanos() as f64 / f64::from(records));
        let all = ingest + json + protobuf + fan_out;
        let allocations: u64 = stages.iter().map(|cost| cost.allocations).sum();
        println!(
            "{subscribers:>11}  {name:>6}  {ingest:>6.0}  {json:>6.0}  {protobuf:>8.0}  \
             {fan_out:>7.0}  {all:>6.0}  {:>9.0}  {:>6.2}",
            1e9 / all,
            allocations as f64 / f64::from(records),
        );
    }
}

/// A flow of HTTPS, every tenth over IPv6, between two of some nodes that the graph knows.
fn entry(n: u32, cause: Cause, again: bool) -> FlowEntry {
    let mut layers = LayersPath::new();
    let is_ipv6 = n.is_multiple_of(10);
    let (ip, version) = if is_ipv6 { (Layer::Ipv6, kind::IPV6) } else { (Layer::Ipv4, kind::IPV4) };
    assert!([Layer::Ethernet, ip, Layer::Tcp].into_iter().all(|layer| layers.push(layer)));
    let [mac_a, mac_b] = [n % NODES, NODES].map(|n| {
        let [a, b, c, d, e, f] = mac(n);
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    });
    // 2001:db8::/32 or 10.0.0.0/8.
    let (prefix, net) = if is_ipv6 { (0x2001_0db8 << 32, 0) } else { (0, 0x0a00_0000) };
    let port = 1024 + (n % 60_000) as u16;
    let key = Key::new([
        prefix,
        net + u64::from(n),
        prefix,
        net + 0x00ff_ffff,
        0,
        mac_a << 16 | mac_b >> 32,
        mac_b << 32 | u64::from(port) << 16 | 443,
        u64::from(version | kind::TCP | kind::MACS),
    ]);
    let first = First {
        layers,
        transport: Some(Transport::Tcp),
        shows: shows::LINK | shows::NETWORK,
        port: 443,
        ..First::default()
    };
    let packets = if again { 20 } else { 10 };
    let totals = Totals([[packets, packets * 700], [packets + 1, packets * 900]]);
    let last = NOW.after(Duration::from_millis(packets * 100));
    let finish =
        if matches!(cause, Cause::End(_)) { FinishType::TcpFin } else { FinishType::NotFinished };
    FlowEntry {
        port,
        last,
        totals,
        rtt: 33_000,
        last_update: again.then_some((totals, [NOW, last])),
        finish,
        ..FlowEntry::new(WATCH, key, first, NOW, cause)
    }
}

fn watched() -> Watched {
    Watched {
        capture_id: "8b0a2f31-5c8e-4f7e-9b1d-0f5b7a3c2d11".into(),
        node_id: "node".into(),
        node_tid: "3f2d5b8e-7c1a-5e0f-8d4b-6a9c1e2f3a40".into(),
        ..Watched::default()
    }
}

fn graph() -> SharedGraph {
    let mut graph = Graph::new();
    for n in 0..NODES {
        let [a, b, c, d, e, f] = mac(n);
        let mac = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
        let tid = format!("5a1f0c3e-2b4d-5c6e-8f70-{n:012x}");
        let facts = [("Name", "eth"), ("Type", "device"), ("MAC", &mac), ("TID", &tid)];
        let metadata = facts.map(|(key, text)| (key.to_owned(), text.into()));
        let metadata = metadata.into_iter().collect();
        let node = Node { id: n.to_string(), host: "here".into(), metadata, ..Node::default() };
        graph.add(node, NOW).expect("each node once");
    }
    SharedGraph::new(RwLock::new(graph))
}

fn mac(n: u32) -> [u8; 6] {
    let [a, b, c, d] = n.to_be_bytes();
    [2, 0, a, b, c, d]
}

const WATCH: WatchId = WatchId(1);
const NOW: Timestamp = Timestamp::from_millis(1_600_000_000_000);
/// In a report: full bulks in each batch.
const RECORDS: u32 = 500;
/// Flows in a message.
const BULK: u64 = 100;
/// Of the graph.
const NODES: u32 = 100;
/// A prime, so that each flow comes once.
const STRIDE: u32 = 314_159;

//! A control plane for tests: a graph of two interfaces and a DPDK port, a clock that is turned
//! by hand, and an lcore that tests speak for.

use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use serde_json::{Value, json};
use sonde_proto::entry::{First, FlowEntry, Key};
use sonde_proto::graph::{Node, uuid_v5};
use sonde_proto::plan::{KeyMode, Plan, Point};
use sonde_proto::record::{Cause, WatchId};
use sonde_proto::report::{LcoreInfo, WatchReport, WatchState};
use sonde_proto::ring::{LcoreEnd, RingSize, rings};
use sonde_proto::time::Timestamp;
use tokio::sync::Semaphore;

use crate::access::{self, Access};
use crate::additions::Additions;
use crate::agent::Agents;
use crate::alert::{Alerts, AlertsConfig};
use crate::asker::Asker;
use crate::capture::{Captures, CapturesConfig, ListenConfig};
use crate::clock::Clock;
use crate::configuration::Configuration;
use crate::export::{Exports, ExportsConfig};
use crate::flow_store::{FlowKey, FlowStore, Times};
use crate::graph::Graph;
use crate::ingest::{self, Names};
use crate::injection::{Injections, InjectionsConfig, Injector, Wire};
use crate::live::Live;
use crate::notice::Notices;
use crate::resource::Resources;
use crate::rule::Rules;
use crate::script;
use crate::settings::{LiveSettings, Settings};
use crate::state::{CREATES, Parts, QUERIES, State};
use crate::store::{Store, StoreError};
use crate::stream::{BulkConfig, FlowStream, QueueLimits};
use crate::topology_stream::TopologyStream;
use crate::turns::Turns;
use crate::upload::{Damaged, Uploads};
use crate::ws::{Endpoints, KeepAlive, WsState};

pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) lcore: LcoreEnd,
    /// The frames that nodes were made to send, and where.
    pub(crate) injected: Injected,
    plan: Arc<Plan>,
    millis: Arc<AtomicU64>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::open(None).unwrap()
    }

    /// A world where only users of `access` may.
    pub(crate) fn guarded(access: Access) -> Self {
        Self::with(access, None).unwrap()
    }

    pub(crate) fn open(directory: Option<&Path>) -> Result<Self, StoreError> {
        Self::with(Access::open(access::Config::default()).unwrap(), directory)
    }

    fn with(access: Access, directory: Option<&Path>) -> Result<Self, StoreError> {
        let millis = Arc::new(AtomicU64::new(1_600_000_000_000));
        let clock = {
            let millis = millis.clone();
            Clock::new(move || Timestamp::from_millis(millis.load(Ordering::Relaxed)))
        };
        let graph = Arc::new(RwLock::new(Graph::new()));
        for node in
            [node("eth0", "device", 2), node("eth1", "device", 3), node("p0", "dpdkport", 0)]
        {
            graph.write().unwrap().add(node, clock.now()).unwrap();
        }
        let minute = Duration::from_secs(60);
        let times = Times { hold: minute, idle: 9 * minute, silence: 10 * minute };
        let flows = Arc::new(RwLock::new(FlowStore::new(1000, times)));
        let stream = FlowStream::new(BulkConfig::default());
        let (announcer, rings) = rings();
        let lcore = announcer.open(
            LcoreInfo { point: Point::Port("p0".into()), queue: 0, cpu: Some(1), source: "dpdk" },
            RingSize::default(),
        );
        let names = Names { tid_of_mac: Arc::new(|_| None), application_ports: Live::default() };
        let lcores = ingest::start(rings, flows.clone(), stream.clone(), names, {
            let clock = clock.clone();
            move || clock.now()
        });
        let asker = Asker { clock: clock.clone(), graph: graph.clone(), flows: flows.clone() };
        let notices = Notices::new();
        let agents = Agents::new(flows.clone(), stream.clone(), clock.clone());
        let config = CapturesConfig {
            host: "here".into(),
            agents: agents.clone(),
            key_mode: KeyMode::L2,
            listen: ListenConfig::default(),
            asker: asker.clone(),
            lcores: lcores.clone(),
            exports: Exports::new(ExportsConfig {
                clock: clock.clone(),
                flows: 1000,
                silence: times.silence,
            }),
            notices: notices.clone(),
        };
        let store = Store::open(directory)?;
        let additions = Additions::open(&store, graph.clone(), clock.clone())?;
        let queries = Arc::new(Semaphore::new(QUERIES));
        let topology =
            TopologyStream::new(asker.clone(), Live::default(), queries.clone(), notices.clone());
        let (injector, injected) = injector();
        let injections = InjectionsConfig {
            host: "here".into(),
            asker: asker.clone(),
            injector,
            agents: agents.clone(),
            notices: notices.clone(),
        };
        let configuration = json!({
            "listen": "127.0.0.1:8082",
            "auth": { "users": { "ann": "secret" } },
            "ui": { "topology": { "favorites": { "a": "G.V()" } } },
        });
        let settings = LiveSettings::from(Settings {
            configuration: Configuration::new(configuration),
            upload: UPLOAD_LIMIT,
            alert_scripts: true,
            ..Settings::default()
        });
        let alerts = AlertsConfig {
            scripts: settings.alert_scripts.clone(),
            javascript: script::testing::scripts(),
            asker: asker.clone(),
            lcores: lcores.clone(),
            notices: notices.clone(),
        };
        let state = State::new(Parts {
            host: "here".into(),
            version: "0.0.0".into(),
            started: clock.now(),
            access,
            graph,
            flows,
            captures: Captures::open(config, &store)?,
            additions,
            alerts: Alerts::open(alerts, &store)?,
            notices,
            injections: Injections::open(injections, &store)?,
            rules: Rules::open(&store, asker, "here")?,
            workflows: Resources::open(&store, clock.clone(), ())?,
            scripts: script::testing::scripts(),
            clock,
            lcores,
            ws: WsState {
                host: "here".into(),
                agents,
                stream,
                topology,
                clients: Endpoints::default(),
                limits: QueueLimits::default(),
                keep_alive: KeepAlive::default(),
                clock: Arc::new(Timestamp::default),
            },
            uploads: Uploads::new(Arc::new(replay), settings.upload.clone()),
            settings,
            queries: Turns::new(queries),
            creates: Arc::new(Semaphore::new(CREATES)),
        });
        Ok(Self { state, lcore, injected, plan: Arc::default(), millis })
    }

    /// Turns the clock.
    pub(crate) fn pass(&self, time: Duration) {
        self.millis.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// Waits until the lcore was handed a plan that `is_it`.
    pub(crate) async fn plan(&mut self, is_it: impl Fn(&Plan) -> bool) -> Arc<Plan> {
        within(|| {
            if let Some(plan) = self.lcore.plan() {
                self.plan = plan;
            }
            is_it(&self.plan).then(|| self.plan.clone())
        })
        .await
    }

    /// Reports a watch, and waits until the report was taken.
    pub(crate) async fn report(&mut self, watch: WatchId, state: WatchState, packets: u64) {
        let mut report = self.lcore.blank().unwrap();
        report.watches.push(WatchReport {
            watch,
            state,
            packets,
            bytes: packets * 60,
            dropped: 3,
            flows: 1,
            copies_lost: 0,
        });
        report.books.received = packets;
        report.books.metered = packets;
        report.books.lost.missed = 7;
        self.lcore.push(report).unwrap();
        let lcores = self.state.lcores.clone();
        within(|| {
            let totals = lcores.watches().get(&watch).copied()?;
            (totals.packets == packets && totals.state == state).then_some(())
        })
        .await;
    }

    /// Reports an entry, and waits until its flow is in the store.
    pub(crate) async fn meter(&mut self, entry: FlowEntry) {
        let key = FlowKey::of(&entry.record(None));
        let mut report = self.lcore.blank().unwrap();
        report.flows.push(entry);
        self.lcore.push(report).unwrap();
        let flows = self.state.flows.clone();
        within(|| flows.read().unwrap().get(&key).map(drop)).await;
    }

    /// A metadata value of a node.
    pub(crate) fn shown(&self, node: &str, key: &str) -> Value {
        let graph = self.state.graph.read().unwrap();
        let value = graph.node(node).and_then(|node| node.metadata.get(key));
        value.cloned().unwrap_or_default()
    }
}

/// Frames that were sent, and where.
pub(crate) type Injected = Arc<Mutex<Vec<(Point, Vec<u8>)>>>;

/// Sends nowhere but into a list. A file is one frame, if it has any byte.
pub(crate) fn injector() -> (Injector, Injected) {
    let injected = Injected::default();
    let sent = injected.clone();
    let open = move |point: &Point| -> std::io::Result<Wire> {
        let (point, sent) = (point.clone(), sent.clone());
        Ok(Box::new(move |frame: &[u8]| {
            sent.lock().unwrap().push((point.clone(), frame.to_vec()));
            Ok(())
        }))
    };
    let read = |file: &[u8]| -> Result<_, Damaged> {
        if file.is_empty() { Err("no frames".into()) } else { Ok(vec![file.to_vec()]) }
    };
    (Injector { open: Arc::new(open), read: Arc::new(read) }, injected)
}

/// Takes for a capture what begins with `pcap`.
fn replay(mut body: Box<dyn Read + Send>) -> Result<(), Damaged> {
    let mut magic = [0; 4];
    body.read_exact(&mut magic)?;
    if magic != *b"pcap" {
        return Err("byte 0: no capture".into());
    }
    std::io::copy(&mut body, &mut std::io::sink())?;
    Ok(())
}

/// Bytes of an upload at most.
pub(crate) const UPLOAD_LIMIT: u64 = 1_000_000;

/// An entry of the flow of that number, which says nothing else.
pub(crate) fn record(flow: u64) -> FlowEntry {
    let key = Key::new([0, 0, 0, 0, 0, 0, flow, 0]).with_parent(flow);
    FlowEntry::new(WatchId(1), key, First::default(), Timestamp::default(), Cause::Update)
}

/// A node that can be captured.
pub(crate) fn node(name: &str, kind: &str, index: u32) -> Node {
    let metadata = json!({
        "Name": name, "Type": kind, "IfIndex": index, "LinkFlags": ["UP"], "EncapType": "ether",
        "TID": uuid_v5(&[name]),
    });
    Node {
        id: name.into(),
        host: "here".into(),
        metadata: metadata.as_object().unwrap().clone(),
        ..Node::default()
    }
}

/// Asks until there is an answer, for ten seconds at most.
pub(crate) async fn within<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    for _ in 0..1000 {
        if let Some(answer) = ask() {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within ten seconds");
}

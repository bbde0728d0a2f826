//! Puts the parts of the control plane together, starts them, and stops them with the data.

use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use axum::Router;
use sonde_proto::capture::Capture;
use sonde_proto::plan::KeyMode;
use sonde_proto::ring::Rings;
use sonde_proto::workflow::Workflow;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use crate::access::{self, Access, AccessError};
use crate::additions::Additions;
use crate::agent::Agents;
use crate::alert::{Alerts, AlertsConfig};
use crate::api::{self, ScriptHost};
use crate::asker::Asker;
use crate::capture::{Captures, CapturesConfig, ListenConfig};
use crate::clock::Clock;
use crate::discovery::{self, HostConfig, MacTids, PortNode};
use crate::export::{Exports, ExportsConfig};
use crate::flow_store::{FlowStore, SharedFlowStore, Times};
use crate::graph::{Graph, HistoryLimits, MemoryHistory, SharedGraph};
use crate::ingest::{self, Names};
use crate::injection::{Injections, InjectionsConfig, Injector};
use crate::notice::Notices;
use crate::resource::{Resource as _, ResourceError, Resources};
use crate::rule::Rules;
use crate::script::{Launch, Scripts};
use crate::settings::{LiveSettings, Settings};
use crate::state::{CREATES, Parts, QUERIES, State};
use crate::store::{Store, StoreError};
use crate::stream::{BulkConfig, FlowStream, QueueLimits};
use crate::topology_stream::TopologyStream;
use crate::turns::Turns;
use crate::upload::{Replay, Uploads};
use crate::ws::{Endpoints, KeepAlive, WsState};

/// All that the control plane is told. The clock is the one of `host`.
#[derive(Clone, Debug)]
pub struct Config {
    /// The host, and how it is looked at.
    pub host: HostConfig,
    /// Version of the program.
    pub version: String,
    /// What may change.
    pub settings: Settings,
    /// Who may.
    pub access: access::Config,
    /// Flows that the store keeps at most.
    pub flows: usize,
    /// How long a flow can be queried that ended, or whose end was lost.
    pub times: Times,
    /// When flows go out to subscribers.
    pub bulk: BulkConfig,
    /// How much of the graph's past is kept; none without.
    pub history: Option<HistoryLimits>,
    /// How far a subscriber may lag behind.
    pub limits: QueueLimits,
    /// When a subscriber is given up.
    pub keep_alive: KeepAlive,
    /// Where resources are kept; forgotten at the end without one.
    pub directory: Option<PathBuf>,
    /// Starts processes for the JavaScript of workflows and alerts.
    pub launch: Launch,
    /// `LayerKeyMode` of captures that name none.
    pub key_mode: KeyMode,
    /// Where `pcapsocket` captures listen.
    pub pcap_sockets: ListenConfig,
    /// A capture to begin with (Skydive's `analyzer.startup`).
    pub start_up: Option<Capture>,
}

impl Config {
    /// Says what [`Control::start`] would refuse: reads the users and parses the capture, and opens
    /// nothing. It may wait for the disk and for DNS.
    pub fn check(self) -> Result<(), StartError> {
        Access::open(self.access)?;
        if let Some(mut capture) = self.start_up {
            let parsed = capture.parse(&self.key_mode);
            parsed.map_err(|broken| StartError::StartUp(ResourceError::Invalid(broken)))?;
        }
        Ok(())
    }
}

/// Why the control plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state file cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The capture that the configuration asks for is none.
    #[error("startup_capture")]
    StartUp(#[source] ResourceError),
    /// Nobody can be let in.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A defect of ours.
    #[error("starting the control plane")]
    Defect(#[from] JoinError),
}

/// What the control plane knows of the data plane.
pub struct DataPlane {
    /// The way to the lcores.
    pub rings: Rings,
    /// The DPDK ports they poll.
    pub ports: Vec<PortNode>,
    /// Meters what clients upload.
    pub replay: Replay,
    /// Sends what clients inject.
    pub injector: Injector,
}

/// The control plane while it runs.
#[derive(Debug)]
pub struct Control {
    state: State,
    tasks: Vec<JoinHandle<()>>,
}

impl Control {
    /// Starts all parts. Links are discovered in the network namespace of the calling thread.
    pub async fn start(config: Config, data_plane: DataPlane) -> Result<Self, StartError> {
        let DataPlane { rings, ports, replay, injector } = data_plane;
        let access = spawn_blocking(|| Access::open(config.access)).await??;
        let clock = Clock::new(config.host.clock);
        let settings = LiveSettings::from(config.settings);
        let graph = match config.history {
            Some(limits) => Graph::with_history(MemoryHistory::new(limits)),
            None => Graph::new(),
        };
        let graph = SharedGraph::new(RwLock::new(graph));
        let flows = SharedFlowStore::new(RwLock::new(FlowStore::new(config.flows, config.times)));
        let stream = FlowStream::new(config.bulk);
        let tids = MacTids::follow(&graph);
        let lcores = ingest::start(
            rings,
            flows.clone(),
            stream.clone(),
            Names {
                tid_of_mac: Arc::new(move |mac| tids.tid(mac)),
                application_ports: settings.application_ports.clone(),
            },
            config.host.clock,
        );
        let host = config.host.id.clone();
        let notices = Notices::new();
        let agents = Agents::new(flows.clone(), stream.clone(), clock.clone());
        let captures = CapturesConfig {
            host: host.clone(),
            agents: agents.clone(),
            key_mode: config.key_mode,
            listen: config.pcap_sockets,
            asker: Asker { clock: clock.clone(), graph: graph.clone(), flows: flows.clone() },
            lcores: lcores.clone(),
            exports: Exports::new(ExportsConfig {
                clock: clock.clone(),
                flows: config.flows,
                silence: config.times.silence,
            }),
            notices: notices.clone(),
        };
        // The ports are nodes before captures look for theirs, and lcores that start after this
        // find the captures in their first plan.
        let discovery = discovery::start(graph.clone(), config.host.clone(), ports);
        let scripts = Scripts::new(config.launch, settings.scripts.clone());
        let alerts = AlertsConfig {
            scripts: settings.alert_scripts.clone(),
            javascript: scripts.clone(),
            asker: captures.asker.clone(),
            lcores: lcores.clone(),
            notices: notices.clone(),
        };
        let asker = captures.asker.clone();
        let Opened { additions, captures, rules, alerts, injections, workflows } =
            open(captures, alerts, injector, config.directory, config.start_up).await?;
        lcores.refresh(SETTLE).await;
        let follow = tokio::spawn(access.clone().follow());
        let mut tasks = vec![
            tokio::spawn(additions.clone().run()),
            tokio::spawn(captures.clone().run()),
            tokio::spawn(rules.clone().run()),
            tokio::spawn(injections.clone().run()),
            discovery,
            follow,
        ];
        let queries = Arc::new(Semaphore::new(QUERIES));
        let limits = settings.query.clone();
        let topology = TopologyStream::new(asker, limits, queries.clone(), notices.clone());
        let ws = WsState {
            host: host.clone(),
            agents,
            stream,
            topology,
            clients: Endpoints::default(),
            limits: config.limits,
            keep_alive: config.keep_alive,
            clock: Arc::new(config.host.clock),
        };
        let state = State::new(Parts {
            host,
            version: config.version,
            started: clock.now(),
            clock,
            access,
            graph,
            flows,
            lcores,
            ws,
            additions,
            captures,
            rules,
            alerts,
            injections,
            notices,
            workflows,
            scripts,
            uploads: Uploads::new(replay, settings.upload.clone()),
            settings,
            queries: Turns::new(queries),
            creates: Arc::new(Semaphore::new(CREATES)),
        });
        let host = ScriptHost::of_alerts(&state)?;
        tasks.push(tokio::spawn(state.alerts.clone().run(host)));
        Ok(Self { state, tasks })
    }

    /// What handlers work on.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// All paths, for [`crate::server::serve`].
    pub fn router(&self) -> Router {
        api::router(self.state.clone())
    }

    /// Stops with the data: waits until the lcores, which the caller has told to stop, closed their
    /// rings and all flows are out with subscribers and collectors, each for `limit` at most. `false` when
    /// something was left.
    pub async fn stop(self, limit: Duration) -> bool {
        self.state.uploads.stop();
        let drained = self.state.lcores.closed(limit).await;
        self.state.ws.stream.close();
        self.state.ws.topology.close();
        self.state.ws.agents.close();
        let (left, exported) = tokio::join!(
            self.state.ws.clients.left(limit),
            self.state.captures.exports().stop(limit)
        );
        for task in self.tasks {
            task.abort();
        }
        drained && left && exported
    }
}

/// How long the first plan may take to reach the rings.
const SETTLE: Duration = Duration::from_secs(1);

/// The resources.
struct Opened {
    additions: Additions,
    captures: Captures,
    rules: Rules,
    alerts: Alerts,
    injections: Injections,
    workflows: Resources<Workflow>,
}

/// Opens the resources where it may wait for the disk and for DNS.
async fn open(
    config: CapturesConfig,
    alerts: AlertsConfig,
    injector: Injector,
    directory: Option<PathBuf>,
    start_up: Option<Capture>,
) -> Result<Opened, StartError> {
    spawn_blocking(move || {
        let store = Store::open(directory.as_deref())?;
        let Asker { graph, clock, .. } = config.asker.clone();
        // Before captures look for their nodes.
        let additions = Additions::open(&store, graph, clock)?;
        let rules = Rules::open(&store, config.asker.clone(), &config.host)?;
        let alerts = Alerts::open(alerts, &store)?;
        let injections = InjectionsConfig {
            host: config.host.clone(),
            asker: config.asker.clone(),
            injector,
            agents: config.agents.clone(),
            notices: config.notices.clone(),
        };
        let injections = Injections::open(injections, &store)?;
        let workflows = Resources::open(&store, config.asker.clock.clone(), ())?;
        let captures = Captures::open(config, &store)?;
        if let Some(wanted) = start_up {
            captures.start_up(wanted).map_err(StartError::StartUp)?;
        }
        Ok(Opened { additions, captures, rules, alerts, injections, workflows })
    })
    .await?
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use sonde_proto::graph::Metadata;
    use sonde_proto::plan::Point;
    use sonde_proto::report::LcoreInfo;
    use sonde_proto::ring::{RingSize, rings};
    use sonde_proto::time::Timestamp;

    use super::*;
    use crate::script;

    fn config(gremlin: &str) -> Config {
        Config {
            host: HostConfig {
                id: "here".into(),
                metadata: Metadata::new(),
                clock: Timestamp::default,
                counters_every: Duration::from_secs(30),
                netns_dir: discovery::NETNS_DIR.into(),
                processes: false,
                sockets: false,
            },
            version: "0.0.0".into(),
            settings: Settings::default(),
            access: access::Config::default(),
            flows: 1000,
            times: Times {
                hold: Duration::from_secs(60),
                idle: Duration::from_secs(540),
                silence: Duration::from_secs(600),
            },
            bulk: BulkConfig::default(),
            history: None,
            limits: QueueLimits::default(),
            keep_alive: KeepAlive::default(),
            directory: None,
            launch: script::testing::launch(),
            key_mode: KeyMode::L2,
            pcap_sockets: ListenConfig::default(),
            start_up: Some(Capture { gremlin_query: gremlin.into(), ..Capture::default() }),
        }
    }

    fn data_plane(rings: Rings) -> DataPlane {
        DataPlane {
            rings,
            ports: Vec::new(),
            replay: Arc::new(|_| Ok(())),
            injector: crate::tests::world::injector().0,
        }
    }

    #[tokio::test]
    async fn starts_captures_and_stops_with_the_rings() {
        let (announcer, rings) = rings();
        let info =
            LcoreInfo { point: Point::Port("p0".into()), queue: 0, cpu: None, source: "dpdk" };
        let lcore = announcer.open(info, RingSize::default());
        let control = Control::start(config("G.V()"), data_plane(rings)).await.unwrap();
        let captures = control.state().captures.list();
        assert_eq!(captures.values().next().unwrap().gremlin_query, "G.V()");
        drop(lcore);
        assert!(control.stop(Duration::from_secs(10)).await);
    }

    #[tokio::test]
    async fn says_what_is_wrong_with_the_first_capture() {
        let started = Control::start(config("G.V("), data_plane(rings().1)).await;
        for error in [started.unwrap_err(), config("G.V(").check().unwrap_err()] {
            assert_eq!(error.to_string(), "startup_capture");
            let why = error.source().unwrap().to_string();
            assert!(why.starts_with("GremlinQuery: "), "{why}");
        }
        config("G.V()").check().unwrap();
    }
}

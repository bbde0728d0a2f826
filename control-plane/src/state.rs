//! What the handlers of REST and WebSocket work on.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRef;
use sonde_proto::time::Timestamp;
use sonde_proto::workflow::Workflow;
use tokio::sync::Semaphore;

use crate::access::Access;
use crate::additions::Additions;
use crate::alert::Alerts;
use crate::capture::Captures;
use crate::clock::Clock;
use crate::flow_store::SharedFlowStore;
use crate::graph::SharedGraph;
use crate::ingest::Lcores;
use crate::injection::Injections;
use crate::notice::Notices;
use crate::resource::Resources;
use crate::rule::Rules;
use crate::script::Scripts;
use crate::settings::LiveSettings;
use crate::turns::Turns;
use crate::upload::Uploads;
use crate::ws::WsState;

/// All parts that handlers see. Clones are the same state.
#[derive(Clone, Debug)]
pub struct State(Arc<Parts>);

/// The parts.
#[derive(Debug)]
pub struct Parts {
    /// Host id.
    pub host: String,
    /// Version of the program.
    pub version: String,
    /// Tells the time.
    pub clock: Clock,
    /// When the daemon started.
    pub started: Timestamp,
    /// What may change.
    pub settings: LiveSettings,
    /// Who may.
    pub access: Access,
    /// The topology.
    pub graph: SharedGraph,
    /// The flows.
    pub flows: SharedFlowStore,
    /// The data plane.
    pub lcores: Lcores,
    /// The WebSocket endpoints, and the flow stream.
    pub ws: WsState,
    /// The captures.
    pub captures: Captures,
    /// What clients added to the topology.
    pub additions: Additions,
    /// The alerts.
    pub alerts: Alerts,
    /// What subscribers are told besides the topology.
    pub notices: Notices,
    /// The rules that add to the topology.
    pub rules: Rules,
    /// The packets that nodes send for clients.
    pub injections: Injections,
    /// The workflows that clients created.
    pub workflows: Resources<Workflow>,
    /// Runs the JavaScript of workflows.
    pub scripts: Scripts,
    /// Capture files that clients send.
    pub uploads: Uploads,
    /// Turns of queries: so many run at once, see [`QUERIES`].
    pub queries: Turns,
    /// Turns of those who create resources: so many at once, see [`CREATES`].
    pub creates: Arc<Semaphore>,
}

/// Queries that run at once; each may hold a large answer.
pub const QUERIES: usize = 8;

/// Resources that are created at once; each may wait for DNS.
pub const CREATES: usize = 4;

impl State {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for State {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl FromRef<State> for WsState {
    fn from_ref(state: &State) -> Self {
        state.ws.clone()
    }
}

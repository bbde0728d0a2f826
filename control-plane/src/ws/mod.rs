//! Skydive's WebSocket endpoints.

mod admission;
mod clients;
mod handshake;
mod session;

pub mod agent;
pub mod flow;
pub mod replication;
pub mod topology;

use std::sync::Arc;

use sonde_proto::time::Timestamp;

use crate::agent::Agents;
use crate::stream::{FlowStream, QueueLimits};
use crate::topology_stream::TopologyStream;

pub use clients::{Client, Clients, Endpoints};
pub use session::KeepAlive;

/// What the WebSocket handlers work on.
#[derive(Clone)]
pub struct WsState {
    /// The daemon's host id, as `X-Host-ID` says it.
    pub host: String,
    /// Where flows come from.
    pub stream: FlowStream,
    /// The topology as clients follow it.
    pub topology: TopologyStream,
    /// Where go the flows of agents.
    pub agents: Agents,
    /// Who is connected.
    pub clients: Endpoints,
    /// How far a flow subscriber may lag behind.
    pub limits: QueueLimits,
    /// When a silent or stuck client is given up.
    pub keep_alive: KeepAlive,
    /// The time of day.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl std::fmt::Debug for WsState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WsState")
            .field("host", &self.host)
            .field("clients", &self.clients)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

//! The topology as clients follow it and add to it (Skydive API §7.6, §7.7).
//!
//! A client is told of each change as it happens. One that falls behind is told the difference
//! between what it knows and what is, and so is one that sees a part of the graph only: no queue
//! grows, and nobody misses how things stand now.

mod difference;
mod ears;
mod filter;
mod follower;
mod operation;
mod publication;
mod request;
mod seen;
mod telling;

use std::sync::{Arc, PoisonError, RwLockReadGuard};

use serde::Serialize;
use tokio::sync::{Semaphore, watch};

use crate::clock::Clock;
use crate::flow_store::SharedFlowStore;
use crate::graph::{Graph, SharedGraph};
use crate::gremlin::Limits;
use crate::json;

pub use filter::{Filter, FilterError};
pub use follower::{Follower, Part};
pub use publication::Persistence;
pub use telling::Policy;

/// What followers work on. Clones are the same stream.
#[derive(Clone, Debug)]
pub struct TopologyStream {
    /// The topology.
    pub graph: SharedGraph,
    /// The flows, for filters that look at them.
    pub flows: SharedFlowStore,
    /// What a filter may cost.
    pub limits: Limits,
    /// Tells the time.
    pub clock: Clock,
    /// Turns of queries, shared with those over REST.
    pub queries: Arc<Semaphore>,
    /// True once the daemon stops.
    stopped: watch::Sender<bool>,
}

impl TopologyStream {
    /// A stream of that graph.
    pub fn new(
        graph: SharedGraph,
        flows: SharedFlowStore,
        limits: Limits,
        clock: Clock,
        queries: Arc<Semaphore>,
    ) -> Self {
        Self { graph, flows, limits, clock, queries, stopped: watch::Sender::new(false) }
    }

    /// Ends every follower.
    pub fn close(&self) {
        self.stopped.send_replace(true);
    }

    fn graph(&self) -> RwLockReadGuard<'_, Graph> {
        self.graph.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The namespace of all that is said of the graph.
pub(crate) const NAMESPACE: &str = "Graph";

/// The JSON text of a value whose maps have texts as keys.
fn text(value: &impl Serialize) -> Vec<u8> {
    let mut text = Vec::new();
    json::append(&mut text, value);
    text
}

//! Asks queries that stand: those of captures, rules and alerts, whose answers are followed.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use sonde_proto::graph::Node;

use crate::clock::Clock;
use crate::flow_store::SharedFlowStore;
use crate::graph::{Graph, SharedGraph, Topology};
use crate::gremlin::{Answer, Ground, Limits, Query, QueryError};

/// What queries are asked of. Clones ask the same.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Tells the time.
    pub clock: Clock,
    /// The topology, now and before.
    pub graph: SharedGraph,
    /// Queries may look at flows.
    pub flows: SharedFlowStore,
}

impl Asker {
    /// What `look` finds in the graph.
    pub fn look<T>(&self, look: impl FnOnce(&Graph) -> T) -> T {
        look(&self.graph.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What `edit` makes of the graph.
    pub fn edit<T>(&self, edit: impl FnOnce(&mut Graph) -> T) -> T {
        edit(&mut self.graph.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// The answer: of `topology`, or of the past when the query asks for it. It may take a
    /// second.
    pub fn answer(&self, query: &Query, topology: &Topology) -> Result<Answer, QueryError> {
        let begun = self.clock.now();
        let past = self.look(|graph| query.recall(graph, begun))?;
        let ground = past.as_ref().map_or(Ground::Now(topology), Ground::Past);
        let expired = || self.clock.now().since(begun) > QUERY_TIME;
        query.run(ground, &self.flows, &Limits::default(), &expired)
    }

    /// The nodes of the answer, those of paths included.
    pub fn nodes(&self, query: &Query, topology: &Topology) -> Result<Vec<Arc<Node>>, QueryError> {
        Ok(match self.answer(query, topology)? {
            Answer::Nodes(nodes) => nodes,
            Answer::Paths(paths) => paths.concat(),
            _ => Vec::new(),
        })
    }
}

/// What a query that stands may take.
const QUERY_TIME: Duration = Duration::from_secs(1);

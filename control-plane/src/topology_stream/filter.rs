//! The part of the topology that a client asks for with a query.

use std::sync::Arc;

use sonde_proto::graph::Element;
use tokio::task::spawn_blocking;

use super::TopologyStream;
use super::origins::Origins;
use super::seen::Seen;
use crate::graph::{Past, Topology};
use crate::gremlin::{self, Answer, Ground, Query, QueryError};

/// A part of the topology.
#[derive(Clone, Debug)]
pub struct Filter(Form);

#[derive(Clone, Debug)]
enum Form {
    /// A query whose answer is a graph.
    Query(Arc<Query>),
    /// All but what peers tell of.
    Here(Origins),
}

impl Filter {
    /// What peers are told: what they told is none of it, so that no word comes back.
    pub(super) fn here(origins: Origins) -> Self {
        Self(Form::Here(origins))
    }
}

/// Why a filter shows nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FilterError {
    /// The query is wrong, or costs too much.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The query finds something else than a graph.
    #[error("expected a query for a graph, such as one that ends in SubGraph()")]
    NoGraph,
    /// The daemon stops.
    #[error("the daemon stops")]
    Stopping,
}

/// What a filter looks at.
#[derive(Clone, Debug)]
pub(super) enum Moment {
    Now(Arc<Topology>),
    Then(Arc<Past>),
}

impl TopologyStream {
    /// Reads a filter. That may wait for DNS, and for other queries.
    pub async fn filter(&self, text: String) -> Result<Filter, FilterError> {
        let limits = *self.limits.get();
        let query = self.turn(move || gremlin::parse(&text, &limits)).await??;
        Ok(Filter(Form::Query(Arc::new(query))))
    }

    /// What the filter shows then; everything without one.
    pub(super) async fn look(
        &self,
        filter: Option<&Filter>,
        moment: Moment,
    ) -> Result<Seen, FilterError> {
        let (stream, filter) = (self.clone(), filter.cloned());
        self.turn(move || match (filter, &moment) {
            (Some(Filter(Form::Query(query))), moment) => stream.run(&query, moment),
            (Some(Filter(Form::Here(origins))), moment) => Ok(here(&origins, moment)),
            (None, Moment::Now(topology)) => Ok(Seen::from(&**topology)),
            (None, Moment::Then(past)) => {
                Ok(Seen::new(past.nodes.iter().cloned(), past.edges.iter().cloned()))
            }
        })
        .await?
    }

    fn run(&self, query: &Query, moment: &Moment) -> Result<Seen, FilterError> {
        let ground = match moment {
            Moment::Now(topology) => Ground::Now(topology),
            Moment::Then(past) => Ground::Past(past),
        };
        let clock = &self.asker.clock;
        let begun = clock.now();
        let limits = self.limits.get();
        let expired = || clock.now().since(begun) > limits.time;
        match query.run(ground, &self.asker.flows, &limits, &expired)? {
            Answer::Graph { nodes, edges } => Ok(Seen::new(nodes, edges)),
            _ => Err(FilterError::NoGraph),
        }
    }

    /// Works where it stops nobody, when it is its turn.
    pub(super) async fn turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, FilterError> {
        let turn = self.queries.clone().acquire_owned().await;
        let turn = turn.map_err(|_| FilterError::Stopping)?;
        let done = spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        done.await.map_err(|error| {
            tracing::error!(%error, "a filter failed");
            FilterError::Stopping
        })
    }
}

fn here(origins: &Origins, moment: &Moment) -> Seen {
    let is_here = |element: &Element| !origins.is_replicated(&element.origin);
    let (nodes, edges): (Vec<_>, Vec<_>) = match moment {
        Moment::Now(topology) => {
            (topology.nodes().cloned().collect(), topology.edges().cloned().collect())
        }
        Moment::Then(past) => (past.nodes.clone(), past.edges.clone()),
    };
    Seen::new(
        nodes.into_iter().filter(|node| is_here(node)),
        edges.into_iter().filter(|edge| is_here(&edge.element)),
    )
}

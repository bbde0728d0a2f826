//! Rules that add to the topology: nodes of their own, metadata on nodes, edges between nodes
//! (Skydive API §2.6, §2.7). They follow the graph, and what they did is undone with them.

mod edge;
mod links;
mod marks;
mod node;
mod nodes;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sonde_proto::rule::{EdgeRule, NodeRule};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::asker::Asker;
use crate::graph::Graph;
use crate::resource::Resources;
use crate::store::{Store, StoreError};

pub use edge::Link;
pub use node::NodeAction;

use links::Links;
use marks::Marks;
use nodes::Nodes;

/// All rules. Clones are the same rules.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Those of nodes.
    pub nodes: Resources<NodeRule>,
    /// Those of edges.
    pub edges: Resources<EdgeRule>,
    asker: Asker,
    done: Arc<Mutex<Done>>,
}

/// What the rules did to the graph, and would undo.
#[derive(Debug, Default)]
struct Done {
    nodes: Nodes,
    marks: Marks,
    links: Links,
}

/// Whether a round undid what another party, or another rule, does again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    Calm,
    Contested,
}

impl Rules {
    /// Takes up the rules that `store` keeps, on behalf of the host.
    pub fn open(store: &Store, asker: Asker, host: &str) -> Result<Self, StoreError> {
        let (clock, origin) = (&asker.clock, format!("analyzer.{host}"));
        Ok(Self {
            nodes: Resources::open(store, clock.clone(), origin.clone())?,
            edges: Resources::open(store, clock.clone(), origin)?,
            asker,
            done: Arc::default(),
        })
    }

    /// Follows the rules and the graph until it is dropped.
    pub async fn run(self) {
        let mut events = self.asker.look(Graph::subscribe);
        let (mut nodes, mut edges) = (self.nodes.subscribe(), self.edges.subscribe());
        let mut second = interval(EXPIRY);
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // What was there before the subscriptions.
        let (mut due, mut pause) = (Some(Instant::now()), DEBOUNCE);
        loop {
            tokio::select! {
                // Changes come in crowds, ours among them; the rules look once at each crowd.
                event = events.recv(), if due.is_none() => {
                    if matches!(event, Err(RecvError::Closed)) {
                        return;
                    }
                    due = Some(Instant::now() + pause);
                }
                _ = nodes.changed() => due = Some(Instant::now()),
                _ = edges.changed() => due = Some(Instant::now()),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    due = None;
                    events = events.resubscribe();
                    pause = match self.aside(Self::reconcile).await {
                        Some(Round::Contested) => (pause * 2).min(PATIENCE),
                        _ => DEBOUNCE,
                    };
                }
                _ = second.tick() => {
                    self.aside(Self::expire).await;
                }
            }
        }
    }

    /// Runs what may block where it stops nobody.
    async fn aside<T: Send + 'static>(&self, work: fn(&Self) -> T) -> Option<T> {
        let rules = self.clone();
        let worked = spawn_blocking(move || work(&rules)).await;
        worked.inspect_err(|error| tracing::error!(%error, "rules")).ok()
    }

    fn expire(&self) {
        for expired in [self.nodes.expire(), self.edges.expire()] {
            if let Err(error) = expired {
                tracing::error!(%error, "rules whose time is over stay");
            }
        }
    }

    /// Makes the graph what the rules ask for: first nodes, then what is marked on nodes, then
    /// edges, as each may find what was made before it.
    fn reconcile(&self) -> Round {
        let (nodes, edges) = (self.nodes.entries(), self.edges.entries());
        let done = &mut *self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.nodes.follow(&nodes, &self.asker);
        let rounds =
            [done.marks.follow(&nodes, &self.asker), done.links.follow(&edges, &self.asker)];
        match rounds.contains(&Round::Contested) {
            true => Round::Contested,
            false => Round::Calm,
        }
    }
}

/// Time between two looks for rules whose time is over.
const EXPIRY: Duration = Duration::from_secs(1);

/// How long the first change of a crowd waits for the rest.
const DEBOUNCE: Duration = Duration::from_millis(250);

/// The same at most, when rules are contested: each such round waits for twice as long.
const PATIENCE: Duration = Duration::from_secs(32);

#[cfg(test)]
mod tests;

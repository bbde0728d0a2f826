//! What is told of each change.

use std::sync::Arc;

use sonde_proto::graph::{Edge, Node};

/// A change of the graph.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Event {
    Node(Change<Node>),
    Edge(Change<Edge>),
}

/// What became of an element.
#[derive(Clone, Debug)]
pub enum Change<K> {
    /// It is new.
    Added(Arc<K>),
    /// Its metadata changed.
    Updated {
        /// The revision before.
        before: Arc<K>,
        /// The newest revision.
        after: Arc<K>,
    },
    /// It is gone: its last revision, with the time of its end.
    Deleted(Arc<K>),
}

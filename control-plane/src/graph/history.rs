//! What the graph was: revisions that were replaced or deleted.

use std::fmt;
use std::sync::Arc;

use sonde_proto::graph::{Edge, Node};
use sonde_proto::time::Timestamp;

/// Milliseconds since the epoch; both ends belong to it. A moment is a span of no length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// When it begins; `i64::MIN` for as long ago as is known.
    pub from: i64,
    /// When it ends, not before its begin.
    pub to: i64,
}

/// A revision of a node or an edge. It began at its `updated_at`.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Revision {
    Node(Arc<Node>),
    Edge(Arc<Edge>),
}

/// Where the graph keeps revisions that are no longer the newest.
pub trait History: fmt::Debug + Send + Sync {
    /// Keeps a revision that was the newest until `until`. Calls come in the order of time.
    fn keep(&mut self, revision: Revision, until: Timestamp);

    /// The revisions kept that were the newest at any time in the span, in no order.
    fn recall(&self, span: Span) -> Result<Vec<Revision>, RecallError>;
}

/// The graph as it was in a span: at a moment at most one revision of each element, in a longer
/// span perhaps several.
#[derive(Clone, Debug)]
pub struct Past {
    /// When.
    pub span: Span,
    /// Nodes, in no order.
    pub nodes: Vec<Arc<Node>>,
    /// Edges, in no order.
    pub edges: Vec<Arc<Edge>>,
}

/// Why the past is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecallError {
    /// The graph keeps none.
    #[error("Backend does not support history")]
    NoHistory,
    /// The span begins before what is kept.
    #[error("The history begins at {0} ms, ask for FOREVER to have all of it")]
    Forgotten(i64),
}

impl Span {
    /// Whether what was from `from` until `until` was at any time in the span.
    pub(super) fn meets(self, from: i64, until: i64) -> bool {
        from <= self.to && self.from < until
    }

    /// Whether it is a moment.
    pub fn is_moment(self) -> bool {
        self.from == self.to
    }
}

impl Revision {
    /// When it became the newest, in milliseconds since the epoch.
    pub(super) fn from(&self) -> i64 {
        let (updated, created) = match self {
            Self::Node(node) => (node.updated_at, node.created_at),
            Self::Edge(edge) => (edge.updated_at, edge.created_at),
        };
        updated.or(created).unwrap_or(i64::MIN)
    }
}

//! The graph at a moment.

use std::collections::HashMap;
use std::sync::Arc;

use sonde_proto::graph::{Edge, Node};

/// Nodes and edges by ID, at a moment.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    pub(super) nodes: HashMap<String, Arc<Node>>,
    pub(super) edges: HashMap<String, Arc<Edge>>,
    /// IDs of the edges at each node.
    pub(super) adjacent: HashMap<String, Vec<String>>,
}

impl Topology {
    /// The node of that ID.
    pub fn node(&self, id: &str) -> Option<&Arc<Node>> {
        self.nodes.get(id)
    }

    /// The edge of that ID.
    pub fn edge(&self, id: &str) -> Option<&Arc<Edge>> {
        self.edges.get(id)
    }

    /// All nodes, in no order.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values()
    }

    /// All edges, in no order.
    pub fn edges(&self) -> impl Iterator<Item = &Arc<Edge>> {
        self.edges.values()
    }

    /// How many nodes and edges there are.
    pub fn len(&self) -> usize {
        self.nodes.len() + self.edges.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The edges at a node, both ways, oldest first.
    pub fn edges_at(&self, node: &str) -> impl Iterator<Item = &Arc<Edge>> {
        self.adjacent.get(node).into_iter().flatten().filter_map(|id| self.edges.get(id))
    }

    /// The node whose metadata has `value` as `TID`.
    pub fn node_by_tid(&self, tid: &str) -> Option<&Arc<Node>> {
        self.nodes.values().find(|node| node.text("TID") == tid)
    }
}

//! The graph at a moment.

use std::sync::Arc;

use sonde_proto::graph::{Edge, Node};

use super::ages::ByAge;
use super::elements::Elements;
use super::numbered::Numbered;

/// Nodes and edges at a moment. A copy costs nothing.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    pub(super) nodes: Elements<Node>,
    pub(super) edges: Elements<Edge>,
    /// The edges at each node, by its age: of each its age, and that of the node at its other end.
    pub(super) adjacent: Numbered<ByAge<u64>>,
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

    /// All nodes, oldest first.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values()
    }

    /// All edges, oldest first.
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
        let edges = self.nodes.age(node).into_iter().flat_map(|age| self.links_of(age));
        edges.filter_map(|(edge, _)| self.edges.of_age(edge))
    }

    /// The same, where only ages matter: those of the edges at the node of that age, and of the
    /// nodes at their other ends.
    pub(crate) fn links_of(&self, node: u64) -> impl Iterator<Item = (u64, u64)> {
        self.adjacent.get(node).into_iter().flat_map(ByAge::iter)
    }
}

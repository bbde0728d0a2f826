//! A part of the topology as somebody sees it.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use sonde_proto::graph::{Edge, Node};

use crate::graph::Topology;

/// Nodes and edges by ID.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Seen {
    pub(super) nodes: HashMap<String, Arc<Node>>,
    pub(super) edges: HashMap<String, Arc<Edge>>,
}

/// The same as Skydive writes it, in the order of the IDs.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed<'a> {
    nodes: Vec<&'a Node>,
    edges: Vec<&'a Edge>,
}

impl Seen {
    pub(super) fn new(
        nodes: impl IntoIterator<Item = Arc<Node>>,
        edges: impl IntoIterator<Item = Arc<Edge>>,
    ) -> Self {
        Self {
            nodes: nodes.into_iter().map(|node| (node.id.clone(), node)).collect(),
            edges: edges.into_iter().map(|edge| (edge.id.clone(), edge)).collect(),
        }
    }

    pub(super) fn listed(&self) -> Listed<'_> {
        let mut nodes: Vec<&Node> = self.nodes.values().map(|node| &**node).collect();
        let mut edges: Vec<&Edge> = self.edges.values().map(|edge| &**edge).collect();
        nodes.sort_unstable_by_key(|node| &node.id);
        edges.sort_unstable_by_key(|edge| &edge.id);
        Listed { nodes, edges }
    }
}

impl From<&Topology> for Seen {
    fn from(topology: &Topology) -> Self {
        Self::new(topology.nodes().cloned(), topology.edges().cloned())
    }
}

//! The part of the graph a query stands in: all of it, or what `SubGraph` kept.

use std::collections::HashSet;

use sonde_proto::graph::{Edge, Node};
use std::sync::Arc;

use super::step::Way;
use crate::graph::Topology;

/// The whole graph, or a part of it.
#[derive(Clone, Debug)]
pub(super) struct View<'a> {
    graph: &'a Topology,
    part: Option<Part<'a>>,
}

/// Some nodes, and edges between them.
#[derive(Clone, Debug)]
struct Part<'a> {
    nodes: Vec<&'a Arc<Node>>,
    edges: Vec<&'a Arc<Edge>>,
    edge_ids: HashSet<&'a str>,
}

impl<'a> View<'a> {
    pub(super) fn whole(graph: &'a Topology) -> Self {
        Self { graph, part: None }
    }

    /// The part of those nodes and edges; what comes twice is kept once.
    pub(super) fn part(&self, nodes: Vec<&'a Arc<Node>>, edges: Vec<&'a Arc<Edge>>) -> Self {
        let mut node_ids = HashSet::new();
        let mut edge_ids = HashSet::new();
        let nodes = nodes.into_iter().filter(|node| node_ids.insert(node.id.as_str())).collect();
        let edges = edges.into_iter().filter(|edge| edge_ids.insert(edge.id.as_str())).collect();
        Self { graph: self.graph, part: Some(Part { nodes, edges, edge_ids }) }
    }

    pub(super) fn nodes(&self) -> Box<dyn Iterator<Item = &'a Arc<Node>> + '_> {
        match &self.part {
            None => Box::new(self.graph.nodes()),
            Some(part) => Box::new(part.nodes.iter().copied()),
        }
    }

    pub(super) fn edges(&self) -> Box<dyn Iterator<Item = &'a Arc<Edge>> + '_> {
        match &self.part {
            None => Box::new(self.graph.edges()),
            Some(part) => Box::new(part.edges.iter().copied()),
        }
    }

    pub(super) fn node(&self, id: &str) -> Option<&'a Arc<Node>> {
        match &self.part {
            None => self.graph.node(id),
            Some(part) => part.nodes.iter().copied().find(|node| node.id == id),
        }
    }

    pub(super) fn edge(&self, id: &str) -> Option<&'a Arc<Edge>> {
        match &self.part {
            None => self.graph.edge(id),
            Some(part) => part.edges.iter().copied().find(|edge| edge.id == id),
        }
    }

    /// The edges at a node that lead that way, with the node at their other end.
    pub(super) fn edges_at(
        &self,
        node: &'a Node,
        way: Way,
    ) -> impl Iterator<Item = (&'a Arc<Edge>, &'a Arc<Node>)> {
        self.graph
            .edges_at(&node.id)
            .filter(|edge| {
                let part = self.part.as_ref();
                part.is_none_or(|part| part.edge_ids.contains(edge.id.as_str()))
            })
            .filter_map(move |edge| {
                let down = edge.parent == node.id;
                let other = match way {
                    Way::Out if !down => return None,
                    Way::In if edge.child != node.id => return None,
                    Way::Out => &edge.child,
                    Way::In => &edge.parent,
                    Way::Both if down => &edge.child,
                    Way::Both => &edge.parent,
                };
                Some((edge, self.graph.node(other)?))
            })
    }

    /// The nodes at the ends of an edge: `Out` is the child, `In` the parent.
    pub(super) fn ends(&self, edge: &'a Edge, way: Way) -> impl Iterator<Item = &'a Arc<Node>> {
        let parent = (way != Way::Out).then_some(&edge.parent);
        let child = (way != Way::In).then_some(&edge.child);
        let ids = parent.into_iter().chain(child);
        ids.filter_map(|id| self.graph.node(id))
    }
}

//! What a query stands in: the graph, a part of it that `SubGraph` kept, or what it was.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sonde_proto::graph::{Edge, Node};

use super::call::Made;
use super::lookup::indexed;
use super::predicate::Condition;
use super::step::Way;
use crate::graph::{Kind, Past, Topology};

/// What a query is asked of.
#[derive(Clone, Copy, Debug)]
pub enum Ground<'a> {
    /// The graph as it is; queries with `At` are refused.
    Now(&'a Topology),
    /// The graph as it was, for a query that begins with `At`.
    Past(&'a Past),
    /// What a workflow made, for a query that begins with its call.
    Made(&'a Made),
}

/// Nodes and edges that steps walk.
#[derive(Clone, Debug)]
pub(super) enum View<'a> {
    Whole(&'a Topology),
    Part(Part<'a>),
}

/// Some nodes, and edges between them. Of the past there may be several revisions of each.
#[derive(Clone, Debug, Default)]
pub(super) struct Part<'a> {
    nodes: Vec<&'a Arc<Node>>,
    edges: Vec<&'a Arc<Edge>>,
    nodes_by_id: HashMap<&'a str, Vec<&'a Arc<Node>>>,
    edges_by_id: HashMap<&'a str, Vec<&'a Arc<Edge>>>,
    edges_by_node: HashMap<&'a str, Vec<&'a Arc<Edge>>>,
}

impl<'a> From<&'a Topology> for Ground<'a> {
    fn from(graph: &'a Topology) -> Self {
        Self::Now(graph)
    }
}

impl<'a> View<'a> {
    pub(super) fn of(ground: Ground<'a>) -> Self {
        match ground {
            Ground::Now(graph) => Self::Whole(graph),
            Ground::Past(past) => Self::Part(Part::new(&past.nodes, &past.edges)),
            Ground::Made(made) => Self::Part(Part::new(&made.nodes, &made.edges)),
        }
    }

    /// The part of those nodes and edges; what comes twice is kept once.
    pub(super) fn part(nodes: Vec<&'a Arc<Node>>, edges: Vec<&'a Arc<Edge>>) -> Self {
        Self::Part(Part::new(nodes, edges))
    }

    pub(super) fn nodes(&self) -> Box<dyn Iterator<Item = &'a Arc<Node>> + '_> {
        match self {
            Self::Whole(graph) => Box::new(graph.nodes()),
            Self::Part(part) => Box::new(part.nodes.iter().copied()),
        }
    }

    pub(super) fn edges(&self) -> Box<dyn Iterator<Item = &'a Arc<Edge>> + '_> {
        match self {
            Self::Whole(graph) => Box::new(graph.edges()),
            Self::Part(part) => Box::new(part.edges.iter().copied()),
        }
    }

    /// The nodes that meet one of the conditions, and the others, where an index knows.
    pub(super) fn indexed_nodes<'c>(
        &self,
        conditions: &'c [Condition],
    ) -> Option<(impl Iterator<Item = &'a Arc<Node>> + use<'a>, [&'c [Condition]; 2])> {
        match self {
            Self::Whole(graph) => indexed(Kind::all(graph), conditions),
            Self::Part(_) => None,
        }
    }

    /// The same of edges.
    pub(super) fn indexed_edges<'c>(
        &self,
        conditions: &'c [Condition],
    ) -> Option<(impl Iterator<Item = &'a Arc<Edge>> + use<'a>, [&'c [Condition]; 2])> {
        match self {
            Self::Whole(graph) => indexed(Kind::all(graph), conditions),
            Self::Part(_) => None,
        }
    }

    /// The revisions of the node of that ID.
    pub(super) fn nodes_of(&self, id: &str) -> impl Iterator<Item = &'a Arc<Node>> + '_ {
        let (whole, part) = match self {
            Self::Whole(graph) => (graph.node(id), None),
            Self::Part(part) => (None, part.nodes_by_id.get(id)),
        };
        whole.into_iter().chain(part.into_iter().flatten().copied())
    }

    /// The revisions of the edge of that ID.
    pub(super) fn edges_of(&self, id: &str) -> impl Iterator<Item = &'a Arc<Edge>> + '_ {
        let (whole, part) = match self {
            Self::Whole(graph) => (graph.edge(id), None),
            Self::Part(part) => (None, part.edges_by_id.get(id)),
        };
        whole.into_iter().chain(part.into_iter().flatten().copied())
    }

    /// The edges at a node that lead that way, with the ID of the node at their other end.
    pub(super) fn edges_at(
        &self,
        node: &'a Node,
        way: Way,
    ) -> impl Iterator<Item = (&'a Arc<Edge>, &'a str)> + '_ {
        let (whole, part) = match self {
            Self::Whole(graph) => (Some(graph.edges_at(&node.id)), None),
            Self::Part(part) => (None, part.edges_by_node.get(node.id.as_str())),
        };
        let edges = whole.into_iter().flatten().chain(part.into_iter().flatten().copied());
        edges.filter_map(move |edge| {
            let down = edge.parent == node.id;
            let other = match way {
                Way::Out if !down => return None,
                Way::In if edge.child != node.id => return None,
                Way::Out => &edge.child,
                Way::In => &edge.parent,
                Way::Both if down => &edge.child,
                Way::Both => &edge.parent,
            };
            Some((edge, other.as_str()))
        })
    }

    /// The nodes at the ends of an edge: `Out` is the child, `In` the parent.
    pub(super) fn ends(
        &self,
        edge: &'a Edge,
        way: Way,
    ) -> impl Iterator<Item = &'a Arc<Node>> + '_ {
        let parent = (way != Way::Out).then_some(&edge.parent);
        let child = (way != Way::In).then_some(&edge.child);
        parent.into_iter().chain(child).flat_map(|id| self.nodes_of(id))
    }
}

impl<'a> Part<'a> {
    fn new(
        nodes: impl IntoIterator<Item = &'a Arc<Node>>,
        edges: impl IntoIterator<Item = &'a Arc<Edge>>,
    ) -> Self {
        let mut part = Self::default();
        let mut seen = HashSet::new();
        for node in nodes.into_iter().filter(|node| seen.insert(Arc::as_ptr(node))) {
            part.nodes.push(node);
            part.nodes_by_id.entry(&node.id).or_default().push(node);
        }
        let mut seen = HashSet::new();
        for edge in edges.into_iter().filter(|edge| seen.insert(Arc::as_ptr(edge))) {
            part.edges.push(edge);
            part.edges_by_id.entry(&edge.id).or_default().push(edge);
            part.edges_by_node.entry(&edge.parent).or_default().push(edge);
            if edge.parent != edge.child {
                part.edges_by_node.entry(&edge.child).or_default().push(edge);
            }
        }
        part
    }
}

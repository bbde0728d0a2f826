//! What a query answers, and its JSON (Skydive API §3.8).

use std::sync::Arc;

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::{Number, Value};
use sonde_proto::flow::RawPacket;
use sonde_proto::graph::{Edge, Node};

use super::flow_groups::FlowGroups;
use super::metric_series::MetricSeries;
use crate::flow::LazyFlow;

/// The result of a query. Serializes to Skydive's JSON.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The graph, or a part of it.
    Graph {
        /// Its nodes, in no order.
        nodes: Vec<Arc<Node>>,
        /// Its edges, in no order.
        edges: Vec<Arc<Edge>>,
    },
    /// Nodes, perhaps several times the same.
    Nodes(Vec<Arc<Node>>),
    /// Edges, perhaps several times the same.
    Edges(Vec<Arc<Edge>>),
    /// Paths, each from its start to its target.
    Paths(Vec<Vec<Arc<Node>>>),
    /// Flows.
    Flows(Vec<LazyFlow>),
    /// Field values.
    Values(Vec<Value>),
    /// A count or a sum.
    Number(Number),
    /// One object, or none (`null`).
    Value(Value),
    /// Metrics by ID.
    Metrics(MetricSeries),
    /// Lists of objects by ID, such as sockets.
    Keyed(Vec<(String, Value)>),
    /// Captured packets by the UUID of their flow.
    RawPackets(Vec<(String, Vec<RawPacket>)>),
    /// Flows by what they have in common.
    Groups(FlowGroups),
}

impl Answer {
    /// The nodes, when that is what the query asked for.
    pub fn nodes(&self) -> Option<&[Arc<Node>]> {
        match self {
            Self::Nodes(nodes) => Some(nodes),
            _ => None,
        }
    }

    /// Whether nothing was found. A number is something, 0 too; and so is the graph.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Nodes(nodes) => nodes.is_empty(),
            Self::Edges(edges) => edges.is_empty(),
            Self::Paths(paths) => paths.is_empty(),
            Self::Flows(flows) => flows.is_empty(),
            Self::Values(values) => values.is_empty(),
            Self::Value(value) => value.is_null(),
            Self::Metrics(metrics) => metrics.is_empty(),
            Self::Keyed(lists) => lists.is_empty(),
            Self::RawPackets(packets) => packets.is_empty(),
            Self::Groups(groups) => groups.is_empty(),
            Self::Graph { .. } | Self::Number(_) => false,
        }
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Graph { nodes, edges } => [Whole { nodes, edges }].serialize(out),
            Self::Nodes(nodes) => nodes.serialize(out),
            Self::Edges(edges) => edges.serialize(out),
            Self::Paths(paths) => paths.serialize(out),
            Self::Flows(flows) => flows.serialize(out),
            Self::Values(values) if values.is_empty() => out.serialize_none(),
            Self::Values(values) => values.serialize(out),
            Self::Number(number) => number.serialize(out),
            Self::Value(value) => value.serialize(out),
            Self::Metrics(metrics) => metrics.serialize(out),
            Self::Keyed(lists) => one_object(&Object(lists), lists.is_empty(), out),
            Self::RawPackets(packets) => one_object(&Object(packets), packets.is_empty(), out),
            Self::Groups(groups) => groups.serialize(out),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Whole<'a> {
    nodes: &'a [Arc<Node>],
    edges: &'a [Arc<Edge>],
}

/// A list of one object, or an empty list when there is nothing in it.
pub(super) fn one_object<S: Serializer>(
    object: &impl Serialize,
    is_empty: bool,
    out: S,
) -> Result<S::Ok, S::Error> {
    let objects = usize::from(!is_empty);
    let mut list = out.serialize_seq(Some(objects))?;
    if objects == 1 {
        list.serialize_element(object)?;
    }
    list.end()
}

struct Object<'a, T>(&'a [(String, T)]);

impl<T: Serialize> Serialize for Object<'_, T> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut map = out.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn json(answer: Answer) -> Value {
        serde_json::to_value(answer).unwrap()
    }

    #[test]
    fn nothing_is_written_as_skydive_does() {
        assert_eq!(json(Answer::Nodes(vec![])), json!([]));
        assert_eq!(json(Answer::Flows(vec![])), json!([]));
        assert_eq!(json(Answer::Values(vec![])), Value::Null);
        assert_eq!(json(Answer::Keyed(vec![])), json!([]));
        let graph = Answer::Graph { nodes: vec![], edges: vec![] };
        assert_eq!(json(graph), json!([{"Nodes": [], "Edges": []}]));
    }

    #[test]
    fn a_number_is_bare_and_lists_are_keyed() {
        assert_eq!(json(Answer::Number(4.into())), json!(4));
        let keyed = vec![("a".into(), json!([1])), ("b".into(), json!([2]))];
        assert_eq!(json(Answer::Keyed(keyed)), json!([{"a": [1], "b": [2]}]));
    }
}

//! What indexes answer is what a scan answers, in the same order.

use proptest::prelude::*;
use serde_json::{Value, json};
use sonde_proto::graph::{Edge, Metadata, Node};

use super::super::{Ground, Limits, parse};
use super::NOW;
use crate::graph::{Graph, Past, Span};

/// A change of one of a few elements, so that many meet the same.
#[derive(Clone, Debug)]
enum Step {
    Add(u8, Value),
    Update(u8, Value),
    Delete(u8),
    Join(u8, u8, Value),
    Rename(u8, Value),
    Part(u8),
}

fn metadata() -> impl Strategy<Value = Value> {
    let names = || prop::sample::select(vec!["a", "b", "5", "true"]);
    prop_oneof![
        names().prop_map(|name| json!({"Name": name, "Type": "veth"})),
        names().prop_map(|name| json!({"Name": [name, "c"], "RelationType": name})),
        names().prop_map(|id| json!({"Captures": [{"ID": id}, 7, {"ID": "b"}], "Type": id})),
        Just(json!({"Name": 5, "TID": null, "Captures": {"ID": "a"}})),
        Just(json!({"Name": {"Type": "a"}, "RelationType": ["b", ["a"]]})),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let id = || 0..12_u8;
    prop_oneof![
        3 => (id(), metadata()).prop_map(|(id, metadata)| Step::Add(id, metadata)),
        2 => (id(), metadata()).prop_map(|(id, metadata)| Step::Update(id, metadata)),
        1 => id().prop_map(Step::Delete),
        3 => (id(), id(), metadata()).prop_map(|(a, b, metadata)| Step::Join(a, b, metadata)),
        2 => (id(), metadata()).prop_map(|(id, metadata)| Step::Rename(id, metadata)),
        1 => id().prop_map(Step::Part),
    ]
}

/// Does it, if the graph lets it be done.
fn apply(graph: &mut Graph, step: Step) {
    let object = |value: Value| value.as_object().unwrap().clone();
    let node = |id: u8| format!("n{id}");
    let element =
        |id: String, metadata: Value| Node { id, metadata: object(metadata), ..Node::default() };
    match step {
        Step::Add(id, metadata) => drop(graph.add(element(node(id), metadata), NOW)),
        Step::Update(id, metadata) => {
            graph.update::<Node>(&node(id), NOW, |old: &mut Metadata| *old = object(metadata));
        }
        Step::Delete(id) => drop(graph.delete::<Node>(&node(id), NOW)),
        Step::Join(a, b, metadata) => {
            let element = element(format!("e{a}"), metadata);
            drop(graph.add(Edge { element, parent: node(a), child: node(b) }, NOW));
        }
        Step::Rename(id, metadata) => {
            let id = format!("e{id}");
            graph.update::<Edge>(&id, NOW, |old: &mut Metadata| *old = object(metadata));
        }
        Step::Part(id) => drop(graph.delete::<Edge>(&format!("e{id}"), NOW)),
    }
}

proptest! {
    #[test]
    fn an_index_answers_as_a_scan(steps in prop::collection::vec(step(), 0..60)) {
        let mut graph = Graph::new();
        let mut held = Vec::new();
        for step in steps {
            let ids: Vec<String> = graph.nodes().map(|node| node.id.clone()).collect();
            held.push((graph.snapshot(), ids));
            apply(&mut graph, step);
        }
        for (topology, ids) in &held {
            prop_assert!(topology.nodes().map(|node| &node.id).eq(ids), "it stays as it was");
        }
        // Of what was, nothing is indexed.
        let past = Past {
            span: Span { from: 0, to: 0 },
            nodes: graph.nodes().cloned().collect(),
            edges: graph.edges().cloned().collect(),
        };
        let limits = Limits::default();
        for text in QUERIES {
            let query = parse(text, &limits).unwrap();
            let run = |ground| query.run(ground, &super::store(), &limits, &|| false).unwrap();
            prop_assert_eq!(run(Ground::Now(&graph)), run(Ground::Past(&past)), "{}", text);
        }
    }
}

const QUERIES: [&str; 14] = [
    "G.V().Has('Name', 'a')",
    "G.V().Has('Name', '5')",
    "G.V().Has('Name', 5)",
    "G.V().Has('Name', true)",
    "G.V().Has('Name', Within('c', 'a', 'a'))",
    "G.V().Has('Name', Within('a', 5))",
    "G.V().Has('Name', Within())",
    "G.V().Has('Metadata.Captures.ID', 'b').Limit(2)",
    "G.V().Has('Captures.ID', 'a', 'Type', 'a')",
    "G.V().Has('Type', 'veth', 'Name', Ne('a'))",
    "G.V().Has('TID', '')",
    "G.V().Has('Type', 'veth').Out().Has('Name', 'b')",
    "G.E().Has('RelationType', 'a')",
    "G.E().Has('RelationType', Within('a', 'b')).OutV()",
];

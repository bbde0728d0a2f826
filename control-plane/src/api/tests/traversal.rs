//! Queries over REST find as much as in Skydive.

use std::time::Duration;

use serde_json::{Value, json};
use sonde_proto::graph::Node;

use super::{World, node, query};
use crate::graph::{Graph, HistoryLimits, MemoryHistory};
use crate::gremlin::Limits;
use crate::gremlin::tests::{graph, ring};

async fn holds(graph: Graph, cases: &str) {
    let world = World::new();
    *world.state.graph.write().unwrap() = graph;
    for case in cases.lines().filter(|line| !line.starts_with('#')) {
        let (expected, text) = case.split_once('\t').unwrap_or_else(|| panic!("no tab: {case}"));
        let got = query(&world, &format!("G.{text}")).await;
        assert_eq!(got.status, 200, "{text}: {}", got.text);
        assert_eq!(size(&got.json()), expected, "{text}");
    }
}

/// In the form of the table.
fn size(answer: &Value) -> String {
    match answer {
        Value::Null => "0".to_owned(),
        Value::Number(number) => format!("={number}"),
        Value::Array(items) => match items.first() {
            Some(Value::Array(path)) if path.iter().all(|node| node["ID"].is_string()) => {
                format!("path {}", path.len())
            }
            _ => items.len().to_string(),
        },
        other => panic!("no size: {other}"),
    }
}

#[tokio::test]
async fn queries_find_as_much_as_in_skydive() {
    holds(ring(), include_str!("traversal.txt")).await;
}

#[tokio::test]
async fn dedup_takes_several_keys() {
    let nodes = [
        ("1", json!({"Name": "aaa", "Type": "intf", "Value": "v1"})),
        ("2", json!({"Name": "bbb", "Type": "intf", "Value": "v1"})),
        ("3", json!({"Name": "aaa", "Type": "veth"})),
        ("4", json!({"Name": "aaa", "Type": "intf"})),
    ];
    let cases = "2\tV().Dedup('Name')\n3\tV().Dedup('Name', 'Type')\n3\tV().Dedup('Value')\n\
                 3\tV().Dedup('Misc', 'Value')";
    holds(graph(&nodes, &[]), cases).await;
}

#[tokio::test]
async fn the_past_is_asked_for() {
    let world = World::new();
    let refused = query(&world, "G.At('-1m').V()").await;
    refused.is_error(400, "Backend does not support history at column 3");
    let limits = HistoryLimits { time: Duration::from_secs(3600), bytes: 1 << 20 };
    let mut graph = Graph::with_history(MemoryHistory::new(limits));
    graph.add(node("eth0", "device", 2), world.state.clock.now()).unwrap();
    world.pass(Duration::from_secs(60));
    graph.delete::<Node>("eth0", world.state.clock.now()).unwrap();
    *world.state.graph.write().unwrap() = graph;
    assert_eq!(query(&world, "G.V().Count()").await.text, "0\n");
    assert_eq!(query(&world, "G.At('-1s').V().Count()").await.text, "1\n");
    let whole = query(&world, "G.At('-1s')").await.json();
    assert_eq!(whole[0]["Nodes"][0]["DeletedAt"], 1_600_000_060_000_u64);
}

#[tokio::test]
async fn what_costs_too_much_is_a_bad_request() {
    let world = World::new();
    let limits = Limits::default();
    let long = format!("G.V('{}')", "x".repeat(limits.text));
    for (text, part) in [
        (long, "The query is longer than 65536 bytes at column 65536"),
        (format!("G{}", ".V()".repeat(limits.steps + 1)), "The query has more than 64 steps"),
        ("G.V().Has('a', Regex('(b{999}){999}'))".into(), "exceeds size limit of 1048576 bytes"),
    ] {
        let got = query(&world, &text).await;
        assert_eq!(got.status, 400);
        assert!(got.text.contains(part), "{}", got.text);
        got.is_plain();
    }
}

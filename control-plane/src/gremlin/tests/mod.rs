//! Queries on a small graph and a few flows.

use std::ops::Deref as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sonde_proto::flow::{Flow, FlowLayer, FlowMetric, FlowProtocol, RawPacket, TransportLayer};
use sonde_proto::graph::{Edge, Node};
use sonde_proto::record::WatchId;
use sonde_proto::time::Timestamp;

use super::{Answer, Limits, QueryError, parse};
use crate::flow_store::{FlowKey, FlowStore, Times};
use crate::graph::Graph;

mod canonical;
mod errors;
mod flows;
mod headlines;
mod indexes;
mod nodes;
mod past;
mod paths;
mod properties;
mod shelves;
mod sockets;

const NOW: Timestamp = Timestamp::from_millis(1_600_000_000_000);

pub(crate) fn graph(nodes: &[(&str, Value)], edges: &[(&str, &str, Value)]) -> Graph {
    let mut graph = Graph::new();
    for (id, metadata) in nodes {
        node(&mut graph, id, metadata.clone());
    }
    for (parent, child, metadata) in edges {
        edge(&mut graph, parent, child, metadata.clone());
    }
    graph
}

fn node(graph: &mut Graph, id: &str, metadata: Value) {
    let metadata = metadata.as_object().unwrap().clone();
    graph.add(Node { id: id.into(), metadata, ..Node::default() }, NOW).unwrap();
}

fn edge(graph: &mut Graph, parent: &str, child: &str, metadata: Value) {
    let edge = Edge {
        element: Node {
            id: format!("{parent}-{child}"),
            metadata: metadata.as_object().unwrap().clone(),
            ..Node::default()
        },
        parent: parent.into(),
        child: child.into(),
    };
    graph.add(edge, NOW).unwrap();
}

/// Four nodes in a ring with a chord.
pub(crate) fn ring() -> Graph {
    let nodes = [
        (
            "n1",
            json!({"Value": 1, "Type": "intf", "Bytes": 1024, "List": ["111", "222"],
                "Map": {"a": 1}}),
        ),
        (
            "n2",
            json!({"Value": 2, "Type": "intf", "Bytes": 2024, "IPV4": ["10.0.0.1", "10.0.1.2"]}),
        ),
        ("n3", json!({"Value": 3, "IPV4": "192.168.0.34/24", "Map": {}, "MTU": 1500})),
        (
            "n4",
            json!({"Value": 4, "Name": "Node4", "Bytes": 4024, "IPV4": "192.168.1.34",
                "Indexes": [5, 6]}),
        ),
    ];
    let edges = [
        ("n1", "n2", json!({"Direction": "Left", "Name": "e1"})),
        ("n2", "n3", json!({"Direction": "Left", "Name": "e2"})),
        ("n3", "n4", json!({"Name": "e3"})),
        ("n1", "n4", json!({"Name": "e4"})),
        ("n1", "n3", json!({"Mode": "Direct", "Name": "e5"})),
    ];
    graph(&nodes, &edges)
}

/// A host with a captured interface, and its peer.
fn hosts() -> Graph {
    let nodes = [
        ("host", json!({"Name": "host", "Type": "host", "TID": "T0"})),
        (
            "eth0",
            json!({"Name": "eth0", "Type": "device", "TID": "T1", "MAC": "0a:00:00:00:00:01"}),
        ),
        (
            "eth1",
            json!({"Name": "eth1", "Type": "device", "TID": "T2",
                "PeerIntfMAC": "0a:00:00:00:00:02"}),
        ),
    ];
    let owns = json!({"RelationType": "ownership"});
    let edges = [("host", "eth0", owns.clone()), ("host", "eth1", owns)];
    graph(&nodes, &edges)
}

/// Flows 1 to 4; 2 was updated, 3 has a packet, 4 is ARP. Metrics and times grow with the number.
fn store() -> FlowStore {
    let mut store = FlowStore::new(
        100,
        Times {
            hold: Duration::from_secs(60),
            idle: Duration::from_secs(540),
            silence: Duration::from_secs(600),
        },
    );
    for n in 1..=4_u64 {
        let i = n as i64;
        let metric = FlowMetric {
            ab_packets: i,
            ab_bytes: 100 * i,
            start: 1000 * i,
            last: 1000 * i + 10_000,
            ..FlowMetric::default()
        };
        let update =
            FlowMetric { ab_packets: 7, start: 2000, last: 3000, rtt: 9, ..FlowMetric::default() };
        let packet = RawPacket {
            timestamp: 5,
            index: 1,
            data: vec![0xab, 0xcd].into(),
            link_type: 1,
            ..RawPacket::default()
        };
        let (network, transport) = match n {
            4 => (None, None),
            _ => (
                Some(FlowLayer {
                    protocol: FlowProtocol::Ipv4.into(),
                    a: format!("10.0.0.{n}"),
                    b: "10.0.0.2".into(),
                    id: 0,
                }),
                Some(TransportLayer {
                    protocol: FlowProtocol::Tcp.into(),
                    a: 1000 + i,
                    b: 80,
                    id: 0,
                }),
            ),
        };
        let flow = Flow {
            uuid: format!("u{n}"),
            tracking_id: format!("t{}", n.min(2)),
            node_tid: if n == 1 { "T2" } else { "T1" }.into(),
            application: if n == 4 { "ARP" } else { "TCP" }.into(),
            link: Some(FlowLayer {
                protocol: FlowProtocol::Ethernet.into(),
                a: "0a:00:00:00:00:01".into(),
                b: "0a:00:00:00:00:02".into(),
                id: 0,
            }),
            network,
            transport,
            metric: Some(metric),
            last_update_metric: (n == 2).then_some(update),
            last_raw_packets: if n == 3 { vec![packet] } else { vec![] },
            start: i,
            last: 10 * i,
            ..Flow::default()
        };
        let key = FlowKey { watch: WatchId(1), uuid: n };
        store.put(key, Arc::new(flow), false, NOW);
    }
    store
}

fn ask(graph: &Graph, text: &str) -> Result<Answer, QueryError> {
    let limits = Limits::default();
    let query = parse(text, &limits)?;
    query.run(graph.deref(), &store(), &limits, &|| false)
}

fn size(answer: &Answer) -> usize {
    match answer {
        Answer::Nodes(nodes) => nodes.len(),
        Answer::Edges(edges) => edges.len(),
        Answer::Paths(paths) => paths.first().map_or(0, Vec::len),
        Answer::Flows(flows) => flows.len(),
        Answer::Values(values) => values.len(),
        Answer::Number(number) => number.as_u64().unwrap() as usize,
        other => panic!("no size: {other:?}"),
    }
}

fn uuids(text: &str) -> Vec<String> {
    match ask(&hosts(), text) {
        Ok(Answer::Flows(flows)) => flows.iter().map(|flow| flow.flow().uuid.clone()).collect(),
        other => panic!("{text}: {other:?}"),
    }
}

fn names(text: &str) -> Vec<String> {
    let answer = ask(&hosts(), text).unwrap();
    let nodes = answer.nodes().unwrap_or_else(|| panic!("{text}"));
    let mut names: Vec<String> = nodes.iter().map(|n| n.text("Name").to_owned()).collect();
    names.sort();
    names
}

fn value(graph: &Graph, text: &str) -> Value {
    serde_json::to_value(ask(graph, text).unwrap()).unwrap()
}

fn error(graph: &Graph, text: &str) -> String {
    ask(graph, text).expect_err(text).to_string()
}

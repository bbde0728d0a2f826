//! Queries on a small graph and a few flows.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use sonde_proto::flow::{Flow, FlowLayer, FlowMetric, FlowProtocol, TransportLayer};
use sonde_proto::graph::{Edge, Node};
use sonde_proto::record::WatchId;
use sonde_proto::time::Timestamp;

use super::{Answer, Limits, QueryError, parse};
use crate::flow_store::{FlowKey, FlowStore};
use crate::graph::Graph;

const NOW: Timestamp = Timestamp::from_millis(1_600_000_000_000);

fn graph(nodes: &[(&str, Value)], edges: &[(&str, &str, Value)]) -> Graph {
    let mut graph = Graph::new();
    for (id, metadata) in nodes {
        let node = Node {
            id: (*id).into(),
            metadata: metadata.as_object().unwrap().clone(),
            ..Node::default()
        };
        graph.add_node(node, NOW).unwrap();
    }
    for (parent, child, metadata) in edges {
        let edge = Edge {
            id: format!("{parent}-{child}"),
            metadata: metadata.as_object().unwrap().clone(),
            parent: (*parent).into(),
            child: (*child).into(),
            ..Edge::default()
        };
        graph.add_edge(edge, NOW).unwrap();
    }
    graph
}

/// Four nodes in a ring with a chord.
fn ring() -> Graph {
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
        (
            "n3",
            json!({"Value": 3, "IPV4": "192.168.0.34/24", "Map": {}, "MTU": 1500}),
        ),
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

/// Flows 1 to 4; 4 is ARP. Metrics and times grow with the number.
fn store() -> FlowStore {
    let mut store = FlowStore::new(100, Duration::from_secs(60));
    for n in 1..=4_u64 {
        let i = n as i64;
        let metric = FlowMetric {
            ab_packets: i,
            ab_bytes: 100 * i,
            ..FlowMetric::default()
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
            start: i,
            last: 10 * i,
            ..Flow::default()
        };
        let key = FlowKey {
            watch: WatchId(1),
            uuid: n,
        };
        store.put(key, Arc::new(flow), false, NOW);
    }
    store
}

fn ask(graph: &Graph, text: &str) -> Result<Answer, QueryError> {
    parse(text)?.run(graph, &store(), &Limits::default())
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
        Ok(Answer::Flows(flows)) => flows.iter().map(|flow| flow.uuid.clone()).collect(),
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

fn json(graph: &Graph, text: &str) -> Value {
    serde_json::to_value(ask(graph, text).unwrap()).unwrap()
}

fn error(graph: &Graph, text: &str) -> String {
    ask(graph, text).expect_err(text).to_string()
}

#[test]
fn queries_find_as_much_as_in_skydive() {
    let cases = [
        ("V().Has('Value', 1)", 1),
        ("V().HasEither('Type', 'intf', 'Name', 'Node4')", 3),
        ("V().HasEither('Bytes', 1024, 'Bytes', 2024)", 2),
        ("V().Has('Indexes', 6)", 1),
        ("V().Count()", 4),
        (
            "V().Has('Value', 1).Out().Has('Value', 2).OutE().Has('Direction', 'Left').OutV().Out()",
            1,
        ),
        ("V().Has('Type')", 2),
        ("V().Out().Has('Value', 4).Dedup()", 1),
        ("V().Out().Has('Value', 4)", 2),
        ("E().Dedup('Direction')", 4),
        ("V().Has('Value', Within(1, 2, 4))", 3),
        ("V().Has('Value', Within(1.0, 2.0, 4.0))", 3),
        ("V().Has('Value', Lt(3))", 2),
        ("V().Has('Value', Lte(3))", 3),
        ("V().Has('Value', Gt(3))", 1),
        ("V().Has('Value', Gte(3))", 2),
        ("V().Has('Value', Inside(1, 4))", 2),
        ("V().Has('Value', Between(1, 4))", 3),
        ("V().Has('Value', Ne(1))", 3),
        ("V().Has('MTU', Ne(1200))", 1),
        ("V().Has('Unknown', Ne(''))", 0),
        ("V().Has('MTU', Nee(1200))", 4),
        ("V().Has('Unknown', Nee(''))", 4),
        ("V().HasKey('Name')", 1),
        ("V().HasNot('Name')", 3),
        ("V().Has('Name', Regex('.*ode.*'))", 1),
        ("V().Has('IPV4', Ipv4Range('192.168.0.0/24'))", 1),
        ("V().Has('IPV4', Ipv4Range('192.168.0.0/16'))", 2),
        ("V().Has('IPV4', Ipv4Range('192.168.0.77/26'))", 0),
        ("V().Has('IPV4', Ipv4Range('192.168.2.0/24'))", 0),
        ("V().Has('Value', 2).Both()", 2),
        ("V().Has('List', '222')", 1),
        ("V().Has('Metadata.Map.a', 1)", 1),
        ("V('n3')", 1),
        ("V('n3').Both('Value', Gt(1))", 2),
        ("E('n1-n2')", 1),
        ("V('n1').OutE('Mode', 'Direct').OutV()", 1),
        ("V('n1').InE()", 0),
        ("V('n3').BothE()", 3),
        ("E().Has('Name', 'e3').BothV()", 2),
        ("E().Has('Name', 'e3').InV().Has('@ID', 'n3')", 1),
        ("E().Has('Parent', 'n1')", 3),
        ("V().Values('Type')", 2),
        ("V().Values('Map')", 1),
        ("V().Limit(1)", 1),
        ("V().Limit(0)", 0),
        ("V().Range(1, 3)", 2),
        ("V().Range(3, 1)", 0),
        ("V().Sum('Value')", 10),
        ("g.v().has(\"Value\" 1)", 1),
    ];
    let graph = ring();
    for (text, expected) in cases {
        let text = if text.starts_with("g.") {
            text.to_owned()
        } else {
            format!("G.{text}")
        };
        let answer = ask(&graph, &text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(size(&answer), expected, "{text}");
    }
}

#[test]
fn dedup_takes_several_keys() {
    let nodes = [
        ("1", json!({"Name": "aaa", "Type": "intf", "Value": "v1"})),
        ("2", json!({"Name": "bbb", "Type": "intf", "Value": "v1"})),
        ("3", json!({"Name": "aaa", "Type": "veth"})),
        ("4", json!({"Name": "aaa", "Type": "intf"})),
    ];
    let graph = graph(&nodes, &[]);
    for (keys, expected) in [
        ("'Name'", 2),
        ("'Name', 'Type'", 3),
        ("'Value'", 3),
        ("'Misc', 'Value'", 3),
    ] {
        let answer = ask(&graph, &format!("G.V().Dedup({keys})")).unwrap();
        assert_eq!(size(&answer), expected, "{keys}");
    }
}

#[test]
fn a_window_waits_for_the_filter_behind_it() {
    let graph = ring();
    assert_eq!(json(&graph, "G.V().Limit(1).Has('Value', 4).Count()"), 1);
    // The second `Has` is not part of the first step.
    let two = "G.V().Sort('Value').Has('Value', Gt(0)).Limit(1).Has('Value', 4).Count()";
    assert_eq!(json(&graph, two), 0);
}

#[test]
fn dedup_counts_what_goes_into_its_window() {
    let text = "G.V().Sort('Type').Has('Type').Dedup('Type').Limit(2).Count()";
    assert_eq!(json(&ring(), text), 1);
}

#[test]
fn nodes_sort_by_metadata() {
    let values = json(&ring(), "G.V().Sort(DESC, 'Value').Values('Value')");
    assert_eq!(values, json!([4, 3, 2, 1]));
    // Those without the key come last, either way.
    let values = json(&ring(), "G.V().Sort(DESC, 'Bytes').Values('Value')");
    assert_eq!(values, json!([4, 2, 1, 3]));
    let values = json(&ring(), "G.V().Sort('Bytes').Values('Value')");
    assert_eq!(values, json!([1, 2, 4, 3]));
}

#[test]
fn values_are_json() {
    let graph = ring();
    assert_eq!(json(&graph, "G.V('n4').Values('Indexes')"), json!([[5, 6]]));
    assert_eq!(json(&graph, "G.V().Values('Unknown')"), Value::Null);
    assert_eq!(
        json(&graph, "G.V('n1').ValueMap('Value', 'Type', 'Unknown')"),
        json!([{"Value": 1, "Type": "intf"}])
    );
    assert_eq!(
        json(&graph, "G.V('n1').Keys()"),
        json!([
            "@CreatedAt",
            "@DeletedAt",
            "@Host",
            "@ID",
            "@Origin",
            "@Revision",
            "@UpdatedAt",
            "Bytes",
            "List",
            "Map",
            "Map.a",
            "Type",
            "Value"
        ])
    );
    assert_eq!(json(&graph, "G")[0]["Nodes"].as_array().unwrap().len(), 4);
    assert_eq!(json(&graph, "G")[0]["Edges"].as_array().unwrap().len(), 5);
}

#[test]
fn has_filters_lists_of_objects() {
    let neighbours = json!({"Neighbors": [{"MAC": "a", "IP": "1"}, {"MAC": "b", "IP": "2"}]});
    let graph = graph(&[("n", neighbours)], &[]);
    assert_eq!(
        json(&graph, "G.V().Values('Neighbors').Has('MAC', 'b')"),
        json!([{"MAC": "b", "IP": "2"}])
    );
    assert_eq!(
        json(&graph, "G.V().Values('Neighbors.MAC')"),
        json!([["a", "b"]])
    );
}

#[test]
fn flows_are_filtered_by_their_fields() {
    for (filter, expected) in [
        ("'Network', '10.0.0.2'", &["u1", "u2", "u3"][..]),
        ("'Network', '10.0.0.3'", &["u3"]),
        ("'Network', Ne('10.0.0.1')", &["u2", "u3"]),
        ("'Network', Nee('10.0.0.1')", &["u2", "u3", "u4"]),
        ("'Network.A', Ipv4Range('10.0.0.2/31')", &["u2", "u3"]),
        ("'Transport', 80, 'Network.A', '10.0.0.1'", &["u1"]),
        ("'Transport.A', '1003'", &["u3"]),
        ("'TCP.A', 1003", &["u3"]),
        ("'Transport.Protocol', 'TCP'", &["u1", "u2", "u3"]),
        ("'Metric.ABBytes', Gt(250)", &["u3", "u4"]),
        ("'Application', Regex('A.*')", &["u4"]),
        ("'NodeTID', Within('T2', 'T9')", &["u1"]),
        ("'Link', '0a:00:00:00:00:02', 'Last', Lt(20)", &["u1"]),
        ("'Unknown', 'x'", &[]),
    ] {
        assert_eq!(
            uuids(&format!("G.Flows({filter}).Sort()")),
            expected,
            "{filter}"
        );
        assert_eq!(
            uuids(&format!("G.Flows().Has({filter}).Sort()")),
            expected,
            "{filter}"
        );
    }
    let either = "G.Flows().HasEither('UUID', 'u1', 'UUID', 'u4').Sort()";
    assert_eq!(uuids(either), ["u1", "u4"]);
}

#[test]
fn flows_of_nodes_are_those_captured_there() {
    assert_eq!(
        uuids("G.V().Has('Name', 'eth0').Flows().Sort()"),
        ["u2", "u3", "u4"]
    );
    assert_eq!(uuids("G.V().Flows('UUID', 'u1')"), ["u1"]);
    // A host is nothing to capture on.
    assert!(uuids("G.V('host').Flows()").is_empty());
}

#[test]
fn flow_steps_run_in_a_fixed_order() {
    assert_eq!(uuids("G.Flows().Limit(2).Sort(DESC)"), ["u4", "u3"]);
    assert_eq!(uuids("G.Flows().Range(1, 3).Sort('Start')"), ["u2", "u3"]);
    assert_eq!(
        uuids("G.Flows().Limit(1).Sort().Has('Application', 'ARP')"),
        ["u4"]
    );
    assert_eq!(
        uuids("G.Flows().Dedup().Sort(DESC, 'Metric.ABBytes')"),
        ["u4", "u1"]
    );
    assert_eq!(uuids("G.Flows().Dedup().Limit(1).Sort(DESC)"), ["u4"]);
    assert_eq!(uuids("G.Flows().Dedup('Network.A').Sort()").len(), 4);
    // Only one window is part of `Flows`.
    assert_eq!(uuids("G.Flows().Sort().Limit(3).Limit(1)"), ["u1"]);
    assert_eq!(
        uuids("G.Flows().Sort().Limit(2).Limit(2).Has('UUID', 'u3')").len(),
        0
    );
}

#[test]
fn flows_give_values() {
    let graph = hosts();
    assert_eq!(json(&graph, "G.Flows().Count()"), 4);
    assert_eq!(json(&graph, "G.Flows().Sum('Metric.ABBytes')"), 1000);
    assert_eq!(
        json(&graph, "G.Flows().Sort().Values('Start')"),
        json!([1, 2, 3, 4])
    );
    let ports = "G.Flows('Transport', 80).Sort().Values('Transport.A')";
    assert_eq!(json(&graph, ports), json!([1001, 1002, 1003]));
    let metric = "G.Flows('UUID', 'u1').Values('Metric')";
    assert_eq!(
        json(&graph, metric),
        json!([{"ABPackets": 1, "ABBytes": 100, "BAPackets": 0, "BABytes": 0, "Start": 0,
            "Last": 0}])
    );
    assert_eq!(
        json(&graph, "G.Flows('UUID', 'u9').Values('UUID')"),
        Value::Null
    );
    assert_eq!(json(&graph, "G.Flows('UUID', 'u9').Keys()"), Value::Null);
    assert_eq!(json(&graph, "G.Flows().Keys()")[0], "UUID");
    assert!(error(&graph, "G.Flows().Values('Network.A')").starts_with("Field not found"));
    assert!(error(&graph, "G.Flows().Values('Nonsense')").starts_with("Field not found"));
}

#[test]
fn errors_say_what_and_where() {
    let graph = ring();
    for (text, expected) in [
        ("", "found \"\", expected `G` at column 1"),
        ("x.V()", "found \"x\", expected `G` at column 1"),
        ("G()", "found \"(\", expected `.` at column 2"),
        ("G V()", "found \"V\", expected `.` at column 3"),
        ("G.V", "Expected left parenthesis, got:  at column 4"),
        ("G.", "Expected left parenthesis, got:  at column 3"),
        ("G.V)", "Expected left parenthesis, got: ) at column 4"),
        (
            "G.V(",
            "Expected right parenthesis at column 5, got the end of the query",
        ),
        (
            "G.V().Foo()",
            "Expected step function, got: Foo at column 7, \
             expected a step such as V, E, Has, Out or Flows",
        ),
        (
            "G.Workflow('x')",
            "Expected step function, got: Workflow at column 3, \
             expected a step such as V, E, Has, Out or Flows",
        ),
        (
            "G.V().Has('a', outside(1, 2))",
            "Unexpected token while parsing parameters, got: outside at column 16, \
             expected a string, a number, a predicate or `)`",
        ),
        (
            "G.V().Has('a', -1)",
            "Unexpected token while parsing parameters, got: - at column 16, \
             expected a string, a number, a predicate or `)`",
        ),
        (
            "G.V().Limit(1.2.3)",
            "Expected number token, got: 1.2.3 at column 13, expected an integer or a decimal",
        ),
        (
            "G.V('a', 'b')",
            "V accepts at most one parameter : [a b] at column 3",
        ),
        ("G.V(1)", "V parameter must be a string : [1] at column 3"),
        ("G.V('n9')", "Node 'n9' does not exist at column 3"),
        ("G.E('n9')", "Edge 'n9' does not exist at column 3"),
        (
            "G.V().Has()",
            "At least one parameter must be provided at column 7",
        ),
        ("G.V().Has(1)", "Key must be a string at column 7"),
        (
            "G.V().Has('a', 1, 'b')",
            "params should be a list of key,value at column 7",
        ),
        (
            "G.V().Has(1, 2)",
            "keys should be of string type at column 7",
        ),
        (
            "G.V().HasKey('a', 'b')",
            "HasKey accepts only one parameter of type string : [a b] at column 7",
        ),
        (
            "G.V().Count('a')",
            "Count accepts no parameter : [a] at column 7",
        ),
        (
            "G.V().Range(1)",
            "Range requires 2 parameters : [1] at column 7",
        ),
        (
            "G.V().Limit()",
            "Limit requires 1 parameter : [] at column 7",
        ),
        (
            "G.V().Limit('a')",
            "Limit parameter has to be a positive number : [a] at column 7",
        ),
        (
            "G.V().Sort(1, 'a')",
            "Use ASC or DESC predicate : [1 a] at column 7",
        ),
        (
            "G.V().Sort(1)",
            "Sort parameter has to be a string key : [1] at column 7",
        ),
        (
            "G.V().Sort(ASC, 'a', 'b')",
            "Sort accepts 1 predicate and 1 string parameter : [ASC a b] at column 7",
        ),
        (
            "G.V().Values()",
            "Values requires 1 parameter : [] at column 7",
        ),
        (
            "G.V().Has('a', Lt('b'))",
            "LT values should be of int64 type at column 16",
        ),
        (
            "G.V().Has('a', Lt(1, 2))",
            "One parameter expected with LT: [1 2] at column 16",
        ),
        (
            "G.V().Has('a', Inside(1))",
            "Two parameters expected with INSIDE: [1] at column 16",
        ),
        (
            "G.V().Has('a', Regex(1))",
            "REGEX predicate expects a string as parameter, got: 1 at column 16",
        ),
        (
            "G.V().Has('a', Regex('^a'))",
            "Regex are anchored by default, ^ and $ don't have to be provided at column 16",
        ),
        (
            "G.V().Has('a', Ipv4Range(1))",
            "Ipv4Range value has to be a string at column 16",
        ),
        (
            "G.V().V()",
            "Error while executing the query at column 7, \
             the step cannot follow the one before it",
        ),
        (
            "G.Has('a', 1)",
            "Invalid step 'Has' on '*traversal.GraphTraversal' at column 3",
        ),
        (
            "G.Flows('a')",
            "At least two parameters must be provided at column 3",
        ),
        (
            "G.Flows().Has('a')",
            "At least two parameters must be provided at column 11",
        ),
        (
            "G.Flows().Sum('Start')",
            "Sum accepts only sub fields of Metric and LastUpadteMetric at column 11",
        ),
        (
            "G.At('-1m').V()",
            "Backend does not support history at column 3",
        ),
        (
            "G.At(NOW, FOREVER)",
            "Backend does not support history at column 3",
        ),
        (
            "G.Context(1600000000, 60).Flows()",
            "No storage backend has been configured at column 3",
        ),
        (
            "G.At()",
            "At least one parameter must be provided to 'Context' at column 3",
        ),
        (
            "G.At(1, 2, 3)",
            "At most two parameters must be provided to 'Context' at column 3",
        ),
        (
            "G.At('noon')",
            "Time must be in RFC1123 or in Go Duration format at column 3",
        ),
        (
            "G.At(true)",
            "Key 'Context' must be either an integer or a string at column 3",
        ),
    ] {
        assert_eq!(error(&graph, text), expected, "{text}");
    }
    assert_eq!(parse("G.V().\nFoo()").unwrap_err().position(), 8);
}

#[test]
fn limits_are_errors() {
    let graph = ring();
    let run = |text: &str, limits: Limits<'_>| {
        let answer = parse(text).unwrap().run(&graph, &store(), &limits);
        answer.map_err(|error| error.to_string())
    };
    let limits = Limits::default();
    let steps = Limits { steps: 2, ..limits };
    assert!(run("G.V().Out()", steps).is_ok());
    let error = run("G.V().Out().Out()", steps).unwrap_err();
    assert_eq!(error, "The query has more than 2 steps at column 13");
    let visited = Limits {
        visited: 4,
        ..limits
    };
    assert!(run("G.V()", visited).is_ok());
    let error = run("G.V().Out()", visited).unwrap_err();
    assert_eq!(error, "The query looks at more than 4 elements at column 7");
    let error = run(
        "G.Flows().Count()",
        Limits {
            visited: 3,
            ..limits
        },
    )
    .unwrap_err();
    assert_eq!(error, "The query looks at more than 3 elements at column 3");
    // A limit stops before the bound.
    assert!(
        run(
            "G.Flows().Limit(3)",
            Limits {
                visited: 3,
                ..limits
            }
        )
        .is_ok()
    );
    let results = Limits {
        results: 3,
        ..limits
    };
    assert!(run("G.V().Limit(3)", results).is_ok());
    let error = run("G.V()", results).unwrap_err();
    assert_eq!(
        error,
        "The query has more than 3 results, use Limit at column 3"
    );
    let expired = Limits {
        expired: &|| true,
        ..limits
    };
    let error = run("G.V()", expired).unwrap_err();
    assert_eq!(error, "The query takes too long at column 3");
}

#[test]
fn only_flow_queries_read_flows() {
    assert!(parse("G.V().Flows().Count()").unwrap().reads_flows());
    assert!(!parse("G.V().Out()").unwrap().reads_flows());
}

/// Words of the language put together at random; about half of the texts are queries.
fn texts() -> impl Strategy<Value = String> {
    let value = prop::sample::select(vec![
        "'Name'",
        "\"eth0\"",
        "7",
        "1.5",
        "99999999999999999999",
        "true",
        "Within('a', 2.5)",
        "Without()",
        "Lt(3)",
        "Inside(1, 2)",
        "Ne(false)",
        "Regex('a|b.*')",
        "Ipv4Range('10.0.0.0/8')",
        "DESC",
        "ASC",
        "NOW",
        "FOREVER",
        "Metadata('a', Gt(1))",
        "'-1m'",
        "'10.0.0.1'",
        "(",
        "outside",
    ]);
    let name = prop::sample::select(vec![
        "V",
        "E",
        "Has",
        "HasKey",
        "HasNot",
        "HasEither",
        "Out",
        "InE",
        "BothV",
        "Dedup",
        "Count",
        "Limit",
        "Range",
        "Sort",
        "Values",
        "ValueMap",
        "Keys",
        "Sum",
        "As",
        "Select",
        "At",
        "ShortestPathTo",
        "SubGraph",
        "Descendants",
        "Neighbors",
        "NextHop",
        "Flows",
        "Nodes",
        "Hops",
        "Metrics",
        "Aggregates",
        "Group",
        "MoreThan",
        "RawPackets",
        "Sockets",
        "Foo",
    ]);
    let step = (name, prop::collection::vec(value, 0..4))
        .prop_map(|(name, values)| format!("{name}({})", values.join(", ")));
    prop::collection::vec(step, 0..4).prop_map(|steps| {
        let steps: String = steps.iter().map(|step| format!(".{step}")).collect();
        format!("G{steps}")
    })
}

proptest! {
    #[test]
    fn printed_queries_parse_to_the_same(text in texts()) {
        if let Ok(query) = parse(&text) {
            let printed = query.to_string();
            prop_assert_eq!(parse(&printed), Ok(query), "{}", printed);
        }
    }

    #[test]
    fn queries_answer_or_say_why(text in texts()) {
        if let Ok(answer) = ask(&hosts(), &text) {
            prop_assert!(serde_json::to_string(&answer).is_ok());
        }
    }

    #[test]
    fn any_text_parses_or_says_where(text in any::<String>()) {
        if let Err(error) = parse(&text) {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.position()));
        }
    }

    #[test]
    fn any_text_of_the_alphabet_parses_or_says_where(text in "[GVHas().,'\"0-9 ]{0,40}") {
        if let Err(error) = parse(&text) {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.position()));
        }
    }
}

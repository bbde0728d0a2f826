//! Flows, and what is made of them.

use serde_json::{Value, json};

use super::super::{Limits, parse};
use super::{error, graph, hosts, names, uuids, value};

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
        assert_eq!(uuids(&format!("G.Flows({filter}).Sort()")), expected, "{filter}");
        assert_eq!(uuids(&format!("G.Flows().Has({filter}).Sort()")), expected, "{filter}");
    }
    let either = "G.Flows().HasEither('UUID', 'u1', 'UUID', 'u4').Sort()";
    assert_eq!(uuids(either), ["u1", "u4"]);
}

#[test]
fn flows_of_nodes_are_those_captured_there() {
    assert_eq!(uuids("G.V().Has('Name', 'eth0').Flows().Sort()"), ["u2", "u3", "u4"]);
    assert_eq!(uuids("G.V().Flows('UUID', 'u1')"), ["u1"]);
    // A host is nothing to capture on.
    assert!(uuids("G.V('host').Flows()").is_empty());
}

#[test]
fn flow_steps_run_in_a_fixed_order() {
    assert_eq!(uuids("G.Flows().Limit(2).Sort(DESC)"), ["u4", "u3"]);
    assert_eq!(uuids("G.Flows().Range(1, 3).Sort('Start')"), ["u2", "u3"]);
    assert_eq!(uuids("G.Flows().Limit(1).Sort().Has('Application', 'ARP')"), ["u4"]);
    assert_eq!(uuids("G.Flows().Dedup().Sort(DESC, 'Metric.ABBytes')"), ["u4", "u1"]);
    assert_eq!(uuids("G.Flows().Dedup().Limit(1).Sort(DESC)"), ["u4"]);
    assert_eq!(uuids("G.Flows().Dedup('Network.A').Sort()").len(), 4);
    // Only one window is part of `Flows`.
    assert_eq!(uuids("G.Flows().Sort().Limit(3).Limit(1)"), ["u1"]);
    assert_eq!(uuids("G.Flows().Sort().Limit(2).Limit(2).Has('UUID', 'u3')").len(), 0);
}

#[test]
fn flows_give_values() {
    let graph = hosts();
    assert_eq!(value(&graph, "G.Flows().Count()"), 4);
    assert_eq!(value(&graph, "G.Flows().Sum('Metric.ABBytes')"), 1000);
    assert_eq!(value(&graph, "G.Flows().Sort().Values('Start')"), json!([1, 2, 3, 4]));
    let ports = "G.Flows('Transport', 80).Sort().Values('Transport.A')";
    assert_eq!(value(&graph, ports), json!([1001, 1002, 1003]));
    let metric = "G.Flows('UUID', 'u1').Values('Metric')";
    assert_eq!(
        value(&graph, metric),
        json!([{"ABPackets": 1, "ABBytes": 100, "BAPackets": 0, "BABytes": 0, "Start": 1000,
            "Last": 11000}])
    );
    assert_eq!(value(&graph, "G.Flows('UUID', 'u9').Values('UUID')"), Value::Null);
    assert_eq!(value(&graph, "G.Flows('UUID', 'u9').Keys()"), Value::Null);
    assert_eq!(value(&graph, "G.Flows().Keys()")[0], "UUID");
    assert!(error(&graph, "G.Flows().Values('Network.A')").starts_with("Field not found"));
    assert!(error(&graph, "G.Flows().Values('Nonsense')").starts_with("Field not found"));
}

#[test]
fn only_flow_queries_read_flows() {
    let limits = Limits::default();
    assert!(parse("G.V().Flows().Count()", &limits).unwrap().reads_flows());
    assert!(!parse("G.V().Out()", &limits).unwrap().reads_flows());
}

#[test]
fn pages_put_together_are_the_whole() {
    for sort in ["Sort()", "Sort(DESC, 'NodeTID')", "Sort('Network.A')"] {
        let whole = uuids(&format!("G.Flows().{sort}"));
        assert_eq!(whole.len(), 4);
        for cut in 0..=4 {
            let mut pages = uuids(&format!("G.Flows().{sort}.Limit({cut})"));
            pages.extend(uuids(&format!("G.Flows().{sort}.Range({cut}, 4)")));
            assert_eq!(pages, whole, "{sort} {cut}");
        }
    }
    // Flows without the field come last, either way.
    assert_eq!(uuids("G.Flows().Sort('Network.A')").last().unwrap(), "u4");
    assert_eq!(uuids("G.Flows().Sort(DESC, 'Network.A')").last().unwrap(), "u4");
}

#[test]
fn flows_lead_to_nodes() {
    assert_eq!(names("G.Flows('UUID', 'u1').CaptureNode()"), ["eth1"]);
    assert_eq!(names("G.Flows().Hops()"), ["eth0", "eth0", "eth0", "eth1"]);
    assert_eq!(names("G.Flows().Hops('Name', 'eth1')"), ["eth1"]);
    assert_eq!(names("G.Flows('UUID', 'u2').In()"), ["eth0"]);
    assert_eq!(names("G.Flows('UUID', 'u2').Out()"), ["eth1"]);
    assert_eq!(names("G.Flows('UUID', 'u2').Both()"), ["eth0", "eth1"]);
    assert_eq!(names("G.Flows('UUID', 'u2').Both('Name', 'eth1')"), ["eth1"]);
    assert_eq!(names("G.Flows('UUID', 'u1').Nodes()"), ["eth0", "eth1", "eth1"]);
    assert_eq!(names("G.Flows().Nodes().Dedup()"), ["eth0", "eth1"]);
}

#[test]
fn flows_group_by_tracking_id() {
    let graph = hosts();
    let groups = value(&graph, "G.Flows().Sort().Group()");
    assert_eq!(groups[0].as_object().unwrap().len(), 2);
    assert_eq!(groups[0]["t2"][2]["UUID"], "u4");
    let groups = value(&graph, "G.Flows().Group().MoreThan()");
    assert_eq!(groups[0].as_object().unwrap().len(), 1);
    assert_eq!(value(&graph, "G.Flows('UUID', 'u1').Group().MoreThan()"), json!([]));
}

#[test]
fn packets_are_those_the_flow_keeps() {
    let expected = json!([{"u3": [{"Timestamp": 5, "Index": 1, "Data": "q80=", "LinkType": 1}]}]);
    assert_eq!(value(&hosts(), "G.Flows().RawPackets()"), expected);
    assert_eq!(value(&hosts(), "G.Flows('UUID', 'u1').RawPackets()"), json!([]));
}

#[test]
fn flows_have_metrics() {
    let graph = hosts();
    let first = json!({"ABPackets": 1, "ABBytes": 100, "BAPackets": 0, "BABytes": 0,
        "Start": 1000, "Last": 11000});
    assert_eq!(value(&graph, "G.Flows('UUID', 'u1').Metrics()"), json!([{"u1": [first]}]));
    // The last update where there was one.
    let update = json!({"ABPackets": 7, "ABBytes": 0, "BAPackets": 0, "BABytes": 0,
        "Start": 2000, "Last": 3000, "RTT": 9});
    assert_eq!(value(&graph, "G.Flows('UUID', 'u2').Metrics()"), json!([{"u2": [update]}]));
    let sum = json!({"ABPackets": 15, "ABBytes": 800, "BAPackets": 0, "BABytes": 0,
        "Start": 1000, "Last": 14000, "RTT": 9});
    assert_eq!(value(&graph, "G.Flows().Metrics().Sum()"), sum);
    assert_eq!(value(&graph, "G.Flows().Metrics().Sum('ABBytes')"), 800);
    assert_eq!(value(&graph, "G.Flows().Metrics().Count()"), 4);
    assert_eq!(value(&graph, "G.Flows().Metrics().Keys()")[4], "Start");
    assert_eq!(value(&graph, "G.Flows('UUID', 'u9').Metrics()"), json!([]));
    assert_eq!(value(&graph, "G.Flows('UUID', 'u9').Metrics().Sum()"), Value::Null);
    let unknown = error(&graph, "G.V().Metrics('Foo')");
    assert_eq!(unknown, "Metric field unknown : [Foo] at column 7");
}

#[test]
fn slices_share_out_a_flow_without_loss() {
    // Ten seconds in slices of three: what is rounded off goes on to the next slice.
    let slices = value(&hosts(), "G.Flows('UUID', 'u3').Metrics().Aggregates(3)");
    let slice = |packets: i64, bytes: i64, start: i64, last: i64| {
        json!({"ABPackets": packets, "ABBytes": bytes, "BAPackets": 0, "BABytes": 0,
            "Start": start, "Last": last})
    };
    let expected = json!([{"Aggregated": [
        slice(0, 90, 3000, 6000), slice(1, 90, 6000, 9000), slice(1, 90, 9000, 12000),
        slice(1, 30, 12000, 13000)
    ]}]);
    assert_eq!(slices, expected);
    let whole = value(&hosts(), "G.Flows('UUID', 'u3').Metrics().Aggregates()");
    assert_eq!(whole, json!([{"Aggregated": [slice(3, 300, 3000, 13000)]}]));
}

#[test]
fn slices_round_interfaces_down_and_drop_the_empty() {
    let update = |n: i64, start: i64, last: i64| json!({"LastUpdateMetric": {"RxPackets": n, "Start": start, "Last": last}});
    let nodes = [("a", update(5, 1000, 3000)), ("b", update(1, 9000, 11000))];
    let graph = graph(&nodes, &[]);
    let expected = json!([{"Aggregated": [
        {"RxPackets": 2, "Start": 1000, "Last": 2000},
        {"RxPackets": 2, "Start": 2000, "Last": 3000},
        // Too little to share out.
        {"RxPackets": 1, "Start": 9000, "Last": 10000}
    ]}]);
    assert_eq!(value(&graph, "G.V().Metrics().Aggregates(1)"), expected);
    assert_eq!(value(&graph, "G.V().Metrics().Sum('RxPackets')"), 6);
    let nodes = [("a", update(5, 0, 20_000_000))];
    let long = error(&super::graph(&nodes, &[]), "G.V().Metrics().Aggregates(1)");
    assert_eq!(long, "Aggregates available slices exceeded: 20000/10000 at column 17");
}

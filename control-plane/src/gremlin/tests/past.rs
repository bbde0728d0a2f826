//! `At`: the graph as it was, and the flows.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sonde_proto::flow::{Flow, FlowMetric};
use sonde_proto::graph::{Metadata, Node};
use sonde_proto::record::WatchId;
use sonde_proto::time::Timestamp;

use super::super::{Ground, Limits, parse};
use super::{NOW, store};
use crate::flow_store::{FlowKey, FlowStore, Times};
use crate::graph::{Graph, HistoryLimits, MemoryHistory};

/// Minutes after [`NOW`].
fn minute(n: u64) -> Timestamp {
    NOW.after(Duration::from_secs(60 * n))
}

/// A host owns eth0. Its counters change each minute, in minute 3 it is gone.
fn graph() -> Graph {
    let limits = HistoryLimits { time: Duration::from_secs(3600), bytes: 1 << 20 };
    let mut graph = Graph::with_history(MemoryHistory::new(limits));
    let update = |n: u64| json!({"RxPackets": n, "Start": minute(n).millis(), "Last": minute(n + 1).millis()});
    for (id, metadata) in [
        ("host", json!({"Name": "host", "Type": "host"})),
        (
            "eth0",
            json!({"Name": "eth0", "Type": "device", "TID": "T1", "LastUpdateMetric": update(0)}),
        ),
    ] {
        super::node(&mut graph, id, metadata);
    }
    super::edge(&mut graph, "host", "eth0", json!({"RelationType": "ownership"}));
    for n in 1..3 {
        let change = |metadata: &mut Metadata| {
            metadata.insert("LastUpdateMetric".into(), update(n));
        };
        graph.update::<Node>("eth0", minute(n), change).unwrap();
        // A revision without news of the counters.
        let change = |metadata: &mut Metadata| drop(metadata.insert("MTU".into(), n.into()));
        graph.update::<Node>("eth0", minute(n).after(Duration::from_secs(1)), change).unwrap();
    }
    graph.delete::<Node>("eth0", minute(3)).unwrap();
    graph
}

/// What is answered in minute 4.
fn ask(text: &str) -> Result<Value, String> {
    ask_of(&store(), text)
}

fn ask_of(flows: &FlowStore, text: &str) -> Result<Value, String> {
    let (graph, limits) = (graph(), Limits::default());
    let query = parse(text, &limits).unwrap();
    let past = query.recall(&graph, minute(4)).map_err(|error| error.to_string())?;
    let ground = past.as_ref().map_or(Ground::Now(&graph), Ground::Past);
    let answer = query.run(ground, flows, &limits, &|| false);
    Ok(serde_json::to_value(answer.map_err(|error| error.to_string())?).unwrap())
}

#[test]
fn a_moment_has_one_revision_of_each() {
    for (text, expected) in [
        ("G.V().Count()", json!(1)),
        ("G.At(NOW).V().Count()", json!(1)),
        ("G.At('-1m').V().Count()", json!(1)),
        ("G.At('-61s').V().Count()", json!(2)),
        ("G.At('-61s').V('eth0').Values('MTU')", json!([2])),
        ("G.At('-150s').V('eth0').Values('MTU')", json!([1])),
        ("G.At('-4m').V('host').Out().Values('@Revision')", json!([1])),
        ("G.At('-4m').E().BothV().Values('Name')", json!(["host", "eth0"])),
        ("G.At('-5m').V().Count()", json!(0)),
        ("G.At('-4m').V('eth0').Metrics().Sum('RxPackets')", json!(0)),
        ("G.Context('-2m').V().Has('MTU', 1).Count()", json!(1)),
        ("G.At(1600000000).V().Count()", json!(2)),
        ("G.At(1600000000000).V().Count()", json!(2)),
        ("G.At('Sun, 13 Sep 2020 12:26:40 GMT').V().Count()", json!(2)),
        ("G.At('-4m').V().SubGraph().E().Count()", json!(1)),
    ] {
        assert_eq!(ask(text), Ok(expected), "{text}");
    }
}

#[test]
fn a_longer_span_has_every_revision() {
    for (text, expected) in [
        ("G.At(NOW, FOREVER).V('eth0').Count()", json!(5)),
        ("G.At(NOW, FOREVER).V('eth0').Dedup().Count()", json!(1)),
        ("G.At(NOW, '4m').V('host').Out().Count()", json!(5)),
        ("G.At('-1m', 60).V().Has('Name', 'eth0').Values('@Revision')", json!([4, 5])),
        // Edges do not multiply with what they lead to.
        ("G.At(NOW, FOREVER).V('host').OutE().Count()", json!(1)),
        ("G.At(NOW, FOREVER).V('eth0').InE().Count()", json!(5)),
        ("G.At(NOW, FOREVER).V().SubGraph().E().Count()", json!(1)),
        ("G.At(NOW, FOREVER).E().SubGraph().V().Count()", json!(6)),
        ("G.At(NOW, FOREVER).V('host').Descendants().Count()", json!(2)),
        ("G.At(NOW, 10).V().Values('Name')", json!(["host"])),
    ] {
        assert_eq!(ask(text), Ok(expected), "{text}");
    }
}

#[test]
fn metrics_lie_inside_the_span() {
    let sum = |text: &str| ask(&format!("G.{text}.V().Metrics().Sum('RxPackets')"));
    assert_eq!(sum("At(NOW, FOREVER)"), Ok(json!(3)), "each update once");
    assert_eq!(sum("At('-1m', 120)"), Ok(json!(3)));
    assert_eq!(sum("At('-1m', 119)"), Ok(json!(2)), "the first began before");
    let slices = ask("G.At(NOW, '4m').V().Metrics().Aggregates(120)").unwrap();
    let slices = slices[0]["Aggregated"].as_array().unwrap();
    let of = |slice: &Value| (slice["Start"].as_i64().unwrap(), slice["Last"].as_i64().unwrap());
    let (begin, middle, end) = (minute(0).millis(), minute(2).millis(), minute(4).millis());
    assert_eq!(slices.iter().map(of).collect::<Vec<_>>(), [(begin, middle), (middle, end)]);
}

#[test]
fn flows_of_the_past_are_those_that_lived() {
    for (text, expected) in [
        ("At('-4m')", json!(["a"])),
        ("At('-210s')", json!(["a", "b"])),
        ("At('-150s')", json!(["b", "c"])),
        ("At('-30s')", json!(["c"])),
        ("At(NOW)", json!(["c"])),
        ("At('-150s', 30)", json!(["a", "b", "c"])),
        ("At('-1m', FOREVER)", json!(["a", "b", "c"])),
        ("At('-5m', FOREVER)", Value::Null),
        ("At('-150s').V('eth0')", json!(["b"])),
    ] {
        let text = format!("G.{text}.Flows().Sort('Start').Values('UUID')");
        assert_eq!(ask_of(&flows(Duration::ZERO), &text), Ok(expected), "{text}");
    }
    let sum = |text: &str| {
        ask_of(&flows(Duration::ZERO), &format!("G.{text}.Flows().Metrics().Sum('ABPackets')"))
    };
    assert_eq!(sum("At('-150s', 90)"), Ok(json!(1)), "only what lies inside");
    assert_eq!(sum("At('-150s')"), Ok(json!(5)), "whole at a moment");
}

#[test]
fn flows_that_are_silent_live_on_until_they_are_idle() {
    for (idle, text, expected) in [
        (60, "At('-150s')", json!(["a", "b", "c"])),
        (60, "At('-119s')", json!(["b", "c"])),
        (119, "At(NOW)", json!(["c"])),
        (120, "At(NOW)", json!(["b", "c"])),
    ] {
        let text = format!("G.{text}.Flows().Sort('Start').Values('UUID')");
        let flows = flows(Duration::from_secs(idle));
        assert_eq!(ask_of(&flows, &text), Ok(expected), "{text}, {idle} s");
    }
}

#[test]
fn flows_that_left_are_not_answered_for() {
    let mut flows = flows(Duration::ZERO);
    flows.expire(minute(4));
    for (text, expected) in [
        ("G.At('-3m').Flows().Count()", Ok(json!(2))),
        ("G.At(NOW, FOREVER).Flows().Count()", Ok(json!(2))),
        ("G.At('-181s').Flows()", Err(1_600_000_060_000_i64)),
        ("G.At(NOW, 181).V().Flows()", Err(1_600_000_060_000)),
    ] {
        let found = ask_of(&flows, text);
        match expected {
            Ok(expected) => assert_eq!(found, Ok(expected), "{text}"),
            Err(since) => {
                let why = found.unwrap_err();
                let expected = "No storage backend has been configured: flows are known since";
                assert!(why.starts_with(&format!("{expected} {since} ms")), "{why}");
            }
        }
    }
}

/// Flows of minutes 0 to 1, 0.5 to 2 and 1 to 4. The first two have ended, and the first leaves in
/// minute 4.
fn flows(idle: Duration) -> FlowStore {
    let times = Times { hold: Duration::from_secs(150), idle, silence: Duration::from_secs(3600) };
    let mut store = FlowStore::new(10, times);
    for (n, uuid, from, to) in [(1, "a", 0, 60), (2, "b", 30, 120), (3, "c", 60, 240)] {
        let [start, last] = [from, to].map(|second| NOW.after(Duration::from_secs(second)));
        let metric = FlowMetric {
            ab_packets: n as i64,
            start: start.millis(),
            last: last.millis(),
            ..FlowMetric::default()
        };
        let flow = Flow {
            uuid: uuid.into(),
            node_tid: if n == 2 { "T1" } else { "T2" }.into(),
            start: start.millis(),
            last: last.millis(),
            metric: Some(metric),
            ..Flow::default()
        };
        let key = FlowKey { watch: WatchId(1), uuid: n };
        store.put(key, Arc::new(flow), n < 3, last);
    }
    store
}

#[test]
fn only_the_graph_has_a_past() {
    for text in ["G.At('-1m').At('-1m').V()", "G.V().SubGraph().At('-1m')"] {
        let error = ask(text).unwrap_err();
        assert!(error.starts_with("Backend does not support history at column"), "{error}");
    }
}

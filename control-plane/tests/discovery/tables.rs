//! Neighbours, forwarding entries, routes and offloads of links.

use std::time::Duration;

use serde_json::{Value, json};
use sonde_control_plane::graph::{Graph, SharedGraph};

use crate::netns::{Netns, node, within_a_second};

/// Waits until an array of a node's metadata has an entry of these members, or has none.
async fn entry(graph: &SharedGraph, name: &str, key: &str, part: Value, there: bool) {
    let what = format!("{key} of {name}, {there}: {part}");
    within_a_second(graph, &what, |graph| {
        let node = node(graph, name)?;
        let entries = node.metadata.get(key).and_then(Value::as_array);
        let mut entries = entries.into_iter().flatten();
        (entries.any(|entry| holds(entry, &part)) == there).then_some(())
    })
    .await;
}

/// Whether all that `part` says is said by `whole`; an array by one of its elements.
fn holds(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|w| holds(w, value)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            part.iter().all(|part| whole.iter().any(|whole| holds(whole, part)))
        }
        (whole, part) => whole == part,
    }
}

#[test]
fn entries_of_tables_come_and_go() {
    let netns = Netns::new("tables");
    netns.discover(Vec::new(), async |graph| {
        netns.ip("link add br0 index 9 type bridge");
        netns.ip("link add va index 11 type veth peer name vb");
        netns.ip("link set va master br0");
        netns.ip("address add 10.0.0.1/24 dev br0");
        for link in ["br0", "va", "vb"] {
            netns.ip(&format!("link set {link} up"));
        }
        let neighbour = json!({"IP": "10.0.0.7", "MAC": "02:00:00:00:00:07", "IfIndex": 9,
                               "State": ["NUD_PERMANENT"]});
        netns.ip("neigh add 10.0.0.7 lladdr 02:00:00:00:00:07 nud permanent dev br0");
        entry(&graph, "br0", "Neighbors", neighbour.clone(), true).await;
        netns.ip("route add 10.9.0.0/16 via 10.0.0.7 metric 5");
        let route = json!({"ID": 254, "Routes": [{"Prefix": "10.9.0.0/16", "Protocol": 3, "NextHops": [
            {"Priority": 5, "IP": "10.0.0.7", "MAC": "02:00:00:00:00:07", "IfIndex": 9}]}]});
        entry(&graph, "br0", "RoutingTables", route.clone(), true).await;
        let connected = json!({"ID": 254, "Src": "10.0.0.1",
                               "Routes": [{"Prefix": "10.0.0.0/24", "NextHops": [{"IfIndex": 9}]}]});
        entry(&graph, "br0", "RoutingTables", connected.clone(), true).await;
        let forwarding = json!({"MAC": "02:00:00:00:00:99", "IfIndex": 11});
        netns.bridge("fdb add 02:00:00:00:00:99 dev va master static");
        entry(&graph, "va", "FDB", forwarding.clone(), true).await;

        netns.bridge("fdb del 02:00:00:00:00:99 dev va master");
        entry(&graph, "va", "FDB", forwarding, false).await;
        netns.ip("route del 10.9.0.0/16");
        entry(&graph, "br0", "RoutingTables", route, false).await;
        netns.ip("neigh del 10.0.0.7 dev br0");
        entry(&graph, "br0", "Neighbors", neighbour, false).await;
        // The kernel does not tell of routes that go with their link.
        netns.ip("link set br0 down");
        entry(&graph, "br0", "RoutingTables", connected, false).await;
    });
}

#[test]
fn offloads_and_speed_are_the_drivers() {
    let netns = Netns::new("offloads");
    netns.ip("link add va type veth peer name vb");
    netns.discover(Vec::new(), async |graph| {
        let features =
            |graph: &Graph| node(graph, "va")?.metadata.get("Features")?.as_object().cloned();
        let features = within_a_second(&graph, "features", features).await;
        assert!(features.values().all(Value::is_boolean));
        assert!(features.contains_key("tx-scatter-gather") && features.len() > 20, "{features:?}");
        let va = node(&graph.read().unwrap(), "va").unwrap();
        assert_eq!(va.text("Driver"), "veth");
        assert_eq!(va.metadata["Speed"], 10_000);
    });
}

#[test]
fn a_storm_of_routes_and_neighbours_is_a_few_revisions_of_bounded_size() {
    let netns = Netns::new("flood");
    netns.ip("link add d0 type ifb");
    netns.ip("address add 10.0.0.1/8 dev d0");
    netns.ip("link set d0 up");
    netns.discover(Vec::new(), async |graph| {
        let before = within_a_second(&graph, "d0", |graph| {
            node(graph, "d0").filter(|node| node.metadata.contains_key("RoutingTables"))
        })
        .await;
        let prefix = |n: u32| format!("172.16.{}.{}/32", n >> 8, n & 255);
        let batch = |verb: &str| -> String {
            (0..5000).map(|n| format!("route {verb} {} dev d0\n", prefix(n))).collect()
        };
        netns.ip_batch(&batch("add"));
        let full = within_a_second(&graph, "five thousand routes", |graph| {
            let node = node(graph, "d0")?;
            let more = node.metadata.get("Truncated")?.get("RoutingTables")?.as_u64()?;
            (more > 5000 - 1024).then_some(node)
        })
        .await;
        let tables = full.metadata["RoutingTables"].as_array().unwrap();
        let listed = tables.iter().map(|table| table["Routes"].as_array().unwrap().len());
        assert_eq!(listed.sum::<usize>(), 1024);
        assert!(full.revision < before.revision + 50, "{} revisions", full.revision);
        netns.ip_batch(&batch("del"));
        within_a_second(&graph, "few routes", |graph| {
            let node = node(graph, "d0")?;
            (!node.metadata.contains_key("Truncated")).then_some(())
        })
        .await;
        // Nothing goes on when nothing changes.
        let still = node(&graph.read().unwrap(), "d0").unwrap().revision;
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(node(&graph.read().unwrap(), "d0").unwrap().revision <= still + 3);
    });
}

//! The graph: hosts with a bridge, a device and interfaces each, their devices joined to a tree.

use serde_json::{Value, json};
use sonde_control_plane::graph::Graph;
use sonde_proto::graph::{Edge, Metadata, Node};

use crate::NOW;

/// Hosts of the whole site: 50 000 nodes, 60 000 edges.
pub(crate) const HOSTS: u32 = 500;

/// Nodes of a host: itself, its device, its bridge, and veths.
pub(crate) const NODES: u32 = 100;

/// ID of the first host.
pub(crate) const ROOT: &str = "host-0";

pub(crate) fn graph(hosts: u32) -> Graph {
    let mut graph = Graph::new();
    for host in 0..hosts {
        let id = format!("host-{host}");
        let metadata = json!({"Name": id, "Type": "host", "TID": tid(host * NODES)});
        add(&mut graph, &id, metadata);
        for n in 1..NODES {
            let id = interface(host, n);
            add(&mut graph, &id, facts(host, n));
            join(&mut graph, &format!("host-{host}"), &id, "ownership");
        }
        // The device, and 20 veths (one less on the first host), are ports of the bridge.
        for n in std::iter::once(DEVICE).chain(BRIDGE + 1..=BRIDGE + 20 - u32::from(host != 0)) {
            join(&mut graph, &interface(host, BRIDGE), &interface(host, n), "layer2");
        }
        if host > 0 {
            let above = interface((host - 1) / 2, DEVICE);
            join(&mut graph, &above, &interface(host, DEVICE), "layer2");
        }
    }
    graph
}

/// Names of the cases, and queries.
pub(crate) fn queries(hosts: u32) -> [(&'static str, String); 13] {
    let last = hosts - 1;
    let (id, name) = (interface(last, 42), name(last, 42));
    let (tid, mac) = (tid(last * NODES + 42), mac(last, 42));
    let far = interface(last, NODES - 1);
    [
        ("lookup/id", format!("G.V('{id}')")),
        ("lookup/name", format!("G.V().Has('Name', '{name}')")),
        ("lookup/tid", format!("G.V().Has('TID', '{tid}')")),
        ("lookup/mac", format!("G.V().Has('MAC', '{mac}')")),
        ("lookup/within", format!("G.V().Has('Name', Within('{name}', 'host-0'))")),
        ("lookup/host", "G.V().Has('Type', 'host', 'Name', 'host-3').Out()".into()),
        ("lookup/capture", format!("G.V().Has('Captures.ID', 'capture-{last}')")),
        ("graph/count_type", "G.V().Has('Type', 'veth').Count()".into()),
        ("graph/count_mtu", "G.V().Has('MTU', Lt(1500)).Count()".into()),
        ("graph/edges", "G.E().Has('RelationType', 'layer2').Count()".into()),
        ("graph/limit", "G.V().Has('Type', 'veth').Limit(10)".into()),
        (
            "graph/shortest_path",
            format!("G.V('veth-0-{}').ShortestPathTo(Metadata('Name', '{far}'))", NODES - 1),
        ),
        ("graph/descendants", format!("G.V('{ROOT}').Descendants('RelationType', 'layer2', 20)")),
    ]
}

/// IDs of a hundred interfaces.
pub(crate) fn some_ids() -> Vec<String> {
    (1..NODES).map(|n| interface(n % 5, n)).collect()
}

/// Lets the counters of an interface go on.
pub(crate) fn count(metadata: &mut Metadata, turn: u64) {
    if let Some(Value::Object(metric)) = metadata.get_mut("Metric") {
        metric.insert("RxPackets".into(), turn.into());
    }
}

fn add(graph: &mut Graph, id: &str, metadata: Value) {
    let Value::Object(metadata) = metadata else { unreachable!("it is one") };
    let node = Node { id: id.into(), host: "site".into(), metadata, ..Node::default() };
    graph.add(node, NOW).expect("each node once");
}

fn join(graph: &mut Graph, parent: &str, child: &str, relation: &str) {
    let metadata = Metadata::from_iter([("RelationType".to_owned(), relation.into())]);
    let id = format!("{parent}>{child}");
    let element = Node { id, host: "site".into(), metadata, ..Node::default() };
    let edge = Edge { element, parent: parent.into(), child: child.into() };
    graph.add(edge, NOW).expect("each edge once");
}

/// What is known of an interface.
fn facts(host: u32, n: u32) -> Value {
    let mut facts = json!({
        "Name": name(host, n), "Type": kind(n), "TID": tid(host * NODES + n), "MAC": mac(host, n),
        "MTU": if n.is_multiple_of(10) { 1400 } else { 1500 }, "IfIndex": n, "State": "UP",
        "LinkFlags": ["BROADCAST", "MULTICAST", "UP"], "EncapType": "ether", "Driver": kind(n),
        "IPV4": [format!("10.{}.{}.{n}/24", host / 256, host % 256)],
        "Features": {"gro": true, "gso": true, "rx-checksum": false, "tx-checksum-ipv4": true},
        "Metric": {"RxPackets": 0, "RxBytes": 64_000, "TxPackets": 900, "TxBytes": 57_600,
            "Last": NOW.millis()},
        "LastUpdateMetric": {"RxPackets": 10, "RxBytes": 640, "Start": NOW.millis() - 30_000,
            "Last": NOW.millis()},
    });
    if let (DEVICE, Value::Object(facts)) = (n, &mut facts) {
        facts.insert("Captures".into(), json!([{"ID": format!("capture-{host}")}]));
    }
    facts
}

fn kind(n: u32) -> &'static str {
    match n {
        DEVICE => "device",
        BRIDGE => "bridge",
        _ => "veth",
    }
}

/// ID of an interface; its name is the same.
fn interface(host: u32, n: u32) -> String {
    format!("{}-{host}-{n}", kind(n))
}

fn name(host: u32, n: u32) -> String {
    interface(host, n)
}

/// TID of the node of that number.
pub(crate) fn tid(node: u32) -> String {
    format!("5a1f0c3e-2b4d-5c6e-8f70-{node:012x}")
}

fn mac(host: u32, n: u32) -> String {
    let [.., a, b] = host.to_be_bytes();
    format!("02:00:00:{a:02x}:{b:02x}:{n:02x}")
}

/// Numbers of a host's interfaces; all above are veths.
const DEVICE: u32 = 1;
const BRIDGE: u32 = 2;

//! The workflows that are built in, on a graph and flows.

use sonde_proto::flow::{FlowLayer, FlowMetric, FlowProtocol, TransportLayer};
use sonde_proto::graph::{Edge, Metadata, Node};

use super::*;
use crate::workflow::built_in;

async fn call(world: &World, name: &str, params: Value) -> Got {
    let id = &built_in().iter().find(|workflow| workflow.name == name).unwrap().uuid;
    let body = json!({ "Params": params }).to_string();
    ask(world, "POST", &format!("/api/workflow/{id}/call"), body).await
}

fn set(world: &World, node: &str, added: Value) {
    let mut graph = world.state.graph.write().unwrap();
    graph.update::<Node>(node, world.state.clock.now(), |metadata| {
        metadata.extend(added.as_object().unwrap().clone());
    });
}

/// `eth0 - br0 - eth1`, and `p0` apart, which belongs to the same.
fn bridge() -> World {
    let world = World::new();
    let now = world.state.clock.now();
    let mut graph = world.state.graph.write().unwrap();
    graph.add(node("br0", "bridge", 4), now).unwrap();
    for (parent, child, relation) in
        [("br0", "eth0", "layer2"), ("br0", "eth1", "layer2"), ("br0", "p0", "ownership")]
    {
        let metadata = Metadata::from_iter([("RelationType".into(), json!(relation))]);
        let id = format!("{parent}-{child}");
        let element = Node { id, metadata, ..Node::default() };
        let edge = Edge { element, parent: parent.into(), child: child.into() };
        graph.add(edge, now).unwrap();
    }
    drop(graph);
    for node in ["eth0", "eth1", "br0"] {
        set(&world, node, json!({"State": "UP", "MTU": 1500}));
    }
    world
}

/// A flow from port 1000 of one address to a port of another.
fn flow(tracking: &str, capture: &str, ends: [&str; 2], port: i64, packets: i64) -> Flow {
    Flow {
        uuid: format!("{tracking}-{capture}"),
        tracking_id: tracking.into(),
        capture_id: capture.into(),
        application: "TCP".into(),
        network: Some(FlowLayer {
            protocol: FlowProtocol::Ipv4.into(),
            a: ends[0].into(),
            b: ends[1].into(),
            id: 0,
        }),
        transport: Some(TransportLayer {
            protocol: FlowProtocol::Tcp.into(),
            a: 1000,
            b: port,
            id: 0,
        }),
        metric: Some(FlowMetric {
            ab_packets: packets,
            ab_bytes: 100 * packets,
            ..FlowMetric::default()
        }),
        ..Flow::default()
    }
}

fn put(world: &World, flows: impl IntoIterator<Item = Flow>) {
    let now = world.state.clock.now();
    let mut store = world.state.flows.write().unwrap();
    for flow in flows {
        let key = FlowKey { watch: WatchId(1), uuid: store.len() as u64 };
        store.put(key, Arc::new(flow), false, now);
    }
}

#[tokio::test]
async fn connectivity_is_a_path_that_is_up() {
    let world = bridge();
    let tid = world.shown("eth1", "TID");
    let got = call(&world, "CheckConnectivity", json!(["eth0", tid])).await.json();
    let shown = |name: &str, kind: &str| json!({"ID": name, "Host": "here", "Name": name, "Type": kind, "State": "UP", "MTU": 1500});
    let path = [shown("eth0", "device"), shown("br0", "bridge"), shown("eth1", "device")];
    assert_eq!(got, json!({"Connected": true, "Faults": [], "Path": path}));

    set(&world, "br0", json!({"State": "DOWN"}));
    set(&world, "eth1", json!({"MTU": 9000}));
    let got = call(&world, "CheckConnectivity", json!(["eth0", "eth1"])).await.json();
    let faults = json!(["br0 is DOWN", "MTU 1500 of br0, 9000 of eth1"]);
    assert_eq!((&got["Connected"], &got["Faults"]), (&json!(false), &faults));

    let got = call(&world, "CheckConnectivity", json!(["eth0", "p0"])).await.json();
    let faults = json!(["no layer 2 path between eth0 and p0"]);
    assert_eq!(got, json!({"Connected": false, "Faults": faults, "Path": []}));
    let got = call(&world, "CheckConnectivity", json!(["eth0", "eth7"])).await;
    let expected = "Error: destination: no node has the TID, ID or name 'eth7'";
    assert!(got.status == 400 && got.text.starts_with(expected), "{}", got.text);
}

#[tokio::test]
async fn the_mtu_is_compared_along_a_path_or_with_neighbours() {
    let world = bridge();
    let got = call(&world, "CheckMTU", json!(["eth0", "eth1"])).await.json();
    assert_eq!(got, json!({"Consistent": true, "Compared": 2, "Differences": []}));
    set(&world, "eth1", json!({"MTU": 9000}));
    let shown =
        |name: &str, mtu: u32| json!({"ID": name, "Host": "here", "Name": name, "MTU": mtu});
    let difference = json!([{"A": shown("br0", 1500), "B": shown("eth1", 9000)}]);
    for params in [json!(["eth0", "eth1"]), json!(["br0"]), json!(["br0", ""])] {
        let got = call(&world, "CheckMTU", params).await.json();
        let expected = json!({"Consistent": false, "Compared": 2, "Differences": difference});
        assert_eq!(got, expected);
    }
    let got = call(&world, "CheckMTU", json!(["eth0"])).await.json();
    assert_eq!(got, json!({"Consistent": true, "Compared": 1, "Differences": []}));
    let got = call(&world, "CheckMTU", json!(["eth0", "p0"])).await;
    let expected = "Error: no layer 2 path between eth0 and p0";
    assert!(got.status == 400 && got.text.starts_with(expected), "{}", got.text);
}

#[tokio::test]
async fn the_matrix_has_a_row_for_each_pair_and_port() {
    let world = bridge();
    let socket = json!({
        "Protocol": "TCP", "LocalAddress": "10.0.0.2", "LocalPort": 80, "Name": "httpd",
        "Process": "/bin/httpd", "RemoteAddress": "10.0.0.1", "RemotePort": 1000,
    });
    set(&world, "eth1", json!({"IPV4": ["10.0.0.2/24"], "Sockets": [socket]}));
    let ends = ["10.0.0.1", "10.0.0.2"];
    put(
        &world,
        [
            flow("t1", "c1", ends, 80, 1),
            flow("t1", "c2", ends, 80, 1),
            flow("t2", "c1", ends, 80, 2),
            flow("t3", "c1", ["10.0.0.2", "10.9.9.9"], 443, 9),
            Flow { tracking_id: "arp".into(), ..Flow::default() },
        ],
    );
    let got = call(&world, "FlowMatrix", json!([])).await.json();
    assert_eq!((&got["Flows"], &got["Complete"]), (&json!(4), &json!(true)));
    let row = |a: &str, b: &str, port: u32, flows: u32, packets: u32| {
        json!({
            "A": a, "B": b, "Protocol": "TCP", "Port": port, "Application": "TCP",
            "Flows": flows, "ABPackets": packets, "ABBytes": 100 * packets,
            "BAPackets": 0, "BABytes": 0,
        })
    };
    let mut web = row(ends[0], ends[1], 80, 2, 3);
    web["BHost"] = json!("here");
    web["BProgram"] = json!("httpd");
    let mut other = row(ends[1], "10.9.9.9", 443, 1, 9);
    other["AHost"] = json!("here");
    assert_eq!(got["Rows"], json!([other, web]));

    let got = call(&world, "FlowMatrix", json!(["UDP"])).await.json();
    assert_eq!(got, json!({"Flows": 0, "Complete": true, "Rows": []}));
    let got = call(&world, "FlowMatrix", json!(["TCP", 2])).await.json();
    assert_eq!((&got["Flows"], &got["Complete"]), (&json!(2), &json!(false)));
}

#[tokio::test]
async fn validation_captures_at_both_ends_and_leaves_nothing() {
    let world = bridge();
    let validate = call(&world, "FlowValidation", json!(["eth0", "eth1", 0.5, "tcp"]));
    let meanwhile = async {
        let captures = within(|| {
            let captures = world.state.captures.list();
            (captures.len() == 2).then_some(captures)
        })
        .await;
        let of = |node: &str| {
            let query = format!("G.V('{node}')");
            let capture = captures.values().find(|capture| capture.gremlin_query == query).unwrap();
            assert_eq!((&*capture.bpf_filter, &*capture.layer_key_mode), ("tcp", "L3"));
            capture.uuid.clone()
        };
        let (from, to) = (of("eth0"), of("eth1"));
        for (node, id) in [("eth0", &from), ("eth1", &to)] {
            set(&world, node, json!({"Captures": [{"ID": id, "State": "active"}]}));
        }
        let ends = ["10.0.0.1", "10.0.0.2"];
        put(
            &world,
            [
                flow("both", &from, ends, 80, 5),
                flow("both", &to, ends, 80, 4),
                flow("lost", &from, ends, 81, 1),
                flow("elsewhere", "another", ends, 82, 1),
            ],
        );
    };
    let (got, ()) = tokio::join!(validate, meanwhile);
    let got = got.json();
    assert_eq!(got["Valid"], json!(false));
    let ids = |key: &str| {
        let flows = got[key].as_array().unwrap();
        flows.iter().map(|flow| flow["TrackingID"].clone()).collect::<Vec<_>>()
    };
    assert_eq!([ids("Both"), ids("OnlySource")], [vec![json!("both")], vec![json!("lost")]]);
    assert_eq!(ids("OnlyDestination"), Vec::<Value>::new());
    let packets = ["Source", "Destination"].map(|end| &got["Both"][0][end]["ABPackets"]);
    assert_eq!(packets, [&json!(5), &json!(4)]);
    assert_eq!(world.state.captures.list().len(), 0);
}

#[tokio::test]
async fn validation_says_which_capture_does_not_run() {
    let world = bridge();
    let got = call(&world, "FlowValidation", json!(["eth0", "eth1", 0.01])).await;
    let expected = "Error: the capture on eth0: it does not run";
    assert!(got.status == 400 && got.text.starts_with(expected), "{}", got.text);
    let got = call(&world, "FlowValidation", json!(["eth0", "eth1", 0.01, "no filter"])).await;
    let expected = "Error: BPFFilter: Not a valid BPF expression";
    assert!(got.status == 400 && got.text.starts_with(expected), "{}", got.text);
    assert_eq!(world.state.captures.list().len(), 0);
}

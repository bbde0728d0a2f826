use serde_json::{Value, json};
use sonde_proto::capture::Capture;
use sonde_proto::graph::{Edge, uuid_v5};
use sonde_proto::plan::KeyMode;
use sonde_proto::time::Timestamp;

use super::*;
use crate::graph::Graph;
use crate::resource::Resource as _;

const NOW: Timestamp = Timestamp::from_millis(1);

fn node(id: &str, index: u32) -> Node {
    let metadata = json!({
        "Name": id, "Type": "device", "IfIndex": index, "LinkFlags": ["BROADCAST", "UP"],
        "EncapType": "ether", "TID": uuid_v5(&[id]),
    });
    Node {
        id: id.into(),
        host: "here".into(),
        metadata: metadata.as_object().unwrap().clone(),
        ..Node::default()
    }
}

fn with(mut node: Node, key: &str, value: Value) -> Node {
    node.metadata.insert(key.into(), value);
    node
}

fn graph(nodes: impl IntoIterator<Item = Node>) -> Graph {
    let mut graph = Graph::new();
    for node in nodes {
        graph.add(node, NOW).unwrap();
    }
    graph
}

fn capture(kind: &str, filter: &str) -> Runnable {
    let mut capture = Capture {
        gremlin_query: "G.V()".into(),
        kind: kind.into(),
        bpf_filter: filter.into(),
        ..Capture::default()
    };
    capture.parse(&KeyMode::L2).unwrap()
}

fn running() -> Running {
    let listen = ListenConfig { ports: 8100..=8103, ..ListenConfig::default() };
    Running::new("here".into(), listen)
}

fn start(running: &mut Running, id: &str, runnable: &Runnable, graph: &Graph) {
    let nodes: Vec<_> = graph.nodes().cloned().collect();
    running.start(id, runnable, &nodes, graph);
}

#[test]
fn runs_where_it_can_and_nowhere_else() {
    let mut foreign = node("foreign", 9);
    foreign.host = "there".into();
    let graph = graph([
        node("eth0", 2),
        with(node("p0", 0), "Type", json!("dpdkport")),
        with(node("down", 3), "LinkFlags", json!(["BROADCAST"])),
        with(node("flagless", 4), "LinkFlags", Value::Null),
        with(node("unknown", 5), "TID", json!("soon")),
        with(node("bare", 8), "EncapType", Value::Null),
        with(node("host", 6), "Type", json!("host")),
        with(node("odd", 7), "IfIndex", json!(-1)),
        foreign,
    ]);
    let runnable = capture("", "udp");
    let mut running = running();
    start(&mut running, "c", &runnable, &graph);
    let kinds: Vec<_> = running.pairs().map(|(pair, run)| (pair.node.as_str(), run.kind)).collect();
    assert_eq!(kinds, [("eth0", Kind::AfPacket), ("p0", Kind::Dpdk)]);
    let refused: Vec<_> =
        running.refused().map(|(pair, refused)| (pair.node.as_str(), refused.why)).collect();
    let expected = [
        ("bare", Refusal::NoEncapsulation),
        ("down", Refusal::Down),
        ("flagless", Refusal::Down),
        ("odd", Refusal::NoIndex),
        ("unknown", Refusal::NoTid),
    ];
    assert_eq!(refused, expected);

    let desired = running.desired(|_| Some(&runnable));
    let watch = |id, name| Watch {
        id: WatchId(id),
        node_tid: Some(uuid_v5(&[name])),
        filter: runnable.filter.clone(),
        options: Options::default(),
    };
    let eth0 = Point::Interface { index: 2, netns: None };
    let [first, second] =
        [&eth0, &Point::Port("p0".into())].map(|point| desired.plan.watches(point));
    let id = first[0].id.0;
    assert_eq!(first, [watch(id, "eth0")]);
    assert_eq!(second, [watch(3 - id, "p0")]);
    let watched = &desired.watched[&WatchId(id)];
    assert_eq!((watched.capture_id.as_str(), watched.node_id.as_str()), ("c", "eth0"));
    assert_eq!(watched.node_tid, uuid_v5(&["eth0"]).to_string());
}

#[test]
fn type_chooses_among_nodes() {
    let graph = graph([node("eth0", 2), with(node("p0", 0), "Type", json!("dpdkport"))]);
    for (kind, node) in [("dpdk", "p0"), ("afpacket", "eth0"), ("pcap", "eth0")] {
        let mut running = running();
        start(&mut running, "c", &capture(kind, ""), &graph);
        let nodes: Vec<_> = running.pairs().map(|(pair, _)| pair.node.as_str()).collect();
        assert_eq!(nodes, [node], "{kind}");
    }
}

#[test]
fn captures_share_a_point() {
    let graph = graph([node("eth0", 2)]);
    let runnable = capture("", "");
    let mut running = running();
    start(&mut running, "a", &runnable, &graph);
    start(&mut running, "b", &runnable, &graph);
    let plan = running.desired(|_| Some(&runnable)).plan;
    assert_eq!(plan.points.len(), 1);
    assert_eq!(plan.points[0].watches.len(), 2);
}

#[test]
fn a_watch_is_stable_and_its_id_never_comes_back() {
    let mut graph = graph([node("eth0", 2)]);
    let runnable = capture("", "");
    let mut running = running();
    let ids =
        |running: &Running| -> Vec<u32> { running.pairs().map(|(_, run)| run.watch.0).collect() };
    start(&mut running, "c", &runnable, &graph);
    start(&mut running, "c", &runnable, &graph);
    running.keep(|_| true, &graph);
    assert_eq!(ids(&running), [1]);

    // It no longer matches, then is down: it runs on.
    running.start("c", &runnable, &[], &graph);
    graph.update::<Node>("eth0", NOW, |metadata| {
        metadata.insert("LinkFlags".into(), json!([]));
    });
    running.keep(|_| true, &graph);
    assert_eq!(ids(&running), [1]);

    // Renamed, so its TID is another: a new watch.
    graph.update::<Node>("eth0", NOW, |metadata| {
        metadata.insert("TID".into(), json!(uuid_v5(&["other"])));
    });
    running.keep(|_| true, &graph);
    assert_eq!(ids(&running), [2]);

    // The capture goes and comes again; then the node goes.
    running.keep(|_| false, &graph);
    assert_eq!(ids(&running), [0; 0]);
    graph.update::<Node>("eth0", NOW, |metadata| {
        metadata.insert("LinkFlags".into(), json!(["UP"]));
    });
    start(&mut running, "c", &runnable, &graph);
    assert_eq!(ids(&running), [3]);
    graph.delete::<Node>("eth0", NOW);
    running.keep(|_| true, &graph);
    assert_eq!(ids(&running), [0; 0]);
}

#[test]
fn each_socket_has_a_port_of_its_own() {
    let graph = graph([
        node("a", 2),
        with(node("b", 3), "LinkFlags", json!([])),
        with(node("c", 0), "Type", json!("ovsbridge")),
        with(node("d", 0), "Type", json!("dpdkport")),
        with(node("e", 4), "TID", json!("soon")),
    ]);
    let any = capture("pcapsocket", "");
    let one = |port| Runnable { port: Some(port), ..capture("pcapsocket", "") };
    let mut running = running();
    start(&mut running, "1", &one(8101), &graph);
    assert_eq!(sockets(&running), ["a 1 8101"], "a port is listened on once");
    start(&mut running, "2", &any, &graph);
    assert_eq!(sockets(&running), ["a 1 8101", "a 2 8100", "b 2 8102", "c 2 8103"]);
    start(&mut running, "3", &any, &graph);
    start(&mut running, "4", &one(8099), &graph);
    let refused: Vec<_> = (running.refused())
        .map(|(pair, refused)| format!("{} {} {:?}", pair.node, pair.capture, refused.why))
        .collect();
    let forbidden = "PortForbidden { first: 8100, last: 8103 }";
    assert_eq!(
        refused,
        [
            "a 3 PortTaken".to_owned(),
            format!("a 4 {forbidden}"),
            "b 1 PortTaken".to_owned(),
            "b 3 PortTaken".to_owned(),
            format!("b 4 {forbidden}"),
            "c 1 PortTaken".to_owned(),
            "c 3 PortTaken".to_owned(),
            format!("c 4 {forbidden}"),
            "e 1 NoTid".to_owned(),
            "e 2 NoTid".to_owned(),
            "e 3 NoTid".to_owned(),
            "e 4 NoTid".to_owned(),
        ]
    );
    running.keep(|capture| capture == "2", &graph);
    start(&mut running, "2", &any, &graph);
    start(&mut running, "3", &any, &graph);
    assert_eq!(sockets(&running), ["a 2 8100", "a 3 8101", "b 2 8102", "c 2 8103"]);
}

#[test]
fn a_socket_makes_way_for_another_program() {
    let graph = graph([node("a", 2), node("b", 3), node("p", 4)]);
    let any = capture("pcapsocket", "");
    let mut running = running();
    let chosen = Runnable { port: Some(8103), ..capture("pcapsocket", "") };
    running.start("0", &chosen, &[graph.node("p").unwrap().clone()], &graph);
    running.start("1", &any, &[graph.node("a").unwrap().clone()], &graph);
    running.start("1", &any, &[graph.node("b").unwrap().clone()], &graph);
    assert_eq!(sockets(&running), ["a 1 8100", "b 1 8101", "p 0 8103"]);
    let before: Vec<_> = running.pairs().map(|(_, run)| run.watch).collect();

    assert!(running.make_way(|run| run.watch == before[0]));
    assert_eq!(sockets(&running), ["a 1 8102", "b 1 8101", "p 0 8103"]);
    let after: Vec<_> = running.pairs().map(|(_, run)| run.watch).collect();
    assert!(!before.contains(&after[0]), "what is said of the old port is not meant");
    assert_eq!(after[1..], before[1..]);
    running.keep(|_| true, &graph);
    assert_eq!(sockets(&running), ["a 1 8102", "b 1 8101", "p 0 8103"], "it stays there");

    assert!(!running.make_way(|run| run.watch == before[2]), "it asks for this port");
    assert!(running.make_way(|run| run.watch == after[0]));
    assert_eq!(sockets(&running), ["a 1 8100", "b 1 8101", "p 0 8103"]);
}

/// Node, capture and port of each socket.
fn sockets(running: &Running) -> Vec<String> {
    let port = |(pair, run): (&Pair, &Run)| match run.point {
        Point::Socket(address) => format!("{} {} {}", pair.node, pair.capture, address.port()),
        ref other => panic!("{other:?}"),
    };
    running.pairs().map(port).collect()
}

#[test]
fn a_node_says_which_udp_port_carries_mpls() {
    let mut graph = graph([node("eth0", 2)]);
    let runnable = capture("", "");
    let mut running = running();
    start(&mut running, "c", &runnable, &graph);
    let eth0 = Point::Interface { index: 2, netns: None };
    for (value, port) in [
        (json!(51234), Some(51234)),
        (json!(0), None),
        (json!(65536), None),
        (json!("51234"), None),
        (Value::Null, None),
    ] {
        graph.update::<Node>("eth0", NOW, |metadata| {
            metadata.insert("MPLSUDPPort".into(), value.clone());
        });
        running.keep(|_| true, &graph);
        let plan = running.desired(|_| Some(&runnable)).plan;
        // The watch stays: only how its frames are read changes.
        let [watch] = plan.watches(&eth0) else { panic!("one watch, not {plan:?}") };
        assert_eq!((watch.id, watch.options.mpls_udp_port), (WatchId(1), port), "{value}");
    }
}

#[test]
fn an_interface_is_opened_in_the_namespace_that_owns_it() {
    let mut netns = with(node("vm1", 0), "Type", json!("netns"));
    netns.metadata.insert("Path".into(), json!("/run/netns/vm1"));
    let mut graph = graph([netns, node("eth0", 2)]);
    let edge = Edge {
        element: Node {
            id: "e".into(),
            metadata: json!({"RelationType": "ownership"}).as_object().unwrap().clone(),
            ..Node::default()
        },
        parent: "vm1".into(),
        child: "eth0".into(),
    };
    graph.add(edge, NOW).unwrap();
    let mut running = running();
    start(&mut running, "c", &capture("", ""), &graph);
    let (_, run) = running.pairs().next().unwrap();
    let netns = Some("/run/netns/vm1".into());
    assert_eq!(run.point, Point::Interface { index: 2, netns });
}

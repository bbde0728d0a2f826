//! What captures become on nodes of each kind (Skydive API §9), through REST.

use sonde_proto::graph::Node;
use sonde_proto::plan::Point;

use super::*;

/// Creates a capture of the node `n`, with these members; its UUID.
async fn captured(world: &World, members: &Value) -> String {
    let mut body = json!({"GremlinQuery": "G.V().Has('Name', 'n')"});
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let got = ask(world, "POST", "/api/capture", body.to_string()).await;
    assert_eq!(got.status, 201, "{members}: {}", got.text);
    assert_eq!(got.json()["Count"], 0, "nobody knows yet where it runs");
    got.json()["UUID"].as_str().unwrap().to_owned()
}

/// A world with a node `n` of that kind, and with these members.
fn with_node(kind: &str, members: &Value) -> World {
    let world = World::new();
    let mut node = node("n", kind, 7);
    node.metadata.extend(members.as_object().unwrap().clone());
    world.state.graph.write().unwrap().add(node, world.state.clock.now()).unwrap();
    world
}

/// The `Captures` of a node, once it has any.
async fn shown_on(world: &World, node: &str) -> Value {
    within(|| Some(world.shown(node, "Captures")).filter(Value::is_array)).await
}

#[tokio::test]
async fn each_type_runs_where_it_can() {
    let point = |index| Point::Interface { index, netns: None };
    let socket = |port: u16| Point::Socket(([127, 0, 0, 1], port).into());
    let named = json!({"Name": "all", "Description": "of it", "BPFFilter": "udp", "Type": "pcap"});
    for (kind, node, capture, at, shown) in [
        ("veth", json!({}), json!({}), point(7), json!({"Type": "afpacket"})),
        ("veth", json!({}), named.clone(), point(7), named),
        ("bridge", json!({}), json!({"Type": "afpacket"}), point(7), json!({"Type": "afpacket"})),
        ("dpdkport", json!({}), json!({}), Point::Port("n".into()), json!({"Type": "dpdk"})),
        (
            "dpdkport",
            json!({}),
            json!({"Type": "dpdk"}),
            Point::Port("n".into()),
            json!({"Type": "dpdk"}),
        ),
        (
            "device",
            json!({}),
            json!({"Type": "pcapsocket"}),
            socket(8100),
            json!({"Type": "pcapsocket", "PCAPSocket": "127.0.0.1:8100"}),
        ),
        // What clients write needs no link that is up.
        (
            "tun",
            json!({"LinkFlags": [], "EncapType": null}),
            json!({"Type": "pcapsocket", "Port": 8132}),
            socket(8132),
            json!({"Type": "pcapsocket", "PCAPSocket": "127.0.0.1:8132"}),
        ),
        (
            "ovsbridge",
            json!({"IfIndex": null}),
            json!({"Type": "pcapsocket"}),
            socket(8100),
            json!({"Type": "pcapsocket", "PCAPSocket": "127.0.0.1:8100"}),
        ),
    ] {
        let mut world = with_node(kind, &node);
        let id = captured(&world, &capture).await;
        let plan = world.plan(|plan| !plan.points.is_empty()).await;
        assert_eq!(plan.points.len(), 1);
        assert_eq!(plan.points[0].point, at, "{capture} on a {kind}");
        assert_eq!(plan.points[0].watches.len(), 1);

        world.report(WatchId(1), WatchState::Active, 10).await;
        tokio::spawn(world.state.captures.clone().run());
        let captures = shown_on(&world, "n");
        let mut expected = json!({
            "ID": id, "State": "active",
            "PacketsReceived": 10, "PacketsDropped": 3, "PacketsIfDropped": 0,
        });
        expected.as_object_mut().unwrap().extend(shown.as_object().unwrap().clone());
        assert_eq!(captures.await, json!([expected]), "{capture} on a {kind}");
        let path = format!("/api/capture/{id}");
        assert_eq!(ask(&world, "GET", &path, "").await.json()["Count"], 1);
        assert_eq!(ask(&world, "GET", "/api/capture", "").await.json()[&id]["Count"], 1);

        assert_eq!(ask(&world, "DELETE", &path, "").await.status, 200);
        world.plan(|plan| plan.points.is_empty()).await;
        assert_eq!(world.shown("n", "Captures"), json!(null));
    }
}

#[tokio::test]
async fn what_cannot_run_says_so_on_the_node() {
    let down = "the node is down: there is no `UP` among its LinkFlags";
    let ports = "pcapsocket captures may have the ports 8100 to 8132";
    for (kind, node, capture, shown) in [
        ("veth", json!({"LinkFlags": ["BROADCAST"]}), json!({}), ("afpacket", down)),
        ("dpdkport", json!({"LinkFlags": []}), json!({}), ("dpdk", down)),
        (
            "veth",
            json!({"EncapType": ""}),
            json!({"Type": "pcap"}),
            ("pcap", "the node has no EncapType"),
        ),
        ("veth", json!({"TID": null}), json!({}), ("afpacket", "the node has no TID")),
        ("veth", json!({"IfIndex": 0}), json!({}), ("afpacket", "the node has no IfIndex")),
        ("veth", json!({}), json!({"Type": "pcapsocket", "Port": 22}), ("pcapsocket", ports)),
    ] {
        let mut world = with_node(kind, &node);
        let id = captured(&world, &capture).await;
        tokio::spawn(world.state.captures.clone().run());
        let captures = shown_on(&world, "n");
        let expected = json!([{
            "ID": id, "State": "error", "Type": shown.0, "Error": shown.1,
            "PacketsReceived": 0, "PacketsDropped": 0, "PacketsIfDropped": 0,
        }]);
        assert_eq!(captures.await, expected, "{capture} on {node}");
        assert_eq!(ask(&world, "GET", "/api/capture", "").await.json()[&id]["Count"], 0);
        assert!(world.plan(|_| true).await.points.is_empty());
    }
}

/// Skydive's rule: nothing starts, and only what could be captured at all says why not.
#[tokio::test]
async fn a_node_that_no_capture_is_for_is_left_alone() {
    for (kind, node, capture) in [
        ("host", json!({}), json!({})),
        ("netns", json!({}), json!({"Type": "afpacket"})),
        ("veth", json!({}), json!({"Type": "dpdk"})),
        ("dpdkport", json!({}), json!({"Type": "afpacket"})),
        ("dpdkport", json!({}), json!({"Type": "pcapsocket"})),
        ("ovsbridge", json!({}), json!({})),
        ("ovsport", json!({}), json!({"Type": "pcapsocket"})),
    ] {
        let mut world = with_node(kind, &node);
        captured(&world, &capture).await;
        let other = json!({"GremlinQuery": "G.V().Has('Name', 'eth1')"});
        assert_eq!(ask(&world, "POST", "/api/capture", other.to_string()).await.status, 201);
        let plan = world.plan(|plan| !plan.points.is_empty()).await;
        assert_eq!(plan.points.len(), 1, "{capture} on a {kind}");
        world.report(WatchId(1), WatchState::Active, 1).await;
        tokio::spawn(world.state.captures.clone().run());
        shown_on(&world, "eth1").await;
        assert_eq!(world.shown("n", "Captures"), json!(null), "{capture} on a {kind}");
    }
}

#[tokio::test]
async fn several_captures_run_on_one_node() {
    let mut world = with_node("veth", &json!({}));
    let mut ids = Vec::new();
    for capture in [
        json!({}),
        json!({"BPFFilter": "udp"}),
        json!({"Type": "pcap"}),
        json!({"Type": "pcapsocket"}),
        // Another query for the same node is no duplicate.
        json!({"Type": "pcapsocket", "GremlinQuery": "G.V().Has('Name', 'n', 'Type', 'veth')"}),
    ] {
        ids.push(captured(&world, &capture).await);
    }
    let plan = world.plan(|plan| plan.points.len() == 3).await;
    let mut watches: Vec<_> =
        plan.points.iter().map(|planned| (planned.point.clone(), planned.watches.len())).collect();
    watches.sort_by_key(|(_, watches)| *watches);
    let socket = |port: u16| Point::Socket(([127, 0, 0, 1], port).into());
    assert!(watches[..2].contains(&(socket(8100), 1)) && watches[..2].contains(&(socket(8101), 1)));
    assert_eq!(watches[2], (Point::Interface { index: 7, netns: None }, 3));
    tokio::spawn(world.state.captures.clone().run());
    // The lcore of these tests speaks of one watch at a time.
    for (n, id) in (1..).zip(&ids) {
        world.report(WatchId(n), WatchState::Active, 1).await;
        counts(&world, id, 1).await;
        assert_eq!(ask(&world, "GET", &format!("/api/capture/{id}"), "").await.json()["Count"], 1);
    }
}

#[tokio::test]
async fn a_socket_moves_on_when_another_program_has_its_port() {
    let mut world = with_node("veth", &json!({}));
    captured(&world, &json!({"Type": "pcapsocket"})).await;
    world.plan(|plan| !plan.points.is_empty()).await;
    let in_use = nix::errno::Errno::EADDRINUSE as i32;
    world.report(WatchId(1), WatchState::Failed(in_use), 0).await;
    tokio::spawn(world.state.captures.clone().run());
    let next = Point::Socket(([127, 0, 0, 1], 8101).into());
    world.plan(|plan| plan.points.iter().any(|planned| planned.point == next)).await;
    world.report(WatchId(2), WatchState::Active, 0).await;
    within(|| (world.shown("n", "Captures")[0]["PCAPSocket"] == "127.0.0.1:8101").then_some(()))
        .await;
}

#[tokio::test]
async fn a_port_that_was_asked_for_is_waited_for() {
    let mut world = with_node("veth", &json!({}));
    let id = captured(&world, &json!({"Type": "pcapsocket", "Port": 8131})).await;
    world.plan(|plan| !plan.points.is_empty()).await;
    let in_use = nix::errno::Errno::EADDRINUSE as i32;
    world.report(WatchId(1), WatchState::Failed(in_use), 0).await;
    tokio::spawn(world.state.captures.clone().run());
    // Without the port: what another program has is not to be written into.
    let expected = json!([{
        "ID": id, "State": "error", "Error": "Address already in use (os error 98)",
        "Type": "pcapsocket", "PacketsReceived": 0, "PacketsDropped": 3, "PacketsIfDropped": 0,
    }]);
    assert_eq!(shown_on(&world, "n").await, expected);
    world.report(WatchId(1), WatchState::Active, 1).await;
    within(|| (world.shown("n", "Captures")[0]["PCAPSocket"] == "127.0.0.1:8131").then_some(()))
        .await;
}

#[tokio::test]
async fn types_that_we_have_not_are_refused_and_those_we_have_are_named() {
    let world = World::new();
    for kind in ["ebpf", "ovsmirror", "ovsnetflow", "ovssflow", "sflow", "AFPACKET", "x"] {
        let body = json!({"GremlinQuery": "G.V()", "Type": kind});
        let text = format!(
            "Type: Not a valid capture type: {kind}, available types: [afpacket dpdk pcap pcapsocket]"
        );
        ask(&world, "POST", "/api/capture", body.to_string()).await.is_error(400, &text);
    }
}

#[tokio::test]
async fn every_type_we_have_can_what_captures_ask_for() {
    let world = World::new();
    for kind in ["", "afpacket", "dpdk", "pcap", "pcapsocket"] {
        let members = json!({
            "Type": kind, "BPFFilter": "tcp", "RawPacketLimit": 10, "ExtraTCPMetric": true,
        });
        captured(&world, &members).await;
    }
}

/// Which captures are the same to Skydive: the type may allow for another filter.
#[tokio::test]
async fn duplicates_are_refused_by_type() {
    for (kind, several) in
        [("", true), ("afpacket", true), ("pcap", true), ("dpdk", false), ("pcapsocket", false)]
    {
        let world = World::new();
        captured(&world, &json!({"Type": kind})).await;
        for (members, accepted) in [
            (json!({"Type": kind}), false),
            (json!({"Type": kind, "Name": "another", "HeaderSize": 100}), false),
            (json!({"Type": kind, "BPFFilter": "udp"}), several),
            (json!({"Type": kind, "BPFFilter": "udp"}), false),
            (json!({"Type": kind, "GremlinQuery": "G.V()"}), true),
        ] {
            let mut body = json!({"GremlinQuery": "G.V().Has('Name', 'n')"});
            body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
            let got = ask(&world, "POST", "/api/capture", body.to_string()).await;
            match accepted {
                true => assert_eq!(got.status, 201, "{members}"),
                false => got.is_error(409, "duplicated resource"),
            }
        }
    }
}

/// Waits until so many nodes show that the capture is active.
async fn counts(world: &World, id: &str, count: u64) {
    within(|| (world.state.captures.list()[id].count == count).then_some(())).await;
}

#[tokio::test]
async fn a_node_is_captured_as_soon_as_it_is_there_and_as_long() {
    let mut world = World::new();
    let id = captured(&world, &json!({"Type": "pcapsocket"})).await;
    tokio::spawn(world.state.captures.clone().run());
    let now = world.state.clock.now();
    world.state.graph.write().unwrap().add(node("n", "veth", 7), now).unwrap();
    world.plan(|plan| !plan.points.is_empty()).await;
    world.report(WatchId(1), WatchState::Active, 1).await;
    counts(&world, &id, 1).await;
    assert_eq!(ask(&world, "GET", "/api/capture", "").await.json()[&id]["Count"], 1);
    world.state.graph.write().unwrap().delete::<Node>("n", now);
    world.plan(|plan| plan.points.is_empty()).await;
    assert_eq!(ask(&world, "GET", "/api/capture", "").await.json()[&id]["Count"], 0);
}

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use serde_json::{Value, json};
use sonde_proto::graph::Metadata;

use tokio::sync::mpsc;

use super::*;
use crate::agent::Line;
use crate::envelope::Received;
use crate::tests::world::{World, node, within};

fn metadata(value: Value) -> Metadata {
    value.as_object().unwrap().clone()
}

/// Two more interfaces, `a` with addresses and a route, and `b`.
fn world() -> World {
    let world = World::new();
    let mut a = node("a", "veth", 7);
    a.metadata.extend(metadata(json!({
        "EncapType": "ether", "MAC": "02:00:00:00:00:0a",
        "IPV4": ["10.0.0.1/24"], "IPV6": ["fd00::a/64"],
        "RoutingTables": [{"ID": 254, "Routes": [
            {"Prefix": "0.0.0.0/0", "NextHops": [{"IP": "10.0.0.254", "IfIndex": 7}]}]}],
        "Neighbors": [{"IP": "10.0.0.254", "MAC": "02:00:00:00:00:fe"}],
    })));
    let mut b = node("b", "veth", 8);
    b.metadata.extend(metadata(json!({
        "EncapType": "ether", "MAC": "02:00:00:00:00:0b", "IPV4": ["10.0.0.2/24"],
    })));
    let now = world.state.clock.now();
    let mut graph = world.state.graph.write().unwrap();
    graph.add(a, now).unwrap();
    graph.add(b, now).unwrap();
    drop(graph);
    world
}

fn injection(value: Value) -> PacketInjection {
    let mut all = json!({
        "Src": "G.V().Has('Name', 'a')", "Dst": "G.V().Has('Name', 'b')",
        "Type": "icmp4", "Count": 3,
    });
    all.as_object_mut().unwrap().extend(metadata(value));
    serde_json::from_value(all).unwrap()
}

async fn create(world: &World, value: Value) -> Result<PacketInjection, String> {
    let (injections, new) = (world.state.injections.clone(), injection(value));
    let created = spawn_blocking(move || injections.create(new, None)).await.unwrap();
    created.map_err(|error| error.to_string())
}

/// The frames, once there are so many.
async fn sent(world: &World, count: usize) -> Vec<(Point, Vec<u8>)> {
    within(|| {
        let sent = world.injected.lock().unwrap();
        (sent.len() >= count).then(|| sent.clone())
    })
    .await
}

#[tokio::test]
async fn a_ping_goes_from_node_to_node() {
    let world = world();
    let created = create(&world, json!({"ICMPID": 9, "Payload": "hi"})).await.unwrap();
    assert!(created.start_time.ends_with('Z'));
    for (number, (point, frame)) in (0..).zip(sent(&world, 3).await) {
        assert_eq!(point, Point::Interface { index: 7, netns: None });
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(etherparse::LinkSlice::Ethernet2(ether)) = packet.link else { panic!() };
        // The only route is by the gateway.
        assert_eq!(ether.destination(), [2, 0, 0, 0, 0, 0xfe]);
        let Some(NetSlice::Ipv4(ip)) = packet.net else { panic!() };
        assert_eq!(ip.header().destination_addr().to_string(), "10.0.0.2");
        let Some(TransportSlice::Icmpv4(icmp)) = packet.transport else { panic!() };
        let etherparse::Icmpv4Type::EchoRequest(echo) = icmp.header().icmp_type else { panic!() };
        assert_eq!((echo.id, echo.seq, icmp.payload()), (9, number, &b"hi"[..]));
    }
}

#[tokio::test]
async fn what_is_missing_is_said() {
    let world = world();
    let none = "G.V().Has('Name', 'nobody')";
    for (given, why) in [
        (json!({"Src": none}), format!("Not able to find a source node for '{none}'")),
        (json!({"Dst": ""}), "No destination node and IP".into()),
        (json!({"Dst": none}), "No destination node and IP".into()),
        (json!({"Type": "icmp6"}), "No destination IP in node".into()),
        (json!({"Src": "G.V().Has('Name', 'eth0')"}), "No source IP in node".into()),
        (
            json!({"Src": "G.V().Has('Name', 'eth0')", "SrcIP": "10.0.0.9"}),
            "No source MAC in node".into(),
        ),
        (
            json!({"Type": "udp6", "Dst": "", "DstIP": "fd00::b"}),
            "Failed to resolve destination MAC address".into(),
        ),
        (
            json!({"DstIP": "fd00::b"}),
            "SrcIP and DstIP: expected two addresses of one version, as Type says".into(),
        ),
        (json!({"Type": "sctp"}), "given type is not supported".into()),
        (json!({"Pcap": "IA==", "Count": 0}), "Count: expected at least 1".into()),
    ] {
        assert_eq!(create(&world, given.clone()).await.unwrap_err(), why, "{given}");
    }
    assert!(world.injected.lock().unwrap().is_empty());
    assert!(world.state.injections.resources().entries().is_empty());
}

#[tokio::test]
async fn nodes_that_send_are_told_apart() {
    let world = world();
    let both = "G.V().Has('Name', Within('a', 'b'))";
    let wanted = json!({"Src": both, "Type": "udp4", "Count": 1, "DstPort": 53, "SrcPort": 4000,
        "Dst": "", "DstIP": "10.0.0.3", "DstMAC": "02:00:00:00:00:03"});
    create(&world, wanted).await.unwrap();
    let mut ports: Vec<u16> = (sent(&world, 2).await.iter())
        .map(|(_, frame)| u16::from_be_bytes([frame[34], frame[35]]))
        .collect();
    ports.sort_unstable();
    assert_eq!(ports, [4000, 4001]);
}

#[tokio::test]
async fn a_node_shows_what_it_sends_until_it_ends() {
    let world = world();
    let slow = json!({"Type": "tcp4", "Count": 1000, "Interval": 3_600_000, "DstPort": 80});
    let created = create(&world, slow).await.unwrap();
    sent(&world, 1).await;
    let shown = &world.shown("a", "PacketInjections")[0];
    assert_eq!((&shown["ID"], &shown["State"]), (&json!(created.uuid), &json!("active")));
    assert_eq!((&shown["SrcIP"], &shown["DstPort"]), (&json!("10.0.0.1"), &json!(80)));
    assert_eq!(shown["SrcMAC"], "AgAAAAAK");
    assert!(shown["SrcPort"].as_u64().unwrap() >= 1024);
    let (injections, id) = (world.state.injections.clone(), created.uuid);
    assert!(spawn_blocking(move || injections.delete(&id).unwrap()).await.unwrap());
    assert_eq!(world.shown("a", "PacketInjections"), Value::Null);
    assert_eq!(sent(&world, 1).await.len(), 1);
}

#[tokio::test]
async fn a_port_sends_with_the_addresses_it_is_given() {
    let world = world();
    let wanted = json!({"Src": "G.V().Has('Name', 'p0')", "Count": 1, "SrcIP": "10.0.0.7",
        "SrcMAC": "02:00:00:00:00:07"});
    create(&world, wanted).await.unwrap();
    let (point, frame) = &sent(&world, 1).await[0];
    assert_eq!(*point, Point::Port("p0".into()));
    assert_eq!(frame[..12], [2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 7]);
}

#[tokio::test]
async fn nodes_of_other_hosts_are_not_sent_on() {
    let world = world();
    let now = world.state.clock.now();
    // The number of its interface is one of ours, too.
    let far = sonde_proto::graph::Node { host: "far".into(), ..node("far", "veth", 7) };
    world.state.graph.write().unwrap().add(far, now).unwrap();
    let why = create(&world, json!({"Src": "G.V().Has('Name', 'far')"})).await.unwrap_err();
    assert!(why.contains("Not able to find a source node"), "{why}");
    let both = json!({"Src": "G.V().Has('Name', Within('far', 'a'))", "Count": 1});
    create(&world, both).await.unwrap();
    assert_eq!(sent(&world, 1).await.len(), 1);
}

#[tokio::test]
async fn an_agent_sends_on_its_nodes() {
    let world = world();
    let now = world.state.clock.now();
    let mut far = node("far", "veth", 7);
    far.metadata.extend(metadata(json!({"MAC": "02:00:00:00:00:0f", "IPV4": ["10.0.0.3/24"]})));
    (far.host, far.origin) = ("far".into(), "agent.far".into());
    world.state.graph.write().unwrap().add(far, now).unwrap();
    let agents = world.state.ws.agents.clone();
    let (tells, mut letters) = mpsc::channel(8);
    let (answers, replies) = mpsc::channel(8);
    let line = Line { letters: tells.downgrade(), replies };
    tokio::spawn(agents.executor("far").run(line));
    let wanted = json!({"Src": "G.V().Has('Name', Within('far', 'a'))", "Count": 2, "ICMPID": 5});
    let id = create(&world, wanted).await.unwrap().uuid;
    let letter = letters.recv().await.unwrap();
    assert_eq!((letter.namespace, letter.kind), ("OnDemandPacketInjection", "Start"));
    let asked: Value = serde_json::from_slice(&letter.obj).unwrap();
    assert_eq!(asked["NodeID"], "far");
    let resource = &asked["Resource"];
    let expected = metadata(json!({
        "UUID": id, "ID": id, "Type": "icmp4", "Count": 2, "SrcIP": "10.0.0.3",
        "DstIP": "10.0.0.2", "SrcMAC": "AgAAAAAP", "DstMAC": "AgAAAAAL", "TTL": 64,
    }));
    for (key, value) in expected {
        assert_eq!(resource[&key], value, "{key}");
    }
    assert_eq!(sent(&world, 2).await.len(), 2, "those of ours, by us");
    let reply = Received { uuid: letter.uuid, status: 500, ..Received::default() };
    answers.send(reply).await.unwrap();
    within(|| agents.outcomes().values().find_map(|outcome| outcome.error().map(drop))).await;
    let injections = world.state.injections.clone();
    spawn_blocking(move || injections.show()).await.unwrap();
    let shown = &world.shown("far", "PacketInjections")[0];
    assert_eq!((&shown["ID"], &shown["Error"]), (&json!(id), &json!("the agent failed")));
    let injections = world.state.injections.clone();
    spawn_blocking(move || injections.delete(&id)).await.unwrap().unwrap();
    assert_eq!(world.shown("far", "PacketInjections"), Value::Null);
    assert!(agents.outcomes().is_empty());
}

#[tokio::test]
async fn agents_share_the_file_that_they_send() {
    let world = world();
    let now = world.state.clock.now();
    for name in ["near", "far"] {
        let mut node = node(name, "veth", 7);
        (node.host, node.origin) = (name.into(), format!("agent.{name}"));
        world.state.graph.write().unwrap().add(node, now).unwrap();
    }
    let wanted = json!({"Src": "G.V().Has('Name', Within('near', 'far'))", "Pcap": "aGVsbG8=",
        "Dst": "", "Count": 1});
    create(&world, wanted).await.unwrap();
    let remote = world.state.injections.remote();
    let orders: Vec<_> = remote.orders.values().collect();
    let [first, second] = orders[..] else { panic!("{orders:?}") };
    assert_ne!(first.host, second.host);
    assert_eq!(first.resource["Pcap"], "aGVsbG8=");
    assert!(Arc::ptr_eq(&first.resource, &second.resource));
}

#[tokio::test]
async fn a_file_is_sent_as_it_is() {
    let world = world();
    let wanted = json!({"Pcap": "aGVsbG8=", "Dst": "", "Count": 2});
    create(&world, wanted).await.unwrap();
    for (_, frame) in sent(&world, 2).await {
        assert_eq!(frame, b"hello");
    }
    let error = create(&world, json!({"Pcap": "????"})).await.unwrap_err();
    assert!(error.starts_with("Pcap: Not base64"), "{error}");
}

#[tokio::test]
async fn a_restart_sends_nothing_again() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(Some(directory.path())).unwrap();
    let wanted = json!({"Src": "G.V().Has('Name', 'eth0')", "Pcap": "aGVsbG8=", "Count": 1});
    create(&world, wanted).await.unwrap();
    sent(&world, 1).await;
    drop(world);
    let world = within(|| World::open(Some(directory.path())).ok()).await;
    assert_eq!(world.state.injections.resources().entries().len(), 1);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(world.injected.lock().unwrap().is_empty());
}

#[tokio::test]
async fn subscribers_are_told_what_becomes_of_injections() {
    let world = world();
    let injections = &world.state.injections;
    let mut notices = world.state.notices.subscribe();
    let mut next = async || {
        let notice = notices.next().await.unwrap();
        assert_eq!(notice.namespace, "OnDemandPacketInjectionNotification");
        let injection: PacketInjection = serde_json::from_slice(&notice.obj).unwrap();
        (notice.kind, injection)
    };
    let begin = |ttl| {
        // Its thread waits here, until it is told that it sends.
        let _held = world.injected.lock().unwrap();
        injections.create(injection(json!({"Count": 1})), ttl).unwrap()
    };
    let ends = begin(None);
    assert_eq!(next().await, ("Added", ends.clone()));
    assert_eq!(next().await, ("NodeUpdated", ends.clone()), "it sends");
    within(|| injections.jobs()[&ends.uuid].left().all(Job::is_over).then_some(())).await;
    injections.tick();
    assert_eq!(next().await, ("NodeUpdated", ends.clone()), "it has sent all");
    assert_eq!(world.shown("a", "PacketInjections"), Value::Null, "it is told afterwards");
    injections.tick();
    assert!(injections.delete(&ends.uuid).unwrap());
    assert_eq!(next().await, ("Deleted", ends), "nothing has changed before");

    let hour = Duration::from_secs(3600);
    let timed = begin(Some(hour));
    assert_eq!(next().await, ("Added", timed.clone()));
    assert_eq!(next().await, ("NodeUpdated", timed.clone()));
    world.pass(hour);
    injections.tick();
    assert_eq!(next().await, ("Deleted", timed), "its time was over");
}

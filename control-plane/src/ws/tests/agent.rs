//! Skydive's agents, made of the published Protobuf messages.

use serde_json::json;
use sonde_proto::flow::{FlowFinishType, Message as FlowMessage, RawPacket};
use sonde_proto::graph::Node;
use sonde_proto::record::WatchId;

use super::speaker::{JSON, Speaker};
use super::*;
use crate::agent::{Errand, Order, Orders, Outcome, Outcomes, Task};
use crate::flow::LazyFlow;
use crate::flow_store::FlowKey;
use crate::stream::{Namespaces, Obj};
use crate::tests::world::within;

const TOPOLOGY: &str = "/ws/agent/topology";
const FLOW: &str = "/ws/agent/flow";
const AGENT: (&str, &str) = ("x-client-type", "agent");
const NOW: Timestamp = Timestamp::from_millis(1_000);

async fn join(server: &Server, host: &str, protocol: (&str, &str)) -> Speaker {
    Speaker::join(server, (TOPOLOGY, "agent"), host, protocol).await
}

impl Server {
    fn refused(&self, host: &str) -> u64 {
        let clients = self.clients.agents.list();
        clients.into_iter().find(|client| client.host == host).unwrap().refused
    }

    async fn metering(&self, host: &str, protocol: (&str, &str)) -> Socket {
        self.connect_at(FLOW, &[AGENT, protocol, ("x-host-id", host)]).await
    }

    /// The flows that the store has, by TID of the node and UUID.
    fn flows(&self) -> Vec<(String, String)> {
        let store = self.asker.flows.read().unwrap();
        let shares = (1..=3).map(|agent| WatchId(WatchId::UPLOAD.0 - agent));
        let keys = shares.flat_map(|watch| (0..100).map(move |uuid| FlowKey { watch, uuid }));
        let flows = keys.filter_map(|key| store.get(&key).map(LazyFlow::flow));
        flows.map(|flow| (flow.node_tid.clone(), flow.uuid.clone())).collect()
    }
}

fn node(id: &str, mtu: i64, revision: i64) -> Value {
    speaker::node(id, "whatever.else", mtu, revision)
}

fn edge(parent: &str, child: &str) -> Value {
    speaker::edge(parent, child, "whatever.else")
}

fn flow(node: &str, uuid: u64) -> Flow {
    let (uuid, node_tid) = (format!("{uuid:x}"), node.to_owned());
    Flow { uuid, node_tid, capture_id: "c".into(), start: 5, last: 9, ..Flow::default() }
}

fn flows(flows: Vec<Flow>) -> Message {
    Message::binary(FlowMessage { flows, stats: None }.encode_to_vec())
}

#[tokio::test]
async fn an_agents_topology_comes_and_goes_with_it() {
    for protocol in [PROTOBUF, JSON] {
        let server = Server::new().await;
        let other: Node = serde_json::from_value(node("other", 1, 1)).unwrap();
        server.asker.edit(|graph| graph.add(other, NOW)).unwrap();
        let mut agent = join(&server, "far", protocol).await;
        let bare = json!({"ID": "bare", "Metadata": {}});
        let nodes = json!([node("host", 1, 1), node("eth0", 1500, 3), bare]);
        let edges = json!([edge("host", "eth0"), edge("host", "bare"), edge("eth0", "nowhere")]);
        agent.say("Sync", json!({"Nodes": nodes, "Edges": edges})).await;
        agent.settle().await;
        let eth0 = server.node("eth0").unwrap();
        assert_eq!((&*eth0.origin, &*eth0.host, eth0.revision), ("agent.far", "far", 3));
        assert_eq!((server.elements(), server.refused("far")), (6, 1), "an end is nowhere");

        // What is written here counts as a revision; the agent is believed all the same.
        server.asker.edit(|graph| {
            let mark = |metadata: &mut serde_json::Map<String, Value>| {
                metadata.insert("Captures".into(), json!([]));
            };
            graph.update::<Node>("eth0", NOW, mark);
        });
        agent.say("NodeUpdated", node("eth0", 9000, 4)).await;
        agent.settle().await;
        let eth0 = server.node("eth0").unwrap();
        assert_eq!((&eth0.metadata["MTU"], eth0.revision), (&json!(9000), 5));
        let ops = json!([{"Type": 1, "Key": "MTU", "Value": 1280}]);
        let update = json!({"ID": "eth0", "UpdatedAt": 7, "Revision": 5, "Ops": ops});
        agent.say("NodePartiallyUpdated", update).await;
        agent.say("NodeAdded", node("eth1", 1, 1)).await;
        agent.say("EdgeAdded", edge("host", "eth1")).await;
        agent.say("EdgeDeleted", edge("host", "bare")).await;
        agent.say("NodeDeleted", json!({"ID": "bare", "Metadata": {}})).await;
        agent.settle().await;
        assert_eq!(server.node("eth0").unwrap().metadata["MTU"], 1280);
        assert_eq!((server.elements(), server.refused("far")), (6, 1));

        agent.say("Sync", json!({"Nodes": [node("eth0", 1500, 9)], "Edges": null})).await;
        agent.settle().await;
        assert_eq!(server.elements(), 2);
        drop(agent);
        within(|| (server.elements() == 1).then_some(())).await;
        assert!(server.node("other").is_some());
        assert!(server.clients.left(LONG).await);
    }
}

#[tokio::test]
async fn an_agent_touches_nothing_of_anothers() {
    let server = Server::new().await;
    let ours: Node = serde_json::from_value(node("ours", 1, 1)).unwrap();
    server.asker.edit(|graph| graph.add(ours, NOW)).unwrap();
    let mut first = join(&server, "first", PROTOBUF).await;
    first.say("Sync", json!({"Nodes": [node("a", 1, 1), node("b", 1, 1)], "Edges": []})).await;
    first.say("EdgeAdded", edge("a", "b")).await;
    first.settle().await;

    let mut second = join(&server, "second", JSON).await;
    let ops = json!([{"Type": 1, "Key": "MTU", "Value": 2}]);
    let update = json!({"ID": "a", "UpdatedAt": 7, "Revision": 9, "Ops": ops});
    let nodes = json!([node("a", 2, 9), node("ours", 2, 9), node("mine", 2, 1)]);
    second.say("Sync", json!({"Nodes": nodes, "Edges": [edge("a", "b")]})).await;
    second.say("NodeAdded", node("a", 2, 9)).await;
    second.say("NodeUpdated", node("a", 2, 9)).await;
    second.say("NodePartiallyUpdated", update).await;
    second.say("NodeDeleted", node("ours", 2, 9)).await;
    second.say("EdgeDeleted", edge("a", "b")).await;
    second.settle().await;
    assert_eq!(server.refused("second"), 8);
    let untouched = |server: &Server| {
        let mtu = |id: &str| server.node(id).map(|node| node.metadata["MTU"].clone());
        let edges = server.asker.look(|graph| graph.edges().count());
        (mtu("a"), mtu("ours"), edges)
    };
    let expected = (Some(json!(1)), Some(json!(1)), 1);
    assert_eq!(untouched(&server), expected);
    assert_eq!(server.node("mine").unwrap().origin, "agent.second");
    drop(second);
    within(|| server.node("mine").is_none().then_some(())).await;
    assert_eq!(untouched(&server), expected);
    first.settle().await;
}

#[tokio::test]
async fn only_agents_of_other_hosts_come_in() {
    let server = Server::new().await;
    for path in [TOPOLOGY, FLOW] {
        for (kind, host) in [("probe", "far"), ("agent", "probe-1")] {
            let headers = [("x-client-type", kind), ("x-host-id", host)];
            let mut socket = server.connect_at(path, &headers).await;
            assert_eq!(close_code(&mut socket).await, 1000, "{path} {kind} {host}");
        }
    }
    let headers = [AGENT, ("x-host-id", "far")];
    let _first = server.connect_at(TOPOLOGY, &headers).await;
    let second = server.handshake_at(TOPOLOGY, &headers).await;
    assert!(matches!(*second.unwrap_err(), Error::Http(answer) if answer.status() == 409));
}

#[tokio::test]
async fn garbage_changes_no_topology() {
    let server = Server::new().await;
    for protocol in [PROTOBUF, JSON] {
        let mut agent = join(&server, "far", protocol).await;
        for garbage in [&b""[..], b"\x07", b"{", b"\xff\xff\xff\xff", b"[[[[[[[["] {
            agent.socket.send(Message::binary(garbage.to_vec())).await.unwrap();
        }
        for (kind, obj) in [
            ("Sync", json!("a text")),
            ("Sync", json!({"Nodes": {}})),
            ("NodeAdded", json!({"ID": ""})),
            ("NodeAdded", json!({"ID": 5, "Metadata": []})),
            ("EdgeAdded", json!({"ID": "e", "Metadata": {}})),
            ("NodePartiallyUpdated", json!({"ID": "x", "Ops": "y"})),
        ] {
            agent.say(kind, obj).await;
        }
        agent.say("Dance", json!({})).await;
        agent.settle().await;
        // No bytes at all are an empty message in Protobuf, which asks for nothing.
        let expected = if protocol == JSON { 11 } else { 10 };
        assert_eq!((server.elements(), server.refused("far")), (0, expected));
        drop(agent);
        assert!(server.clients.left(LONG).await);
    }
}

#[tokio::test]
async fn half_a_sync_is_none() {
    let server = Server::new().await;
    let mut agent = join(&server, "far", PROTOBUF).await;
    agent.say("NodeAdded", node("a", 1, 1)).await;
    agent.settle().await;
    let sync = json!({"Nodes": (0..50).map(|n| node(&n.to_string(), 1, 1)).collect::<Vec<_>>()});
    let bytes = agent.message("Graph", "Sync", ("u", 200), sync).into_data();
    // A binary frame of that length, with a mask of zeros (RFC 6455, section 5.2).
    let mut half = vec![0x82, 0xfe];
    half.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
    half.extend([0; 4]);
    half.extend(&bytes[..bytes.len() / 2]);
    let MaybeTlsStream::Plain(tcp) = agent.socket.get_mut() else { panic!("no TLS here") };
    tcp.write_all(&half).await.unwrap();
    drop(agent);
    within(|| (server.elements() == 0).then_some(())).await;
    assert!(server.clients.left(LONG).await);
    join(&server, "far", PROTOBUF).await.settle().await;
}

#[tokio::test]
async fn agents_flows_are_flows_like_ours() {
    for protocol in [PROTOBUF, JSON] {
        let server = Server::new().await;
        let names = Namespaces::parse(["flow", "stats"]);
        let mut subscriber = server.stream.subscribe(names, QueueLimits::default());
        let mut agent = server.metering("far", protocol).await;
        let packet = RawPacket { data: b"bytes".as_slice().into(), ..RawPacket::default() };
        let ended = Flow {
            finish_type: FlowFinishType::TcpFin.into(),
            last_raw_packets: vec![packet],
            ..flow("n", 2)
        };
        let stats = Stats { capture_id: "c".into(), packets_received: 7, ..Stats::default() };
        let message =
            FlowMessage { flows: vec![flow("n", 1), ended.clone()], stats: Some(stats.clone()) };
        agent.send(Message::binary(message.encode_to_vec())).await.unwrap();
        let told = async {
            let flows = subscriber.next().await.unwrap().obj().clone();
            (flows, subscriber.next().await.unwrap().obj().clone())
        };
        let (bulk, counters) = timeout(LONG, told).await.unwrap();
        let sent = [flow("n", 1), ended].map(Arc::new).to_vec();
        assert_eq!((bulk, counters), (Obj::Flows(sent), Obj::Stats(stats)));
        assert_eq!(server.flows(), [("n".into(), "1".into()), ("n".into(), "2".into())]);

        // The same UUID of another agent is another flow; of the same one it is the same.
        let mut other = server.metering("near", protocol).await;
        other.send(flows(vec![flow("m", 1)])).await.unwrap();
        within(|| (server.flows().len() == 3).then_some(())).await;
        agent.close(None).await.unwrap();
        within(|| (server.clients.agent_flows.list().len() == 1).then_some(())).await;
        let mut agent = server.metering("far", protocol).await;
        agent.send(flows(vec![flow("n", 1), flow("n", 3)])).await.unwrap();
        within(|| (server.flows().len() == 4).then_some(())).await;
    }
}

#[tokio::test]
async fn a_bad_flow_ends_the_connection() {
    let server = Server::new().await;
    let bad = FlowMessage { flows: vec![flow("n", 1), Flow::default()], stats: None };
    for (n, (message, why)) in [
        (b"GET / HTTP/1.1".to_vec(), "expected a Protobuf flow.Message"),
        (b"\x0a\x7f".to_vec(), "in the middle"),
        (bad.encode_to_vec(), "UUID of a flow"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut agent = server.metering("far", PROTOBUF).await;
        agent.send(Message::binary(message)).await.unwrap();
        match frame(&mut agent).await {
            Message::Close(Some(close)) => {
                assert_eq!(u16::from(close.code), 1007);
                assert!(close.reason.contains(why), "{}", close.reason);
            }
            other => panic!("expected a close frame, found {other:?}"),
        }
        drop(agent);
        assert!(server.clients.left(LONG).await);
        assert_eq!(server.agents.refused().0, n as u64 + 1);
    }
    assert!(server.flows().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_has_its_share_and_no_more() {
    let server = Server::new().await;
    let mut flood = server.metering("flood", PROTOBUF).await;
    for n in 0..50 {
        let message = flows((0..1000).map(|m| flow("n", n * 1000 + m)).collect());
        flood.send(message).await.unwrap();
    }
    let refused = || server.agents.refused().1;
    within(|| (refused() == 50_000 - FLOWS as u64 / 4).then_some(())).await;
    assert_eq!(server.asker.flows.read().unwrap().len(), FLOWS / 4);
    assert_eq!(server.clients.agent_flows.list()[0].refused, refused());
    let mut calm = server.metering("calm", PROTOBUF).await;
    calm.send(flows(vec![flow("m", 1)])).await.unwrap();
    within(|| server.flows().contains(&("m".into(), "1".into())).then_some(())).await;
    // Newer states of its flows are taken still.
    let newer = Flow { application: "newer".into(), ..flow("n", 0) };
    flood.send(flows(vec![newer])).await.unwrap();
    let key = FlowKey { watch: WatchId(WatchId::UPLOAD.0 - 1), uuid: 0 };
    within(|| {
        let store = server.asker.flows.read().unwrap();
        (store.get(&key).unwrap().flow().application == "newer").then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_agent_is_asked_to_capture_and_answers() {
    for protocol in [PROTOBUF, JSON] {
        let server = Server::new().await;
        let mut agent = join(&server, "far", protocol).await;
        let order = |host: &str, node: &str| {
            let errand =
                Errand { task: Task::Capture, node: node.to_owned(), resource: "c".into() };
            (errand, Order { host: host.to_owned(), resource: Arc::new(json!({"UUID": "c"})) })
        };
        let tell = |orders: Orders| server.agents.order(Task::Capture, &orders);
        tell([order("far", "a"), order("far", "b"), order("near", "c")].into());
        for (node, status) in [("a", 200), ("b", 500)] {
            let (kind, uuid, obj) = agent.asked().await;
            assert_eq!((kind.as_str(), &obj["NodeID"]), ("Start", &json!(node)));
            assert_eq!(obj["Resource"], json!({"UUID": "c"}));
            agent.answer("StartReply", &uuid, status, obj).await;
        }
        let failed = Outcome::Failed("the agent failed".into());
        within(|| {
            let outcomes: Vec<_> = server.agents.outcomes().into_values().collect();
            (outcomes == [Outcome::Begun, failed.clone()]).then_some(())
        })
        .await;
        tell(Orders::new());
        let (kind, uuid, obj) = agent.asked().await;
        assert_eq!((kind.as_str(), &obj["NodeID"]), ("Stop", &json!("a")));
        agent.answer("StopReply", &uuid, 404, obj).await;
        // It is an agent like before, whatever it answered.
        agent.settle().await;
        assert!(server.agents.outcomes().is_empty());
        tell([order("far", "a")].into());
        let (_, uuid, obj) = agent.asked().await;
        agent.answer("StartReply", &uuid, 200, obj).await;
        let begun = |outcomes: Outcomes| outcomes.into_values().eq([Outcome::Begun]);
        within(|| begun(server.agents.outcomes()).then_some(())).await;
        drop(agent);
        assert!(server.clients.left(LONG).await);
        assert!(server.agents.outcomes().is_empty(), "nothing runs where nobody is");
    }
}

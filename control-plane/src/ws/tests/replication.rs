//! Analyzers that exchange the topology.

use std::collections::BTreeSet;

use serde_json::json;
use sonde_proto::graph::Node;

use super::speaker::{JSON, Speaker, edge, is, node};
use super::*;
use crate::tests::world::within;

const PATH: &str = "/ws/replication";
const NOW: Timestamp = Timestamp::from_millis(1_000);

async fn join(server: &Server, host: &str, protocol: (&str, &str)) -> Speaker {
    Speaker::join(server, (PATH, "analyzer"), host, protocol).await
}

impl Server {
    /// Adds a node of our own.
    fn discover(&self, id: &str) {
        let node: Node = serde_json::from_value(node(id, "agent.probe-1", 1, 1)).unwrap();
        self.asker.edit(|graph| graph.add(node, NOW)).unwrap();
    }

    fn mark(&self, id: &str, key: &str) {
        let mark = |metadata: &mut serde_json::Map<String, Value>| {
            metadata.insert(key.into(), json!(true));
        };
        self.asker.edit(|graph| graph.update::<Node>(id, NOW, mark)).unwrap();
    }

    fn mtu(&self, id: &str) -> Option<i64> {
        self.node(id)?.metadata["MTU"].as_i64()
    }
}

#[tokio::test]
async fn each_tells_the_other_its_part() {
    for protocol in [PROTOBUF, JSON] {
        let server = Server::new().await;
        server.discover("ours");
        let mut peer = join(&server, "b", protocol).await;
        assert_eq!(peer.hear().await, is("Sync", &["ours"]), "unasked");
        let nodes = json!([node("x", "agent.x", 1, 3), node("y", "api.b", 1, 1)]);
        let edges = json!([edge("x", "y", "analyzer.b"), edge("ours", "x", "analyzer.b")]);
        peer.say("Sync", json!({"Nodes": nodes, "Edges": edges})).await;
        assert_eq!(peer.settle().await, []);
        let x = server.node("x").unwrap();
        assert_eq!((&*x.origin, &*x.host, x.revision), ("agent.x", "x", 3));
        assert_eq!((server.elements(), server.clients.peers.list()[0].refused), (5, 0));

        // Of what it told itself it hears nothing, whoever changes it.
        server.mark("x", "Captures");
        peer.say("NodeUpdated", node("x", "agent.x", 2, 4)).await;
        peer.say("NodeDeleted", node("y", "api.b", 1, 1)).await;
        server.discover("later");
        server.mark("ours", "Mark");
        let told = [is("NodeAdded", &["later"]), is("NodeUpdated", &["ours"])];
        assert_eq!(peer.settle().await, told);
        assert_eq!((server.mtu("x"), server.mtu("y"), server.elements()), (Some(2), None, 4));

        // Nor does another peer: it has that from its source.
        let mut third = join(&server, "c", protocol).await;
        assert_eq!(third.hear().await, is("Sync", &["later", "ours"]));
        peer.say("Sync", json!({"Nodes": [node("z", "agent.z", 1, 1)]})).await;
        assert_eq!(peer.settle().await, []);
        assert_eq!(third.settle().await, []);
        assert!(server.node("x").is_none() && server.node("z").is_some());
        drop(peer);
        within(|| server.node("z").is_none().then_some(())).await;
        within(|| (server.clients.peers.list().len() == 1).then_some(())).await;
        assert_eq!(server.elements(), 2);
        assert_eq!(
            third.hear().await,
            is("SyncRequest", &[]),
            "it may have more than it could tell"
        );
        let mut again = join(&server, "b", protocol).await;
        assert_eq!(again.hear().await, is("Sync", &["later", "ours"]));
        third.say("NodeAdded", node("z", "agent.z", 1, 1)).await;
        assert_eq!(third.settle().await, []);
        assert!(server.node("z").is_some(), "who tells of it now is another");
    }
}

#[tokio::test]
async fn a_peer_touches_nothing_of_ours_or_of_other_peers() {
    let server = Server::new().await;
    server.discover("ours");
    let added: Node = serde_json::from_value(node("added", "script.far", 1, 1)).unwrap();
    server.asker.edit(|graph| graph.add(added, NOW)).unwrap();
    let mut first = join(&server, "first", PROTOBUF).await;
    first.hear().await;
    first.say("Sync", json!({"Nodes": [node("x", "agent.x", 1, 1)]})).await;
    first.settle().await;

    let mut second = join(&server, "second", JSON).await;
    second.hear().await;
    let here = json!({"ID": "spy", "Host": "probe-1", "Metadata": {}, "Origin": "agent.y"});
    let nodes = json!([
        node("ours", "agent.probe-1", 2, 9),
        node("ours", "agent.y", 2, 9),
        node("made", "api.probe-1", 2, 9),
        node("more", "script.far", 2, 9),
        node("x", "agent.x", 2, 9),
        node("nobody", "", 2, 9),
        node("mine", "agent.y", 1, 1),
        here,
    ]);
    second.say("Sync", json!({"Nodes": nodes})).await;
    let ops = json!([{"Type": 1, "Key": "MTU", "Value": 2}]);
    for id in ["ours", "x", "added"] {
        let update = json!({"ID": id, "UpdatedAt": 7, "Revision": 9, "Ops": ops});
        second.say("NodePartiallyUpdated", update).await;
        second.say("NodeUpdated", node(id, "agent.y", 2, 9)).await;
        second.say("NodeDeleted", node(id, "agent.y", 2, 9)).await;
    }
    second.settle().await;
    let all: BTreeSet<_> =
        server.asker.look(|graph| graph.nodes().map(|node| node.id.clone()).collect());
    assert_eq!(all, BTreeSet::from(["added", "mine", "ours", "x"].map(str::to_owned)));
    for id in ["ours", "added", "x"] {
        assert_eq!(server.mtu(id), Some(1), "{id}");
    }
    drop(second);
    within(|| server.node("mine").is_none().then_some(())).await;
    assert_eq!(server.elements(), 3);
}

#[tokio::test]
async fn an_agent_that_comes_to_us_is_told_by_us() {
    let server = Server::new().await;
    let mut peer = join(&server, "b", PROTOBUF).await;
    peer.hear().await;
    peer.say("Sync", json!({"Nodes": [node("x", "agent.x", 1, 3), node("old", "agent.x", 1, 1)]}))
        .await;
    peer.settle().await;
    let mut agent = Speaker::join(&server, ("/ws/agent/topology", "agent"), "x", JSON).await;
    agent.settle().await;
    assert_eq!(peer.settle().await, [], "it says nothing here yet");
    agent.say("Sync", json!({"Nodes": [node("x", "agent.x", 1, 3)]})).await;
    agent.settle().await;
    assert_eq!(peer.hear().await, is("NodeAdded", &["x"]));
    // What the peer still believes of it does not matter any more.
    peer.say("NodeUpdated", node("x", "agent.x", 2, 9)).await;
    peer.say("NodeDeleted", node("x", "agent.x", 1, 3)).await;
    peer.settle().await;
    drop(peer);
    assert!(server.clients.peers.left(LONG).await);
    assert_eq!((server.mtu("x"), server.elements()), (Some(1), 1));
    let mut peer = join(&server, "b", PROTOBUF).await;
    assert_eq!(peer.hear().await, is("Sync", &["x"]));
    drop(agent);
    let mut told = [peer.hear().await, peer.hear().await];
    told.sort();
    assert_eq!(told, [is("NodeDeleted", &["x"]), is("SyncRequest", &[])]);
    peer.say("SyncReply", json!({"Nodes": [node("x", "agent.x", 1, 1)]})).await;
    peer.settle().await;
    assert!(server.node("x").is_some(), "it went back");
}

#[tokio::test]
async fn who_comes_and_says_nothing_gives_nothing_back() {
    let server = Server::new().await;
    let mut peer = join(&server, "b", JSON).await;
    peer.hear().await;
    let mut agent = Speaker::join(&server, ("/ws/agent/topology", "agent"), "x", JSON).await;
    agent.settle().await;
    drop(agent);
    assert!(server.clients.agents.left(LONG).await);
    assert_eq!(peer.settle().await, [], "nothing to tell again");
}

#[tokio::test]
async fn a_peer_is_told_that_it_tells_of_too_many_origins() {
    let server = Server::new().await;
    let mut peer = join(&server, "b", JSON).await;
    peer.hear().await;
    let refused = || server.clients.peers.list()[0].refused;
    let all = (0..=4096).map(|n| node(&format!("n{n}"), &format!("agent.{n}"), 1, 1));
    peer.say("Sync", json!({"Nodes": all.collect::<Vec<_>>()})).await;
    peer.settle().await;
    assert_eq!((server.elements(), refused()), (4096, 1));
    peer.say("NodeDeleted", node("n0", "agent.0", 1, 1)).await;
    peer.settle().await;
    peer.say("NodeAdded", node("n4096", "agent.4096", 1, 1)).await;
    peer.settle().await;
    assert_eq!((server.elements(), refused()), (4096, 1), "one went, one came");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_reads_slowly_is_told_the_difference() {
    let server = Server::new().await;
    let mut peer = join(&server, "b", PROTOBUF).await;
    assert_eq!(peer.hear().await, is("Sync", &[]));
    for n in 0..6_000 {
        server.discover(&format!("ours-{n}"));
        if n % 100 == 0 {
            let nodes: Vec<_> =
                (0..50).map(|m| node(&format!("{n}-{m}"), "agent.x", 1, 1)).collect();
            peer.say("Sync", json!({"Nodes": nodes})).await;
        }
    }
    let told = peer.settle().await;
    assert!(told.iter().all(|(_, ids)| ids[0].starts_with("ours-")), "{told:?}");
    let mut ids: BTreeSet<_> = told.into_iter().map(|(_, ids)| ids[0].clone()).collect();
    while ids.len() < 6_000 {
        ids.extend(peer.hear().await.1);
    }
    assert_eq!(server.elements(), 6_050);
}

#[tokio::test]
async fn only_analyzers_of_other_hosts_come_in() {
    let server = Server::new().await;
    for (kind, host) in [("agent", "b"), ("analyzer", "probe-1")] {
        let headers = [("x-client-type", kind), ("x-host-id", host)];
        let mut socket = server.connect_at(PATH, &headers).await;
        assert_eq!(close_code(&mut socket).await, 1000, "{kind} {host}");
    }
}

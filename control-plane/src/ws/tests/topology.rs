//! The topology as clients follow it and add to it.

use std::collections::BTreeSet;
use std::sync::RwLockWriteGuard;

use serde_json::json;
use sonde_proto::graph::{Edge, Node};

use super::*;
use crate::envelope::WEIGHT;
use crate::notice::Notice;
use crate::tests::world::within;

const SUBSCRIBER: &str = "/ws/subscriber";
const PUBLISHER: &str = "/ws/publisher";
const PUBSUB: &str = "/ws/pubsub";
const NOW: Timestamp = Timestamp::from_millis(1_000);

impl Server {
    fn graph(&self) -> RwLockWriteGuard<'_, Graph> {
        self.asker.graph.write().unwrap()
    }

    fn add(&self, id: &str, kind: &str) {
        self.graph().add(node(id, kind), NOW).unwrap();
    }

    fn link(&self, parent: &str, child: &str) {
        let edge: Edge = serde_json::from_value(edge(parent, child)).unwrap();
        self.graph().add(edge, NOW).unwrap();
    }

    fn set(&self, id: &str, key: &str, value: Value) {
        self.graph().update::<Node>(id, NOW, |metadata| drop(metadata.insert(key.into(), value)));
    }

    fn ids(&self) -> BTreeSet<String> {
        self.graph().nodes().map(|node| node.id.clone()).collect()
    }
}

fn node(id: &str, kind: &str) -> Node {
    let metadata = json!({"Name": id, "Type": kind}).as_object().unwrap().clone();
    Node { id: id.into(), metadata, ..Node::default() }
}

fn edge(parent: &str, child: &str) -> Value {
    let id = format!("{parent}-{child}");
    let metadata = json!({"RelationType": "layer2"});
    json!({"ID": id, "Parent": parent, "Child": child, "Metadata": metadata})
}

async fn say(socket: &mut Socket, kind: &str, obj: Value) {
    let message = json!({"Namespace": "Graph", "Type": kind, "UUID": "mine", "Obj": obj});
    socket.send(Message::text(message.to_string())).await.unwrap();
}

/// The type of the next message and what it is about: an ID, or all IDs.
async fn told(socket: &mut Socket) -> (String, String) {
    let message = json(socket).await;
    assert_eq!(message["Namespace"], "Graph");
    let ids = |list: &str| {
        let all = message["Obj"][list].as_array().cloned().unwrap_or_default();
        all.iter().map(|one| one["ID"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let about = match message["Obj"]["ID"].as_str() {
        Some(id) => id.to_owned(),
        None => [ids("Nodes"), ids("Edges")].concat().join(" "),
    };
    (message["Type"].as_str().unwrap().to_owned(), about)
}

fn is(kind: &str, about: &str) -> (String, String) {
    (kind.into(), about.into())
}

#[tokio::test]
async fn each_change_is_told_in_its_order() {
    let server = Server::new().await;
    server.add("before", "host");
    let mut socket = server.connect_at(SUBSCRIBER, &[TYPE]).await;
    say(&mut socket, "SyncRequest", json!({})).await;
    assert_eq!(told(&mut socket).await, is("SyncReply", "before"), "nothing is told unasked");
    server.add("a", "device");
    server.add("b", "device");
    server.link("a", "b");
    server.set("a", "MTU", json!(1500));
    server.graph().delete::<Node>("b", NOW);
    for expected in [
        is("NodeAdded", "a"),
        is("NodeAdded", "b"),
        is("EdgeAdded", "a-b"),
        is("NodeUpdated", "a"),
        is("EdgeDeleted", "a-b"),
        is("NodeDeleted", "b"),
    ] {
        assert_eq!(told(&mut socket).await, expected);
    }
    say(&mut socket, "SyncRequest", json!(null)).await;
    let reply = json(&mut socket).await;
    assert_eq!((&reply["UUID"], &reply["Status"]), (&json!("mine"), &json!(200)));
    let a = &reply["Obj"]["Nodes"][0];
    assert_eq!(a["Metadata"], json!({"Name": "a", "Type": "device", "MTU": 1500}));
    assert_eq!((&a["Revision"], &a["DeletedAt"]), (&json!(2), &json!(null)));
}

#[tokio::test]
async fn protobuf_holds_json() {
    let server = Server::new().await;
    let mut socket = server.connect_at(SUBSCRIBER, &[TYPE, PROTOBUF]).await;
    let request = StructMessage {
        namespace: "Graph".into(),
        r#type: "SyncRequest".into(),
        uuid: "u".into(),
        ..StructMessage::default()
    };
    socket.send(Message::binary(request.encode_to_vec())).await.unwrap();
    let reply = StructMessage::decode(frame(&mut socket).await.into_data()).unwrap();
    assert_eq!((&*reply.r#type, &*reply.uuid, reply.status), ("SyncReply", "u", 200));
    assert_eq!(reply.obj, br#"{"Nodes":[],"Edges":[]}"#);
    server.add("a", "host");
    let event = StructMessage::decode(frame(&mut socket).await.into_data()).unwrap();
    assert_eq!((&*event.r#type, event.format()), ("NodeAdded", Format::Json));
    let node: Node = serde_json::from_slice(&event.obj).unwrap();
    assert_eq!((&*node.id, node.created_at), ("a", Some(1000)));
}

#[tokio::test]
async fn partial_updates_say_what_changed() {
    let server = Server::new().await;
    server.add("a", "device");
    let query = "?x-client-type=webui&x-update-policy=Partial";
    let mut socket = server.connect_at(&format!("{SUBSCRIBER}{query}"), &[]).await;
    say(&mut socket, "SyncRequest", json!({"GremlinFilter": "G"})).await;
    assert_eq!(told(&mut socket).await, is("SyncReply", "a"));
    server.set("a", "MTU", json!(1500));
    let message = json(&mut socket).await;
    assert_eq!(message["Type"], "NodePartiallyUpdated", "a filter changes no policy");
    let ops = json!([{"Type": 1, "Key": "MTU", "Value": 1500}]);
    let update = json!({"ID": "a", "UpdatedAt": 1000, "Revision": 2, "Ops": ops});
    assert_eq!(message["Obj"], update);
}

#[tokio::test]
async fn a_filter_shows_what_enters_and_leaves_it() {
    let server = Server::new().await;
    for (id, kind) in [("h", "host"), ("a", "device"), ("b", "veth")] {
        server.add(id, kind);
    }
    server.link("h", "a");
    let filter = "G.V().Has('Type', Within('host', 'device')).SubGraph()";
    let headers = [TYPE, ("x-gremlin-filter", filter)];
    let mut socket = server.connect_at(SUBSCRIBER, &headers).await;
    say(&mut socket, "SyncRequest", json!({})).await;
    assert_eq!(told(&mut socket).await, is("SyncReply", "a h h-a"));
    server.link("h", "b");
    server.set("b", "Type", json!("device"));
    assert_eq!(told(&mut socket).await, is("NodeAdded", "b"));
    assert_eq!(told(&mut socket).await, is("EdgeAdded", "h-b"));
    server.set("a", "Type", json!("bond"));
    assert_eq!(told(&mut socket).await, is("EdgeDeleted", "h-a"));
    assert_eq!(told(&mut socket).await, is("NodeDeleted", "a"));

    say(&mut socket, "SyncRequest", json!({"GremlinFilter": ""})).await;
    assert_eq!(told(&mut socket).await, is("SyncReply", "a b h h-a h-b"));
    server.set("a", "MTU", json!(1));
    assert_eq!(told(&mut socket).await, is("NodeUpdated", "a"));
}

#[tokio::test]
async fn what_cannot_be_shown_is_said() {
    let server = Server::new().await;
    for headers in [
        &[("x-gremlin-filter", "G.V(")][..],
        &[("x-gremlin-filter", "G.V()")],
        &[("x-update-policy", "much")],
    ] {
        let mut socket = server.connect_at(SUBSCRIBER, &[&[TYPE], headers].concat()).await;
        assert_eq!(close_code(&mut socket).await, 1000, "{headers:?}");
    }
    let odd = [TYPE, ("x-persistence-policy", "persistent")];
    let mut socket = server.connect_at(PUBLISHER, &odd).await;
    assert_eq!(close_code(&mut socket).await, 1000);

    let mut socket = server.connect_at(SUBSCRIBER, &[TYPE]).await;
    for (filter, why) in [("G.V(", "Expected"), ("G.V()", "expected a query for a graph")] {
        say(&mut socket, "SyncRequest", json!({"GremlinFilter": filter})).await;
        let reply = json(&mut socket).await;
        assert_eq!((&reply["Type"], &reply["Status"]), (&json!("SyncReply"), &json!(400)));
        let text = reply["Obj"].as_str().unwrap();
        assert!(text.to_lowercase().contains(&why.to_lowercase()), "{text}");
    }
    server.add("a", "host");
    assert_eq!(told(&mut socket).await, is("NodeAdded", "a"), "the filter before stays");
}

#[tokio::test]
async fn the_past_can_be_asked_for() {
    let server = Server::new().await;
    server.add("a", "host");
    server.graph().delete::<Node>("a", Timestamp::from_millis(2_000));
    let mut socket = server.connect_at(SUBSCRIBER, &[TYPE]).await;
    for (time, about) in [(1_500, "a"), (2_500, "")] {
        say(&mut socket, "SyncRequest", json!({"Time": time})).await;
        assert_eq!(told(&mut socket).await, is("SyncReply", about));
    }
}

#[tokio::test]
async fn namespaces_filter_what_is_told() {
    let server = Server::new().await;
    let deaf = [TYPE, ("x-websocket-namespace", "Alert")];
    let mut deaf = server.connect_at(SUBSCRIBER, &deaf).await;
    let wild = [TYPE, ("x-websocket-namespace", "Alert"), ("x-websocket-namespace", "*")];
    let mut wild = server.connect_at(SUBSCRIBER, &wild).await;
    server.add("a", "host");
    assert_eq!(told(&mut wild).await, is("NodeAdded", "a"));
    server.topology.close();
    assert_eq!(close_code(&mut deaf).await, 1001);
}

#[tokio::test]
async fn notices_are_told_too() {
    let server = Server::new().await;
    let mut publisher = server.connect_at(PUBLISHER, &[TYPE]).await;
    let alerts = [TYPE, ("x-websocket-namespace", "Alert")];
    let mut socket = server.connect_at(SUBSCRIBER, &alerts).await;
    within(|| server.notices.is_heard().then_some(())).await;
    server.add("a", "host");
    let obj = json!({"UUID": "u"}).to_string().into();
    server.notices.tell(Notice { namespace: "Alert", kind: "Alert", obj });
    let message = json(&mut socket).await;
    assert_eq!((&message["Namespace"], &message["Type"]), (&json!("Alert"), &json!("Alert")));
    assert_eq!(message["Obj"], json!({"UUID": "u"}));
    say(&mut publisher, "SyncRequest", json!({})).await;
    assert_eq!(told(&mut publisher).await, is("SyncReply", "a"));
}

#[tokio::test]
async fn who_reads_slowly_is_told_the_difference() {
    let server = Server::new().await;
    server.add("gone", "host");
    let mut socket = server.connect_at(SUBSCRIBER, &[TYPE]).await;
    {
        // Nothing else runs meanwhile, so that most of it is lost.
        server.graph().delete::<Node>("gone", NOW);
        for n in 0..20_000 {
            server.add(&n.to_string(), "veth");
            server.graph().delete::<Node>(&n.to_string(), NOW);
        }
        server.add("last", "host");
    }
    let mut known = BTreeSet::from(["gone".to_owned()]);
    while !known.contains("last") || known.len() > 1 {
        match told(&mut socket).await {
            (kind, id) if kind == "NodeAdded" => assert!(known.insert(id)),
            (_, id) => assert!(known.remove(&id)),
        }
    }
    assert_eq!(known, server.ids());
}

#[tokio::test]
async fn a_publisher_changes_the_graph() {
    let server = Server::new().await;
    let headers = [("x-client-type", "probe"), ("x-host-id", "far")];
    let mut socket = server.connect_at(PUBLISHER, &headers).await;
    say(&mut socket, "NodeAdded", json!(node("a", "device"))).await;
    say(&mut socket, "NodeAdded", json!(node("b", "device"))).await;
    say(&mut socket, "EdgeAdded", edge("a", "b")).await;
    let newer = Node { revision: 7, ..node("a", "bond") };
    say(&mut socket, "NodeUpdated", json!(newer)).await;
    let older = Node { revision: 7, ..node("a", "tun") };
    say(&mut socket, "NodeUpdated", json!(older)).await;
    let ops = json!([{"Type": 1, "Key": "Deep.MTU", "Value": 9000}]);
    let update = json!({"ID": "b", "UpdatedAt": 5, "Revision": 2, "Ops": ops});
    say(&mut socket, "NodePartiallyUpdated", update).await;
    // All of these are refused, and nothing else is.
    say(&mut socket, "NodeAdded", json!(node("a", "host"))).await;
    say(&mut socket, "NodeAdded", json!({"ID": "c", "Metadata": {"Name": "c"}})).await;
    say(&mut socket, "EdgeAdded", edge("a", "nowhere")).await;
    say(&mut socket, "NodeDeleted", json!(node("nobody", "host"))).await;
    let ops = json!([{"Type": 2, "Key": "Name"}]);
    say(&mut socket, "NodePartiallyUpdated", json!({"ID": "b", "Revision": 9, "Ops": ops})).await;
    socket.send(Message::text("{")).await.unwrap();
    say(&mut socket, "SyncRequest", json!({})).await;
    assert_eq!(told(&mut socket).await, is("SyncReply", "a b a-b"), "it hears no changes");
    {
        let graph = server.graph();
        let (a, b) = (graph.node("a").unwrap(), graph.node("b").unwrap());
        assert_eq!((a.text("Type"), a.revision, &*a.origin), ("bond", 7, "probe.far"));
        assert_eq!((&b.metadata["Deep"], b.updated_at), (&json!({"MTU": 9000}), Some(5)));
        assert_eq!(server.clients.publishers.list()[0].refused, 6);
    }
    say(&mut socket, "EdgeDeleted", edge("a", "b")).await;
    say(&mut socket, "NodeDeleted", json!(node("b", "device"))).await;
    let whole = json!({"Nodes": [node("a", "host"), node("z", "host")], "Edges": null});
    say(&mut socket, "Sync", whole).await;
    say(&mut socket, "SyncRequest", json!({})).await;
    assert_eq!(told(&mut socket).await, is("SyncReply", "a z"));
    socket.close(None).await.unwrap();
    assert!(server.clients.left(LONG).await);
    assert_eq!(server.ids().len(), 2, "what is persistent stays");
}

#[tokio::test]
async fn a_publisher_that_is_too_fast_is_slowed() {
    let server = Server::new().await;
    let (mut sink, mut stream) = server.connect_at(PUBLISHER, &[TYPE]).await.split();
    // It answers pings.
    tokio::spawn(async move { while stream.next().await.is_some() {} });
    let busy = server.topology.room(WEIGHT).await;
    let mut sending = tokio::spawn(async move {
        for n in 0..48 {
            let mut node = serde_json::to_value(node(&format!("n{n}"), "device")).unwrap();
            (node["Host"], node["Metadata"]["Text"]) = ("h".into(), "x".repeat(1 << 20).into());
            let message = json!({"Namespace": "Graph", "Type": "NodeAdded", "Obj": node});
            sink.send(Message::text(message.to_string())).await.unwrap();
        }
        sink
    });
    // What the kernel holds is less than they are.
    assert!(timeout(Duration::from_secs(3), &mut sending).await.is_err());
    drop(busy);
    let _sink = timeout(LONG, sending).await.unwrap().unwrap();
    within(|| (server.graph().len() == 48).then_some(())).await;
}

#[tokio::test]
async fn what_is_not_persistent_goes_with_its_publisher() {
    let server = Server::new().await;
    server.add("other", "host");
    let headers = [TYPE, ("x-persistence-policy", "DeleteOnDisconnect")];
    let mut socket = server.connect_at(PUBLISHER, &headers).await;
    say(&mut socket, "NodeAdded", json!(node("a", "device"))).await;
    say(&mut socket, "EdgeAdded", edge("other", "a")).await;
    within(|| (server.graph().len() == 3).then_some(())).await;
    drop(socket);
    within(|| (server.graph().len() == 1).then_some(())).await;
    assert!(server.clients.left(LONG).await);
}

#[tokio::test]
async fn who_does_both_hears_others_only() {
    let server = Server::new().await;
    let mut socket = server.connect_at(PUBSUB, &[TYPE]).await;
    server.add("theirs", "host");
    say(&mut socket, "NodeAdded", json!(node("mine", "host"))).await;
    assert_eq!(told(&mut socket).await, is("NodeAdded", "theirs"));
    say(&mut socket, "NodeDeleted", json!(node("theirs", "host"))).await;
    say(&mut socket, "SyncRequest", json!({})).await;
    assert_eq!(told(&mut socket).await, is("SyncReply", "mine"));
}

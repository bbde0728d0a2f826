use std::time::Duration;

use serde_json::{Value, json};
use sonde_proto::graph::{Edge, Metadata, Node, uuid_v5};

use super::*;
use crate::tests::world::{World, node, within};

fn metadata(value: Value) -> Metadata {
    value.as_object().unwrap().clone()
}

fn creates(name: &str, kind: &str) -> NodeRule {
    let metadata = metadata(json!({"Name": name, "Type": kind, "Rack": 7}));
    NodeRule { action: "create".into(), metadata, ..NodeRule::default() }
}

fn updates(query: &str, added: Value) -> NodeRule {
    NodeRule {
        action: "update".into(),
        query: query.into(),
        metadata: metadata(added),
        ..NodeRule::default()
    }
}

fn links(src: &str, dst: &str, relation: &str) -> EdgeRule {
    EdgeRule {
        src: src.into(),
        dst: dst.into(),
        metadata: metadata(json!({"RelationType": relation})),
        ..EdgeRule::default()
    }
}

fn named(name: &str) -> String {
    format!("G.V().Has('Name', '{name}')")
}

fn add(world: &World, rule: NodeRule) -> String {
    world.state.rules.nodes.create(rule, None).unwrap().resource.uuid.clone()
}

fn link(world: &World, rule: EdgeRule) -> String {
    world.state.rules.edges.create(rule, None).unwrap().resource.uuid.clone()
}

fn edges(world: &World) -> Vec<(String, String)> {
    let graph = world.state.graph.read().unwrap();
    let mut ends: Vec<_> =
        graph.edges().map(|edge| (edge.parent.clone(), edge.child.clone())).collect();
    ends.sort();
    ends
}

fn ends(parent: &str, child: &str) -> Vec<(String, String)> {
    vec![(parent.to_owned(), child.to_owned())]
}

fn set(world: &World, node: &str, key: &str, value: Value) {
    let mut graph = world.state.graph.write().unwrap();
    graph.update::<Node>(node, world.state.clock.now(), |metadata| {
        metadata.insert(key.to_owned(), value);
    });
}

fn delete(world: &World, node: &str) {
    world.state.graph.write().unwrap().delete::<Node>(node, world.state.clock.now()).unwrap();
}

fn come(world: &World, name: &str) {
    let now = world.state.clock.now();
    world.state.graph.write().unwrap().add(node(name, "device", 9), now).unwrap();
}

#[tokio::test]
async fn a_node_is_there_as_long_as_its_rule() {
    let world = World::new();
    let rules = &world.state.rules;
    let id = add(&world, creates("tor", "fabric"));
    let second = add(&world, creates("tor", "fabric"));
    rules.reconcile();
    let tid = uuid_v5(&["fabric/tor"]).to_string();
    let tor = world.state.graph.read().unwrap().node(&tid).unwrap().clone();
    let expected =
        json!({"Name": "tor", "Type": "fabric", "Rack": 7, "TID": tid, "Probe": "fabric"});
    assert_eq!(Value::Object(tor.metadata.clone()), expected);
    assert_eq!((tor.origin.as_str(), tor.host.as_str()), ("analyzer.here", ""));

    delete(&world, &tid);
    rules.reconcile();
    assert!(world.state.graph.read().unwrap().node(&tid).is_some(), "its rule is still there");
    rules.nodes.delete(&id).unwrap();
    rules.reconcile();
    assert!(world.state.graph.read().unwrap().node(&tid).is_some(), "another rule asks for it");
    rules.nodes.delete(&second).unwrap();
    rules.reconcile();
    assert!(world.state.graph.read().unwrap().node(&tid).is_none());
}

#[tokio::test]
async fn a_node_of_another_stays_what_it_is() {
    let world = World::new();
    let rules = &world.state.rules;
    let mut other = node("tor", "switch", 0);
    other.id = uuid_v5(&["switch/tor"]).to_string();
    let id = other.id.clone();
    world.state.graph.write().unwrap().add(other, world.state.clock.now()).unwrap();
    let rule = add(&world, creates("tor", "switch"));
    rules.reconcile();
    assert_eq!(world.shown(&id, "Rack"), Value::Null);
    rules.nodes.delete(&rule).unwrap();
    rules.reconcile();
    assert_eq!(world.shown(&id, "Name"), json!("tor"));
}

#[tokio::test]
async fn marks_come_with_nodes_and_go_with_the_rule() {
    let world = World::new();
    let rules = &world.state.rules;
    tokio::spawn(rules.clone().run());
    let rule = add(&world, updates("G.V().Has('Type', 'device')", json!({"Zone": "a", "MTU": 9})));
    set(&world, "eth0", "MTU", json!(1500));
    within(|| (world.shown("eth1", "Zone") == "a").then_some(())).await;
    assert_eq!(world.shown("p0", "Zone"), Value::Null);

    come(&world, "eth7");
    within(|| (world.shown("eth7", "Zone") == "a").then_some(())).await;
    // Discovery sees another MTU; and the node becomes one that the rule would not find.
    set(&world, "eth0", "MTU", json!(1400));
    set(&world, "eth0", "Type", json!("veth"));
    within(|| (world.shown("eth0", "MTU") == 9).then_some(())).await;

    rules.nodes.delete(&rule).unwrap();
    within(|| world.shown("eth0", "Zone").is_null().then_some(())).await;
    assert_eq!(world.shown("eth0", "MTU"), json!(1400), "what it would be without the rule");
    for name in ["eth1", "eth7"] {
        for key in ["Zone", "MTU"] {
            assert_eq!(world.shown(name, key), Value::Null, "{key} of {name}");
        }
    }
}

#[tokio::test]
async fn rules_that_fight_settle() {
    let world = World::new();
    let rules = &world.state.rules;
    // Each takes away what the other asks for, or what it asks for itself.
    for (query, added) in [
        ("G.V().Has('Colour', 'red')", json!({"Colour": "blue"})),
        ("G.V().Has('Colour', 'blue')", json!({"Colour": "red"})),
        ("G.V().HasNot('Mark')", json!({"Mark": 1})),
        ("G.V()", json!({"Colour": "green"})),
    ] {
        add(&world, updates(query, added));
    }
    set(&world, "eth0", "Colour", json!("red"));
    for _ in 0..8 {
        rules.reconcile();
    }
    let mut events = world.state.graph.read().unwrap().subscribe();
    assert_eq!(rules.reconcile(), Round::Calm);
    assert!(events.try_recv().is_err(), "nothing changes any more");
}

#[tokio::test]
async fn one_who_writes_the_same_key_is_answered_with_patience() {
    let world = World::new();
    let rules = &world.state.rules;
    add(&world, updates("G.V()", json!({"State": "DOWN"})));
    assert_eq!(rules.reconcile(), Round::Calm);
    for _ in 0..2 {
        set(&world, "eth0", "State", json!("UP"));
        assert_eq!(rules.reconcile(), Round::Contested);
        assert_eq!(world.shown("eth0", "State"), json!("DOWN"));
        assert_eq!(rules.reconcile(), Round::Calm);
    }
}

#[tokio::test]
async fn an_edge_comes_and_goes_with_its_ends() {
    let world = World::new();
    let rules = &world.state.rules;
    tokio::spawn(rules.clone().run());
    let rule = link(&world, links(&named("eth0"), &named("late"), "layer2"));
    come(&world, "late");
    within(|| (edges(&world) == ends("eth0", "late")).then_some(())).await;
    let id = uuid_v5(&["eth0", "late", "layer2"]).to_string();
    let edge = world.state.graph.read().unwrap().edge(&id).unwrap().clone();
    assert_eq!(Value::Object(edge.metadata.clone()), json!({"RelationType": "layer2"}));

    delete(&world, "late");
    assert_eq!(edges(&world), []);
    come(&world, "late");
    within(|| (edges(&world) == ends("eth0", "late")).then_some(())).await;

    // It follows the query to another node, too.
    set(&world, "late", "Name", json!("gone"));
    within(|| edges(&world).is_empty().then_some(())).await;
    set(&world, "eth1", "Name", json!("late"));
    within(|| (edges(&world) == ends("eth0", "eth1")).then_some(())).await;
    rules.edges.delete(&rule).unwrap();
    within(|| edges(&world).is_empty().then_some(())).await;
}

#[tokio::test]
async fn an_edge_of_another_stays() {
    let world = World::new();
    let rules = &world.state.rules;
    let id = uuid_v5(&["eth0", "eth1", "layer2"]).to_string();
    let element = Node { id, metadata: metadata(json!({"Cost": 3})), ..Node::default() };
    let edge = Edge { element, parent: "eth0".into(), child: "eth1".into() };
    world.state.graph.write().unwrap().add(edge, world.state.clock.now()).unwrap();
    let first = link(&world, links(&named("eth0"), &named("eth1"), "layer2"));
    rules.reconcile();
    rules.edges.delete(&first).unwrap();
    rules.reconcile();
    assert_eq!(edges(&world), ends("eth0", "eth1"));

    // Two rules that ask for one edge: it goes with the last of them.
    let twins: Vec<_> =
        (0..2).map(|_| link(&world, links(&named("eth0"), &named("p0"), "ownership"))).collect();
    for twin in twins {
        rules.reconcile();
        assert_eq!(edges(&world).len(), 2);
        rules.edges.delete(&twin).unwrap();
    }
    rules.reconcile();
    assert_eq!(edges(&world), ends("eth0", "eth1"));
}

#[tokio::test]
async fn an_edge_may_link_what_rules_made() {
    let world = World::new();
    let rules = &world.state.rules;
    add(&world, creates("tor", "fabric"));
    add(&world, updates(&named("tor"), json!({"Zone": "a"})));
    link(&world, links("G.V().Has('Zone', 'a')", &named("eth0"), "uplink"));
    rules.reconcile();
    let tor = uuid_v5(&["fabric/tor"]).to_string();
    assert_eq!(edges(&world), ends(&tor, "eth0"), "in one round");
    assert_eq!(rules.reconcile(), Round::Calm);
}

#[tokio::test]
async fn rules_survive_the_process_and_end_at_their_time() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(Some(directory.path())).unwrap();
    let hour = Duration::from_secs(3600);
    add(&world, updates("G.V()", json!({"Zone": "a"})));
    world.state.rules.nodes.create(creates("tor", "switch"), Some(hour)).unwrap();
    link(&world, links(&named("eth0"), &named("eth1"), "layer2"));
    drop(world);

    let world = World::open(Some(directory.path())).unwrap();
    tokio::spawn(world.state.rules.clone().run());
    within(|| (world.shown("eth0", "Zone") == "a").then_some(())).await;
    within(|| (edges(&world) == ends("eth0", "eth1")).then_some(())).await;
    let tor = uuid_v5(&["switch/tor"]).to_string();
    assert_eq!(world.shown(&tor, "Name"), json!("tor"));
    world.pass(hour);
    within(|| world.shown(&tor, "Name").is_null().then_some(())).await;
    assert_eq!(world.state.rules.nodes.entries().len(), 1);
}

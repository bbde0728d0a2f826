use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::tests::world::{World, node, within};

const HOUR: Duration = Duration::from_secs(3600);

async fn open(directory: &Path) -> World {
    within(|| World::open(Some(directory)).ok()).await
}

fn create<K: Added>(world: &World, element: K) -> Arc<K> {
    world.state.additions.create(element, None).unwrap()
}

fn edge(id: &str, parent: &str, child: &str) -> Edge {
    let metadata = json!({"RelationType": "layer2"}).as_object().unwrap().clone();
    Edge {
        element: Node { id: id.into(), metadata, ..Node::default() },
        parent: parent.into(),
        child: child.into(),
    }
}

fn ids(world: &World) -> Vec<String> {
    let graph = world.state.graph.read().unwrap();
    let ids = graph.nodes().map(|node| &node.id).chain(graph.edges().map(|edge| &edge.id));
    let mut ids: Vec<_> = ids.cloned().collect();
    ids.sort();
    ids
}

/// What is on the disk, once the world that wrote it has let go of the file.
async fn kept(directory: &Path) -> Vec<String> {
    let store = within(|| Store::open(Some(directory)).ok()).await;
    let nodes = store.table::<Node>("nodes").load().unwrap().into_iter().map(|(id, _)| id);
    let edges = store.table::<Edge>("edges").load().unwrap().into_iter().map(|(id, _)| id);
    nodes.chain(edges).collect()
}

fn set(world: &World, id: &str, key: &str, value: Value) {
    let mut graph = world.state.graph.write().unwrap();
    graph.update::<Node>(id, world.state.clock.now(), |metadata| {
        metadata.insert(key.into(), value);
    });
}

#[tokio::test]
async fn what_clients_added_survives_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let world = open(directory.path()).await;
    let additions = &world.state.additions;
    let tor = create(&world, node("tor", "switch", 0));
    create(&world, node("other", "switch", 0));
    additions.create(node("short", "switch", 0), Some(HOUR)).unwrap();
    for edge in [edge("a", "tor", "other"), edge("b", "tor", "short"), edge("c", "tor", "eth0")] {
        create(&world, edge);
    }
    // Others write on it, too; what a client changes is kept, and nothing else.
    set(&world, "tor", "Captures", json!([]));
    let there = world.state.graph.read().unwrap().node("tor").unwrap().clone();
    assert!(additions.update("tor", &tor, |_| {}).unwrap().is_none(), "it is another");
    let changed = additions.update("tor", &there, |metadata| {
        metadata.remove("IfIndex");
        metadata.insert("Rack".into(), json!(7));
    });
    let changed = changed.unwrap().unwrap();
    assert!(additions.delete::<Node>("other").unwrap(), "and its edge with it");
    assert!(!additions.delete::<Node>("other").unwrap());
    drop(world);

    let world = open(directory.path()).await;
    assert_eq!(ids(&world), ["b", "c", "eth0", "eth1", "p0", "short", "tor"]);
    let again = world.state.graph.read().unwrap().node("tor").unwrap().clone();
    let mut expected = Node::clone(&changed);
    expected.metadata.remove("Captures");
    assert_eq!(*again, expected);
    world.pass(HOUR);
    world.state.additions.expire().unwrap();
    assert_eq!(ids(&world), ["c", "eth0", "eth1", "p0", "tor"]);
    drop(world);
    assert_eq!(kept(directory.path()).await, ["tor", "c"]);
}

#[tokio::test]
async fn an_edge_goes_with_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let world = open(directory.path()).await;
    create(&world, edge("a", "eth0", "eth1"));
    let run = tokio::spawn(world.state.additions.clone().run());
    let now = world.state.clock.now();
    world.state.graph.write().unwrap().delete::<Node>("eth0", now);
    let is_kept = || world.state.additions.kept().edges.entries.contains_key("a");
    within(|| (!is_kept()).then_some(())).await;
    run.abort();
    run.await.unwrap_err();
    drop(world);
    assert_eq!(kept(directory.path()).await, [""; 0]);
}

#[tokio::test]
async fn an_edge_that_waits_for_one_end_goes_with_the_other() {
    let directory = tempfile::tempdir().unwrap();
    let world = open(directory.path()).await;
    create(&world, node("tor", "switch", 0));
    create(&world, node("late", "switch", 0));
    create(&world, edge("a", "tor", "late"));
    world.state.graph.write().unwrap().delete::<Node>("late", world.state.clock.now());
    drop(world);
    let store = within(|| Store::open(Some(directory.path())).ok()).await;
    store.remove(&[("nodes", vec!["late"])]).unwrap();
    drop(store);

    let world = open(directory.path()).await;
    assert_eq!(ids(&world), ["eth0", "eth1", "p0", "tor"], "it waits");
    assert!(world.state.additions.delete::<Node>("tor").unwrap());
    for name in ["tor", "late"] {
        create(&world, node(name, "switch", 0));
    }
    world.state.additions.settle().unwrap();
    assert_eq!(ids(&world), ["eth0", "eth1", "late", "p0", "tor"]);
}

#[tokio::test]
async fn an_edge_waits_for_its_ends() {
    let directory = tempfile::tempdir().unwrap();
    let world = open(directory.path()).await;
    let now = world.state.clock.now();
    let come = |world: &World, name: &str| {
        world.state.graph.write().unwrap().add(node(name, "veth", 9), now).unwrap();
    };
    ["late", "never"].into_iter().for_each(|name| come(&world, name));
    for (id, end) in [("a", "late"), ("b", "never"), ("c", "never")] {
        create(&world, edge(id, "eth0", end));
    }
    drop(world);

    let world = open(directory.path()).await;
    assert_eq!(ids(&world), ["eth0", "eth1", "p0"]);
    assert!(world.state.additions.delete::<Edge>("c").unwrap(), "one that waits can be deleted");
    let run = tokio::spawn(world.state.additions.clone().run());
    come(&world, "late");
    within(|| ids(&world).contains(&"a".into()).then_some(())).await;
    world.pass(WAIT);
    let waits = || world.state.additions.kept().edges.entries.contains_key("b");
    within(|| (!waits()).then_some(())).await;
    run.abort();
    run.await.unwrap_err();
    drop(world);
    assert_eq!(kept(directory.path()).await, ["a"]);
}

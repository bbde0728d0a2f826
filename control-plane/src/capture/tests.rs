use proptest::prelude::*;
use serde_json::json;
use sonde_proto::graph::Node;
use sonde_proto::plan::Point;
use sonde_proto::record::WatchId;
use sonde_proto::report::WatchState;

use tokio::sync::mpsc;

use super::*;
use crate::agent::Line;
use crate::envelope::Received;
use crate::resource::Resource as _;
use crate::tests::world::{World, node, within};

fn capture(query: &str) -> Capture {
    Capture { gremlin_query: query.into(), ..Capture::default() }
}

fn create(world: &World, query: &str) -> Capture {
    world.state.captures.create(capture(query), None).unwrap()
}

fn points(plan: &Plan) -> Vec<Point> {
    plan.points.iter().map(|planned| planned.point.clone()).collect()
}

fn interface(index: u32) -> Point {
    Point::Interface { index, netns: None }
}

const ETH0: &str = "G.V().Has('Name', 'eth0')";

#[tokio::test]
async fn a_capture_becomes_a_plan_and_its_end_empties_it() {
    let mut world = World::new();
    let id = create(&world, "G.V().Has('Name', Regex('eth.*'))").uuid;
    let plan = world.plan(|plan| !plan.points.is_empty()).await;
    assert_eq!(points(&plan), [interface(2), interface(3)]);
    assert!(world.state.captures.delete(&id).unwrap());
    assert!(!world.state.captures.delete(&id).unwrap());
    world.plan(|plan| plan.points.is_empty()).await;
}

#[tokio::test]
async fn every_node_of_a_path_is_captured() {
    let mut world = World::new();
    let edge = sonde_proto::graph::Edge {
        element: Node {
            id: "e".into(),
            metadata: json!({"RelationType": "layer2"}).as_object().unwrap().clone(),
            ..Node::default()
        },
        parent: "eth0".into(),
        child: "eth1".into(),
    };
    let now = world.state.clock.now();
    world.state.graph.write().unwrap().add(edge, now).unwrap();
    create(&world, "G.V().Has('Name', 'eth0').ShortestPathTo(Metadata('Name', 'eth1'))");
    let plan = world.plan(|plan| !plan.points.is_empty()).await;
    assert_eq!(points(&plan), [interface(2), interface(3)]);
}

#[tokio::test]
async fn a_node_that_comes_later_is_captured() {
    let mut world = World::new();
    create(&world, "G.V().Has('Name', Within('early', 'late'))");
    let now = world.state.clock.now();
    world.state.graph.write().unwrap().add(node("early", "veth", 8), now).unwrap();
    tokio::spawn(world.state.captures.clone().run());
    let plan = world.plan(|plan| !plan.points.is_empty()).await;
    assert_eq!(points(&plan), [interface(8)], "what came before the captures ran");
    world.state.graph.write().unwrap().add(node("late", "veth", 9), now).unwrap();
    let plan = world.plan(|plan| plan.points.len() == 2).await;
    assert_eq!(points(&plan), [interface(8), interface(9)]);
    for id in ["early", "late"] {
        world.state.graph.write().unwrap().delete::<Node>(id, now);
    }
    world.plan(|plan| plan.points.is_empty()).await;
}

#[tokio::test]
async fn nodes_show_what_runs_on_them() {
    let mut world = World::new();
    let mut wanted = capture("G.V().Has('Name', 'p0')");
    wanted.name = "all of it".into();
    let id = world.state.captures.create(wanted, None).unwrap().uuid;
    world.plan(|plan| !plan.points.is_empty()).await;
    world.state.captures.show();
    assert_eq!(world.shown("p0", "Captures"), json!(null), "nobody has said that it runs");

    world.report(WatchId(1), WatchState::Active, 10).await;
    world.state.captures.show();
    let entry = json!([{
        "ID": id, "State": "active", "Name": "all of it", "Type": "dpdk",
        "PacketsReceived": 10, "PacketsDropped": 3, "PacketsIfDropped": 7,
    }]);
    assert_eq!(world.shown("p0", "Captures"), entry);
    assert_eq!(world.state.captures.list().get(&id).unwrap().count, 1);
    let revision = world.state.graph.read().unwrap().node("p0").unwrap().revision;
    world.state.captures.show();
    let again = world.state.graph.read().unwrap().node("p0").unwrap().revision;
    assert_eq!(revision, again, "nothing has changed");

    world.report(WatchId(1), WatchState::Failed(1), 11).await;
    world.state.captures.show();
    let entry = &world.shown("p0", "Captures")[0];
    assert_eq!(entry["State"], "error");
    assert_eq!(entry["Error"], "Operation not permitted (os error 1)");
    assert_eq!(world.state.captures.list().get(&id).unwrap().count, 0);

    world.state.captures.delete(&id).unwrap();
    assert_eq!(world.shown("p0", "Captures"), json!(null));
}

#[tokio::test]
async fn a_node_that_cannot_be_captured_says_why_until_it_can() {
    let mut world = World::new();
    let set = |world: &World, key: &str, value: serde_json::Value| {
        let now = world.state.clock.now();
        let mut graph = world.state.graph.write().unwrap();
        graph.update::<Node>("eth0", now, |metadata| drop(metadata.insert(key.into(), value)));
    };
    set(&world, "LinkFlags", json!(["BROADCAST"]));
    set(&world, "EncapType", json!(null));
    let id = create(&world, ETH0).uuid;
    for (key, value, error) in [
        ("LinkFlags", json!(["UP"]), "the node is down: there is no `UP` among its LinkFlags"),
        ("EncapType", json!("ether"), "the node has no EncapType"),
    ] {
        world.state.captures.reconcile();
        world.state.captures.show();
        let entry = json!([{
            "ID": id, "State": "error", "Error": error, "Type": "afpacket",
            "PacketsReceived": 0, "PacketsDropped": 0, "PacketsIfDropped": 0,
        }]);
        assert_eq!(world.shown("eth0", "Captures"), entry);
        assert_eq!(world.state.captures.list().get(&id).unwrap().count, 0);
        set(&world, key, value);
    }
    world.state.captures.reconcile();
    world.state.captures.show();
    let waits = &world.shown("eth0", "Captures")[0];
    assert_eq!(waits["State"], "error", "nobody has said that it runs");
    world.plan(|plan| plan.points.len() == 1).await;
    world.report(WatchId(1), WatchState::Active, 1).await;
    assert_eq!(world.state.captures.list().get(&id).unwrap().count, 0, "as the node says");
    world.state.captures.show();
    assert_eq!(world.shown("eth0", "Captures")[0]["State"], "active");
    assert_eq!(world.state.captures.list().get(&id).unwrap().count, 1);

    set(&world, "LinkFlags", json!([]));
    world.state.captures.delete(&id).unwrap();
    create(&world, "G.V().Has('Name', 'eth0')");
    world.state.captures.show();
    assert_eq!(world.shown("eth0", "Captures")[0]["State"], "error");
    set(&world, "Name", json!("eth9"));
    world.state.captures.reconcile();
    world.state.captures.show();
    assert_eq!(world.shown("eth0", "Captures"), json!(null), "nobody asks for it any more");
}

#[tokio::test]
async fn subscribers_are_told_what_becomes_of_captures() {
    let mut world = World::new();
    let mut notices = world.state.notices.subscribe();
    let mut next = async || {
        let notice = notices.next().await.unwrap();
        assert_eq!(notice.namespace, "OnDemandCaptureNotification");
        let capture: Capture = serde_json::from_slice(&notice.obj).unwrap();
        (notice.kind, capture.uuid, capture.count)
    };
    let id = create(&world, "G.V().Has('Name', 'p0')").uuid;
    assert_eq!(next().await, ("Added", id.clone(), 0));
    world.plan(|plan| !plan.points.is_empty()).await;
    world.report(WatchId(1), WatchState::Active, 10).await;
    world.state.captures.tick();
    assert_eq!(next().await, ("NodeUpdated", id.clone(), 1));
    world.state.captures.tick();
    world.state.captures.delete(&id).unwrap();
    assert_eq!(next().await, ("Deleted", id, 1), "nothing has changed before");
    let hour = Duration::from_secs(3600);
    let id = world.state.captures.create(capture(ETH0), Some(hour)).unwrap().uuid;
    world.pass(hour);
    world.state.captures.tick();
    assert_eq!(next().await, ("Added", id.clone(), 0));
    assert_eq!(next().await, ("Deleted", id, 0), "its time was over");
}

#[tokio::test]
async fn a_duplicate_is_refused() {
    let world = World::new();
    let with = |kind: &str, filter: &str| {
        let mut capture = capture(ETH0);
        capture.kind = kind.into();
        capture.bpf_filter = filter.into();
        world.state.captures.create(capture, None)
    };
    for (kind, filter, accepted) in [
        ("", "", true),
        ("", "", false),
        ("", "udp", true),
        ("afpacket", "", true),
        ("afpacket", "udp", true),
        ("afpacket", "udp", false),
        ("dpdk", "", true),
        ("dpdk", "udp", false),
    ] {
        match with(kind, filter) {
            Ok(_) => assert!(accepted, "{kind} {filter}"),
            Err(ResourceError::Duplicate) => assert!(!accepted, "{kind} {filter}"),
            Err(error) => panic!("{error}"),
        }
    }
    let start_up = |query: &str, filter: &str| {
        let wanted = Capture { bpf_filter: filter.into(), ..capture(query) };
        world.state.captures.start_up(wanted)
    };
    start_up(ETH0, "udp").unwrap();
    start_up(ETH0, "tcp").unwrap();
    assert_eq!(world.state.captures.list().len(), 6);
    assert!(start_up("nonsense", "").is_err());
}

#[tokio::test]
async fn too_many_are_refused() {
    let world = World::new();
    for n in 0..Capture::LIMIT {
        create(&world, &format!("G.V().Has('Name', 'n{n}')"));
    }
    let error = world.state.captures.create(capture(ETH0), None).unwrap_err();
    assert!(matches!(error, ResourceError::TooMany { .. }));
}

#[tokio::test]
async fn captures_survive_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::open(Some(directory.path())).unwrap();
    let kept = create(&world, ETH0);
    let gone = create(&world, "G.V()");
    world.state.captures.delete(&gone.uuid).unwrap();
    let long = Duration::from_secs(3600);
    let timed =
        world.state.captures.create(capture("G.V().Has('Name', 'p0')"), Some(long)).unwrap();
    world.plan(|plan| !plan.points.is_empty()).await;
    drop(world);

    // The state file is closed once the tasks of the first world are gone.
    let mut world = World::open(Some(directory.path())).unwrap();
    let plan = world.plan(|plan| !plan.points.is_empty()).await;
    assert_eq!(points(&plan), [interface(2), Point::Port("p0".into())]);
    assert_eq!(
        world.state.captures.list(),
        [(kept.uuid.clone(), kept.clone()), (timed.uuid.clone(), timed.clone())].into()
    );
    world.pass(long);
    world.state.captures.tick();
    assert_eq!(world.state.captures.list(), [(kept.uuid.clone(), kept)].into());
    drop(world);
    let world = World::open(Some(directory.path())).unwrap();
    assert_eq!(world.state.captures.list().len(), 1, "it is off the disk, too");
}

#[tokio::test]
async fn a_capture_leaves_after_its_time() {
    let world = World::new();
    tokio::spawn(world.state.captures.clone().run());
    let second = Duration::from_secs(1);
    let id = world.state.captures.create(capture(ETH0), Some(second)).unwrap().uuid;
    assert!(world.state.captures.list().contains_key(&id));
    world.pass(second);
    within(|| (!world.state.captures.list().contains_key(&id)).then_some(())).await;
}

#[tokio::test]
async fn one_that_is_not_valid_any_more_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut wrong = capture("G.NoSuchStep()");
    (wrong.uuid, wrong.layer_key_mode) = ("old".into(), "L2".into());
    let store = Store::open(Some(directory.path())).unwrap();
    store.table("captures").put("old", &wrong, None).unwrap();
    drop(store);
    let world = World::open(Some(directory.path())).unwrap();
    assert_eq!(world.state.captures.list(), [("old".to_owned(), wrong)].into());
}

proptest! {
    #[test]
    fn a_capture_is_read_as_it_was_written(
        texts in proptest::collection::vec(".*", 9),
        counts in any::<(u64, u32, u32)>(),
        sizes in any::<(i64, i64, i64, i64)>(),
        flags in any::<(bool, bool, bool)>(),
    ) {
        let capture = Capture {
            uuid: texts[0].clone(),
            gremlin_query: texts[1].clone(),
            bpf_filter: texts[2].clone(),
            name: texts[3].clone(),
            description: texts[4].clone(),
            kind: texts[5].clone(),
            layer_key_mode: texts[6].clone(),
            target: texts[7].clone(),
            target_type: texts[8].clone(),
            count: counts.0,
            sampling_rate: counts.1,
            polling_interval: counts.2,
            port: sizes.0,
            raw_packet_limit: sizes.1,
            header_size: sizes.2,
            extra_layers: sizes.3,
            extra_tcp_metric: flags.0,
            ip_defrag: flags.1,
            reassemble_tcp: flags.2,
        };
        let text = serde_json::to_string(&capture).unwrap();
        prop_assert_eq!(serde_json::from_str::<Capture>(&text).unwrap(), capture);
    }
}

#[tokio::test]
async fn the_nodes_of_an_agent_are_captured_by_it() {
    let mut world = World::new();
    let (agents, now) = (world.state.ws.agents.clone(), world.state.clock.now());
    let theirs = |id: &str, kind: &str, host: &str| Node {
        host: host.into(),
        origin: "agent.far".into(),
        ..node(id, kind, 2)
    };
    for node in [
        theirs("far0", "veth", "far"),
        theirs("far1", "device", "far"),
        theirs("far", "host", "far"),
    ] {
        world.state.graph.write().unwrap().add(node, now).unwrap();
    }
    let (tells, mut letters) = mpsc::channel(8);
    let (answers, replies) = mpsc::channel(8);
    let line = Line { letters: tells.downgrade(), replies };
    tokio::spawn(agents.executor("far").run(line));
    let id = create(&world, "G.V().Has('@Origin', 'agent.far')").uuid;
    tokio::spawn(world.state.captures.clone().run());
    for (node, status) in [("far0", 200), ("far1", 500)] {
        let letter = letters.recv().await.unwrap();
        let obj: serde_json::Value = serde_json::from_slice(&letter.obj).unwrap();
        assert_eq!((letter.kind, &obj["NodeID"]), ("Start", &json!(node)));
        assert_eq!(obj["Resource"]["UUID"], json!(id));
        let reply = Received { uuid: letter.uuid, status, ..Received::default() };
        answers.send(reply).await.unwrap();
    }
    within(|| (world.shown("far1", "Captures") != json!(null)).then_some(())).await;
    let shown = &world.shown("far1", "Captures")[0];
    assert_eq!((&shown["ID"], &shown["State"]), (&json!(id), &json!("error")));
    assert_eq!(shown["Error"], "the agent failed");
    assert_eq!(world.shown("far0", "Captures"), json!(null), "its agent shows what runs");
    assert_eq!(world.state.captures.list()[&id].count, 1);
    // Nothing of it is ours to capture.
    let plan = world.plan(|_| true).await;
    assert!(plan.points.is_empty(), "{plan:?}");

    assert!(world.state.captures.delete(&id).unwrap());
    let letter = letters.recv().await.unwrap();
    assert_eq!(letter.kind, "Stop");
    within(|| (world.shown("far1", "Captures") == json!(null)).then_some(())).await;
}

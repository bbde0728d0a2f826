use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::{Value, json};
use sonde_proto::graph::Node;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::*;
use crate::api::ScriptHost;
use crate::script::{Limits, Reply, Request};
use crate::tests::world::{World, node, within};

const LONG: Duration = Duration::from_secs(10);

fn alert(expression: &str, trigger: &str, action: &str) -> Alert {
    Alert {
        expression: expression.into(),
        trigger: trigger.into(),
        action: action.into(),
        ..Alert::default()
    }
}

fn create(world: &World, alert: Alert) -> String {
    world.state.alerts.resources.create(alert, None).unwrap().resource.uuid.clone()
}

/// Watches the alerts until the test ends.
fn watch(world: &World) {
    let host = ScriptHost::of_alerts(&world.state).unwrap();
    tokio::spawn(world.state.alerts.clone().run(host));
}

fn add(world: &World, name: &str, kind: &str) {
    let now = world.state.clock.now();
    world.state.graph.write().unwrap().add(node(name, kind, 9), now).unwrap();
}

fn delete(world: &World, name: &str) {
    let now = world.state.clock.now();
    world.state.graph.write().unwrap().delete::<Node>(name, now).unwrap();
}

/// A server that answers with a status, and what it is told.
async fn receiver(status: StatusCode) -> (String, mpsc::UnboundedReceiver<Value>) {
    let (told, messages) = mpsc::unbounded_channel();
    let take = post(move |body: String| async move {
        told.send(serde_json::from_str(&body).unwrap()).unwrap();
        status
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, Router::new().route("/hook", take)).into_future());
    (at, messages)
}

async fn told<T>(messages: &mut mpsc::UnboundedReceiver<T>) -> T {
    timeout(LONG, messages.recv()).await.unwrap().unwrap()
}

async fn noticed(notices: &mut crate::notice::Subscription) -> Value {
    let notice = timeout(LONG, notices.next()).await.unwrap().unwrap();
    assert_eq!((notice.namespace, notice.kind), ("Alert", "Alert"));
    serde_json::from_slice(&notice.obj).unwrap()
}

#[tokio::test]
async fn news_go_to_the_webhook_and_to_subscribers() {
    let world = World::new();
    watch(&world);
    let (at, mut messages) = receiver(StatusCode::NO_CONTENT).await;
    let mut notices = world.state.notices.subscribe();
    let id = create(&world, alert("G.V().Has('Type', 'veth').Values('Name')", "graph", &at));
    for _ in 0..2 {
        add(&world, "veth0", "veth");
        let message = told(&mut messages).await;
        let expected = json!({
            "UUID": id, "Timestamp": "2020-09-13T12:26:40Z", "ReasonData": ["veth0"],
        });
        assert_eq!(message, expected);
        assert_eq!(noticed(&mut notices).await, expected);
        // The same is no news; something else is; and nothing makes the first news again.
        add(&world, "eth7", "device");
        add(&world, "veth1", "veth");
        let message = told(&mut messages).await;
        let mut names: Vec<_> = message["ReasonData"].as_array().unwrap().clone();
        names.sort_by_key(|name| name.as_str().map(str::to_owned));
        assert_eq!(names, ["veth0", "veth1"]);
        noticed(&mut notices).await;
        for gone in ["veth0", "veth1", "eth7"] {
            delete(&world, gone);
        }
        tokio::time::sleep(2 * DEBOUNCE).await;
    }
    let delivered = || (world.state.alerts.status().delivered == 4).then_some(());
    within(delivered).await;
    assert_eq!(world.state.alerts.status().fired, 4);
}

#[tokio::test]
async fn a_new_alert_looks_at_once_and_one_that_changed_again() {
    let world = World::new();
    watch(&world);
    let mut notices = world.state.notices.subscribe();
    let id = create(&world, alert("G.V().Count()", "graph", ""));
    assert_eq!(noticed(&mut notices).await["ReasonData"], json!(3));
    let resources = &world.state.alerts.resources;
    let before = resources.entries()[&id].clone();
    let mut other = before.resource.clone();
    other.expression = "G.V().Has('Name', 'none').Count()".into();
    resources.update(&id, &before, other).unwrap().unwrap();
    assert_eq!(noticed(&mut notices).await["ReasonData"], json!(0), "a number is something");
}

#[tokio::test]
async fn a_duration_looks_again_and_again() {
    let world = World::new();
    watch(&world);
    let mut notices = world.state.notices.subscribe();
    create(&world, alert("G.Flows().Count()", "duration:100ms", ""));
    assert_eq!(noticed(&mut notices).await["ReasonData"], json!(0));
    let mut world = world;
    world.meter(crate::tests::world::record(1)).await;
    assert_eq!(noticed(&mut notices).await["ReasonData"], json!(1), "no change of the graph");
}

#[tokio::test]
async fn a_script_is_told_when_it_gives_something_else() {
    let world = World::new();
    watch(&world);
    let mut notices = world.state.notices.subscribe();
    let text = "const all = Gremlin(\"G.V().Has('Type', 'veth').Values('Name')\"); \
                all.length > 1 ? {many: all.sort()} : null";
    create(&world, alert(text, "graph", ""));
    for name in ["veth0", "veth1"] {
        add(&world, name, "veth");
    }
    assert_eq!(noticed(&mut notices).await["ReasonData"], json!({"many": ["veth0", "veth1"]}));
    add(&world, "eth7", "device");
    add(&world, "veth2", "veth");
    let many = json!({"many": ["veth0", "veth1", "veth2"]});
    assert_eq!(noticed(&mut notices).await["ReasonData"], many);
    assert_eq!(world.state.alerts.status().queries_failed, 0);
}

#[tokio::test]
async fn a_script_runs_once_for_many_changes_and_rests() {
    let world = World::new();
    watch(&world);
    let mut notices = world.state.notices.subscribe();
    // Each look is news.
    create(&world, alert("Date.now()", "graph", ""));
    noticed(&mut notices).await;
    let begun = Instant::now();
    let mut told = 0;
    for n in 0.. {
        add(&world, &format!("veth{n}"), "veth");
        tokio::time::sleep(Duration::from_millis(20)).await;
        while let Ok(notice) = timeout(Duration::ZERO, notices.next()).await {
            notice.unwrap();
            told += 1;
        }
        let elapsed = begun.elapsed();
        if elapsed > Duration::from_secs(60) || elapsed > Duration::from_millis(2500) && told > 0 {
            break;
        }
    }
    // It rests for a second at least.
    let most = 1 + begun.elapsed().as_secs();
    assert!((1..=most).contains(&told), "told {told} times, {most} at most");
}

#[tokio::test]
async fn scripts_that_hang_or_fail_cost_no_other_alert() {
    let world = World::new();
    watch(&world);
    let mut notices = world.state.notices.subscribe();
    for text in ["sleep(1e9)", "sleep(1e9)", "throw 'no'", "no JavaScript", "G.V("] {
        create(&world, alert(text, "graph", ""));
    }
    create(&world, alert("G.V().Count()", "graph", ""));
    assert_eq!(noticed(&mut notices).await["ReasonData"], json!(3));
    create(&world, alert("'a script'", "graph", ""));
    assert_eq!(noticed(&mut notices).await["ReasonData"], json!("a script"));
    within(|| (world.state.alerts.status().queries_failed == 3).then_some(())).await;
}

#[tokio::test]
async fn a_script_that_changed_waits_for_the_one_before() {
    let world = World::new();
    watch(&world);
    let mut notices = world.state.notices.subscribe();
    let id = create(&world, alert("sleep(300).then(() => 'old')", "graph", ""));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let resources = &world.state.alerts.resources;
    let before = resources.entries()[&id].clone();
    let new = Alert { expression: "'new'".into(), ..before.resource.clone() };
    resources.update(&id, &before, new).unwrap().unwrap();
    let begun = Instant::now();
    assert_eq!(noticed(&mut notices).await["ReasonData"], json!("new"), "old is no news any more");
    assert!(begun.elapsed() > Duration::from_secs(1), "it rests");
}

/// Says what it is asked, and answers when it may.
#[derive(Clone)]
struct Gate {
    asked: mpsc::UnboundedSender<String>,
    open: Arc<Semaphore>,
}

impl Host for Gate {
    async fn answer(&self, request: Request) -> Reply {
        let query: Value = serde_json::from_str(&request.body).unwrap();
        self.asked.send(query["GremlinQuery"].as_str().unwrap().to_owned()).unwrap();
        self.open.acquire().await.unwrap().forget();
        Reply { status: 200, body: "[]".into() }
    }
}

#[tokio::test]
async fn scripts_that_wait_are_what_their_alert_is_when_they_begin() {
    let world = World::new();
    let resources = &world.state.alerts.resources;
    let at_once = usize::from(Limits::default().at_once);
    let (asked, mut queries) = mpsc::unbounded_channel();
    let open = Arc::new(Semaphore::new(0));
    tokio::spawn(world.state.alerts.clone().run(Gate { asked, open: open.clone() }));
    let script = |query: &str| alert(&format!("Gremlin('{query}')"), "graph", "");
    let mut expected: Vec<_> = (0..at_once).map(|n| n.to_string()).collect();
    for query in &expected {
        create(&world, script(query));
    }
    let mut begun = Vec::new();
    for _ in 0..at_once {
        begun.push(told(&mut queries).await);
    }
    begun.sort();
    assert_eq!(begun, expected);
    // They have all turns.
    let [deleted, changed, _] =
        ["deleted", "old", "as it was"].map(|query| create(&world, script(query)));
    assert_eq!(noticed_after(&world).await, json!(3), "the others were seen");
    assert!(resources.delete(&deleted).unwrap());
    let before = resources.entries()[&changed].clone();
    let new = Alert { expression: "Gremlin('new')".into(), ..before.resource.clone() };
    resources.update(&changed, &before, new).unwrap().unwrap();
    open.add_permits(at_once + 2);
    expected = vec![told(&mut queries).await, told(&mut queries).await];
    expected.sort();
    assert_eq!(expected, ["as it was", "new"]);
    assert!(queries.try_recv().is_err());
    assert_eq!(world.state.alerts.status().queries_failed, 0);
}

/// What a new alert with a query tells, for which those before it were looked at.
async fn noticed_after(world: &World) -> Value {
    let mut notices = world.state.notices.subscribe();
    create(world, alert("G.V().Count()", "graph", ""));
    noticed(&mut notices).await["ReasonData"].take()
}

#[tokio::test]
async fn a_program_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let (program, out) = (directory.path().join("program"), directory.path().join("out"));
    let text = format!("#!/bin/sh\ncat > {0}.part && mv {0}.part {0}\n", out.display());
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let world = World::new();
    watch(&world);
    let action = format!("file://{}", program.display());
    let id = create(&world, alert("G.V('eth0').Values('Name')", "", &action));
    let message = within(|| fs::read(&out).ok()).await;
    let message: Value = serde_json::from_slice(&message).unwrap();
    assert_eq!((&message["UUID"], &message["ReasonData"]), (&json!(id), &json!(["eth0"])));
}

#[tokio::test]
async fn programs_are_told_where_that_is_wanted_only() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(Some(directory.path())).unwrap();
    create(&world, alert("G.V().Count()", "", "file:///bin/true"));
    drop(world);
    let world = World::open(Some(directory.path())).unwrap();
    let may = |scripts| world.state.settings.alert_scripts.set(scripts);
    may(false);
    watch(&world);
    within(|| (world.state.alerts.status().failed == 1).then_some(())).await;
    let new = alert("G.V()", "", "file:///bin/true");
    let refused = world.state.alerts.resources.create(new.clone(), None).unwrap_err().to_string();
    let why = "programs are not run, unless the configuration has [alert] scripts = true";
    assert_eq!(refused, format!("Action: {why}"));
    may(true);
    create(&world, new);
    add(&world, "eth7", "device");
    within(|| (world.state.alerts.status().delivered == 2).then_some(())).await;
}

#[tokio::test]
async fn what_is_not_delivered_is_counted() {
    let world = World::new();
    watch(&world);
    let (refuses, mut messages) = receiver(StatusCode::SERVICE_UNAVAILABLE).await;
    create(&world, alert("G.V().Count()", "", &refuses));
    told(&mut messages).await;
    // Nobody listens there; the name of no server is in a certificate there either.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    create(&world, alert("G.V().Count()", "", &format!("http://{closed}/")));
    let plain = refuses.replace("http://", "https://");
    create(&world, alert("G.V().Count()", "", &plain));
    create(&world, alert("G.V().Count()", "", "file:///none/such"));
    create(&world, alert("G.At('-1h').V()", "", ""));
    let counted = |status: AlertStatus| status.failed == 4 && status.queries_failed > 0;
    within(|| counted(world.state.alerts.status()).then_some(())).await;
    assert_eq!(world.state.alerts.status().delivered, 0);
}

#[tokio::test]
async fn a_slow_server_delays_no_other_and_hears_the_newest() {
    let world = World::new();
    watch(&world);
    let (told_to, mut messages) = mpsc::unbounded_channel();
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let take = post(move |body: String| async move {
        told_to.send(serde_json::from_str::<Value>(&body).unwrap()).unwrap();
        held.acquire().await.unwrap().forget();
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slow = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, Router::new().route("/", take)).into_future());
    let (fast, mut others) = receiver(StatusCode::OK).await;
    create(&world, alert("G.V().Count()", "", &slow));
    assert_eq!(told(&mut messages).await["ReasonData"], json!(3));
    create(&world, alert("G.V().Count()", "", &fast));
    assert_eq!(told(&mut others).await["ReasonData"], json!(3));
    for (n, name) in [(4, "a"), (5, "b")] {
        add(&world, name, "veth");
        assert_eq!(told(&mut others).await["ReasonData"], json!(n));
    }
    gate.add_permits(2);
    assert_eq!(told(&mut messages).await["ReasonData"], json!(5), "4 is no news any more");
}

#[tokio::test]
async fn alerts_survive_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(Some(directory.path())).unwrap();
    create(&world, alert("G.V('eth0').Values('Name')", "", ""));
    let before = world.state.alerts.resources.entries();
    drop(world);
    let world = World::open(Some(directory.path())).unwrap();
    let after = world.state.alerts.resources.entries();
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    let mut notices = world.state.notices.subscribe();
    watch(&world);
    assert_eq!(noticed(&mut notices).await["ReasonData"], json!(["eth0"]));
}

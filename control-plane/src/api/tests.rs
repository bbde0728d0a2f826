use std::convert::Infallible;
use std::sync::Arc;
use std::task::Poll;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use sonde_proto::flow::{Flow, RawPacket};
use sonde_proto::record::{Cause, EndReason, WatchId};
use sonde_proto::report::WatchState;
use sonde_proto::ring::RingSize;
use sonde_proto::time::Timestamp;
use tower::ServiceExt as _;

use super::*;
use crate::flow_store::FlowKey;
use crate::gremlin::{self, Answer, Limits};
use crate::stream::{Namespaces, QueueLimits};
use crate::tests::world::{UPLOAD_LIMIT, World, node, record, within};
use crate::upload::AT_ONCE;

mod access;
mod alert;
mod built_in;
mod capture;
mod element;
mod openapi;
mod pcap;
mod resource;
mod roles;
mod rule;
mod traversal;
mod workflow;

/// What came back.
struct Got {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
    text: String,
}

impl Got {
    fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/json; charset=UTF-8");
        serde_json::from_str(&self.text).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that it is an error as Skydive writes them.
    fn is_error(&self, status: u16, text: &str) {
        assert_eq!((self.status, self.text.as_str()), (status, format!("{text}\n").as_str()));
        self.is_plain();
    }

    fn is_plain(&self) {
        assert_eq!(self.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!(self.header("x-content-type-options"), "nosniff");
    }
}

async fn send(world: &World, request: Request<Body>) -> Got {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = router(world.state.clone()).oneshot(request).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    openapi::expects(&method, &path, status);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    Got { status, headers, body, text }
}

async fn ask(world: &World, method: &str, path: &str, body: impl Into<Body>) -> Got {
    let request = Request::builder().method(method).uri(path);
    send(world, request.body(body.into()).unwrap()).await
}

async fn ask_with(world: &World, path: &str, header: (&str, &str), body: &str) -> Got {
    let request = Request::post(path).header(header.0, header.1);
    send(world, request.body(body.to_owned().into()).unwrap()).await
}

async fn query(world: &World, text: &str) -> Got {
    ask(world, "POST", "/api/topology", json!({"GremlinQuery": text}).to_string()).await
}

async fn create(world: &World, query: &str) -> Got {
    ask(world, "POST", "/api/capture", json!({"GremlinQuery": query}).to_string()).await
}

#[tokio::test]
async fn says_who_it_is() {
    let world = World::new();
    let expected = json!({"Host": "here", "Version": "0.0.0", "Service": "analyzer"});
    assert_eq!(ask(&world, "GET", "/api", "").await.json(), expected);
}

#[tokio::test]
async fn the_configuration_can_be_read() {
    let world = World::new();
    for (key, value) in [
        ("listen", json!("127.0.0.1:8082")),
        ("ui.topology.favorites", json!({"a": "G.V()"})),
        ("UI.Topology", json!({"favorites": {"a": "G.V()"}})),
        ("auth.users", json!("***")),
        ("auth.users.ann", json!("")),
        ("auth", json!({"users": "***"})),
        ("nothing", json!("")),
        ("a%2Fb", json!("")),
    ] {
        let got = ask(&world, "GET", &format!("/api/config/{key}"), "").await;
        assert_eq!((got.status, got.json()), (200, value), "{key}");
    }
    assert_eq!(ask(&world, "GET", "/api/config/%FF", "").await.status, 400);
}

#[tokio::test]
async fn every_answer_has_the_id_of_its_request() {
    let world = World::new();
    for (method, path) in [
        ("GET", "/api/status"),
        ("GET", "/nothing"),
        ("PUT", "/api/status"),
        ("OPTIONS", "/api/status"),
        ("POST", "/login"),
        ("GET", "/swagger/"),
        ("GET", "/ws/subscriber"),
    ] {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("x-request-id", "mine").body(Body::empty());
        assert_eq!(send(&world, request.unwrap()).await.header("x-request-id"), "mine", "{path}");
        let made = ask(&world, method, path, "").await.header("x-request-id").to_owned();
        assert!(uuid::Uuid::parse_str(&made).is_ok(), "{method} {path}: {made}");
    }
}

#[tokio::test]
async fn paths_are_exact() {
    let world = World::new();
    for path in ["/nothing", "/api/nothing", "/api/topology/deeper", "/nothing/"] {
        ask(&world, "GET", path, "").await.is_error(404, "404 page not found");
    }
    for (path, location) in [
        ("/api/", "/api"),
        ("/api/status/", "/api/status"),
        ("/api/topology/?x=1", "/api/topology?x=1"),
        ("/api/capture/", "/api/capture"),
    ] {
        let got = ask(&world, "GET", path, "").await;
        assert_eq!((got.status, got.header("location")), (301, location), "{path}");
    }
    for (method, path) in [
        ("POST", "/api"),
        ("DELETE", "/api/topology"),
        ("PUT", "/api/capture"),
        ("POST", "/api/capture/some-id"),
        ("POST", "/api/status"),
    ] {
        let got = ask(&world, method, path, "").await;
        assert_eq!((got.status, got.text.as_str()), (405, ""), "{method} {path}");
    }
}

#[tokio::test]
async fn browsers_of_other_sites_may_ask() {
    let world = World::new();
    let request = Request::options("/api/topology")
        .header("origin", "http://elsewhere")
        .header("access-control-request-method", "POST");
    let got = send(&world, request.body(Body::empty()).unwrap()).await;
    assert_eq!(got.status, 200);
    assert_eq!(got.header("access-control-allow-origin"), "*");
    assert_eq!(got.header("access-control-allow-methods"), "GET,HEAD,POST,PUT,DELETE,OPTIONS");
    assert_eq!(
        got.header("access-control-allow-headers"),
        "x-requested-with,content-type,authorization,x-auth-token"
    );
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_ask() {
    let world = World::new();
    let request = Request::get("/api/topology").header("accept-encoding", "gzip");
    let got = send(&world, request.body(Body::empty()).unwrap()).await;
    assert_eq!((got.status, got.header("content-encoding")), (200, "gzip"));
    assert_eq!(ask(&world, "GET", "/api/topology", "").await.header("content-encoding"), "");
}

#[tokio::test]
async fn the_whole_graph() {
    let world = World::new();
    let graph = ask(&world, "GET", "/api/topology", "").await.json();
    let ids: Vec<_> = graph["Nodes"].as_array().unwrap().iter().map(|node| &node["ID"]).collect();
    assert_eq!(ids, ["eth0", "eth1", "p0"]);
    assert_eq!(graph["Edges"], json!([]));
}

#[tokio::test]
async fn a_query_is_answered() {
    let world = World::new();
    let got = query(&world, "G.V().Has('Name', 'eth0').Values('IfIndex')").await;
    assert_eq!((got.status, got.text.as_str()), (200, "[2]\n"));
    got.json();
    for body in ["", " \n", "{}", "null", r#"{"GremlinQuery": ""}"#] {
        let got = ask(&world, "POST", "/api/topology", body).await;
        assert_eq!((got.status, got.text.as_str()), (204, ""), "{body}");
    }
}

#[tokio::test]
async fn a_query_of_flows_sweeps_the_shards() {
    let mut world = World::new();
    let state = world.state.clone();
    let asked = tokio::spawn(async move {
        let body = json!({"GremlinQuery": "G.Flows()"}).to_string();
        let request = Request::post("/api/topology").body(Body::from(body)).unwrap();
        router(state).oneshot(request).await.unwrap().status()
    });
    world.plan(|plan| plan.sweep == 1).await;
    // The shard never answers: the query is answered all the same.
    assert_eq!(asked.await.unwrap(), 200);
}

#[tokio::test]
async fn a_query_that_is_wrong_is_told_where() {
    let world = World::new();
    for (text, part) in
        [("G.V(", "column 5"), ("nonsense", "expected `G`"), ("G.V().V()", "column")]
    {
        let got = query(&world, text).await;
        assert_eq!(got.status, 400, "{text}");
        assert!(got.text.contains(part) && got.text.ends_with('\n'), "{}", got.text);
        got.is_plain();
    }
}

#[tokio::test]
async fn a_body_that_is_wrong_is_told_where() {
    let world = World::new();
    ask(&world, "POST", "/api/topology", "{\n\"GremlinQuery\": 7}").await.is_error(
        400,
        "request body: invalid type: integer `7`, expected a string at line 2 column 17",
    );
    ask(&world, "POST", "/api/capture", r#"{"GremlinQuery": "G.V()""#)
        .await
        .is_error(400, "request body: EOF while parsing an object at line 1 column 24");
    ask(&world, "POST", "/api/capture", r#"{"Port": "80"}"#).await.is_error(
        400,
        "request body: invalid type: string \"80\", expected i64 at line 1 column 13",
    );
    ask(&world, "POST", "/api/topology", vec![b' '; MAX_BODY + 1])
        .await
        .is_error(413, "request body: larger than 1048576 bytes");
    let many = format!(r#"{{"GremlinQuery": "G.V()", "x": [{}0]}}"#, r#"{"":0},"#.repeat(30_000));
    let got = ask(&world, "POST", "/api/topology", many).await;
    assert_eq!(got.status, 400);
    assert!(got.text.starts_with("request body: too many values: "), "{}", got.text);
}

#[tokio::test]
async fn bodies_may_be_yaml() {
    let world = World::new();
    let yaml = ("content-type", "application/yaml");
    let text = "GremlinQuery: G.V().Has('Name', 'eth0')\nBPFFilter: tcp\nRawPacketLimit: 3\n";
    let created = ask_with(&world, "/api/capture", yaml, text).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let capture = created.json();
    assert_eq!(capture["GremlinQuery"], "G.V().Has('Name', 'eth0')");
    assert_eq!((&capture["BPFFilter"], &capture["RawPacketLimit"]), (&json!("tcp"), &json!(3)));
    let rule = "Action: create\nMetadata:\n  Name: tor\n  Type: fabric\n  Racks: [1, 2]\n";
    let rule = ask_with(&world, "/api/noderule", yaml, rule).await.json();
    assert_eq!(rule["Metadata"], json!({"Name": "tor", "Type": "fabric", "Racks": [1, 2]}));

    let many = format!("GremlinQuery: G.V()\nx: [{}0]", "0,".repeat(70_000));
    for (text, error) in [
        (&*many, "nodes"),
        ("GremlinQuery: [", "line 1"),
        ("Port: eighty", "line 1"),
        ("- GremlinQuery", "expected mapping start at line 1, column 1"),
        ("GremlinQuery: G.V()\nGremlinQuery: G.E()", "line 2"),
        ("Name: &a x\nDescription: *a", "alias"),
        (&"[".repeat(10_000), "line 1"),
        ("\u{0}", "line 1"),
    ] {
        let got = ask_with(&world, "/api/capture", yaml, text).await;
        assert_eq!(got.status, 400, "{text:.40}");
        assert!(got.text.starts_with("request body: "), "{}", got.text);
        assert!(got.text.contains(error) && got.text.lines().count() == 1, "{}", got.text);
    }
    let json = ask_with(&world, "/api/capture", ("content-type", "text/yaml"), text).await;
    assert_eq!(json.status, 400, "another type is JSON");
}

#[tokio::test]
async fn accept_chooses_the_form() {
    let world = World::new();
    let graph = r#"{"GremlinQuery": "G"}"#;
    for accept in ["*/*", "application/json", "text/html", "application/*"] {
        ask_with(&world, "/api/topology", ("accept", accept), graph).await.json();
    }
    let dot = ("accept", "text/vnd.graphviz");
    let got = ask_with(&world, "/api/topology", dot, graph).await;
    assert_eq!(got.header("content-type"), "text/vnd.graphviz; charset=UTF-8");
    assert!(got.text.starts_with("digraph g {\n"), "{}", got.text);
    let nodes = r#"{"GremlinQuery": "G.V()"}"#;
    ask_with(&world, "/api/topology", dot, nodes)
        .await
        .is_error(406, "Error while encoding response: Only graph can be outputted as dot");
    let pcap = ("accept", "application/vnd.tcpdump.pcap");
    ask_with(&world, "/api/topology", pcap, nodes).await.is_error(
        406,
        "Error while encoding response: Only RawPackets step result can be outputted as pcap",
    );
}

#[tokio::test]
async fn the_life_of_a_capture() {
    let mut world = World::new();
    assert_eq!(ask(&world, "GET", "/api/capture", "").await.json(), json!({}));
    let body = json!({
        "UUID": "mine", "Count": 7, "GremlinQuery": "G.V().Has('Name', 'p0')",
        "SamplingRate": 1, "PollingInterval": 10,
    });
    let got = ask(&world, "POST", "/api/capture", body.to_string()).await;
    assert_eq!(got.status, 201);
    let mut created = got.json();
    let id = created["UUID"].as_str().unwrap().to_owned();
    assert_eq!(uuid::Uuid::try_parse(&id).unwrap().get_version_num(), 4);
    let expected = json!({
        "UUID": id, "GremlinQuery": "G.V().Has('Name', 'p0')", "Count": 0, "SamplingRate": 1,
        "PollingInterval": 10, "ExtraTCPMetric": false, "IPDefrag": false,
        "ReassembleTCP": false, "LayerKeyMode": "L2",
    });
    assert_eq!(created, expected);

    ask(&world, "POST", "/api/capture", body.to_string())
        .await
        .is_error(409, "duplicated resource");
    world.plan(|plan| !plan.points.is_empty()).await;
    tokio::spawn(world.state.captures.clone().run());
    world.report(WatchId(1), WatchState::Active, 1).await;
    within(|| (world.state.captures.list()[&id].count == 1).then_some(())).await;
    created["Count"] = json!(1);
    let path = format!("/api/capture/{id}");
    assert_eq!(ask(&world, "GET", &path, "").await.json(), created);
    assert_eq!(ask(&world, "GET", "/api/capture", "").await.json(), json!({id: created}));

    ask(&world, "PATCH", &path, "{}").await.is_error(
        400,
        "incorrect JSON patch: invalid type: map, expected a sequence at line 1 column 0",
    );
    let patch = r#"[{"op": "replace", "path": "/Name", "value": "other"}]"#;
    ask(&world, "PATCH", &path, patch)
        .await
        .is_error(400, "updating resource with patched version: resource not updatable");

    let got = ask(&world, "DELETE", &path, "").await;
    assert_eq!((got.status, got.text.as_str()), (200, ""));
    assert_eq!(got.header("content-type"), "text/plain");
    for method in ["GET", "DELETE"] {
        let got = ask(&world, method, &path, "").await;
        got.is_error(404, &format!("Capture '{}' not found", &path["/api/capture/".len()..]));
    }
    let got = ask(&world, "PATCH", &path, patch).await;
    assert_eq!((got.status, got.text.as_str()), (404, ""));
}

#[tokio::test]
async fn an_id_is_text() {
    let got = ask(&World::new(), "GET", "/api/capture/%ff", "").await;
    assert_eq!(got.status, 400);
    got.is_plain();
}

#[tokio::test]
async fn a_capture_that_breaks_rules_is_refused() {
    let world = World::new();
    let got = create(&world, "G.V(").await;
    assert_eq!(got.status, 400);
    assert!(got.text.starts_with("GremlinQuery: Not a valid Gremlin expression: "), "{}", got.text);
    let got = ask(&world, "POST", "/api/capture", "{}").await;
    assert_eq!(got.status, 400, "the query is required");
    let body = json!({"GremlinQuery": "G.V()", "BPFFilter": "port port", "Type": "sflow"});
    let got = ask(&world, "POST", "/api/capture", body.to_string()).await;
    assert_eq!(got.status, 400);
    assert!(got.text.starts_with("BPFFilter: Not a valid BPF expression: "), "{}", got.text);
    assert!(got.text.contains(", Type: Not a valid capture type: sflow, "), "{}", got.text);
    let body = json!({"GremlinQuery": "G.V()", "TargetType": "netflowv5"});
    ask(&world, "POST", "/api/capture", body.to_string())
        .await
        .is_error(400, "Target: Not a valid address");
}

#[tokio::test]
async fn an_answer_is_safe_inside_html() {
    let world = World::new();
    let body = json!({"GremlinQuery": "G.V()", "Name": "<b>&"});
    let got = ask(&world, "POST", "/api/capture", body.to_string()).await;
    assert!(got.text.contains(r#""Name":"\u003cb\u003e\u0026""#), "{}", got.text);
}

#[tokio::test]
async fn few_captures_are_created_at_once() {
    let world = World::new();
    let creates = world.state.creates.clone();
    let all = creates.acquire_many(4).await.unwrap();
    create(&world, "G.V()").await.is_error(503, "too many resources are being created");
    drop(all);
    assert_eq!(create(&world, "G.V()").await.status, 201);
}

#[tokio::test]
async fn the_status_shows_the_books() {
    let mut world = World::new();
    create(&world, "G.V().Has('Name', 'p0')").await;
    world.plan(|plan| !plan.points.is_empty()).await;
    world.report(WatchId(1), WatchState::Active, 5).await;
    let status = ask(&world, "GET", "/api/status", "").await.json();
    for (pointer, value) in [
        ("/Agents/here/IsConnected", json!(true)),
        ("/Agents/here/ConnectTime", json!("2020-09-13T12:26:40Z")),
        ("/Peers", json!({"Incomers": {}, "Outgoers": {}})),
        ("/Publishers", json!({})),
        ("/Captures/IsMaster", json!(true)),
        ("/Alerts/IsMaster", json!(true)),
        ("/Queues/0/Point", json!("p0")),
        ("/Queues/0/CPU", json!(1)),
        ("/Queues/0/Frames/Received", json!(5)),
        ("/Queues/0/Frames/Missed", json!(7)),
        ("/Queues/0/Frames/Unaccounted", json!(0)),
        ("/Queues/0/Frames/Skipped/runt", json!(0)),
        ("/Totals/Metered", json!(5)),
        ("/FlowStore", json!({"Flows": 0, "Refused": 0, "PacketsLost": 0})),
        ("/FlowStream/Lost", json!(0)),
        ("/AlertDeliveries/Failed", json!(0)),
    ] {
        assert_eq!(status.pointer(pointer), Some(&value), "{pointer}");
    }
}

#[tokio::test]
async fn the_status_counts_every_kind_of_overload() {
    let mut world = World::new();
    let slow = QueueLimits { messages: 1, bytes: usize::MAX };
    let subscriber = world.state.ws.stream.subscribe(Namespaces::parse(["flow"]), slow);
    let size = RingSize::default();
    // More flows than there is room for: the first ends, and makes room for one.
    for n in 0..size.reports as u64 {
        let mut report = world.lcore.blank().unwrap();
        report.flows.extend((0..100).map(|flow| record(n * 100 + flow)));
        if n == 0 {
            report.flows[0].cause = Cause::End(EndReason::Idle);
        }
        report.books.ring_full = 5;
        world.lcore.push(report).unwrap();
    }
    world.lcore.give_up(7);
    let World { state, lcore, .. } = world;
    drop(lcore);
    assert!(state.lcores.closed(Duration::from_secs(10)).await);
    drop(subscriber);
    let request = Request::get("/api/status").body(Body::empty()).unwrap();
    let response = router(state).oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let mut overload = serde_json::from_slice::<Value>(&body).unwrap()["Overload"].take();
    let members = overload.as_object_mut().unwrap();
    let lag = members.remove("IngestLag").unwrap();
    assert!(lag.as_u64() <= members.remove("IngestLagMax").unwrap().as_u64());
    let expected = json!({
        "ReportsHeldBack": 5,
        "RingsFoundFull": 1,
        "FlowsGivenUp": 7,
        "StoreRecordsRefused": 1600 - 1000 - 1,
        "StoreFlowsEvicted": 1,
        "StoreFlowsForgotten": 0,
        "PacketsLost": 0,
        "StreamMessagesLost": 15,
        "StreamFlowsLost": 1500,
        "ExportReportsLost": 0,
        "AgentMessagesRefused": 0,
        "AgentFlowsRefused": 0,
        "MirrorFramesLost": 0,
    });
    assert_eq!(overload, expected);
}

#[tokio::test]
async fn nobody_waits_for_a_slow_query() {
    let mut world = World::new();
    world.meter(record(1)).await;
    let (entered, enters) = tokio::sync::oneshot::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let state = world.state.clone();
    let slow = std::thread::spawn(move || {
        let entered = std::cell::Cell::new(Some(entered));
        // Asked for the time when it has found its flows, it stands still.
        let expired = || {
            if let Some(entered) = entered.take() {
                entered.send(()).unwrap();
                released.recv().unwrap();
            }
            false
        };
        let query = gremlin::parse("G.Flows().Count()", &Limits::default()).unwrap();
        topology::answer(&state, &query, &Limits::default(), &expired)
    });
    enters.await.unwrap();
    assert!(world.state.flows.try_write().is_ok(), "the flows are not locked");
    assert!(world.state.graph.try_write().is_ok(), "nor is the graph");
    world.meter(record(2)).await;
    world.meter(record(3)).await;
    world.state.graph.write().unwrap().add(node("new", "device", 9), Timestamp::default()).unwrap();
    assert_eq!(query(&world, "G.Flows().Count()").await.text, "3\n");
    release.send(()).unwrap();
    let answer = slow.join().unwrap().unwrap();
    assert_eq!(answer, Answer::Number(1.into()), "what there was when it began");
}

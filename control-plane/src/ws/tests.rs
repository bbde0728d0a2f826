use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use serde_json::Value;
use sonde_proto::flow::{Flow, FlowSet, Stats};
use sonde_proto::message::{Format, StructMessage};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::*;
use crate::asker::Asker;
use crate::clock::Clock;
use crate::flow_store::{FlowStore, Times};
use crate::graph::{Graph, HistoryLimits, MemoryHistory, SharedGraph};
use crate::live::Live;
use crate::notice::Notices;
use crate::stream::BulkConfig;

mod agent;
mod replication;
mod speaker;
mod topology;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

const PATH: &str = "/ws/subscriber/flow";
const TYPE: (&str, &str) = ("x-client-type", "test");
const PROTOBUF: (&str, &str) = ("x-client-protocol", "protobuf");
/// Skydive's JSON would take a debug build too long where flows are large.
const COMPACT: [(&str, &str); 3] = [TYPE, PROTOBUF, ("x-flow-encoding", "protobuf")];
const LONG: Duration = Duration::from_secs(20);
/// Flows that the store takes.
const FLOWS: usize = 40;

struct Server {
    addr: SocketAddr,
    stream: FlowStream,
    topology: TopologyStream,
    asker: Asker,
    agents: Agents,
    notices: Notices,
    clients: Endpoints,
}

impl Server {
    async fn new() -> Self {
        Self::with(QueueLimits::default(), KeepAlive::default()).await
    }

    async fn with(limits: QueueLimits, keep_alive: KeepAlive) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (topology, asker, notices) = topology();
        let stream = FlowStream::new(BulkConfig { flows: 2, delay: Duration::from_secs(5) });
        let state = WsState {
            host: "probe-1".into(),
            agents: Agents::new(asker.flows.clone(), stream.clone(), asker.clock.clone()),
            stream,
            topology: topology.clone(),
            clients: Endpoints::default(),
            limits,
            keep_alive,
            clock: Arc::new(|| Timestamp::from_millis(1_000)),
        };
        let (stream, agents) = (state.stream.clone(), state.agents.clone());
        let clients = state.clients.clone();
        let router = Router::new()
            .route(PATH, any(flow::subscribe))
            .route("/ws/subscriber", any(super::topology::subscribe))
            .route("/ws/publisher", any(super::topology::publish))
            .route("/ws/pubsub", any(super::topology::both))
            .route("/ws/agent/topology", any(super::agent::topology))
            .route("/ws/agent/flow", any(super::agent::flows))
            .route("/ws/replication", any(super::replication::replicate))
            .with_state(state);
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        Self { addr, stream, topology, asker, agents, notices, clients }
    }

    async fn connect(&self, headers: &[(&str, &str)]) -> Socket {
        self.handshake("", headers).await.unwrap().0
    }

    async fn connect_at(&self, path: &str, headers: &[(&str, &str)]) -> Socket {
        self.handshake_at(path, headers).await.unwrap().0
    }

    async fn handshake(
        &self,
        query: &str,
        headers: &[(&str, &str)],
    ) -> Result<(Socket, Response), Box<Error>> {
        self.handshake_at(&format!("{PATH}{query}"), headers).await
    }

    async fn handshake_at(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<(Socket, Response), Box<Error>> {
        let url = format!("ws://{}{path}", self.addr);
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            let name = HeaderName::try_from(*name).unwrap();
            let value = HeaderValue::from_str(value).unwrap();
            request.headers_mut().append(name, value);
        }
        connect_async(request).await.map_err(Box::new)
    }

    /// Two flows, which are a bulk.
    fn publish(&self) {
        let flows = ["c1", "c2"].map(|capture| {
            Arc::new(Flow {
                uuid: format!("flow-of-{capture}"),
                capture_id: capture.into(),
                start: 5,
                last: 9,
                ..Flow::default()
            })
        });
        self.stream.publish(flows, Timestamp::default());
    }
}

fn topology() -> (TopologyStream, Asker, Notices) {
    let minute = Duration::from_secs(60);
    let history = MemoryHistory::new(HistoryLimits { time: minute, bytes: 1 << 20 });
    let asker = Asker {
        clock: Clock::new(|| Timestamp::from_millis(1_000)),
        graph: SharedGraph::new(Graph::with_history(history).into()),
        flows: Arc::new(
            FlowStore::new(FLOWS, Times { hold: minute, idle: minute, silence: minute }).into(),
        ),
    };
    let queries = Arc::new(tokio::sync::Semaphore::new(4));
    let notices = Notices::new();
    let stream = TopologyStream::new(asker.clone(), Live::default(), queries, notices.clone());
    (stream, asker, notices)
}

trait Frames: futures_util::Stream<Item = Result<Message, Error>> {}

impl<T: futures_util::Stream<Item = Result<Message, Error>>> Frames for T {}

/// The next frame that is no ping.
async fn frame(socket: &mut (impl Frames + Unpin)) -> Message {
    loop {
        match timeout(LONG, socket.next()).await.unwrap().unwrap().unwrap() {
            Message::Ping(_) => {}
            frame => return frame,
        }
    }
}

async fn json(socket: &mut Socket) -> Value {
    serde_json::from_str(frame(socket).await.to_text().unwrap()).unwrap()
}

async fn close_code(socket: &mut (impl Frames + Unpin)) -> u16 {
    match frame(socket).await {
        Message::Close(Some(close)) => close.code.into(),
        other => panic!("expected a close frame, found {other:?}"),
    }
}

#[tokio::test]
async fn flows_arrive_as_lists_of_json() {
    let server = Server::new().await;
    let (mut socket, response) = server.handshake("", &[TYPE]).await.unwrap();
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["x-host-id"], "probe-1");
    assert_eq!(response.headers()["x-service-type"], "analyzer");
    assert!(!response.headers().contains_key("sec-websocket-extensions"));
    server.stream.publish_stats([Stats::default()]);
    server.publish();
    let message = json(&mut socket).await;
    assert_eq!(message["Namespace"], "flow");
    assert_eq!(message["Type"], "store");
    assert_eq!(message["Status"], 200);
    let uuid: uuid::Uuid = message["UUID"].as_str().unwrap().parse().unwrap();
    assert_eq!(uuid.get_version_num(), 4);
    let flows = message["Obj"].as_array().unwrap();
    assert_eq!(flows.len(), 2);
    let flow = serde_json::json!({
        "UUID": "flow-of-c1",
        "ParentUUID": "",
        "CaptureID": "c1",
        "Start": 5,
        "Last": 9,
        "RawPacketsCaptured": 0,
    });
    assert_eq!(flows[0], flow, "what is absent is left out");
}

#[tokio::test]
async fn protobuf_holds_json_unless_asked_otherwise() {
    let server = Server::new().await;
    let mut plain = server.connect(&[TYPE, PROTOBUF]).await;
    let mut sets = server.connect(&COMPACT).await;
    server.publish();

    let message = StructMessage::decode(frame(&mut plain).await.into_data()).unwrap();
    assert_eq!((&*message.namespace, message.format()), ("flow", Format::Json));
    let flows: Vec<Flow> = serde_json::from_slice(&message.obj).unwrap();
    assert_eq!(flows[1].uuid, "flow-of-c2");

    let message = StructMessage::decode(frame(&mut sets).await.into_data()).unwrap();
    assert_eq!((&*message.r#type, message.format()), ("store", Format::Protobuf));
    let set = FlowSet::decode(&*message.obj).unwrap();
    assert_eq!((set.flows, set.start, set.end), (flows, 5, 9));
}

#[tokio::test]
async fn namespaces_come_in_headers_or_in_the_query() {
    let server = Server::new().await;
    let namespace = |name| ("x-websocket-namespace", name);
    let mut header = server.connect(&[TYPE, namespace("flow/c2"), namespace("stats")]).await;
    let query = "?x-client-type=web&x-websocket-namespace=flow%2Fc1&x-host-id=browser";
    let (mut query, _) = server.handshake(query, &[]).await.unwrap();
    let mut wild = server.connect(&[TYPE, namespace("*")]).await;
    server.publish();
    server.stream.publish_stats([Stats { capture_id: "c2".into(), ..Stats::default() }]);

    let message = json(&mut header).await;
    assert_eq!(message["Namespace"], "flow/c2");
    assert_eq!(message["Obj"].as_array().unwrap().len(), 1);
    let message = json(&mut header).await;
    assert_eq!((&message["Namespace"], &message["Type"]), (&"stats".into(), &"stats".into()));
    assert_eq!(message["Obj"]["CaptureID"], "c2");
    assert_eq!(message["Obj"]["PacketsReceived"], 0);
    assert_eq!(json(&mut query).await["Obj"][0]["UUID"], "flow-of-c1");
    assert_eq!(json(&mut wild).await["Namespace"], "flow");
    assert_eq!(json(&mut wild).await["Namespace"], "stats");
}

#[tokio::test]
async fn a_header_wins_over_the_query() {
    let server = Server::new().await;
    let query = "?x-client-type=web&x-client-protocol=yaml&x-host-id=query";
    let headers = [("x-client-protocol", "json"), ("x-host-id", "header")];
    let (_socket, _) = server.handshake(query, &headers).await.unwrap();
    let client = server.clients.flows.list().pop().unwrap();
    assert_eq!((&*client.host, &*client.kind), ("header", "web"));
    assert_eq!(client.protocol, "json");
    assert_eq!(client.since, Timestamp::from_millis(1_000));
    assert_eq!(client.addr.unwrap().ip(), server.addr.ip());
}

#[tokio::test]
async fn a_host_id_is_there_once() {
    let server = Server::new().await;
    let headers = [TYPE, ("x-host-id", "me")];
    let mut first = server.connect(&headers).await;
    match *server.handshake("", &headers).await.unwrap_err() {
        Error::Http(response) => {
            assert_eq!(response.status(), 409);
            assert_eq!(response.headers()["connection"], "close");
        }
        other => panic!("expected 409, found {other}"),
    }
    first.close(None).await.unwrap();
    while let Some(frame) = first.next().await {
        frame.expect("a close frame is answered");
    }
    assert!(server.clients.flows.left(LONG).await);
    server.connect(&headers).await;
}

#[tokio::test]
async fn a_plain_get_has_to_upgrade() {
    let server = Server::new().await;
    let mut tcp = TcpStream::connect(server.addr).await.unwrap();
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: a\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(LONG, tcp.read_to_string(&mut answer)).await.unwrap().unwrap();
    let answer = answer.to_lowercase();
    assert!(answer.starts_with("http/1.1 426 "), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn what_is_not_understood_is_closed_after_the_upgrade() {
    let server = Server::new().await;
    let flow_encoding = |name| ("x-flow-encoding", name);
    for headers in [
        &[][..],
        &[("x-client-type", "")],
        &[TYPE, ("x-client-protocol", "xml")],
        &[TYPE, PROTOBUF, flow_encoding("json")],
        &[TYPE, flow_encoding("protobuf")],
    ] {
        let (mut socket, response) = server.handshake("", headers).await.unwrap();
        assert_eq!(response.status(), 101, "{headers:?}");
        assert_eq!(response.headers()["x-service-type"], "analyzer");
        assert_eq!(close_code(&mut socket).await, 1000, "{headers:?}");
    }
    assert!(server.clients.flows.list().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_is_bounded_and_delays_nobody() {
    let limits = QueueLimits { messages: 4, bytes: 64 << 20 };
    let keep_alive = KeepAlive { pong: LONG, ..KeepAlive::default() };
    let server = Server::with(limits, keep_alive).await;
    let headers = |host| [&COMPACT[..], &[("x-host-id", host)]].concat();
    let slow = server.connect(&headers("slow")).await;
    let mut quick = server.connect(&headers("quick")).await;
    // More than the kernel keeps for a reader: 32 bulks of 2 MB.
    let large = Arc::new(Flow { application: "x".repeat(1 << 20), ..Flow::default() });
    for _ in 0..32 {
        let bulk = [large.clone(), large.clone()];
        server.stream.publish(bulk, Timestamp::default());
        assert!(frame(&mut quick).await.is_binary());
    }
    let lost: Vec<_> = server.clients.flows.list().into_iter().map(|c| (c.host, c.lost)).collect();
    assert_eq!(lost[0], ("quick".into(), 0));
    assert!(lost[1].1 >= 8, "{lost:?}");
    assert_eq!(server.stream.status().lost, lost[1].1);
    drop(slow);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_is_told_what_it_lost() {
    let limits = QueueLimits { messages: 4, bytes: 64 << 20 };
    let server = Server::with(limits, KeepAlive { pong: LONG, ..KeepAlive::default() }).await;
    let losses = ("x-websocket-namespace", "loss");
    let mut socket = server.connect(&[&COMPACT[..], &[losses]].concat()).await;
    let large = Arc::new(Flow { application: "x".repeat(1 << 20), ..Flow::default() });
    for _ in 0..32 {
        server.stream.publish([large.clone(), large.clone()], Timestamp::default());
        sleep(Duration::from_millis(2)).await;
    }
    let lost = server.stream.status().lost;
    assert!(lost >= 8, "{lost}");
    let (mut messages, mut told) = (0, Value::Null);
    while messages + told["Messages"].as_u64().unwrap_or_default() < 32 {
        let message = StructMessage::decode(frame(&mut socket).await.into_data()).unwrap();
        match &*message.namespace {
            "loss" => told = serde_json::from_slice(&message.obj).unwrap(),
            _ => messages += 1,
        }
    }
    assert_eq!(told, serde_json::json!({"Messages": lost, "Flows": 2 * lost}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_without_progress_is_closed() {
    let keep_alive =
        KeepAlive { progress: Duration::from_millis(100), pong: LONG, ..KeepAlive::default() };
    let server = Server::with(QueueLimits::default(), keep_alive).await;
    let stuck = server.connect(&COMPACT).await;
    let large = Arc::new(Flow { application: "x".repeat(8 << 20), ..Flow::default() });
    let bulk = [large.clone(), large.clone()];
    server.stream.publish(bulk.into_iter().cycle().take(8), Timestamp::default());
    assert!(server.clients.flows.left(Duration::from_secs(10)).await);
    drop(stuck);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_pong_is_due_while_a_message_leaves() {
    let keep_alive = KeepAlive {
        ping: Duration::from_millis(20),
        pong: Duration::from_millis(300),
        progress: LONG,
    };
    let server = Server::with(QueueLimits::default(), keep_alive).await;
    let mut socket = server.connect(&COMPACT).await;
    // More than the kernel keeps for a reader.
    let large = Arc::new(Flow { application: "x".repeat(3 << 20), ..Flow::default() });
    for _ in 0..3 {
        server.stream.publish([large.clone(), large.clone()], Timestamp::default());
    }
    sleep(Duration::from_secs(1)).await;
    for _ in 0..3 {
        assert!(frame(&mut socket).await.is_binary());
    }
}

#[tokio::test]
async fn pongs_keep_a_connection_alive() {
    let keep_alive = KeepAlive {
        ping: Duration::from_millis(20),
        pong: Duration::from_millis(300),
        ..KeepAlive::default()
    };
    let server = Server::with(QueueLimits::default(), keep_alive).await;
    let mut socket = server.connect(&[TYPE]).await;
    let mut pings = 0;
    let listens = async {
        while let Some(frame) = socket.next().await {
            assert!(frame.unwrap().is_ping());
            pings += 1;
        }
    };
    assert!(timeout(Duration::from_millis(900), listens).await.is_err());
    assert!(pings > 5, "{pings}");

    // No pong leaves while nobody reads; what the client says itself counts for nothing.
    for _ in 0..10 {
        socket.send(Message::text("hello")).await.unwrap();
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(close_code(&mut socket).await, 1008);
    assert!(server.clients.flows.left(LONG).await);
}

#[tokio::test]
async fn a_client_may_not_say_much() {
    let server = Server::new().await;
    let mut socket = server.connect(&[TYPE]).await;
    socket.send(Message::text("x".repeat(60_000))).await.unwrap();
    server.publish();
    assert_eq!(json(&mut socket).await["Type"], "store");
    let (mut sink, mut stream) = socket.split();
    let too_much = Message::text("x".repeat(4 << 20));
    tokio::select! {
        code = close_code(&mut stream) => assert_eq!(code, 1009),
        // The server reads no more of it, so this has no end before the connection has.
        sent = sink.send(too_much) => panic!("expected a close frame first, {sent:?}"),
    }
}

#[tokio::test]
async fn a_stop_delivers_what_is_pending() {
    let server = Server::new().await;
    let mut socket = server.connect(&[TYPE]).await;
    let flow = Arc::new(Flow { uuid: "last".into(), ..Flow::default() });
    server.stream.publish([flow], Timestamp::default());
    server.stream.close();
    assert_eq!(json(&mut socket).await["Obj"][0]["UUID"], "last");
    assert_eq!(close_code(&mut socket).await, 1001);
    assert!(socket.next().await.is_none_or(|frame| frame.is_err()));
    assert!(server.clients.flows.left(LONG).await);
}

#[tokio::test]
async fn one_that_leaves_ends_no_other() {
    let server = Server::new().await;
    let leaves = server.connect(&[TYPE]).await;
    let mut stays = server.connect(&[TYPE]).await;
    assert_eq!(server.clients.flows.list().len(), 2);
    drop(leaves);
    while server.clients.flows.list().len() > 1 {
        sleep(Duration::from_millis(5)).await;
    }
    server.publish();
    assert_eq!(json(&mut stays).await["Type"], "store");
}

use axum::routing::get;
use sonde_proto::status::Status;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;
use crate::api;
use crate::tests::world::World;
use crate::tls::TlsFixture;

struct Served {
    address: SocketAddr,
    /// Lets the request to `/wait` be answered.
    go: Arc<Notify>,
    /// Told when a request to `/wait` has come.
    came: Arc<Notify>,
    stop: Arc<Notify>,
    server: JoinHandle<()>,
}

async fn serve_for(patience: Patience, tls: Option<Tls>) -> Served {
    serve_within(ConnectionLimits::default(), patience, tls).await
}

async fn serve_within(limits: ConnectionLimits, patience: Patience, tls: Option<Tls>) -> Served {
    let [go, came, stop] = [(); 3].map(|()| Arc::new(Notify::new()));
    let wait = {
        let (go, came) = (go.clone(), came.clone());
        async move || {
            came.notify_one();
            go.notified().await;
            "waited"
        }
    };
    let router = Router::new()
        .route("/peer", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string()))
        .route("/wait", get(wait))
        .route("/large", get(async || vec![b'x'; LARGE]));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stopped = stop.clone();
    let entrance = Entrance { listener, tls, limits: limits.into() };
    let server = tokio::spawn(async move {
        serve_with(patience, entrance, router, stopped.notified()).await;
    });
    Served { address, go, came, stop, server }
}

async fn ask(served: &Served, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

async fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn a_handler_sees_the_peer() {
    let served = serve_for(Patience::default(), None).await;
    let stream = ask(&served, "GET /peer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    let peer = stream.local_addr().unwrap().to_string();
    let answer = rest(stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with(&peer), "{answer}");
}

#[tokio::test]
async fn http_2_is_not_spoken() {
    let served = serve_for(Patience::default(), None).await;
    let stream = ask(&served, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!(rest(stream).await, "", "the connection is closed");
}

#[tokio::test]
async fn a_websocket_opens_and_shows_in_the_status() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let entrance = Entrance { listener, tls: None, limits: Live::default() };
    tokio::spawn(serve(entrance, api::router(world.state.clone()), std::future::pending()));
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = "GET /ws/subscriber/flow HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Host-ID: collector\r\n\
        X-Client-Type: test\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");

    let mut asked = TcpStream::connect(address).await.unwrap();
    let head = "GET /api/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    asked.write_all(head.as_bytes()).await.unwrap();
    let answer = rest(asked).await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let status: Status = serde_json::from_str(body).unwrap();
    let client = &status.subscribers["collector"];
    assert_eq!((client.service_type.as_str(), client.lost), ("test", Some(0)));
    assert_eq!(client.port, socket.local_addr().unwrap().port());
}

#[tokio::test]
async fn a_slow_client_is_cut_off() {
    let head = Duration::from_millis(100);
    let served = serve_for(Patience { head, ..Patience::default() }, None).await;
    let stream = ask(&served, "GET /peer HTTP/1.1\r\nHo").await;
    let answer = timeout(Duration::from_secs(10), rest(stream)).await.unwrap();
    assert!(!answer.contains("200"), "{answer}");
}

#[tokio::test]
async fn who_asks_for_nothing_is_cut_off() {
    let head = Duration::from_millis(100);
    let served = serve_for(Patience { head, ..Patience::default() }, None).await;
    let stream = ask(&served, "").await;
    assert_eq!(timeout(Duration::from_secs(10), rest(stream)).await.unwrap(), "");
    let stream = ask(&served, "GET /wait HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    served.came.notified().await;
    sleep(3 * head).await;
    served.go.notify_one();
    assert!(rest(stream).await.ends_with("waited"), "an answer may take longer");
}

#[tokio::test]
async fn a_slow_handshake_is_cut_off_and_delays_no_stop() {
    let tls = || Some(Tls::open(TlsFixture::new().files.clone()).unwrap());
    let handshake = Duration::from_millis(100);
    let served = serve_for(Patience { handshake, ..Patience::default() }, tls()).await;
    let stream = ask(&served, "").await;
    assert_eq!(timeout(Duration::from_secs(10), rest(stream)).await.unwrap(), "");

    let patient = Patience { grace: Duration::from_secs(60), ..Patience::default() };
    let patient = Patience { handshake: Duration::from_secs(60), ..patient };
    let served = serve_for(patient, tls()).await;
    let _stream = ask(&served, "").await;
    // Accepted in turn, so the first was when the second is.
    drop(ask(&served, "").await);
    served.stop.notify_one();
    timeout(Duration::from_secs(10), served.server).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_request_under_way_is_finished() {
    let served = serve_for(Patience::default(), None).await;
    let stream = ask(&served, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    served.came.notified().await;
    served.stop.notify_one();
    served.go.notify_one();
    assert!(rest(stream).await.ends_with("waited"));
    served.server.await.unwrap();
}

#[tokio::test]
async fn a_request_that_never_ends_is_not_waited_for() {
    let grace = Duration::from_millis(100);
    let served = serve_for(Patience { grace, ..Patience::default() }, None).await;
    let _stream = ask(&served, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    served.came.notified().await;
    served.stop.notify_one();
    timeout(Duration::from_secs(10), served.server).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_lack_of_files_is_waited_out() {
    let short = Duration::from_millis(10);
    let reset = after(io::Error::from_raw_os_error(104));
    assert!(timeout(short, reset).await.is_ok());
    let too_many_files = after(io::Error::from_raw_os_error(24));
    assert!(timeout(short, too_many_files).await.is_err());
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_cut_off() {
    let answer = Duration::from_millis(200);
    let served = serve_for(Patience { answer, ..Patience::default() }, None).await;
    let mut stream = ask(&served, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await;
    sleep(Duration::from_secs(1)).await;
    let mut taken = Vec::new();
    // It ends before its length, by a reset or without one.
    let end = timeout(Duration::from_secs(10), stream.read_to_end(&mut taken)).await;
    assert!(end.is_ok() && taken.len() < LARGE, "{} bytes", taken.len());
}

#[tokio::test]
async fn who_comes_too_often_is_turned_away() {
    let limits = ConnectionLimits { all: 3, per_address: 2, ..ConnectionLimits::default() };
    let served = serve_within(limits, Patience::default(), None).await;
    let head = "GET /peer HTTP/1.1\r\nHost: x\r\n\r\n";
    let from = async |address: [u8; 4]| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((address, 0).into()).unwrap();
        let mut stream = socket.connect(served.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        (String::from_utf8(status[9..].to_vec()).unwrap(), stream)
    };
    let (first, held) = from([127, 0, 0, 1]).await;
    let (second, _second) = from([127, 0, 0, 1]).await;
    let (third, _) = from([127, 0, 0, 1]).await;
    let (other, _other) = from([127, 0, 0, 2]).await;
    let (last, _) = from([127, 0, 0, 3]).await;
    assert_eq!([first, second, third, other, last], ["200", "200", "429", "200", "503"]);
    drop(held);
    let mut tries = 0;
    while from([127, 0, 0, 1]).await.0 != "200" {
        tries += 1;
        assert!(tries < 500, "the place is not free again");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_head_has_an_end() {
    let served = serve_for(Patience::default(), None).await;
    let long = "x".repeat(300 << 10);
    for (head, status) in [
        (format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(70 << 10)), "414"),
        (format!("GET /peer HTTP/1.1\r\nHost: x\r\nX-Long: {long}\r\n\r\n"), "431"),
        (format!("GET /peer HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-Many: y\r\n".repeat(200)), "431"),
    ] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        // The server reads no more of it once it is too much.
        let _ = stream.write_all(head.as_bytes()).await;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer[9..], status.as_bytes());
    }
}

/// More than the kernel keeps for a reader.
const LARGE: usize = 64 << 20;

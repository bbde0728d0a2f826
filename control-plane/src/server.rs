//! Serves a router on a listener: slow and broken clients cost a connection, and nothing more.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::tls::Tls;

/// Accepts until `stop` is done, then lets the requests under way finish, for [`GRACE`] at most.
/// Connections that became WebSockets belong to their handlers.
/// With `tls`, clients are spoken to through it, and through nothing else.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    router: Router,
    stop: impl Future<Output = ()>,
) {
    serve_with(Patience::default(), listener, tls, router, stop).await;
}

/// How long to wait for clients.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// For the handshake of TLS.
    handshake: Duration,
    /// For the head of a request; also how long a connection may idle.
    head: Duration,
    /// For the requests under way when the server stops.
    grace: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let short = Duration::from_secs(10);
        Self { handshake: short, head: short, grace: GRACE }
    }
}

async fn serve_with(
    patience: Patience,
    listener: TcpListener,
    tls: Option<Tls>,
    router: Router,
    stop: impl Future<Output = ()>,
) {
    let mut stop = pin!(stop);
    let graceful = GracefulShutdown::new();
    // Dropped when the server stops.
    let (open, shut) = watch::channel(());
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                after(error).await;
                continue;
            }
        };
        // Answers are written whole; waiting for more of them helps nobody.
        let _ = stream.set_nodelay(true);
        let connection =
            Accepted { peer, router: router.clone(), patience, watcher: graceful.watcher() };
        match tls.as_ref().map(Tls::acceptor) {
            None => tokio::spawn(connection.run(stream)),
            Some(acceptor) => tokio::spawn(connection.run_tls(stream, acceptor, shut.clone())),
        };
    }
    drop((listener, open));
    if timeout(patience.grace, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests under way were cut off");
    }
}

/// A connection that was accepted.
struct Accepted {
    peer: SocketAddr,
    router: Router,
    patience: Patience,
    watcher: Watcher,
}

impl Accepted {
    /// Shakes hands first. There is no request yet that a stop would have to wait for.
    async fn run_tls(
        self,
        stream: TcpStream,
        acceptor: TlsAcceptor,
        mut shut: watch::Receiver<()>,
    ) {
        let peer = self.peer;
        let shaken = tokio::select! {
            _ = shut.changed() => return,
            shaken = timeout(self.patience.handshake, acceptor.accept(stream)) => shaken,
        };
        match shaken {
            Ok(Ok(stream)) => self.run(stream).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake"),
            Err(_) => tracing::debug!(%peer, "TLS handshake takes too long"),
        }
    }

    async fn run(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Self { peer, router, patience, watcher } = self;
        let service = router.map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            request.map(axum::body::Body::new)
        });
        let mut server = auto::Builder::new(TokioExecutor::new()).http1_only();
        server.http1().timer(TokioTimer::new()).header_read_timeout(patience.head);
        let connection = server
            .serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service))
            .into_owned();
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%peer, %error, "connection");
        }
    }
}

/// What to do when a connection cannot be accepted: one that the client gave up is its own
/// matter; when files or memory are short, others have to end first.
async fn after(error: io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::error!(%error, "accept");
        sleep(PAUSE).await;
    }
}

/// What requests under way are given when the server stops.
pub const GRACE: Duration = Duration::from_secs(5);

/// Time between two attempts to accept when the system is short of something.
const PAUSE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::routing::get;
    use sonde_proto::status::Status;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::api;
    use crate::tls::TlsFixture;
    use crate::world::World;

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
            .route(
                "/peer",
                get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string()),
            )
            .route("/wait", get(wait));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stopped = stop.clone();
        let server = tokio::spawn(async move {
            serve_with(patience, listener, tls, router, stopped.notified()).await;
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
        let stream =
            ask(&served, "GET /peer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        let peer = stream.local_addr().unwrap().to_string();
        let answer = rest(stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with(&peer), "{answer}");
    }

    #[tokio::test]
    async fn a_websocket_opens_and_shows_in_the_status() {
        let world = World::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(
            listener,
            None,
            api::router(world.state.clone()),
            std::future::pending(),
        ));
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
}

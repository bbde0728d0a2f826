//! Serves a router on a listener: slow and broken clients cost a connection, and nothing more.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use futures_util::future::{FusedFuture as _, FutureExt as _};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use crate::connections::{ConnectionLimits, Connections, Crowded, Seat, Seated};
use crate::live::Live;
use crate::tls::Tls;

/// Where clients come in.
#[derive(Debug)]
pub struct Entrance {
    /// Accepts them.
    pub listener: TcpListener,
    /// Clients are spoken to through it, and through nothing else.
    pub tls: Option<Tls>,
    /// How many there may be.
    pub limits: Live<ConnectionLimits>,
}

/// Accepts until `stop` is done, then lets the requests under way finish, for [`GRACE`] at most.
/// Connections that became WebSockets belong to their handlers.
pub async fn serve(entrance: Entrance, router: Router, stop: impl Future<Output = ()>) {
    serve_with(Patience::default(), entrance, router, stop).await;
}

/// How long to wait for clients.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// For the handshake of TLS.
    handshake: Duration,
    /// For the head of a request; also how long a connection may idle.
    head: Duration,
    /// For a client to take any of an answer.
    answer: Duration,
    /// For the requests under way when the server stops.
    grace: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let short = Duration::from_secs(10);
        Self { handshake: short, head: short, answer: ANSWER, grace: GRACE }
    }
}

async fn serve_with(
    patience: Patience,
    entrance: Entrance,
    router: Router,
    stop: impl Future<Output = ()>,
) {
    let Entrance { listener, tls, limits } = entrance;
    let connections = Connections::new(limits);
    let mut stop = pin!(stop);
    // Each connection has a receiver as long as it lives.
    let (stopping, stops) = watch::channel(false);
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
        let seat = match connections.admit(peer.ip()) {
            Ok(seat) => seat,
            Err(crowded) => {
                turn_away(&stream, crowded, tls.is_some());
                continue;
            }
        };
        let (router, stops) = (router.clone(), stops.clone());
        let connection = Accepted { peer, seat, router, patience, stops };
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(patience.answer));
        let stream = Box::pin(stream);
        match tls.as_ref().map(Tls::acceptor) {
            None => tokio::spawn(connection.run(stream)),
            Some(acceptor) => tokio::spawn(connection.run_tls(stream, acceptor)),
        };
    }
    drop((listener, stops));
    stopping.send_replace(true);
    if timeout(patience.grace, stopping.closed()).await.is_err() {
        tracing::warn!("requests under way were cut off");
    }
}

/// A connection that was accepted.
struct Accepted {
    peer: SocketAddr,
    seat: Seat,
    router: Router,
    patience: Patience,
    /// Becomes true when the server stops.
    stops: watch::Receiver<bool>,
}

impl Accepted {
    /// Shakes hands first. There is no request yet that a stop would have to wait for.
    async fn run_tls(
        mut self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        acceptor: TlsAcceptor,
    ) {
        let peer = self.peer;
        let shaken = tokio::select! {
            _ = self.stops.wait_for(|stops| *stops) => return,
            shaken = timeout(self.patience.handshake, acceptor.accept(stream)) => shaken,
        };
        match shaken {
            Ok(Ok(stream)) => self.run(stream).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake"),
            Err(_) => tracing::debug!(%peer, "TLS handshake takes too long"),
        }
    }

    /// Speaks HTTP/1 only: HTTP/2 would need bounds of its own.
    async fn run(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Self { peer, seat, router, patience, mut stops } = self;
        let (room, unfinished) = (seat.room(), seat.unfinished());
        let stream = Seated::new(stream, seat);
        let asked = Arc::new(Notify::new());
        let asks = asked.clone();
        let service = router.map_request(move |mut request: Request<Incoming>| {
            asks.notify_one();
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(room.clone());
            request.extensions_mut().insert(unfinished.clone());
            request.map(axum::body::Body::new)
        });
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(patience.head).max_buf_size(HEAD);
        let connection =
            server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        let mut connection = pin!(connection.with_upgrades());
        let mut stop = pin!(async move { stops.wait_for(|stops| *stops).await.is_ok() }.fuse());
        let mut silence = pin!(silence(&asked, patience.head));
        let ended = loop {
            tokio::select! {
                ended = &mut connection => break ended,
                _ = &mut stop, if !stop.is_terminated() => connection.as_mut().graceful_shutdown(),
                () = &mut silence => {
                    tracing::debug!(%peer, "a connection asks for nothing");
                    return;
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "connection");
        }
    }
}

/// Waits until nothing was asked for so long; for ever if something is. hyper waits for the end of a
/// head, but not for its begin.
async fn silence(asked: &Notify, limit: Duration) {
    if timeout(limit, asked.notified()).await.is_ok() {
        std::future::pending().await
    }
}

/// Says that there is no room, to those who listen: nobody is waited for.
fn turn_away(stream: &TcpStream, crowded: Crowded, tls: bool) {
    tracing::debug!(?crowded, "a connection is turned away");
    let answer: &[u8] = match crowded {
        Crowded::All => {
            b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\
            Retry-After: 1\r\nContent-Length: 0\r\n\r\n"
        }
        Crowded::Address => {
            b"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\n\
            Retry-After: 1\r\nContent-Length: 0\r\n\r\n"
        }
    };
    if !tls {
        // A new socket has room for it; if not, the client learns less.
        let _ = stream.try_write(answer);
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

/// What a client may take to take any of an answer.
const ANSWER: Duration = Duration::from_secs(30);

/// Bytes of a request's head at most, and of what is read of a body at once.
const HEAD: usize = 96 << 10;

/// Time between two attempts to accept when the system is short of something.
const PAUSE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;

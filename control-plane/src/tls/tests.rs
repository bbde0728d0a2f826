mod authority;
mod fixture;

use std::error::Error as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use futures_util::StreamExt as _;
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use fixture::Identity;
pub(crate) use fixture::TlsFixture;

use super::*;
use crate::server::Entrance;
use crate::tests::world::World;
use crate::{api, server};

/// A server that says who asks.
async fn serve(tls: &Tls) -> SocketAddr {
    let peer = async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string();
    serve_router(tls, Router::new().route("/", get(peer))).await
}

async fn serve_router(tls: &Tls, router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let entrance = Entrance { listener, tls: Some(tls.clone()), limits: Live::default() };
    tokio::spawn(server::serve(entrance, router, std::future::pending()));
    address
}

/// Asks the server, and gives the answer and its certificate.
async fn ask(
    fixture: &TlsFixture,
    address: SocketAddr,
    version: &'static SupportedProtocolVersion,
    identity: Option<Identity>,
) -> io::Result<(String, Vec<u8>)> {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut stream = fixture.connect(stream, version, identity).await?;
    let (_, connection) = stream.get_ref();
    let certificate = connection.peer_certificates().unwrap()[0].to_vec();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok((answer, certificate))
}

#[tokio::test]
async fn both_versions_are_spoken() {
    let fixture = TlsFixture::new();
    let address = serve(&Tls::open(fixture.files.clone()).unwrap()).await;
    for version in [&TLS12, &TLS13] {
        let (answer, _) = ask(&fixture, address, version, None).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("127.0.0.1:"), "the handler sees the peer: {answer}");
    }
}

/// What the server answers to these bytes.
async fn answer(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset is an end like any other.
    let _ = timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    answer
}

/// The ClientHello of TLS 1.`minor - 1` (RFC 4346 and RFC 5246, 7.4.1.2) in a record.
fn client_hello(minor: u8) -> Vec<u8> {
    let mut body = vec![3, minor];
    body.extend([7; 32]);
    // No session; two cipher suites; no compression; signature_algorithms.
    body.extend([0, 0, 4, 0xc0, 0x2b, 0xc0, 0x13, 1, 0, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
    let length = body.len() as u8;
    [&[0x16, 3, 1, 0, length + 4, 1, 0, 0, length], &*body].concat()
}

#[tokio::test]
async fn older_versions_and_plain_clients_are_refused() {
    let fixture = TlsFixture::new();
    let address = serve(&Tls::open(fixture.files.clone()).unwrap()).await;

    let alert = answer(address, &client_hello(2)).await;
    // Fatal, protocol_version.
    assert_eq!((alert[0], &alert[5..]), (0x15, &[2, 70][..]), "{alert:?}");
    let other = answer(address, &client_hello(3)).await;
    assert!(!other.ends_with(&[2, 70]), "the same hello of TLS 1.2: {other:?}");

    let plain = answer(address, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(!plain.windows(4).any(|part| part == b"HTTP"), "{plain:?}");
    let (answer, _) = ask(&fixture, address, &TLS13, None).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "others do not notice");
}

#[tokio::test]
async fn a_websocket_opens() {
    let (fixture, world) = (TlsFixture::new(), World::new());
    let tls = Tls::open(fixture.files.clone()).unwrap();
    let address = serve_router(&tls, api::router(world.state.clone())).await;
    let stream = TcpStream::connect(address).await.unwrap();
    let stream = fixture.connect(stream, &TLS13, None).await.unwrap();
    let mut request = "wss://localhost/ws/subscriber/flow".into_client_request().unwrap();
    request.headers_mut().insert("x-client-type", "test".parse().unwrap());
    let (mut socket, response) = client_async(request, stream).await.unwrap();
    assert_eq!(response.status(), 101);
    assert!(socket.next().await.unwrap().unwrap().is_ping());
}

#[tokio::test]
async fn certificates_are_read_again() {
    let fixture = TlsFixture::new();
    let first = fixture.renew();
    let tls = Tls::open(fixture.files.clone()).unwrap();
    let address = serve(&tls).await;
    let shown = async || ask(&fixture, address, &TLS13, None).await.unwrap().1;
    assert_eq!(shown().await, first);

    let second = fixture.renew();
    assert_eq!(shown().await, first);
    tls.renew(Renewal::read(fixture.files.clone()).unwrap());
    assert_eq!(shown().await, second);

    fs::write(&fixture.files.cert, "broken").unwrap();
    Renewal::read(fixture.files.clone()).unwrap_err();
    assert_eq!(shown().await, second, "what is broken changes nothing");

    let follow = tokio::spawn(tls.clone().follow());
    let third = fixture.renew();
    while shown().await != third {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    follow.abort();
}

#[tokio::test]
async fn clients_may_have_to_show_a_certificate() {
    let stranger = TlsFixture::new();
    for required in [true, false] {
        let fixture = TlsFixture::new().knows_clients(required);
        let address = serve(&Tls::open(fixture.files.clone()).unwrap()).await;
        for version in [&TLS12, &TLS13] {
            for (identity, passes) in [
                (None, !required),
                (Some(fixture.client()), true),
                (Some(stranger.client()), false),
            ] {
                let shown = identity.is_some();
                let asked = ask(&fixture, address, version, identity).await;
                let answered = asked.is_ok_and(|(answer, _)| answer.starts_with("HTTP/1.1 200"));
                assert_eq!(answered, passes, "required {required}, shown {shown}");
            }
        }
    }
}

#[test]
fn files_that_do_not_fit_are_named() {
    let (fixture, other) = (TlsFixture::new().knows_clients(true), TlsFixture::new());
    let path = |name: &str| fixture.path().join(name);
    let read = |name: &str| fs::read(path(name)).unwrap();
    let (cert, key) = (read("cert.pem"), read("key.pem"));
    for (name, bytes, parts) in [
        ("cert.pem", key.clone(), ["cannot take certificates from", "cert.pem", "no items found"]),
        ("cert.pem", vec![], ["cannot take certificates from", "cert.pem", "no items found"]),
        ("key.pem", cert, ["cannot take a private key from", "key.pem", "no items found"]),
        ("key.pem", fs::read(&other.files.key).unwrap(), ["the certificate in", "key.pem", "keys"]),
        ("ca.pem", key.clone(), ["cannot take certificates from", "ca.pem", "no items found"]),
    ] {
        let before = read(name);
        fs::write(path(name), bytes).unwrap();
        let error = Tls::open(fixture.files.clone()).unwrap_err();
        let text = format!("{error}: {}", error.source().unwrap()).to_lowercase();
        assert!(parts.iter().all(|part| text.contains(part)), "{name}: {text}");
        fs::write(path(name), before).unwrap();
    }
    fs::remove_file(&fixture.files.key).unwrap();
    let error = Tls::open(fixture.files.clone()).unwrap_err();
    assert!(error.to_string().ends_with("key.pem"), "{error}");
}

//! The handshake of every endpoint: who the client is and what it speaks (Skydive API §7.2).

use std::net::SocketAddr;

use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tracing::{Instrument as _, Span};
use uuid::Uuid;

/// What a client says of itself. A header wins over the query parameter of the same name.
#[derive(Clone, Debug)]
pub(super) struct Hello {
    /// `X-Host-ID`; else the address it comes from.
    pub(super) host: String,
    pub(super) addr: Option<SocketAddr>,
    fields: Fields,
}

#[derive(Clone, Debug)]
struct Fields {
    headers: HeaderMap,
    query: Vec<(String, String)>,
}

/// `X-Client-Protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Json,
    Protobuf,
}

impl Hello {
    pub(super) fn new(parts: &Parts) -> Self {
        let addr = parts.extensions.get().map(|ConnectInfo(addr): &ConnectInfo<SocketAddr>| *addr);
        let query = Query::try_from_uri(&parts.uri).map_or_else(|_| Vec::new(), |Query(q)| q);
        let fields = Fields { headers: parts.headers.clone(), query };
        let host = fields.one("x-host-id").unwrap_or_else(|| match addr {
            Some(addr) => addr.to_string(),
            None => Uuid::new_v4().to_string(),
        });
        Self { host, addr, fields }
    }

    /// `X-Client-Type`, which is mandatory.
    pub(super) fn client_type(&self) -> Result<String, &'static str> {
        self.fields.one("x-client-type").ok_or("X-Client-Type is missing")
    }

    pub(super) fn protocol(&self) -> Result<Protocol, &'static str> {
        match self.fields.one("x-client-protocol").as_deref() {
            None | Some("json") => Ok(Protocol::Json),
            Some("protobuf") => Ok(Protocol::Protobuf),
            Some(_) => Err("X-Client-Protocol: expected json or protobuf"),
        }
    }

    /// The first value of a field; an empty one is none.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        self.fields.one(name)
    }

    /// All values of a field that may be repeated.
    pub(super) fn fields(&self, name: &str) -> Vec<String> {
        self.fields.all(name)
    }
}

impl Fields {
    fn one(&self, name: &str) -> Option<String> {
        self.all(name).into_iter().next()
    }

    fn all(&self, name: &str) -> Vec<String> {
        let headers: Vec<String> = self
            .headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
            .filter(|value| !value.is_empty())
            .collect();
        if !headers.is_empty() {
            return headers;
        }
        let named = self.query.iter().filter(|(key, _)| key == name);
        named.map(|(_, value)| value.clone()).filter(|value| !value.is_empty()).collect()
    }
}

impl Protocol {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Protobuf => "protobuf",
        }
    }
}

/// A request that becomes a WebSocket.
#[derive(Debug)]
pub(super) struct Upgrade {
    upgrade: WebSocketUpgrade,
    /// Of the request.
    span: Span,
}

impl Upgrade {
    /// The answer, after which the socket is served, in the span of the request.
    pub(super) fn on_upgrade<F: Future<Output = ()> + Send + 'static>(
        self,
        serve: impl FnOnce(WebSocket) -> F + Send + 'static,
    ) -> Response {
        let Self { upgrade, span } = self;
        upgrade.on_upgrade(move |socket| span.in_scope(|| serve(socket)).instrument(span))
    }
}

/// The upgrade a request asks for, or what to answer instead. Messages of the client may have
/// `size` bytes. No sub-protocol and no extension is negotiated.
pub(super) async fn upgrade(parts: &mut Parts, size: usize) -> Result<Upgrade, Response> {
    let asks = parts
        .headers
        .get(header::UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if parts.method == Method::GET && !asks {
        return Err(close(StatusCode::UPGRADE_REQUIRED));
    }
    let upgrade = WebSocketUpgrade::from_request_parts(parts, &()).await;
    let upgrade = upgrade.map_err(IntoResponse::into_response)?;
    let upgrade = upgrade.max_message_size(size).max_frame_size(size);
    Ok(Upgrade { upgrade, span: Span::current() })
}

/// An answer without a body, after which the connection ends.
pub(super) fn close(status: StatusCode) -> Response {
    (status, [(header::CONNECTION, "close")]).into_response()
}

/// Says in the answer to a handshake who we are; Go clients insist.
pub(super) fn introduce(mut response: Response, host: &str) -> Response {
    let headers = response.headers_mut();
    if let Ok(host) = HeaderValue::from_str(host) {
        headers.insert("x-host-id", host);
    }
    headers.insert("x-service-type", HeaderValue::from_static("analyzer"));
    response
}

/// The largest message of a client that only asks, in bytes.
pub(super) const SMALL: usize = 64 << 10;

/// The largest message of a client that may send a whole topology, in bytes.
pub(super) const LARGE: usize = 16 << 20;

//! The REST API as scripts see it: the same paths, without network.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::request::{Builder, Parts};
use axum::http::{self, HeaderMap, HeaderName, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Limited};
use tower::ServiceExt as _;

use super::{Error, rest};
use crate::access::{self, Access, AccessError};
use crate::script::{Host, Reply, Request};
use crate::state::State;

/// Answers scripts, all but that they cannot call workflows.
#[derive(Clone, Debug)]
pub struct ScriptHost {
    router: Router,
    /// Whether it refuses to change anything.
    only_reads: bool,
    /// What the guard knows the caller by.
    headers: HeaderMap,
    /// What a request has to say depends on it.
    version: Version,
    query: Option<String>,
    peer: Option<ConnectInfo<SocketAddr>>,
}

impl ScriptHost {
    /// Scripts of alerts. Nobody calls them: they see everything and change nothing, as nobody's
    /// rights say what they may, and a change of the graph would call them again.
    pub fn of_alerts(state: &State) -> Result<Self, AccessError> {
        let access = Access::open(access::Config::default())?;
        Ok(Self {
            router: router(state, &access),
            only_reads: true,
            headers: HeaderMap::new(),
            version: Version::default(),
            query: None,
            peer: None,
        })
    }

    /// Scripts that may what the sender of a request may.
    pub(super) fn of_caller(state: &State, parts: &Parts) -> Self {
        let known = parts.headers.iter().filter(|(name, _)| CREDENTIALS.contains(name));
        Self {
            router: router(state, &state.access),
            only_reads: false,
            headers: known.map(|(name, value)| (name.clone(), value.clone())).collect(),
            version: parts.version,
            query: parts.uri.query().map(str::to_owned),
            peer: parts.extensions.get().copied(),
        }
    }

    fn request(&self, method: &str, mut path: String) -> Builder {
        // The query may carry a token, too.
        if let Some(query) = self.query.as_ref().filter(|_| !path.contains('?')) {
            path = format!("{path}?{query}");
        }
        let request = http::Request::builder().version(self.version).method(method).uri(path);
        let mut request = request.extension(OfScript);
        if let Some(headers) = request.headers_mut() {
            headers.extend(self.headers.clone());
        }
        match self.peer {
            Some(peer) => request.extension(peer),
            None => request,
        }
    }
}

impl Host for ScriptHost {
    async fn answer(&self, request: Request) -> Reply {
        let failed = |status: StatusCode, why: String| Reply { status: status.as_u16(), body: why };
        let Request { method, path, body } = request;
        let reads = method == "GET" || (method == "POST" && path == "/api/topology");
        if self.only_reads && !reads {
            let why = "scripts of alerts read, and change nothing".to_owned();
            return failed(StatusCode::METHOD_NOT_ALLOWED, why);
        }
        let request = match self.request(&method, path).body(Body::from(body)) {
            Ok(request) => request,
            Err(why) => return failed(StatusCode::BAD_REQUEST, why.to_string()),
        };
        let Ok(response) = self.router.clone().oneshot(request).await;
        let status = response.status().as_u16();
        match Limited::new(response.into_body(), ANSWER).collect().await {
            Ok(body) => {
                let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
                Reply { status, body }
            }
            Err(why) => failed(StatusCode::INSUFFICIENT_STORAGE, format!("the answer: {why}")),
        }
    }
}

/// Marks a request of a script.
#[derive(Clone, Copy, Debug)]
struct OfScript;

/// Whether it is a script that asks.
pub(super) fn is_of_script(parts: &Parts) -> bool {
    parts.extensions.get::<OfScript>().is_some()
}

fn router(state: &State, access: &Access) -> Router {
    rest(access).router().fallback(async || Error::NoPage).with_state(state.clone())
}

/// Headers that say who asks, and from which page.
const CREDENTIALS: [HeaderName; 5] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::HOST,
    header::ORIGIN,
    HeaderName::from_static("x-auth-token"),
];

/// Bytes of an answer at most.
const ANSWER: usize = 16 << 20;

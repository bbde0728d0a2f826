//! The REST API (Skydive API §1, §2), and the way to the WebSockets: `router(State) -> Router`, and
//! no port.

mod answer;
mod body;
mod capture;
mod dot;
mod element;
mod error;
mod patch;
mod pcap;
mod resource;
mod status;
mod topology;
mod upload;

use std::time::Duration;

use axum::Router;
use axum::http::{HeaderName, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, delete, get, post};
use sonde_proto::graph::{Edge, Node};
use tower_http::compression::CompressionLayer;
use tower_http::cors::{Any, CorsLayer};

use self::element::Resource;
use crate::state::State;
use crate::ws;

pub use error::Error;

/// All paths.
pub fn router(state: State) -> Router {
    Router::new()
        .merge(exact("/api", get(status::service)))
        .merge(exact("/api/status", get(status::status)))
        .merge(exact("/api/topology", get(topology::whole).post(topology::query)))
        .merge(exact("/api/pcap", post(upload::upload)))
        .route("/api/capture", get(capture::list).post(capture::create))
        .route("/api/capture/", delete(no_id).patch(no_id).fallback(without_slash))
        .route(
            "/api/capture/{*id}",
            get(capture::show).delete(capture::remove).patch(capture::patch),
        )
        .merge(elements::<Node>("/api/node"))
        .merge(elements::<Edge>("/api/edge"))
        .fallback(async || Error::NoPage)
        .layer(CompressionLayer::new())
        .layer(cors())
        .route("/ws/subscriber/flow", get(ws::flow::subscribe))
        .route("/ws/subscriber", get(ws::topology::subscribe))
        .route("/ws/publisher", get(ws::topology::publish))
        .route("/ws/pubsub", get(ws::topology::both))
        .with_state(state)
}

/// A path, and the redirection from the same with a slash at its end.
fn exact(path: &str, methods: MethodRouter<State>) -> Router<State> {
    Router::new().route(path, methods).route(&format!("{path}/"), any(without_slash))
}

fn elements<K: Resource>(path: &str) -> Router<State> {
    Router::new()
        .route(path, get(element::list::<K>).post(element::create::<K>))
        .route(&format!("{path}/"), delete(no_id).patch(no_id).fallback(without_slash))
        .route(
            &format!("{path}/{{*id}}"),
            get(element::show::<K>).delete(element::remove::<K>).patch(element::patch::<K>),
        )
}

async fn without_slash(uri: Uri) -> Response {
    let path = uri.path().trim_end_matches('/');
    let location = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, location)]).into_response()
}

async fn no_id() -> Error {
    Error::NoId
}

fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_headers([
            HeaderName::from_static("x-requested-with"),
            header::CONTENT_TYPE,
            header::AUTHORIZATION,
            HeaderName::from_static("x-auth-token"),
        ])
        .allow_methods([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::OPTIONS,
        ])
}

/// Bytes of a request's body at most.
pub const MAX_BODY: usize = 1024 * 1024;

/// What a client may take to send its body.
pub const BODY_TIME: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;

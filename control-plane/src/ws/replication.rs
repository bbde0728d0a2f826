//! `/ws/replication`: another analyzer, which tells of its part of the topology and is told of ours
//! (Skydive API §7.9).

use axum::extract::{Request, State};
use axum::response::Response;

use super::WsState;
use super::admission::Door;
use super::handshake::{Hello, LARGE};
use super::topology::{Asked, serve};

/// Upgrades to a WebSocket over which both analyzers tell their whole part at first, then what
/// changes. What the other one told goes when it leaves.
pub async fn replicate(State(state): State<WsState>, request: Request) -> Response {
    let (clients, stream) = (state.clients.peers.clone(), state.topology.clone());
    let server = state.host.clone();
    let asked = |hello: &Hello, kind: &str| match kind {
        "analyzer" if hello.host != server => {
            Ok(Asked::new(hello, stream.replication(&hello.host, &server)).of_graph())
        }
        "analyzer" => Err("X-Host-ID: expected another host's"),
        _ => Err("X-Client-Type: expected analyzer"),
    };
    serve(state, request, Door { clients: &clients, size: LARGE }, asked).await
}

//! WebSockets (Skydive API §7): OpenAPI has words for their handshakes only.

use axum::http::StatusCode;

use super::Operation;

/// `/ws/subscriber/flow`.
pub(in crate::api) fn flows() -> Operation {
    handshake("Flows as they are updated and as they end").choice(
        "X-Flow-Encoding",
        &["protobuf"],
        "With `X-Client-Protocol: protobuf`.",
    )
}

/// `/ws/subscriber`.
pub(in crate::api) fn subscriber() -> Operation {
    follows(handshake(
        "Changes of the topology (namespace `Graph`), and what becomes of alerts (`Alert`), captures \
         (`OnDemandCaptureNotification`) and packet injections \
         (`OnDemandPacketInjectionNotification`)",
    ))
        .header("X-Gremlin-Filter", "The part of the topology: a query that answers a graph.")
}

/// `/ws/publisher`.
pub(in crate::api) fn publisher() -> Operation {
    publishes(handshake("Takes nodes and edges"))
}

/// `/ws/pubsub`.
pub(in crate::api) fn pubsub() -> Operation {
    publishes(follows(handshake("Takes nodes and edges, and tells of those of others")))
}

/// `/ws/agent/topology`.
pub(in crate::api) fn agent_topology() -> Operation {
    handshake("Takes the nodes and edges of an agent's host")
}

/// `/ws/agent/flow`.
pub(in crate::api) fn agent_flow() -> Operation {
    handshake("Takes the flows of an agent: `flow.Message` in Protobuf, without an envelope")
}

/// `/ws/replication`.
pub(in crate::api) fn replication() -> Operation {
    handshake("Exchanges the topology with another analyzer")
}

fn follows(operation: Operation) -> Operation {
    let what = "Whether a change tells the whole element, or what changed. `full` by default.";
    operation.choice("X-Update-Policy", &["full", "partial"], what)
}

fn publishes(operation: Operation) -> Operation {
    let what = "Whether elements outlive the connection. `Persistent` by default.";
    operation.choice("X-Persistence-Policy", &["Persistent", "DeleteOnDisconnect"], what)
}

fn handshake(what: &str) -> Operation {
    Operation::new(format!("WebSocket: {what}"))
        .header("X-Client-Type", "The kind of client. Mandatory, as all of these in the query too.")
        .choice("X-Client-Protocol", &["json", "protobuf"], "`json` by default.")
        .header("X-Host-ID", "The client's name. Its address by default.")
        .header("X-Websocket-Namespace", "Which messages are sent; may be repeated.")
        .empty(StatusCode::SWITCHING_PROTOCOLS, "The WebSocket is open.")
        .refuses(&[StatusCode::BAD_REQUEST])
        .refuses_silently(StatusCode::CONFLICT)
        .refuses_silently(StatusCode::UPGRADE_REQUIRED)
}

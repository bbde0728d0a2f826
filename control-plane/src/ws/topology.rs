//! `/ws/subscriber`, `/ws/publisher` and `/ws/pubsub`: the topology as it changes, and changes of it
//! (Skydive API §7.6, §7.7).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::ws::{Message as Frame, WebSocket};
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::admission::{Door, Guest, admit};
use super::clients::Clients;
use super::handshake::{Hello, LARGE, Protocol, SMALL};
use super::session::{self, Inbox, Outbox, refuse, text};
use super::{KeepAlive, WsState};
use crate::envelope::{Letter, Received};
use crate::topology_stream::{Follower, Part, Persistence, Policy, TopologyStream};

/// Upgrades to a WebSocket that is told of changes.
pub async fn subscribe(State(state): State<WsState>, request: Request) -> Response {
    let clients = state.clients.subscribers.clone();
    serve(state, request, clients, Role { follows: true, publishes: false }).await
}

/// Upgrades to a WebSocket that makes changes.
pub async fn publish(State(state): State<WsState>, request: Request) -> Response {
    let clients = state.clients.publishers.clone();
    serve(state, request, clients, Role { follows: false, publishes: true }).await
}

/// Upgrades to a WebSocket that makes changes, and is told of those of others.
pub async fn both(State(state): State<WsState>, request: Request) -> Response {
    let clients = state.clients.pubsubs.clone();
    serve(state, request, clients, Role { follows: true, publishes: true }).await
}

/// What an endpoint is for.
#[derive(Clone, Copy, Debug)]
struct Role {
    follows: bool,
    publishes: bool,
}

async fn serve(state: WsState, request: Request, clients: Clients, role: Role) -> Response {
    let door = Door { clients: &clients, size: if role.publishes { LARGE } else { SMALL } };
    let asked = |hello: &Hello, kind: &str, _| Asked::new(hello, kind, role);
    match admit(&state, request, door, asked).await {
        Ok((guest, opening)) => {
            let served = Served { guest, stream: state.topology, keep_alive: state.keep_alive };
            opening.serve(move |socket| served.run(socket))
        }
        Err(answer) => answer,
    }
}

/// What a client asked for, all of it understood but the filter.
struct Asked {
    /// Of the messages it is sent; none for all.
    namespaces: Vec<String>,
    filter: Option<String>,
    part: Part,
}

impl Asked {
    fn new(hello: &Hello, client_type: &str, role: Role) -> Result<Self, &'static str> {
        let follows = role.follows.then(|| policy(hello)).transpose()?;
        let persistence = role.publishes.then(|| persistence(hello)).transpose()?;
        let origin = format!("{client_type}.{}", hello.host);
        let publishes = persistence.map(|persistence| (origin, persistence));
        let mut namespaces = hello.fields("x-websocket-namespace");
        if namespaces.iter().any(|name| name == "*") {
            namespaces.clear();
        }
        let filter = if role.publishes { None } else { hello.field("x-gremlin-filter") };
        let part = Part { follows, filter: None, publishes };
        Ok(Self { namespaces, filter, part })
    }
}

fn policy(hello: &Hello) -> Result<Policy, &'static str> {
    match hello.field("x-update-policy").map(|policy| policy.to_ascii_lowercase()).as_deref() {
        None | Some("full") => Ok(Policy::Full),
        Some("partial") => Ok(Policy::Partial),
        Some(_) => Err("X-Update-Policy: expected full or partial"),
    }
}

fn persistence(hello: &Hello) -> Result<Persistence, &'static str> {
    match hello.field("x-persistence-policy").as_deref() {
        None | Some("Persistent") => Ok(Persistence::Persistent),
        Some("DeleteOnDisconnect") => Ok(Persistence::DeleteOnDisconnect),
        Some(_) => Err("X-Persistence-Policy: expected Persistent or DeleteOnDisconnect"),
    }
}

/// A client that is being served.
struct Served {
    guest: Guest<Asked>,
    stream: TopologyStream,
    keep_alive: KeepAlive,
}

impl Served {
    async fn run(self, socket: WebSocket) {
        let Self { guest: Guest { seat, protocol, asked }, stream, keep_alive } = self;
        let Asked { namespaces, filter, mut part } = asked;
        let follower = async {
            if let Some(text) = filter {
                part.filter = Some(stream.filter(text).await?);
            }
            Follower::new(stream, part).await
        };
        let follower = match follower.await {
            Ok(follower) => follower,
            Err(why) => return refuse(socket, reason(&why.to_string()).into()).await,
        };
        let refused = follower.refused();
        seat.count_refusals(refused.clone());
        let (asks, requests) = mpsc::channel(QUEUE);
        let (tells, letters) = mpsc::channel(QUEUE);
        let follower = tokio::spawn(follower.run(requests, tells));
        let mut inbox = Requests { protocol, refused, asks };
        let mut outbox = Letters { protocol, namespaces, letters };
        let ended = session::run(socket, &mut inbox, &mut outbox, keep_alive).await;
        tracing::debug!(host = seat.host(), ?ended, "a client of the topology left");
        drop((inbox, outbox));
        // Its elements go before somebody else can be that client.
        if let Err(error) = follower.await {
            tracing::error!(%error, host = seat.host(), "a follower of the topology failed");
        }
        drop(seat);
    }
}

/// What the client says, on its way to its follower.
struct Requests {
    protocol: Protocol,
    refused: Arc<AtomicU64>,
    asks: mpsc::Sender<Received>,
}

impl Inbox for Requests {
    async fn take(&mut self, message: Bytes) {
        let received = match self.protocol {
            Protocol::Json => Received::from_json(&message),
            Protocol::Protobuf => Received::from_protobuf(&message),
        };
        match received {
            // A follower that is gone ends the connection by itself.
            Ok(received) => drop(self.asks.send(received).await),
            Err(error) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%error, "a message that is none");
            }
        }
    }
}

/// What the follower says, on its way to the client.
struct Letters {
    protocol: Protocol,
    namespaces: Vec<String>,
    letters: mpsc::Receiver<Letter>,
}

impl Outbox for Letters {
    async fn next(&mut self) -> Option<Frame> {
        loop {
            let letter = self.letters.recv().await?;
            let wanted = |name: &String| name == letter.namespace;
            if self.namespaces.is_empty() || self.namespaces.iter().any(wanted) {
                return Some(match self.protocol {
                    Protocol::Json => text(letter.json()),
                    Protocol::Protobuf => Frame::Binary(letter.protobuf()),
                });
            }
        }
    }
}

/// As much of a text as fits into a close frame (RFC 6455, section 5.5).
fn reason(text: &str) -> String {
    text.chars()
        .scan(0, |bytes, c| {
            *bytes += c.len_utf8();
            (*bytes <= REASON).then_some(c)
        })
        .collect()
}

/// Bytes of the reason in a close frame at most.
const REASON: usize = 123;

/// Messages between a connection and its follower, each way.
const QUEUE: usize = 64;

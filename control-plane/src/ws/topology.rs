//! `/ws/subscriber`, `/ws/publisher` and `/ws/pubsub`: the topology as it changes, and changes of it
//! (Skydive API §7.6, §7.7).

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::ws::Message as Frame;
use axum::extract::{Request, State};
use axum::response::Response;
use tokio::sync::{Semaphore, mpsc};
use tracing::Instrument as _;

use super::admission::{Door, Guest, admit};
use super::handshake::{Hello, LARGE, Protocol, SMALL};
use super::session::{self, Inbox, Outbox, Socket, Whole, refuse, text};
use super::{KeepAlive, WsState};
use crate::agent::{Executor, Line, Task};
use crate::aside::aside;
use crate::envelope::{Letter, Received};
use crate::topology_stream::{
    Author, Follower, NAMESPACE, Part, Persistence, Policy, TopologyStream,
};

/// Upgrades to a WebSocket that is told of changes.
pub async fn subscribe(State(state): State<WsState>, request: Request) -> Response {
    let clients = state.clients.subscribers.clone();
    let asked = |hello: &Hello, _: &str| {
        let part = Part { follows: Some(policy(hello)?), ..Part::default() };
        Ok(Asked { filter: hello.field("x-gremlin-filter"), ..Asked::new(hello, part) })
    };
    serve(state, request, Door { clients: &clients, size: SMALL }, asked).await
}

/// Upgrades to a WebSocket that makes changes.
pub async fn publish(State(state): State<WsState>, request: Request) -> Response {
    let clients = state.clients.publishers.clone();
    let asked = |hello: &Hello, kind: &str| {
        let part = Part { publishes: Some(author(hello, kind)?), ..Part::default() };
        Ok(Asked::new(hello, part))
    };
    serve(state, request, Door { clients: &clients, size: LARGE }, asked).await
}

/// Upgrades to a WebSocket that makes changes, and is told of those of others.
pub async fn both(State(state): State<WsState>, request: Request) -> Response {
    let clients = state.clients.pubsubs.clone();
    let asked = |hello: &Hello, kind: &str| {
        let (follows, publishes) = (Some(policy(hello)?), Some(author(hello, kind)?));
        Ok(Asked::new(hello, Part { follows, publishes, ..Part::default() }))
    };
    serve(state, request, Door { clients: &clients, size: LARGE }, asked).await
}

/// Lets a client in for the topology, whose wishes `asked` understands, told its `X-Client-Type`.
pub(super) async fn serve(
    state: WsState,
    request: Request,
    door: Door<'_>,
    asked: impl FnOnce(&Hello, &str) -> Result<Asked, &'static str>,
) -> Response {
    let asked = |hello: &Hello, kind: &str, _| asked(hello, kind);
    match admit(&state, request, door, asked).await {
        Ok((guest, opening)) => {
            let served = Served { guest, stream: state.topology, keep_alive: state.keep_alive };
            opening.serve(move |socket| served.run(socket))
        }
        Err(answer) => answer,
    }
}

/// What a client asked for, all of it understood but the filter.
pub(super) struct Asked {
    /// Of the messages it is sent; none for all.
    namespaces: Vec<String>,
    filter: Option<String>,
    part: Part,
    /// Of an agent.
    executor: Option<Executor>,
}

impl Asked {
    /// A part without a filter.
    pub(super) fn new(hello: &Hello, part: Part) -> Self {
        let mut namespaces = hello.fields("x-websocket-namespace");
        if namespaces.iter().any(|name| name == "*") {
            namespaces.clear();
        }
        Self { namespaces, filter: None, part, executor: None }
    }

    /// An agent, which `executor` speaks with too.
    pub(super) fn with(self, executor: Executor) -> Self {
        Self { executor: Some(executor), ..self }
    }

    /// Only what is said of the graph, whatever the client would be sent else.
    pub(super) fn of_graph(self) -> Self {
        Self { namespaces: vec![NAMESPACE.to_owned()], ..self }
    }
}

fn author(hello: &Hello, kind: &str) -> Result<(Author, Persistence), &'static str> {
    Ok((Author::publisher(kind, &hello.host), persistence(hello)?))
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
    async fn run(self, socket: Socket) {
        let Self { guest: Guest { seat, protocol, asked }, stream, keep_alive } = self;
        let Asked { namespaces, filter, mut part, executor } = asked;
        let follower = async {
            if let Some(text) = filter {
                part.filter = Some(stream.filter(text).await?);
            }
            Follower::new(stream, part).await
        };
        let follower = match follower.await {
            Ok(follower) => follower,
            Err(why) => return refuse(socket, why.to_string()).await,
        };
        let refused = follower.refused();
        seat.count_refusals(refused.clone());
        let (asks, requests) = mpsc::channel(QUEUE);
        let (tells, letters) = mpsc::channel(QUEUE);
        let (answers, replies) = mpsc::channel(QUEUE);
        let answers = executor.is_some().then_some(answers);
        let line = Line { letters: tells.downgrade(), replies };
        let executor = executor.map(|executor| tokio::spawn(executor.run(line).in_current_span()));
        let follower = tokio::spawn(follower.run(requests, tells).in_current_span());
        let turns = Arc::new(Semaphore::new(BYTES));
        let mut inbox = Requests { protocol, refused, asks, answers, turns };
        let mut outbox = Letters { protocol, namespaces, letters };
        let ended = session::run(socket, &mut inbox, &mut outbox, keep_alive).await;
        tracing::debug!(host = seat.host(), ?ended, "a client of the topology left");
        drop((inbox, outbox));
        // Its elements go before somebody else can be that client.
        for task in std::iter::once(follower).chain(executor) {
            if let Err(error) = task.await {
                tracing::error!(%error, host = seat.host(), "a task for a client failed");
            }
        }
        drop(seat);
    }
}

/// What the client says, on its way to its follower, or to who asked.
struct Requests {
    protocol: Protocol,
    refused: Arc<AtomicU64>,
    asks: mpsc::Sender<Received>,
    /// What agents answer.
    answers: Option<mpsc::Sender<Received>>,
    /// Bytes of messages that the follower may have before the client is read from again.
    turns: Arc<Semaphore>,
}

impl Inbox for Requests {
    async fn take(&mut self, Whole { bytes, hold }: Whole) -> ControlFlow<String> {
        let (protocol, size) = (self.protocol, bytes.len());
        let read = move || match protocol {
            Protocol::Json => Received::from_json(&bytes),
            Protocol::Protobuf => Received::from_protobuf(&bytes),
        };
        let Ok(received) = aside(size, read).await else {
            return ControlFlow::Break("a message cannot be read".to_owned());
        };
        let received = received.map(|received| Received { hold, ..received });
        match (received, &self.answers) {
            (Ok(received), Some(answers)) if Task::NAMESPACES.contains(&&*received.namespace) => {
                if answers.try_send(received).is_err() {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!("an answer that nobody waits for");
                }
            }
            (Ok(received), _) => self.ask(received, size).await,
            (Err(error), _) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(%error, "a message that is none");
            }
        }
        ControlFlow::Continue(())
    }
}

impl Requests {
    /// Has the follower do what a message of so many bytes asks for. A client that sends faster than
    /// that is done is not read from meanwhile, and TCP slows it down.
    async fn ask(&self, received: Received, size: usize) {
        let bytes = u32::try_from(size.min(BYTES)).unwrap_or(u32::MAX);
        let turn = self.turns.clone().acquire_many_owned(bytes).await.ok();
        // A follower that is gone ends the connection by itself.
        drop(self.asks.send(Received { turn, ..received }).await);
        // A message that is as large as all turns is done with before another is begun.
        drop(self.turns.acquire().await);
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

/// Messages between a connection and its follower, each way.
const QUEUE: usize = 64;

/// Bytes of a client's messages that wait for its follower at most, but for one that is larger.
const BYTES: usize = 1 << 20;

//! `/ws/agent/topology` and `/ws/agent/flow`: Skydive's agents tell of their host and of the flows
//! they meter (Skydive API §7.8, §4.2).

use std::ops::ControlFlow;

use axum::extract::ws::Message as Frame;
use axum::extract::{Request, State};
use axum::response::Response;

use super::admission::{Door, Guest, admit};
use super::handshake::{Hello, LARGE};
use super::session::{self, Inbox, Outbox, Socket, Whole};
use super::topology::{Asked, serve};
use super::{KeepAlive, WsState};
use crate::agent::{Agents, Intake};
use crate::topology_stream::{Author, Part, Persistence};

/// Upgrades to a WebSocket over which an agent tells of the topology of its host, and is asked to
/// capture. All that it told goes when it leaves, whatever `X-Persistence-Policy` says.
pub async fn topology(State(state): State<WsState>, request: Request) -> Response {
    let (clients, agents) = (state.clients.agents.clone(), state.agents.clone());
    let server = state.host.clone();
    let door = Door { clients: &clients, size: LARGE };
    let asked = |hello: &Hello, kind: &str| {
        let host = host(hello, kind, &server)?;
        let publishes = Some((Author::agent(host), Persistence::DeleteOnDisconnect));
        let part = Part { publishes, ..Part::default() };
        Ok(Asked::new(hello, part).with(agents.executor(host)))
    };
    serve(state, request, door, asked).await
}

/// Upgrades to a WebSocket over which an agent tells of flows.
pub async fn flows(State(state): State<WsState>, request: Request) -> Response {
    let door = Door { clients: &state.clients.agent_flows, size: LARGE };
    let asked = |hello: &Hello, kind: &str, _| host(hello, kind, &state.host).map(str::to_owned);
    let (guest, opening) = match admit(&state, request, door, asked).await {
        Ok(admitted) => admitted,
        Err(answer) => return answer,
    };
    let intake = state.agents.intake(&guest.asked);
    guest.seat.count_refusals(intake.refused());
    let served =
        Served { guest, flows: Flows(intake), agents: state.agents, keep_alive: state.keep_alive };
    opening.serve(move |socket| served.run(socket))
}

/// The host of an agent, which is not ours: our own nodes and flows are nobody else's.
fn host<'a>(hello: &'a Hello, kind: &str, server: &str) -> Result<&'a str, &'static str> {
    match (kind, hello.host.as_str()) {
        ("agent", host) if host != server => Ok(host),
        ("agent", _) => Err("X-Host-ID: expected another host's"),
        _ => Err("X-Client-Type: expected agent"),
    }
}

/// An agent whose flows are taken.
struct Served {
    guest: Guest<String>,
    flows: Flows,
    agents: Agents,
    keep_alive: KeepAlive,
}

/// What it sends.
struct Flows(Intake);

/// It is sent nothing, until the daemon stops.
struct Nothing<F>(F);

impl Served {
    async fn run(mut self, socket: Socket) {
        let mut nothing = Nothing(Box::pin(self.agents.closed()));
        let ended = session::run(socket, &mut self.flows, &mut nothing, self.keep_alive).await;
        tracing::debug!(host = self.guest.seat.host(), ?ended, "an agent sends no more flows");
    }
}

impl Inbox for Flows {
    async fn take(&mut self, message: Whole) -> ControlFlow<String> {
        match self.0.take(&message.bytes).await {
            Ok(()) => ControlFlow::Continue(()),
            Err(why) => ControlFlow::Break(why.to_string()),
        }
    }
}

impl<F: Future<Output = ()> + Send + Unpin> Outbox for Nothing<F> {
    async fn next(&mut self) -> Option<Frame> {
        (&mut self.0).await;
        None
    }
}

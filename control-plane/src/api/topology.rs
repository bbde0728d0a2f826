//! `/api/topology`: queries (Skydive API §2.2).

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::extract::State as Extract;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sonde_proto::graph::{Edge, Node};
use sonde_proto::query::TopologyQuery;
use utoipa::ToSchema;

use super::Error;
use super::answer::{Json, blocking};
use super::body::{Body, Object};
use super::{dot, pcap, workflow};
use crate::access;
use crate::gremlin::{self, Answer, Ground, Limits, Made, Query};
use crate::state::State;

pub(super) async fn query(
    Extract(state): Extract<State>,
    parts: Parts,
    body: Body,
) -> Result<Response, Error> {
    let Some(text) = text(&body)? else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    // Others may have its room while a script runs.
    drop(body);
    let form = Form::of(&parts.headers);
    // A filter in it may name hosts.
    let limits = *state.settings.query.get();
    let query = blocking(move || gremlin::parse(&text, &limits)).await??;
    let made = match query.call()? {
        Some(call) => workflow::graph(&state, &parts, call).await?,
        None => None,
    };
    // Not before: scripts ask queries, too.
    let peer = access::peer(&parts).map(|peer| peer.ip());
    let turn = state.queries.take(peer).await.map_err(|_| Error::Defect)?;
    if query.reads_flows() {
        state.lcores.refresh(LIVE).await;
    }
    blocking(move || {
        let _turn = turn;
        form.render(run(&state, &query, made.as_ref(), &limits)?)
    })
    .await?
}

pub(super) async fn whole(Extract(state): Extract<State>) -> Result<Json, Error> {
    blocking(move || Json::new(&Whole::of(&state))).await?
}

/// The query of a request; `None` when it asks for nothing.
fn text(body: &Body) -> Result<Option<String>, Error> {
    if body.is_empty() {
        return Ok(None);
    }
    let asked: Option<Object<TopologyQuery>> = body.read()?;
    Ok(asked.map(|Object(asked)| asked.gremlin_query).filter(|text| !text.is_empty()))
}

fn run(
    state: &State,
    query: &Query,
    made: Option<&Made>,
    limits: &Limits,
) -> Result<Answer, Error> {
    let begun = state.clock.now();
    let expired = || state.clock.now().since(begun) > limits.time;
    match made {
        Some(made) => Ok(query.run(Ground::Made(made), &state.flows, limits, &expired)?),
        None => answer(state, query, limits, &expired),
    }
}

/// Answers from the graph as it is, or was when the query asks for, and from the flows as they are.
/// Neither waits for it.
pub(super) fn answer(
    state: &State,
    query: &Query,
    limits: &Limits,
    expired: &dyn Fn() -> bool,
) -> Result<Answer, Error> {
    let (graph, past) = {
        let graph = state.graph.read().unwrap_or_else(PoisonError::into_inner);
        (graph.snapshot(), query.recall(&graph, state.clock.now())?)
    };
    let ground = past.as_ref().map_or(Ground::Now(&graph), Ground::Past);
    Ok(query.run(ground, &state.flows, limits, expired)?)
}

/// The form of an answer. Whatever `Accept` says, what is no other form is JSON, and is called so:
/// Skydive calls it what `Accept` says.
#[derive(Clone, Copy, Debug)]
enum Form {
    Json,
    Dot,
    Pcap,
}

impl Form {
    fn of(headers: &HeaderMap) -> Self {
        match headers.get(header::ACCEPT).map(|accept| accept.as_bytes()) {
            Some(b"text/vnd.graphviz") => Self::Dot,
            Some(b"application/vnd.tcpdump.pcap") => Self::Pcap,
            _ => Self::Json,
        }
    }

    fn render(self, answer: Answer) -> Result<Response, Error> {
        match (self, answer) {
            (Self::Json, answer) => Ok(Json::new(&answer)?.into_response()),
            (Self::Dot, Answer::Graph { nodes, edges }) => {
                let kind = [(header::CONTENT_TYPE, "text/vnd.graphviz; charset=UTF-8")];
                Ok((kind, dot::digraph(&nodes, &edges)).into_response())
            }
            (Self::Dot, _) => Err(Error::NotAcceptable("Only graph can be outputted as dot")),
            (Self::Pcap, Answer::RawPackets(flows)) => {
                let kind = [(header::CONTENT_TYPE, "application/vnd.tcpdump.pcap; charset=UTF-8")];
                Ok((kind, pcap::file(&flows)).into_response())
            }
            (Self::Pcap, _) => {
                Err(Error::NotAcceptable("Only RawPackets step result can be outputted as pcap"))
            }
        }
    }
}

/// The whole graph, in the order of the IDs.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = Topology)]
pub(super) struct Whole {
    #[schema(value_type = Vec<Node>)]
    nodes: Vec<Arc<Node>>,
    #[schema(value_type = Vec<Edge>)]
    edges: Vec<Arc<Edge>>,
}

impl Whole {
    fn of(state: &State) -> Self {
        let graph = state.graph.read().unwrap_or_else(PoisonError::into_inner).snapshot();
        let mut nodes: Vec<_> = graph.nodes().cloned().collect();
        let mut edges: Vec<_> = graph.edges().cloned().collect();
        nodes.sort_unstable_by(|a: &Arc<Node>, b| a.id.cmp(&b.id));
        edges.sort_unstable_by(|a: &Arc<Edge>, b| a.id.cmp(&b.id));
        Self { nodes, edges }
    }
}

/// How long a query that reads flows waits for the shards; then it reads what is there.
const LIVE: Duration = Duration::from_millis(500);

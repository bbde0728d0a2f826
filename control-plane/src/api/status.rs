//! `GET /api` and `GET /api/status` (Skydive API §2.10).

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use axum::extract::State as Extract;
use sonde_proto::plan::Point;
use sonde_proto::status::{
    Connection, Election, FlowStoreStatus, FlowStreamStatus, Overload, Peers, Probe, Queue,
    Service, Status,
};

use super::Error;
use super::answer::{Json, blocking};
use crate::clock::rfc3339;
use crate::ingest::QueueStatus;
use crate::state::State;
use crate::ws::{Client, Clients};

pub(super) async fn service(Extract(state): Extract<State>) -> Result<Json, Error> {
    Json::new(&Service {
        host: state.host.clone(),
        version: state.version.clone(),
        service: "analyzer".into(),
    })
}

pub(super) async fn status(Extract(state): Extract<State>) -> Result<Json, Error> {
    blocking(move || Json::new(&of(&state))).await?
}

fn of(state: &State) -> Status {
    let myself = Connection {
        service_type: "agent".into(),
        client_protocol: "json".into(),
        is_connected: true,
        connect_time: rfc3339(state.started),
        ..Connection::default()
    };
    let clients = &state.ws.clients;
    let mut queues = state.lcores.status();
    queues.retain(|queue| queue.lcore.is_queue());
    let sources = queues.iter().filter(|queue| queue.open).map(|queue| queue.lcore.source);
    let running = |name: &str| (name.to_owned(), Probe { status: "running".into() });
    Status {
        agents: {
            let mut agents = connections(&[&clients.agent_flows, &clients.agents]);
            agents.insert(state.host.clone(), myself);
            agents
        },
        peers: Peers { incomers: connections(&[&clients.peers]), ..Peers::default() },
        subscribers: connections(&[&clients.subscribers, &clients.pubsubs, &clients.flows]),
        publishers: connections(&[&clients.publishers, &clients.pubsubs]),
        alerts: Election { is_master: true },
        captures: Election { is_master: true },
        // Discovery runs as long as we do; a source as long as a queue of it is open.
        probes: sources.chain(["netlink"]).map(running).collect(),
        queues: queues.iter().map(queue).collect(),
        totals: (&state.lcores.totals()).into(),
        flow_store: flow_store(state),
        flow_stream: flow_stream(state),
        alert_deliveries: state.alerts.status(),
        exports: state.captures.exports().status(),
        mirrors: state.captures.mirrors(),
        overload: overload(state),
    }
}

/// The clients of several endpoints; who is at two of them is shown at the last.
fn connections(clients: &[&Clients]) -> BTreeMap<String, Connection> {
    clients.iter().flat_map(|clients| clients.list()).map(connection).collect()
}

fn connection(client: Client) -> (String, Connection) {
    let connection = Connection {
        service_type: client.kind,
        client_protocol: client.protocol.into(),
        addr: client.addr.map(|addr| addr.ip().to_string()).unwrap_or_default(),
        port: client.addr.map(|addr| addr.port()).unwrap_or_default(),
        is_connected: true,
        connect_time: rfc3339(client.since),
        lost: Some(client.lost),
        refused: Some(client.refused),
    };
    (client.host, connection)
}

fn queue(queue: &QueueStatus) -> Queue {
    Queue {
        point: point(&queue.lcore.point),
        queue: queue.lcore.queue,
        cpu: queue.lcore.cpu,
        source: queue.lcore.source.into(),
        open: queue.open,
        plan: queue.plan,
        at: queue.at.millis(),
        frames: (&queue.books).into(),
    }
}

fn point(point: &Point) -> String {
    match point {
        Point::Port(name) => name.clone(),
        Point::Interface { index, netns: None } => format!("interface {index}"),
        Point::Interface { index, netns: Some(netns) } => {
            format!("interface {index} in {}", netns.display())
        }
        Point::Socket(address) => format!("socket {address}"),
        Point::File(path) => path.display().to_string(),
    }
}

fn flow_store(state: &State) -> FlowStoreStatus {
    let flows = state.flows.read().unwrap_or_else(PoisonError::into_inner);
    FlowStoreStatus {
        flows: flows.len() as u64,
        refused: flows.refused(),
        packets_lost: state.lcores.packets_lost(),
    }
}

fn flow_stream(state: &State) -> FlowStreamStatus {
    let stream = state.ws.stream.status();
    FlowStreamStatus {
        subscribers: stream.subscribers as u64,
        flows: stream.flows,
        bulks: stream.bulks,
        lost: stream.lost,
    }
}

fn overload(state: &State) -> Overload {
    let store = state.flows.read().unwrap_or_else(PoisonError::into_inner).counts();
    let (stream, strain) = (state.ws.stream.status(), state.lcores.strain());
    let (lag, longest) = state.lcores.lag();
    let (agent_messages_refused, agent_flows_refused) = state.ws.agents.refused();
    let millis = |lag: Duration| u64::try_from(lag.as_millis()).unwrap_or(u64::MAX);
    Overload {
        reports_held_back: state.lcores.totals().ring_full,
        rings_found_full: strain.full,
        ingest_lag: millis(lag),
        ingest_lag_max: millis(longest),
        flows_given_up: strain.given_up,
        store_records_refused: store.refused,
        store_flows_evicted: store.evicted,
        store_flows_forgotten: store.forgotten,
        packets_lost: state.lcores.packets_lost(),
        stream_messages_lost: stream.lost,
        stream_flows_lost: stream.flows_lost,
        export_reports_lost: state.captures.exports().lost(),
        agent_messages_refused,
        agent_flows_refused,
        mirror_frames_lost: state.captures.mirrors_lost(),
    }
}

//! `Sockets`: connections of processes, and steps on them (Skydive API §3.7).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};
use sonde_proto::flow::{Flow, FlowProtocol};
use sonde_proto::graph::{Metadata, Node};

use super::error::Fault;
use super::field::lookup;
use super::predicate::Condition;
use super::state::{Machine, Stage, State, refused};
use super::step::Step;
use crate::flow::LazyFlow;

/// Sockets, as the metadata has them, by the ID of their node or the UUID of their flow. What has
/// none is absent.
pub(super) type Sockets<'a> = BTreeMap<String, Vec<&'a Socket>>;

type Socket = Map<String, Value>;

/// Protocol, local and remote end of a connection.
type Connection<'a> = (&'a str, (&'a str, i64), (&'a str, i64));

pub(super) fn of_nodes<'a>(machine: &Machine<'a, '_>, nodes: &[&'a Arc<Node>]) -> Sockets<'a> {
    let nodes = machine.budget.meter(nodes.iter());
    let found = nodes.map(|node| (node.id.clone(), sockets(&node.metadata).collect()));
    found.filter(|(_, sockets): &(_, Vec<_>)| !sockets.is_empty()).collect()
}

/// The sockets at either end of each flow, on whichever host they are.
pub(super) fn of_flows<'a>(machine: &Machine<'a, '_>, flows: &[LazyFlow]) -> Sockets<'a> {
    let mut index: HashMap<Connection<'_>, Vec<&'a Socket>> = HashMap::new();
    let sockets = machine.view.nodes().flat_map(|node| sockets(&node.metadata));
    for socket in machine.budget.meter(sockets) {
        index.entry(connection(socket)).or_default().push(socket);
    }
    let mut found = Sockets::new();
    if index.is_empty() {
        return found;
    }
    for flow in machine.budget.meter(flows.iter()) {
        let flow = flow.flow();
        let Some((protocol, a, b)) = ends(&flow) else {
            continue;
        };
        let connections = [(protocol, a, b), (protocol, b, a)];
        let sockets = connections.iter().filter_map(|connection| index.get(connection));
        let sockets: Vec<_> = sockets.flatten().copied().collect();
        if !sockets.is_empty() {
            found.insert(flow.uuid.clone(), sockets);
        }
    }
    found
}

pub(super) fn on_sockets<'a>(
    machine: &Machine<'a, '_>,
    sockets: Sockets<'a>,
    stage: &Stage<'a>,
) -> Result<State<'a>, Fault> {
    let admits = |c: &Condition, s: &Socket| c.predicate.admits(lookup(s, &c.key).as_ref());
    match stage.step {
        Step::Has(conditions) => {
            let test = |socket: &Socket| conditions.iter().all(|c| admits(c, socket));
            Ok(State::Sockets(kept(machine, sockets, test)))
        }
        Step::HasEither(conditions) => {
            let test = |socket: &Socket| conditions.iter().any(|c| admits(c, socket));
            Ok(State::Sockets(kept(machine, sockets, test)))
        }
        Step::HasKey(_) => Err("At least two parameters must be provided".into()),
        Step::Values(key) => {
            let sockets = machine.budget.meter(sockets.into_values().flatten());
            let values = sockets.map(|socket| Some(lookup(socket, key)?.to_value()));
            let values: Option<Vec<Value>> = values.collect();
            values.map(State::Values).ok_or(Fault::NoField)
        }
        step => Err(refused(step, "SocketsTraversalStep")),
    }
}

fn kept<'a>(
    machine: &Machine<'a, '_>,
    sockets: Sockets<'a>,
    test: impl Fn(&Socket) -> bool,
) -> Sockets<'a> {
    let keep = |sockets: Vec<&'a Socket>| {
        let looked_at = machine.budget.meter(sockets.into_iter());
        looked_at.filter(|socket| test(socket)).collect()
    };
    let kept = sockets.into_iter().map(|(id, sockets)| (id, keep(sockets)));
    kept.filter(|(_, sockets): &(_, Vec<_>)| !sockets.is_empty()).collect()
}

fn sockets(metadata: &Metadata) -> impl Iterator<Item = &Socket> {
    let sockets = metadata.get("Sockets").and_then(Value::as_array);
    sockets.into_iter().flatten().filter_map(Value::as_object)
}

fn connection(socket: &Socket) -> Connection<'_> {
    let text = |key: &str| socket.get(key).and_then(Value::as_str).unwrap_or_default();
    let port = |key: &str| socket.get(key).and_then(Value::as_i64).unwrap_or_default();
    let local = (text("LocalAddress"), port("LocalPort"));
    let remote = (text("RemoteAddress"), port("RemotePort"));
    (text("Protocol"), local, remote)
}

/// Protocol, A and B end.
fn ends(flow: &Flow) -> Option<Connection<'_>> {
    let (network, transport) = (flow.network.as_ref()?, flow.transport.as_ref()?);
    let protocol = FlowProtocol::try_from(transport.protocol).ok()?.as_str_name();
    Some((protocol, (&network.a, transport.a), (&network.b, transport.b)))
}

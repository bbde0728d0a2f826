//! Steps on flows (Skydive API §3.7).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;
use sonde_proto::flow::Flow;
use sonde_proto::graph::Node;

use super::error::Fault;
use super::flow_field::{KEYS, getter};
use super::selection::Selection;
use super::state::{Machine, Stage, State, refused};
use super::step::Step;
use super::value_steps::number;
use super::{flow_nodes, metric_steps, packet_steps, socket_steps};
use crate::graph::INTERFACES;

/// `Flows`: all flows, or those captured on some nodes.
pub(super) fn flows<'a>(
    machine: &Machine<'a, '_>,
    nodes: Option<&[&'a Arc<Node>]>,
    stage: &Stage<'a>,
) -> Result<State<'a>, Fault> {
    if machine.span.is_some() {
        return Err(Fault::NoStorage);
    }
    let mut selection = Selection::of(stage)?;
    if let Some(nodes) = nodes {
        let tids: HashSet<&str> = nodes
            .iter()
            .filter(|node| is_capturable(node.text("Type")))
            .map(|node| node.text("TID"))
            .filter(|tid| !tid.is_empty())
            .collect();
        if tids.is_empty() {
            return Ok(State::Flows(Vec::new()));
        }
        selection.captured_at(tids);
    }
    let flows = machine.flows.flows();
    Ok(State::Flows(selection.run(machine, flows)))
}

pub(super) fn on_flows<'a>(
    machine: &Machine<'a, '_>,
    flows: Vec<&'a Arc<Flow>>,
    stage: &Stage<'a>,
) -> Result<State<'a>, Fault> {
    match stage.step {
        Step::Has(_)
        | Step::HasEither(_)
        | Step::Dedup(_)
        | Step::Sort(..)
        | Step::Limit(_)
        | Step::Range(..) => {
            let selection = Selection::of(stage)?;
            Ok(State::Flows(selection.run(machine, flows.into_iter())))
        }
        Step::HasKey(_) => Err("At least two parameters must be provided".into()),
        Step::Count => Ok(State::Number(flows.len().into())),
        Step::Values(name) => values(machine, &flows, name),
        Step::Keys if flows.is_empty() => Ok(State::Values(Vec::new())),
        Step::Keys => Ok(State::Values(KEYS.map(Value::from).into())),
        Step::Sum(name) => sum(machine, &flows, name.as_deref()),
        Step::Neighbours(way, conditions) => {
            let found = flow_nodes::ends(machine, &flows, *way, conditions);
            Ok(State::Nodes(found))
        }
        Step::FlowNodes(conditions) => {
            Ok(State::Nodes(flow_nodes::nodes(machine, &flows, conditions)))
        }
        Step::CaptureNode(conditions) => {
            let found = flow_nodes::capture_nodes(machine, &flows, conditions);
            Ok(State::Nodes(found))
        }
        Step::Metrics(field) => {
            let series = metric_steps::of_flows(machine, &flows, field.as_deref())?;
            Ok(State::Metrics(series))
        }
        Step::RawPackets => Ok(packet_steps::of_flows(machine, flows)),
        Step::Sockets => Ok(State::Sockets(socket_steps::of_flows(machine, &flows))),
        Step::Group => Ok(State::Groups(groups(&flows))),
        step => Err(refused(step, "FlowTraversalStep")),
    }
}

/// Flows by their `TrackingID`, in the order in which those come first.
fn groups<'a>(flows: &[&'a Arc<Flow>]) -> Vec<(&'a str, Vec<&'a Arc<Flow>>)> {
    let mut groups: Vec<(&str, Vec<_>)> = Vec::new();
    let mut places = HashMap::new();
    for flow in flows.iter().copied() {
        let id = flow.tracking_id.as_str();
        let place = *places.entry(id).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, group)) => group.push(flow),
            None => groups.push((id, vec![flow])),
        }
    }
    groups
}

pub(super) fn on_groups<'a>(
    mut groups: Vec<(&'a str, Vec<&'a Arc<Flow>>)>,
    stage: &Stage<'a>,
) -> Result<State<'a>, Fault> {
    match stage.step {
        Step::MoreThan => {
            groups.retain(|(_, flows)| flows.len() > 1);
            Ok(State::Groups(groups))
        }
        step => Err(refused(step, "GroupTraversalStep")),
    }
}

/// `Values`: every flow has to have the field.
fn values<'a>(
    machine: &Machine<'a, '_>,
    flows: &[&'a Arc<Flow>],
    name: &str,
) -> Result<State<'a>, Fault> {
    if flows.is_empty() {
        return Ok(State::Values(Vec::new()));
    }
    let getter = getter(name).ok_or(Fault::NoField)?;
    let values: Option<Vec<Value>> =
        machine.budget.meter(flows.iter()).map(|flow| Some(getter(flow)?.to_value())).collect();
    values.map(State::Values).ok_or(Fault::NoField)
}

/// `Sum` of a metric's member; flows without the metric are skipped.
fn sum<'a>(
    machine: &Machine<'a, '_>,
    flows: &[&'a Arc<Flow>],
    name: Option<&str>,
) -> Result<State<'a>, Fault> {
    let name =
        name.ok_or_else(|| Fault::Rule { rule: "Sum requires 1 parameter", given: "[]".into() })?;
    if !name.starts_with("Metric.") && !name.starts_with("LastUpdateMetric.") {
        return Err("Sum accepts only sub fields of Metric and LastUpadteMetric".into());
    }
    let getter = getter(name).ok_or(Fault::NoField)?;
    let integers = machine.budget.meter(flows.iter()).filter_map(|flow| getter(flow)?.as_int());
    Ok(State::Number(number(integers.map(i128::from).sum())))
}

/// Whether flows can be captured on nodes of that type (Skydive API §9.1).
fn is_capturable(kind: &str) -> bool {
    ["ovsbridge", "ovsport", "dpdkport"].contains(&kind) || INTERFACES.contains(&kind)
}

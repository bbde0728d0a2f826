//! Steps on flows (Skydive API §3.7).

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;
use sonde_proto::graph::Node;

use super::error::Fault;
use super::field::Field;
use super::flow_field::{KEYS, getter};
use super::flow_groups::{FlowGroups, Grouping};
use super::flow_set::FlowSet;
use super::selection::{Reads, Selection};
use super::state::{Machine, Stage, State, refused};
use super::step::Step;
use super::value_steps::number;
use super::{flow_nodes, metric_steps, packet_steps, socket_steps};
use crate::flow::LazyFlow;
use crate::flow_store::Row;
use crate::graph::{INTERFACES, Span};

/// `Flows`: all flows, or those captured on some nodes; of the past, those that lived in the span.
pub(super) fn flows<'a>(
    machine: &Machine<'a, '_>,
    nodes: Option<&[&'a Arc<Node>]>,
    stage: &Stage<'a>,
) -> Result<State<'a>, Fault> {
    let mut selection = Selection::of(stage)?;
    if let Some(span) = machine.span {
        let known_since = machine.flows.known_since();
        if span.from < known_since && span.from != i64::MIN {
            return Err(Fault::FlowsForgotten(known_since));
        }
        // One that was silent when the span began was alive all the same (Skydive API §3.10).
        let from = span.from.saturating_sub(machine.flows.idle());
        selection.seen_in(Span { from, ..span });
    }
    if let Some(nodes) = nodes {
        let tids: HashSet<&str> = nodes
            .iter()
            .filter(|node| is_capturable(node.text("Type")))
            .map(|node| node.text("TID"))
            .filter(|tid| !tid.is_empty())
            .collect();
        if tids.is_empty() {
            return Ok(State::Flows(FlowSet::Kept(Vec::new())));
        }
        selection.captured_at(tids);
    }
    Ok(State::Flows(FlowSet::Selected(Box::new(selection), stage.column)))
}

pub(super) fn on_flows<'a>(
    machine: &Machine<'a, '_>,
    flows: FlowSet<'a>,
    stage: &Stage<'a>,
) -> Result<State<'a>, Fault> {
    match stage.step {
        Step::Count => {
            let count = flows.count(machine)?;
            Ok(State::Number(count.into()))
        }
        Step::Sum(name) => sum(machine, &flows, name.as_deref()),
        Step::Metrics(field) => {
            let series = metric_steps::of_flows(machine, &flows, field.as_deref())?;
            Ok(State::Metrics(series))
        }
        Step::Group => Ok(State::Groups(groups(machine, &flows)?)),
        Step::Neighbours(way, conditions) => {
            let found = flow_nodes::ends(machine, &flows, *way, conditions)?;
            Ok(State::Nodes(found))
        }
        Step::FlowNodes(conditions) => {
            let found = flow_nodes::nodes(machine, &flows, conditions)?;
            Ok(State::Nodes(found))
        }
        Step::CaptureNode(conditions) => {
            let found = flow_nodes::capture_nodes(machine, &flows, conditions)?;
            Ok(State::Nodes(found))
        }
        _ => on_kept(machine, flows.kept(machine)?, stage),
    }
}

fn on_kept<'a>(
    machine: &Machine<'a, '_>,
    flows: Vec<LazyFlow>,
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
            let mut kept = Vec::new();
            let keep = |kept: &mut Vec<LazyFlow>, row: Row<'_>| kept.push(row.flow.clone());
            selection.each(machine, &flows, Reads::Owners, &mut kept, keep);
            Ok(State::Flows(FlowSet::Kept(kept)))
        }
        Step::HasKey(_) => Err("At least two parameters must be provided".into()),
        Step::Values(name) => values(machine, &flows, name),
        Step::Keys if flows.is_empty() => Ok(State::Values(Vec::new())),
        Step::Keys => Ok(State::Values(KEYS.map(Value::from).into())),
        Step::RawPackets => Ok(packet_steps::of_flows(machine, &flows)),
        Step::Sockets => Ok(State::Sockets(socket_steps::of_flows(machine, &flows))),
        step => Err(refused(step, "FlowTraversalStep")),
    }
}

/// Flows by their `TrackingID`, in the order in which those come first.
fn groups(machine: &Machine<'_, '_>, flows: &FlowSet<'_>) -> Result<FlowGroups, Fault> {
    let tracking_id = getter("TrackingID").ok_or(Fault::NoField)?;
    let grouping = flows.each(machine, Reads::Owners, Grouping::default(), |grouping, row| {
        if let Some(id) = tracking_id.read(row).as_ref().and_then(Field::to_text) {
            grouping.add(id, row.flow.clone());
        }
    })?;
    Ok(grouping.into())
}

pub(super) fn on_groups<'a>(mut groups: FlowGroups, stage: &Stage<'a>) -> Result<State<'a>, Fault> {
    match stage.step {
        Step::MoreThan => {
            groups.retain_more_than_one();
            Ok(State::Groups(groups))
        }
        step => Err(refused(step, "GroupTraversalStep")),
    }
}

/// `Values`: every flow has to have the field.
fn values<'a>(
    machine: &Machine<'a, '_>,
    flows: &[LazyFlow],
    name: &str,
) -> Result<State<'a>, Fault> {
    if flows.is_empty() {
        return Ok(State::Values(Vec::new()));
    }
    let getter = getter(name).ok_or(Fault::NoField)?;
    let values: Option<Vec<Value>> = machine
        .budget
        .meter(flows.iter())
        .map(|flow| Some(getter.read(flow)?.to_value()))
        .collect();
    values.map(State::Values).ok_or(Fault::NoField)
}

/// `Sum` of a metric's member; flows without the metric are skipped.
fn sum<'a>(
    machine: &Machine<'a, '_>,
    flows: &FlowSet<'a>,
    name: Option<&str>,
) -> Result<State<'a>, Fault> {
    let name =
        name.ok_or_else(|| Fault::Rule { rule: "Sum requires 1 parameter", given: "[]".into() })?;
    if !name.starts_with("Metric.") && !name.starts_with("LastUpdateMetric.") {
        return Err("Sum accepts only sub fields of Metric and LastUpadteMetric".into());
    }
    let getter = getter(name).ok_or(Fault::NoField)?;
    let reads = Reads::Headline.and(Some(getter));
    let sum = flows.each(machine, reads, 0, |sum, row| {
        *sum += getter.read(row).as_ref().and_then(Field::as_int).map_or(0, i128::from);
    })?;
    Ok(State::Number(number(sum)))
}

/// Whether flows can be captured on nodes of that type (Skydive API §9.1).
fn is_capturable(kind: &str) -> bool {
    ["ovsbridge", "ovsport", "dpdkport"].contains(&kind) || INTERFACES.contains(&kind)
}

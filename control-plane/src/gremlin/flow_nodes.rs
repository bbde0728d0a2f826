//! Steps from flows to the nodes they touch (Skydive API §3.7).

use std::collections::HashMap;
use std::sync::Arc;

use sonde_proto::graph::Node;

use super::error::Fault;
use super::field::Field;
use super::flow_field::getter;
use super::flow_set::FlowSet;
use super::graph_steps::all;
use super::predicate::Condition;
use super::selection::Reads;
use super::state::Machine;
use super::step::Way;
use crate::flow_store::Row;

/// `Hops`, `CaptureNode`, `Node`: where each flow was captured.
pub(super) fn capture_nodes<'a>(
    machine: &Machine<'a, '_>,
    flows: &FlowSet<'_>,
    conditions: &[Condition],
) -> Result<Vec<&'a Arc<Node>>, Fault> {
    let by_tid = index(machine, conditions, &["TID"]);
    each(machine, flows, |row, found| found.extend(by_tid.get(row.node_tid())))
}

/// `Nodes`: where each flow was captured, then its A node, then its B node.
pub(super) fn nodes<'a>(
    machine: &Machine<'a, '_>,
    flows: &FlowSet<'_>,
    conditions: &[Condition],
) -> Result<Vec<&'a Arc<Node>>, Fault> {
    let by_tid = index(machine, conditions, &["TID"]);
    let by_mac = index(machine, conditions, &MACS);
    each(machine, flows, |row, found| {
        found.extend(by_tid.get(row.node_tid()));
        found.extend(macs(row, Way::Both).filter_map(|mac| by_mac.get(&*mac.as_text()?)));
    })
}

/// `Out`, `In`, `Both`: the nodes at the B, at the A, at both ends of each flow.
pub(super) fn ends<'a>(
    machine: &Machine<'a, '_>,
    flows: &FlowSet<'_>,
    way: Way,
    conditions: &[Condition],
) -> Result<Vec<&'a Arc<Node>>, Fault> {
    let by_mac = index(machine, conditions, &MACS);
    each(machine, flows, |row, found| {
        found.extend(macs(row, way).filter_map(|mac| by_mac.get(&*mac.as_text()?)));
    })
}

/// What `find` adds for each flow.
fn each<'a>(
    machine: &Machine<'a, '_>,
    flows: &FlowSet<'_>,
    find: impl Fn(Row<'_>, &mut Vec<&'a Arc<Node>>),
) -> Result<Vec<&'a Arc<Node>>, Fault> {
    let found = flows.each(machine, Reads::Headline, Vec::new(), |found, row| find(row, found))?;
    machine.budget.admits(found.len());
    Ok(found)
}

fn macs(row: Row<'_>, way: Way) -> impl Iterator<Item = Field<'_>> {
    let a = (way != Way::Out).then_some("Link.A");
    let b = (way != Way::In).then_some("Link.B");
    a.into_iter().chain(b).filter_map(move |name| getter(name)?.read(row))
}

/// The nodes that meet the conditions, by the text under any of the keys; the first one counts.
fn index<'a>(
    machine: &Machine<'a, '_>,
    conditions: &[Condition],
    keys: &[&str],
) -> HashMap<&'a str, &'a Arc<Node>> {
    let mut index = HashMap::new();
    for node in machine.budget.meter(machine.view.nodes()) {
        if !all(conditions, node.as_ref()) {
            continue;
        }
        for text in keys.iter().map(|key| node.text(key)) {
            if !text.is_empty() {
                index.entry(text).or_insert(node);
            }
        }
    }
    index
}

/// The addresses that make a node an end of a flow.
const MACS: [&str; 2] = ["MAC", "PeerIntfMAC"];

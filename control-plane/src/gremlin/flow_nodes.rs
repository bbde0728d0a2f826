//! Steps from flows to the nodes they touch (Skydive API §3.7).

use std::collections::HashMap;
use std::sync::Arc;

use sonde_proto::graph::Node;

use super::field::Field;
use super::flow_field::getter;
use super::graph_steps::all;
use super::predicate::Condition;
use super::state::Machine;
use super::step::Way;
use crate::flow::LazyFlow;

/// `Hops`, `CaptureNode`, `Node`: where each flow was captured.
pub(super) fn capture_nodes<'a>(
    machine: &Machine<'a, '_>,
    flows: &[LazyFlow],
    conditions: &[Condition],
) -> Vec<&'a Arc<Node>> {
    let by_tid = index(machine, conditions, &["TID"]);
    let flows = machine.budget.meter(flows.iter());
    let found = flows.filter_map(|flow| by_tid.get(flow.node_tid()).copied());
    machine.budget.collect(found)
}

/// `Nodes`: where each flow was captured, then its A node, then its B node.
pub(super) fn nodes<'a>(
    machine: &Machine<'a, '_>,
    flows: &[LazyFlow],
    conditions: &[Condition],
) -> Vec<&'a Arc<Node>> {
    let by_tid = index(machine, conditions, &["TID"]);
    let by_mac = index(machine, conditions, &MACS);
    let flows = machine.budget.meter(flows.iter());
    let found = flows.flat_map(|flow| {
        let captured = by_tid.get(flow.node_tid()).copied();
        let macs = macs(flow, Way::Both);
        let ends = macs.filter_map(|mac| by_mac.get(&*mac.as_text()?).copied());
        captured.into_iter().chain(ends)
    });
    machine.budget.collect(found)
}

/// `Out`, `In`, `Both`: the nodes at the B, at the A, at both ends of each flow.
pub(super) fn ends<'a>(
    machine: &Machine<'a, '_>,
    flows: &[LazyFlow],
    way: Way,
    conditions: &[Condition],
) -> Vec<&'a Arc<Node>> {
    let by_mac = index(machine, conditions, &MACS);
    let flows = machine.budget.meter(flows.iter());
    let macs = flows.flat_map(|flow| macs(flow, way));
    let found = macs.filter_map(|mac| by_mac.get(&*mac.as_text()?).copied());
    machine.budget.collect(found)
}

fn macs(flow: &LazyFlow, way: Way) -> impl Iterator<Item = Field<'_>> {
    let a = (way != Way::Out).then_some("Link.A");
    let b = (way != Way::In).then_some("Link.B");
    a.into_iter().chain(b).filter_map(move |name| getter(name)?.read(flow))
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

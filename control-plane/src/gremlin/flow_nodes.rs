//! Steps from flows to the nodes they touch (Skydive API §3.7).

use std::collections::HashMap;
use std::sync::Arc;

use sonde_proto::flow::{Flow, FlowLayer};
use sonde_proto::graph::Node;

use super::graph_steps::all;
use super::predicate::Condition;
use super::state::Machine;
use super::step::Way;

/// `Hops`, `CaptureNode`, `Node`: where each flow was captured.
pub(super) fn capture_nodes<'a>(
    machine: &Machine<'a, '_>,
    flows: &[&'a Arc<Flow>],
    conditions: &[Condition],
) -> Vec<&'a Arc<Node>> {
    let by_tid = index(machine, conditions, &["TID"]);
    let flows = machine.budget.meter(flows.iter());
    let found = flows.filter_map(|flow| by_tid.get(flow.node_tid.as_str()).copied());
    machine.budget.collect(found)
}

/// `Nodes`: where each flow was captured, then its A node, then its B node.
pub(super) fn nodes<'a>(
    machine: &Machine<'a, '_>,
    flows: &[&'a Arc<Flow>],
    conditions: &[Condition],
) -> Vec<&'a Arc<Node>> {
    let by_tid = index(machine, conditions, &["TID"]);
    let by_mac = index(machine, conditions, &MACS);
    let flows = machine.budget.meter(flows.iter());
    let found = flows.flat_map(|flow| {
        let captured = by_tid.get(flow.node_tid.as_str()).copied();
        let macs = macs(flow, Way::Both);
        let ends = macs.filter_map(|mac| by_mac.get(mac).copied());
        captured.into_iter().chain(ends)
    });
    machine.budget.collect(found)
}

/// `Out`, `In`, `Both`: the nodes at the B, at the A, at both ends of each flow.
pub(super) fn ends<'a>(
    machine: &Machine<'a, '_>,
    flows: &[&'a Arc<Flow>],
    way: Way,
    conditions: &[Condition],
) -> Vec<&'a Arc<Node>> {
    let by_mac = index(machine, conditions, &MACS);
    let flows = machine.budget.meter(flows.iter());
    let found = flows.flat_map(|flow| macs(flow, way)).filter_map(|mac| by_mac.get(mac).copied());
    machine.budget.collect(found)
}

fn macs(flow: &Flow, way: Way) -> impl Iterator<Item = &str> {
    let link = flow.link.as_ref();
    let mac = |wanted: bool, end: fn(&FlowLayer) -> &String| {
        link.filter(|_| wanted).map(|link| end(link).as_str())
    };
    let a = mac(way != Way::Out, |link| &link.a);
    let b = mac(way != Way::In, |link| &link.b);
    a.into_iter().chain(b)
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

//! Steps that follow edges further than one hop, and `SubGraph` (Skydive API §3.6, §3.7).

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use sonde_proto::graph::{Edge, Node, relation};

use super::graph_steps::{all, either};
use super::predicate::Condition;
use super::state::Machine;
use super::step::Way;
use super::view::View;

/// `ShortestPathTo`: from each node that reaches one, the path to the nearest target. Edges that
/// meet the conditions are followed both ways.
pub(super) fn shortest_paths<'a>(
    machine: &Machine<'a, '_>,
    starts: &[&'a Arc<Node>],
    target: &[Condition],
    along: &[Condition],
) -> Vec<Vec<&'a Arc<Node>>> {
    let paths = starts.iter().filter_map(|start| shortest_path(machine, start, target, along));
    machine.budget.collect(paths)
}

fn shortest_path<'a>(
    machine: &Machine<'a, '_>,
    start: &'a Arc<Node>,
    target: &[Condition],
    along: &[Condition],
) -> Option<Vec<&'a Arc<Node>>> {
    let mut before: HashMap<&str, Option<&'a Arc<Node>>> =
        HashMap::from([(start.id.as_str(), None)]);
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        if all(target, node.as_ref()) {
            let step_back = |node: &&'a Arc<Node>| before.get(node.id.as_str()).copied().flatten();
            let mut path: Vec<_> = std::iter::successors(Some(node), step_back).collect();
            path.reverse();
            return Some(path);
        }
        let edges = machine.view.edges_at(node, Way::Both);
        for (edge, next) in machine.budget.meter(edges) {
            if !before.contains_key(next.id.as_str()) && all(along, edge.as_ref()) {
                before.insert(&next.id, Some(node));
                queue.push_back(next);
            }
        }
        if !machine.budget.visit() {
            return None;
        }
    }
    None
}

/// `Descendants`, `Ascendants` and `Neighbors`: the nodes themselves and those within `depth` hops
/// (`None`: no bound) over edges that meet any of the conditions, each node once.
pub(super) fn reach<'a>(
    machine: &Machine<'a, '_>,
    starts: &[&'a Arc<Node>],
    way: Way,
    conditions: &[Condition],
    depth: Option<usize>,
) -> Vec<&'a Arc<Node>> {
    let follows = |edge: &Edge| match conditions {
        [] => {
            edge.metadata.get("RelationType").and_then(|v| v.as_str()) == Some(relation::OWNERSHIP)
        }
        conditions => either(conditions, edge),
    };
    let mut seen = HashSet::new();
    let mut found: Vec<&'a Arc<Node>> =
        starts.iter().copied().filter(|node| seen.insert(node.id.as_str())).collect();
    let (mut hop, mut from) = (0, 0);
    while from < found.len() && depth.is_none_or(|depth| hop < depth) {
        let ring = from..found.len();
        from = found.len();
        for at in ring {
            let Some(node) = found.get(at).copied() else {
                break;
            };
            let edges = machine.view.edges_at(node, way);
            for (edge, next) in machine.budget.meter(edges) {
                if follows(edge) && seen.insert(next.id.as_str()) {
                    found.push(next);
                }
            }
        }
        hop += 1;
    }
    machine.budget.collect(found.into_iter())
}

/// `SubGraph` of nodes: they, and the edges between them that meet the conditions.
pub(super) fn between<'a>(
    machine: &mut Machine<'a, '_>,
    nodes: Vec<&'a Arc<Node>>,
    conditions: &[Condition],
) {
    let ids: HashSet<&str> = nodes.iter().map(|node| node.id.as_str()).collect();
    let inside =
        nodes.iter().flat_map(|node| machine.view.edges_at(node, Way::Out)).map(|(edge, _)| edge);
    let edges = machine
        .budget
        .meter(inside)
        .filter(|edge| ids.contains(edge.child.as_str()) && all(conditions, edge.as_ref()))
        .collect();
    machine.view = View::part(nodes, edges);
}

/// `SubGraph` of edges: those that meet the conditions, and their ends.
pub(super) fn around<'a>(
    machine: &mut Machine<'a, '_>,
    edges: Vec<&'a Arc<Edge>>,
    conditions: &[Condition],
) {
    let edges: Vec<&'a Arc<Edge>> = machine
        .budget
        .meter(edges.into_iter())
        .filter(|edge| all(conditions, edge.as_ref()))
        .collect();
    let ends = edges.iter().flat_map(|edge| machine.view.ends(edge, Way::Both));
    let nodes = ends.collect();
    machine.view = View::part(nodes, edges);
}

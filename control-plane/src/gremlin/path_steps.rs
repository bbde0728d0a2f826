//! Steps that follow edges further than one hop, and `SubGraph` (Skydive API §3.6, §3.7).

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use ahash::RandomState;
use sonde_proto::graph::{Edge, Node, relation};

use super::graph_steps::{all, both, either};
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
    let indexed = machine.view.indexed_nodes(target).map(|(nodes, others)| {
        let nodes = machine.budget.meter(nodes).filter(|node| both(others, node.as_ref()));
        HashSet::<&str, RandomState>::from_iter(nodes.map(|node| node.id.as_str()))
    });
    let is_target = |node: &Node| match &indexed {
        Some(targets) => targets.contains(node.id.as_str()),
        None => all(target, node),
    };
    if indexed.as_ref().is_some_and(HashSet::is_empty) {
        return Vec::new();
    }
    let paths = starts.iter().filter_map(|start| shortest_path(machine, start, &is_target, along));
    machine.budget.collect(paths)
}

fn shortest_path<'a>(
    machine: &Machine<'a, '_>,
    start: &'a Arc<Node>,
    is_target: &dyn Fn(&Node) -> bool,
    along: &[Condition],
) -> Option<Vec<&'a Arc<Node>>> {
    let mut before: HashMap<&str, Option<&'a Arc<Node>>, RandomState> =
        HashMap::from_iter([(start.id.as_str(), None)]);
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        if is_target(node) {
            let step_back = |node: &&'a Arc<Node>| before.get(node.id.as_str()).copied().flatten();
            let mut path: Vec<_> = std::iter::successors(Some(node), step_back).collect();
            path.reverse();
            return Some(path);
        }
        let edges = machine.view.edges_at(node, Way::Both);
        for (edge, next) in machine.budget.meter(edges) {
            if !before.contains_key(next) && all(along, edge.as_ref()) {
                before.insert(next, Some(node));
                queue.extend(machine.view.nodes_of(next).next());
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
    let mut seen = HashSet::<&str, RandomState>::default();
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
                if follows(edge) && seen.insert(next) {
                    found.extend(machine.view.nodes_of(next).next());
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
    let mut ids = HashSet::new();
    let distinct: Vec<_> = nodes.iter().filter(|node| ids.insert(node.id.as_str())).collect();
    let inside = distinct
        .into_iter()
        .flat_map(|node| machine.view.edges_at(node, Way::Out))
        .map(|(edge, _)| edge);
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
    let mut ids = HashSet::new();
    let ends = edges.iter().flat_map(|edge| [edge.parent.as_str(), edge.child.as_str()]);
    let distinct = ends.filter(|id| ids.insert(*id));
    let nodes = distinct.flat_map(|id| machine.view.nodes_of(id)).collect();
    machine.view = View::part(nodes, edges);
}

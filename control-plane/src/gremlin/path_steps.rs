//! Steps that follow edges further than one hop, and `SubGraph` (Skydive API §3.6, §3.7).

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use ahash::RandomState;
use sonde_proto::graph::{Edge, Node, relation};

use super::graph_steps::{all, both, either};
use super::limits::Budget;
use super::lookup::indexed;
use super::predicate::Condition;
use super::state::Machine;
use super::step::Way;
use super::view::View;
use crate::graph::{Kind as _, Topology};

/// `ShortestPathTo`: from each node that reaches one, the path to the nearest target. Edges that
/// meet the conditions are followed both ways.
pub(super) fn shortest_paths<'a>(
    machine: &Machine<'a, '_>,
    starts: &[&'a Arc<Node>],
    target: &[Condition],
    along: &[Condition],
) -> Vec<Vec<&'a Arc<Node>>> {
    let budget = &machine.budget;
    match machine.view {
        View::Whole(graph) => {
            let search = ByAge { graph, target, along, budget };
            let Some(is_target) = search.targets() else { return Vec::new() };
            let paths = starts.iter().filter_map(|start| search.path(start, &is_target));
            budget.collect(paths)
        }
        View::Part(_) => {
            let is_target = |ById(node): ById<'a>| all(target, node.as_ref());
            let links = |ById(node): ById<'a>| {
                let edges = machine.view.edges_at(node, Way::Both);
                edges.filter_map(|(edge, other)| {
                    Some((edge, ById(machine.view.nodes_of(other).next()?)))
                })
            };
            let follows = |edge: &'a Arc<Edge>| all(along, edge.as_ref());
            let path = |start| shortest_path(budget, ById(start), is_target, links, follows);
            let paths = starts.iter().filter_map(|start| path(start));
            budget.collect(paths.map(|path| path.into_iter().map(|ById(node)| node).collect()))
        }
    }
}

/// A search in the whole graph, where ages stand for nodes and edges: neither has to be looked at
/// to get along.
struct ByAge<'a, 's, 'l> {
    graph: &'a Topology,
    target: &'s [Condition],
    along: &'s [Condition],
    budget: &'s Budget<'l>,
}

/// A node that is the same whatever its revision.
#[derive(Clone, Copy)]
struct ById<'a>(&'a Arc<Node>);

impl<'a> ByAge<'a, '_, '_> {
    /// Whether the node of an age is a target; `None` when there is no target.
    fn targets(&self) -> Option<Box<dyn Fn(u64) -> bool + '_>> {
        let Self { graph, target, budget, .. } = *self;
        let Some((nodes, others)) = indexed(Node::all(graph), target) else {
            let node = |age| Node::all(graph).of_age(age);
            let is_target = move |age| node(age).is_some_and(|node| all(target, node.as_ref()));
            return Some(Box::new(is_target));
        };
        let nodes = budget.meter(nodes).filter(|node| both(others, node.as_ref()));
        let ages = nodes.filter_map(|node| Node::all(graph).age(&node.id));
        let ages: HashSet<u64, RandomState> = ages.collect();
        (!ages.is_empty()).then(|| Box::new(move |age| ages.contains(&age)) as _)
    }

    fn path(&self, start: &Node, is_target: impl Fn(u64) -> bool) -> Option<Vec<&'a Arc<Node>>> {
        let Self { graph, along, budget, .. } = *self;
        let links = |node| graph.links_of(node);
        let follows = |edge| {
            let edge = || Edge::all(graph).of_age(edge);
            along.is_empty() || edge().is_some_and(|edge| all(along, edge.as_ref()))
        };
        let start = Node::all(graph).age(&start.id)?;
        let path = shortest_path(budget, start, is_target, links, follows)?.into_iter();
        path.map(|age| Node::all(graph).of_age(age)).collect()
    }
}

impl PartialEq for ById<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById<'_> {}

impl Hash for ById<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

/// From the start to the nearest target, breadth first, over those links that it follows.
fn shortest_path<P: Copy + Eq + Hash, L, I: Iterator<Item = (L, P)>>(
    budget: &Budget<'_>,
    start: P,
    is_target: impl Fn(P) -> bool,
    links: impl Fn(P) -> I,
    follows: impl Fn(L) -> bool,
) -> Option<Vec<P>> {
    let mut before: HashMap<P, Option<P>, RandomState> = HashMap::from_iter([(start, None)]);
    let mut queue = VecDeque::from([start]);
    while let Some(place) = queue.pop_front() {
        if is_target(place) {
            let step_back = |place: &P| before.get(place).copied().flatten();
            let mut path: Vec<_> = std::iter::successors(Some(place), step_back).collect();
            path.reverse();
            return Some(path);
        }
        for (link, next) in budget.meter(links(place)) {
            if let Entry::Vacant(entry) = before.entry(next)
                && follows(link)
            {
                entry.insert(Some(place));
                queue.push_back(next);
            }
        }
        if !budget.visit(1) {
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

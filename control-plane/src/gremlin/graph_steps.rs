//! Steps on the graph, on nodes, on edges and on paths (Skydive API §3.6).

use std::collections::HashSet;
use std::sync::Arc;

use sonde_proto::graph::{Edge, Node};

use super::error::Fault;
use super::field::Element;
use super::next_hop::next_hop;
use super::predicate::Condition;
use super::state::{Machine, Stage, State, Window, refused};
use super::step::{Step, Way};
use super::{flow_steps, metric_steps, path_steps, socket_steps, value_steps};
use crate::graph::RecallError;

pub(super) fn on_graph<'a>(
    machine: &mut Machine<'a, '_>,
    stage: &Stage<'a>,
) -> Result<State<'a>, Fault> {
    match stage.step {
        Step::Graph => Ok(State::Graph),
        Step::Nodes(None) => Ok(State::Nodes(match machine.view.indexed_nodes(stage.has()) {
            Some((nodes, others)) => keep(machine, stage, nodes, |node| both(others, node)),
            None => select(machine, stage, machine.view.nodes(), |_| true),
        })),
        Step::Nodes(Some(id)) => {
            let mut revisions = machine.view.nodes_of(id).peekable();
            revisions.peek().ok_or_else(|| Fault::NoNode(id.clone()))?;
            Ok(State::Nodes(select(machine, stage, revisions, |_| true)))
        }
        Step::Edges(None) => Ok(State::Edges(match machine.view.indexed_edges(stage.has()) {
            Some((edges, others)) => keep(machine, stage, edges, |edge| both(others, edge)),
            None => select(machine, stage, machine.view.edges(), |_| true),
        })),
        Step::Edges(Some(id)) => {
            let mut revisions = machine.view.edges_of(id).peekable();
            revisions.peek().ok_or_else(|| Fault::NoEdge(id.clone()))?;
            Ok(State::Edges(select(machine, stage, revisions, |_| true)))
        }
        Step::Flows(_) => flow_steps::flows(machine, None, stage),
        // A first `At` is seen to before the fold; parts of the graph, as in Skydive, have no past.
        Step::At(_) => Err(RecallError::NoHistory.into()),
        // A first one that is known is seen to before the fold.
        Step::Workflow(id, _) => Err(Fault::NoWorkflow(id.clone())),
        step => Err(refused(step, "GraphTraversal")),
    }
}

pub(super) fn on_nodes<'a>(
    machine: &mut Machine<'a, '_>,
    nodes: Vec<&'a Arc<Node>>,
    stage: &Stage<'a>,
) -> Result<State<'a>, Fault> {
    if let Some(kept) = filter(machine, stage, &nodes) {
        return Ok(State::Nodes(kept));
    }
    match stage.step {
        Step::Graph => Ok(State::Graph),
        Step::Neighbours(way, conditions) => {
            let view = &machine.view;
            let found = nodes
                .iter()
                .flat_map(|node| view.edges_at(node, *way))
                .flat_map(|(_, other)| view.nodes_of(other));
            let test = |node: &Node| all(conditions, node);
            Ok(State::Nodes(select(machine, stage, found, test)))
        }
        Step::EdgesAt(way, conditions) => {
            let view = &machine.view;
            let found =
                nodes.iter().flat_map(|node| view.edges_at(node, *way)).map(|(edge, _)| edge);
            let test = |edge: &Edge| all(conditions, edge);
            Ok(State::Edges(select(machine, stage, found, test)))
        }
        Step::Sort(order, key) => {
            let key = key.as_deref().unwrap_or("CreatedAt");
            Ok(State::Nodes(value_steps::sorted(nodes, *order, key)))
        }
        Step::Count => Ok(State::Number(nodes.len().into())),
        Step::Values(key) => Ok(State::Values(value_steps::values(machine, &nodes, key))),
        Step::ValueMap(keys) => Ok(State::Values(value_steps::maps(machine, &nodes, keys))),
        Step::Keys => Ok(State::Values(value_steps::keys(machine, &nodes))),
        Step::Sum(Some(key)) => Ok(State::Number(value_steps::sum(machine, &nodes, key))),
        Step::Sum(None) => {
            Err(Fault::Rule { rule: "Sum requires 1 parameter", given: "[]".into() })
        }
        Step::Flows(_) => flow_steps::flows(machine, Some(&nodes), stage),
        Step::As(name) => {
            machine.named.insert(name, nodes.clone());
            Ok(State::Nodes(nodes))
        }
        Step::Select(names) => Ok(State::Nodes(named(machine, names)?)),
        Step::ShortestPathTo(target, along) => {
            Ok(State::Paths(path_steps::shortest_paths(machine, &nodes, target, along)))
        }
        Step::Reach(way, conditions, depth) => {
            let depth = match (way, depth) {
                // Without a bound, but for `Neighbors`.
                (Way::Out | Way::In, Some(0)) => None,
                (_, depth) => Some(depth.unwrap_or(1)),
            };
            let found = path_steps::reach(machine, &nodes, *way, conditions, depth);
            Ok(State::Nodes(found))
        }
        Step::SubGraph(conditions) => {
            path_steps::between(machine, nodes, conditions);
            Ok(State::Graph)
        }
        Step::Metrics(field) => {
            let series = metric_steps::of_nodes(machine, &nodes, field.as_deref())?;
            Ok(State::Metrics(series))
        }
        Step::Sockets => Ok(State::Sockets(socket_steps::of_nodes(machine, &nodes))),
        Step::NextHop(to) => {
            let nodes = machine.budget.meter(nodes.into_iter());
            let hop = |node: &'a Arc<Node>| Some((node.id.as_str(), next_hop(node, *to)?));
            Ok(State::NextHops(nodes.filter_map(hop).collect()))
        }
        step => Err(refused(step, "GraphTraversalV")),
    }
}

pub(super) fn on_edges<'a>(
    machine: &mut Machine<'a, '_>,
    edges: Vec<&'a Arc<Edge>>,
    stage: &Stage<'a>,
) -> Result<State<'a>, Fault> {
    if let Some(kept) = filter(machine, stage, &edges) {
        return Ok(State::Edges(kept));
    }
    match stage.step {
        Step::Graph => Ok(State::Graph),
        Step::Ends(way, conditions) => {
            let view = &machine.view;
            let found = edges.iter().flat_map(|edge| view.ends(edge, *way));
            let test = |node: &Node| all(conditions, node);
            Ok(State::Nodes(select(machine, stage, found, test)))
        }
        Step::Count => Ok(State::Number(edges.len().into())),
        Step::SubGraph(conditions) => {
            path_steps::around(machine, edges, conditions);
            Ok(State::Graph)
        }
        step => Err(refused(step, "GraphTraversalE")),
    }
}

pub(super) fn on_paths<'a>(
    machine: &mut Machine<'a, '_>,
    paths: Vec<Vec<&'a Arc<Node>>>,
    stage: &Stage<'a>,
) -> Result<State<'a>, Fault> {
    let nodes: Vec<&'a Arc<Node>> = paths.into_iter().flatten().collect();
    match stage.step {
        Step::Dedup(_) => Ok(State::Nodes(dedup(machine, stage, &nodes, &[]))),
        Step::Flows(_) => flow_steps::flows(machine, Some(&nodes), stage),
        Step::SubGraph(conditions) => {
            path_steps::between(machine, nodes, conditions);
            Ok(State::Graph)
        }
        step => Err(refused(step, "GraphTraversalShortestPath")),
    }
}

/// `Select`: the node sets that `As` remembered, one after the other.
fn named<'a>(machine: &Machine<'a, '_>, names: &[String]) -> Result<Vec<&'a Arc<Node>>, Fault> {
    let mut sets = Vec::with_capacity(names.len());
    for name in names {
        let set = machine.named.get(name.as_str());
        sets.push(set.ok_or_else(|| Fault::NotRegistered(name.clone()))?);
    }
    Ok(machine.budget.collect(sets.into_iter().flatten().copied()))
}

/// The steps that keep some of the elements; `None` for any other step.
fn filter<'a, T: Element>(
    machine: &Machine<'a, '_>,
    stage: &Stage<'a>,
    elements: &[&'a Arc<T>],
) -> Option<Vec<&'a Arc<T>>> {
    let items = elements.iter().copied();
    Some(match stage.step {
        Step::Has(conditions) => select(machine, stage, items, |e: &T| all(conditions, e)),
        Step::HasEither(conditions) => select(machine, stage, items, |e: &T| either(conditions, e)),
        Step::HasKey(key) => select(machine, stage, items, |e: &T| e.field(key).is_some()),
        Step::HasNot(key) => select(machine, stage, items, |e: &T| e.field(key).is_none()),
        Step::Dedup(keys) => dedup(machine, stage, elements, keys),
        step => {
            let window = Window::of(step)?;
            machine.budget.collect(window.apply(items))
        }
    })
}

/// Looks at the elements, and keeps those that pass the test, the absorbed `Has` and the window.
fn select<'a, T: Element>(
    machine: &Machine<'a, '_>,
    stage: &Stage<'a>,
    elements: impl Iterator<Item = &'a Arc<T>>,
    test: impl Fn(&T) -> bool,
) -> Vec<&'a Arc<T>> {
    let has = stage.has();
    keep(machine, stage, elements, |element| test(element) && all(has, element))
}

/// Looks at the elements, and keeps those that pass the test and the window.
fn keep<'a, T: Element>(
    machine: &Machine<'a, '_>,
    stage: &Stage<'a>,
    elements: impl Iterator<Item = &'a Arc<T>>,
    test: impl Fn(&T) -> bool,
) -> Vec<&'a Arc<T>> {
    let kept = machine.budget.meter(elements).filter(|element| test(element));
    machine.budget.collect(stage.window().apply(kept))
}

/// The first of each kind. An absorbed window counts what goes in, as in Skydive.
fn dedup<'a, T: Element>(
    machine: &Machine<'a, '_>,
    stage: &Stage<'a>,
    elements: &[&'a Arc<T>],
    keys: &[String],
) -> Vec<&'a Arc<T>> {
    let mut seen = HashSet::new();
    let looked_at = machine.budget.meter(elements.iter().copied());
    let kept = stage.window().apply(looked_at).filter(|element| {
        let Some(kind) = kind(element.as_ref(), keys) else {
            return true;
        };
        seen.insert(kind)
    });
    machine.budget.collect(kept)
}

/// What makes two elements the same: their IDs, or the fields of those keys. An element that has
/// none of the keys is like no other.
fn kind<T: Element>(element: &T, keys: &[String]) -> Option<Vec<Option<String>>> {
    if keys.is_empty() {
        return Some(vec![Some(element.id().to_owned())]);
    }
    let field = |key: &String| Some(element.field(key)?.to_value().to_string());
    let kind: Vec<Option<String>> = keys.iter().map(field).collect();
    kind.iter().any(Option::is_some).then_some(kind)
}

/// Whether the element meets every condition.
pub(super) fn all<T: Element>(conditions: &[Condition], element: &T) -> bool {
    conditions.iter().all(|c| c.predicate.admits(element.field(&c.key).as_ref()))
}

/// Whether the element meets every condition of both lists.
pub(super) fn both<T: Element>(conditions: [&[Condition]; 2], element: &T) -> bool {
    conditions.into_iter().all(|conditions| all(conditions, element))
}

/// Whether the element meets any condition.
pub(super) fn either<T: Element>(conditions: &[Condition], element: &T) -> bool {
    conditions.iter().any(|c| c.predicate.admits(element.field(&c.key).as_ref()))
}

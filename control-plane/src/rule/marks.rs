//! The metadata that rules write on nodes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sonde_proto::graph::{Metadata, Node};
use sonde_proto::rule::NodeRule;

use super::{NodeAction, Round};
use crate::asker::Asker;
use crate::graph::{Graph, Topology};
use crate::gremlin::Query;
use crate::resource::Entries;

/// What is written where.
///
/// A node that a rule's query found once is marked until the rule or the node goes, also when the
/// query does not find it any more: a rule that took its mark back then would write it again and
/// again, if its query asks for nodes without the mark.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// The nodes that each rule found.
    found: BTreeMap<String, BTreeSet<String>>,
    /// What was written on each node, by key.
    written: BTreeMap<String, BTreeMap<String, Mark>>,
}

/// A value that was written.
#[derive(Debug)]
struct Mark {
    value: Value,
    /// What stood there before; nothing did when absent.
    before: Option<Value>,
}

/// The queries and metadata of the rules that update nodes, by UUID.
type Updates<'r> = BTreeMap<&'r str, (&'r Query, &'r Metadata)>;

/// What becomes of the metadata of a node: a key that is absent goes.
type Edits = Vec<(String, Option<Value>)>;

impl Marks {
    /// Marks the nodes that rules find, and restores those whose rules are gone. Of rules that
    /// write the same key the first has it.
    pub(super) fn follow(&mut self, rules: &Entries<NodeRule>, asker: &Asker) -> Round {
        let updates: Updates<'_> = (rules.iter())
            .filter_map(|(id, entry)| match &entry.parsed {
                Some(NodeAction::Update(Some(query), metadata)) => {
                    Some((id.as_str(), (query, metadata)))
                }
                _ => None,
            })
            .collect();
        let graph = asker.look(Graph::snapshot);
        self.forget(&graph, |rule| updates.contains_key(rule));
        for (rule, (query, _)) in &updates {
            match asker.nodes(query, &graph) {
                Ok(nodes) => {
                    let found = self.found.entry((*rule).to_owned()).or_default();
                    let nodes = nodes.iter().map(|node| &node.id);
                    found.extend(nodes.filter(|id| graph.node(id).is_some()).cloned());
                }
                Err(error) => tracing::debug!(rule, %error, "query"),
            }
        }
        let mut round = Round::Calm;
        let mut edits: Vec<(String, Edits)> = Vec::new();
        let mut wanted = wanted(&self.found, &updates);
        // Those that nobody wants any more are restored.
        for id in self.written.keys() {
            wanted.entry(id.clone()).or_default();
        }
        for (id, keys) in wanted {
            let Some(node) = graph.node(&id) else { continue };
            let written = self.written.entry(id.clone()).or_default();
            let edit = edits_of(&node.metadata, &keys, written, &mut round);
            if written.is_empty() {
                self.written.remove(&id);
            }
            if !edit.is_empty() {
                edits.push((id, edit));
            }
        }
        drop(graph);
        write(edits, asker);
        round
    }

    /// Forgets the nodes that are gone, and which nodes the rules found that are gone.
    fn forget(&mut self, graph: &Topology, is_rule: impl Fn(&str) -> bool) {
        self.found.retain(|rule, _| is_rule(rule));
        for nodes in self.found.values_mut() {
            nodes.retain(|id| graph.node(id).is_some());
        }
        self.written.retain(|id, _| graph.node(id).is_some());
    }
}

/// What the nodes that rules found shall carry.
fn wanted<'r>(
    found: &BTreeMap<String, BTreeSet<String>>,
    updates: &Updates<'r>,
) -> BTreeMap<String, BTreeMap<&'r str, &'r Value>> {
    let mut wanted: BTreeMap<String, BTreeMap<&str, &Value>> = BTreeMap::new();
    for (rule, nodes) in found {
        let Some((_, metadata)) = updates.get(rule.as_str()) else { continue };
        for node in nodes {
            let keys = wanted.entry(node.clone()).or_default();
            for (key, value) in *metadata {
                keys.entry(key).or_insert(value);
            }
        }
    }
    wanted
}

/// How the metadata of a node becomes what is wanted of it, and what was written then.
fn edits_of(
    metadata: &Metadata,
    wanted: &BTreeMap<&str, &Value>,
    written: &mut BTreeMap<String, Mark>,
    round: &mut Round,
) -> Edits {
    let mut edits = Edits::new();
    written.retain(|key, mark| {
        let is_wanted = wanted.contains_key(key.as_str());
        // What another wrote over it is the other's.
        if !is_wanted && metadata.get(key) == Some(&mark.value) {
            edits.push((key.clone(), mark.before.take()));
        }
        is_wanted
    });
    for (&key, &value) in wanted {
        let now = metadata.get(key);
        match written.get_mut(key) {
            Some(mark) => {
                if now != Some(&mark.value) {
                    *round = Round::Contested;
                    mark.before = now.cloned();
                }
                mark.value = value.clone();
            }
            None => {
                let mark = Mark { value: value.clone(), before: now.cloned() };
                written.insert(key.to_owned(), mark);
            }
        }
        if now != Some(value) {
            edits.push((key.to_owned(), Some(value.clone())));
        }
    }
    edits
}

/// Edits the graph, which is locked for some nodes at a time.
fn write(mut edits: Vec<(String, Edits)>, asker: &Asker) {
    while !edits.is_empty() {
        let some = edits.split_off(edits.len().saturating_sub(AT_ONCE));
        asker.edit(|graph| {
            for (id, edits) in some {
                graph.update::<Node>(&id, asker.clock.now(), |metadata| {
                    for (key, value) in edits {
                        match value {
                            Some(value) => drop(metadata.insert(key, value)),
                            None => drop(metadata.remove(&key)),
                        }
                    }
                });
            }
        });
    }
}

/// Nodes that are edited while others wait for the graph.
const AT_ONCE: usize = 256;

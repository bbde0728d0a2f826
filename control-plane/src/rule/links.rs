//! The edges that rules make.

use std::collections::BTreeMap;
use std::sync::Arc;

use sonde_proto::graph::{Edge, Node};
use sonde_proto::rule::EdgeRule;

use super::{Link, Round};
use crate::asker::Asker;
use crate::graph::{Graph, Topology};
use crate::gremlin::QueryError;
use crate::resource::Entries;

/// The edge that each rule made, by the rule's UUID.
#[derive(Debug, Default)]
pub(super) struct Links(BTreeMap<String, Edge>);

impl Links {
    /// Makes the edges that rules ask for, and deletes those of rules that are gone. An edge stays
    /// as long as its rule finds both its ends, first or not.
    pub(super) fn follow(&mut self, rules: &Entries<EdgeRule>, asker: &Asker) -> Round {
        let graph = asker.look(Graph::snapshot);
        let mut wanted: BTreeMap<&str, Edge> = BTreeMap::new();
        for (rule, entry) in rules {
            let Some(link) = &entry.parsed else { continue };
            let made = self.0.get(rule);
            match find(rule, link, made, &graph, asker) {
                Ok(edge) => wanted.extend(edge.map(|edge| (rule.as_str(), edge))),
                Err(error) => {
                    tracing::debug!(rule, %error, "query");
                    wanted.extend(made.map(|edge| (rule.as_str(), edge.clone())));
                }
            }
        }
        let is_wanted =
            |rule: &str, made: &Edge| wanted.get(rule).is_some_and(|edge| edge.id == made.id);
        let over: Vec<_> = (self.0.extract_if(.., |rule, made| !is_wanted(rule, made))).collect();
        let moved = over.iter().any(|(rule, made)| {
            wanted.contains_key(rule.as_str()) && graph.edge(&made.id).is_some()
        });
        let missing: Vec<_> = (wanted.into_iter())
            .filter(|(_, edge)| {
                graph.edge(&edge.id).is_none() || over.iter().any(|(_, made)| made.id == edge.id)
            })
            .collect();
        drop(graph);
        if !(over.is_empty() && missing.is_empty()) {
            let now = asker.clock.now();
            asker.edit(|graph| {
                for (_, made) in over {
                    graph.delete::<Edge>(&made.id, now);
                }
                for (rule, edge) in missing {
                    // An end may have gone meanwhile, or another have made the same.
                    if graph.add(edge.clone(), now).is_ok() {
                        self.0.insert(rule.to_owned(), edge);
                    }
                }
            });
        }
        if moved { Round::Contested } else { Round::Calm }
    }
}

/// The edge that a rule asks for: the one that it made, or one between the first nodes it finds.
fn find(
    rule: &str,
    link: &Link,
    made: Option<&Edge>,
    graph: &Topology,
    asker: &Asker,
) -> Result<Option<Edge>, QueryError> {
    let mut parents = asker.nodes(&link.src, graph)?;
    let mut children = asker.nodes(&link.dst, graph)?;
    for ends in [&mut parents, &mut children] {
        ends.retain(|node| graph.node(&node.id).is_some());
    }
    let has = |ends: &[Arc<Node>], id: &str| ends.iter().any(|node| node.id == id);
    if let Some(made) =
        made.filter(|made| has(&parents, &made.parent) && has(&children, &made.child))
    {
        return Ok(Some(made.clone()));
    }
    Ok(match (parents.first(), children.first()) {
        (Some(parent), Some(child)) => Some(link.edge(rule, parent, child)),
        _ => None,
    })
}

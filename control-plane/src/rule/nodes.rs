//! The nodes that rules create.

use std::collections::BTreeMap;

use sonde_proto::graph::Node;
use sonde_proto::rule::NodeRule;

use super::NodeAction;
use crate::asker::Asker;
use crate::graph::Graph;
use crate::resource::Entries;

/// IDs of the nodes that are in the graph because of a rule, and the rule's UUID.
#[derive(Debug, Default)]
pub(super) struct Nodes(BTreeMap<String, String>);

impl Nodes {
    /// Deletes the nodes of rules that are gone and adds those that are not there. Of rules that
    /// name the same node the first has it; a node of somebody else stays what it is.
    pub(super) fn follow(&mut self, rules: &Entries<NodeRule>, asker: &Asker) {
        let mut wanted: BTreeMap<&str, (&str, &Node)> = BTreeMap::new();
        for (rule, entry) in rules {
            if let Some(NodeAction::Create(node)) = &entry.parsed {
                wanted.entry(&node.id).or_insert((rule, node));
            }
        }
        let over: Vec<_> = (self.0.iter())
            .filter(|(id, rule)| wanted.get(id.as_str()).is_none_or(|(by, _)| by != rule))
            .map(|(id, _)| id.clone())
            .collect();
        let known = asker.look(Graph::snapshot);
        let is_due = |id: &str| known.node(id).is_none() || over.iter().any(|other| other == id);
        let missing: Vec<_> =
            wanted.into_iter().filter(|(id, _)| is_due(id)).map(|(_, made)| made).collect();
        drop(known);
        if over.is_empty() && missing.is_empty() {
            return;
        }
        let now = asker.clock.now();
        asker.edit(|graph| {
            for id in over {
                self.0.remove(&id);
                graph.delete::<Node>(&id, now);
            }
            for (rule, node) in missing {
                // One that somebody else added meanwhile stays what it is, too.
                if graph.add(node.clone(), now).is_ok() {
                    self.0.insert(node.id.clone(), rule.to_owned());
                }
            }
        });
    }
}

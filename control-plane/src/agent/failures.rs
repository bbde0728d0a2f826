//! Shows on the nodes of agents what these did not begin. What runs they show themselves.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sonde_proto::graph::Node;
use sonde_proto::time::Timestamp;

use super::orders::Errand;
use crate::asker::Asker;
use crate::graph::Graph;

/// The errands of one kind that nodes show as failed, under a member of their metadata.
#[derive(Debug)]
pub(crate) struct Failures {
    member: &'static str,
    shown: BTreeSet<Errand>,
}

impl Failures {
    /// None yet.
    pub(crate) const fn under(member: &'static str) -> Self {
        Self { member, shown: BTreeSet::new() }
    }

    /// Makes the nodes show those of `failed`, with what is said of each, and no others.
    pub(crate) fn show(&mut self, failed: &BTreeMap<Errand, Value>, asker: &Asker, now: Timestamp) {
        if failed.is_empty() && self.shown.is_empty() {
            return;
        }
        asker.edit(|graph| {
            for errand in self.shown.iter().filter(|errand| !failed.contains_key(errand)) {
                self.write(graph, errand, None, now);
            }
            for (errand, entry) in failed {
                self.write(graph, errand, Some(entry.clone()), now);
            }
        });
        self.shown = failed.keys().cloned().collect();
    }

    /// Makes `entry` the only one of the resource that says it failed; those of the agent stay.
    fn write(&self, graph: &mut Graph, errand: &Errand, entry: Option<Value>, now: Timestamp) {
        graph.update::<Node>(&errand.node, now, |metadata| {
            let mut entries = match metadata.remove(self.member) {
                Some(Value::Array(entries)) => entries,
                _ => Vec::new(),
            };
            entries.retain(|known| known["ID"] != errand.resource || known["State"] != "error");
            entries.extend(entry);
            if !entries.is_empty() {
                metadata.insert(self.member.to_owned(), entries.into());
            }
        });
    }
}

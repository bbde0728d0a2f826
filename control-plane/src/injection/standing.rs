//! How injections stand, as subscribers are told (Skydive API §7.6).

use std::sync::Arc;

use serde::{Serialize, Serializer};
use sonde_proto::injection::PacketInjection;

use super::job::Jobs;
use crate::agent::{Outcome, Outcomes, Task};
use crate::resource::Entry;

/// An injection, written as clients see it, and how far its nodes are. It is not copied: it may hold
/// a file.
#[derive(Debug)]
pub(super) struct Standing {
    entry: Arc<Entry<PacketInjection>>,
    nodes: Nodes,
}

/// How many nodes are how far.
#[derive(Debug, Default, PartialEq, Eq)]
struct Nodes {
    active: usize,
    failed: usize,
    over: usize,
}

impl Standing {
    /// `jobs` are those of its nodes that are ours; the others are an agent's.
    pub(super) fn new(
        entry: Arc<Entry<PacketInjection>>,
        jobs: Option<&Jobs>,
        outcomes: &Outcomes,
    ) -> Self {
        let mut nodes = Nodes { over: jobs.map_or(0, Jobs::over), ..Nodes::default() };
        for job in jobs.into_iter().flat_map(Jobs::left) {
            match job.error() {
                None => nodes.active += 1,
                Some(_) => nodes.failed += 1,
            }
        }
        let theirs = outcomes.iter().filter(|(errand, _)| {
            errand.task == Task::Injection && errand.resource == entry.resource.uuid
        });
        for (_, outcome) in theirs {
            match outcome {
                Outcome::Asked => {}
                Outcome::Begun => nodes.active += 1,
                Outcome::Failed(_) => nodes.failed += 1,
            }
        }
        Self { entry, nodes }
    }
}

impl PartialEq for Standing {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.entry, &other.entry) && self.nodes == other.nodes
    }
}

impl Serialize for Standing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.entry.resource.serialize(serializer)
    }
}

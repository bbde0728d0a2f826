//! How much of the flow store one agent has.

use std::collections::HashMap;

use sonde_proto::record::WatchId;
use sonde_proto::time::Timestamp;

use crate::flow_store::{FlowKey, FlowStore};

/// The flows of an agent that the store may have.
#[derive(Debug)]
pub(super) struct Share {
    watch: WatchId,
    /// What each weighs, by its `UUID` as a number.
    weights: HashMap<u64, usize>,
    bytes: usize,
    /// Flows at most.
    flows: usize,
    /// When it was looked last which flows the store has no more.
    swept: Timestamp,
}

impl Share {
    /// Part of a store of `capacity` flows. No other share has that watch.
    pub(super) fn new(watch: WatchId, capacity: usize) -> Self {
        let flows = (capacity / PART).max(1);
        Self { watch, weights: HashMap::new(), bytes: 0, flows, swept: Timestamp::default() }
    }

    /// The key of the agent's flow: a flow of another agent that has the same `UUID` has another.
    pub(super) fn key(&self, uuid: u64) -> FlowKey {
        FlowKey { watch: self.watch, uuid }
    }

    /// Makes room for a flow, or for its newest state, of about so many bytes; `false` when there
    /// is none.
    pub(super) fn admit(&mut self, uuid: u64, weight: usize) -> bool {
        let known = self.weights.get(&uuid).copied();
        let bytes = self.bytes - known.unwrap_or_default() + weight;
        if bytes > BYTES || (known.is_none() && self.weights.len() >= self.flows) {
            return false;
        }
        self.bytes = bytes;
        self.weights.insert(uuid, weight);
        true
    }

    /// Whether it is time to look which flows the store has no more: it is nearly full, and the
    /// last look is a while ago.
    pub(super) fn is_due(&mut self, now: Timestamp) -> bool {
        self.swept = self.swept.min(now);
        let full = self.weights.len() * 4 >= self.flows * 3 || self.bytes >= BYTES / 4 * 3;
        let due = full && now.since(self.swept) >= PAUSE;
        if due {
            self.swept = now;
        }
        due
    }

    /// All flows.
    pub(super) fn uuids(&self) -> Vec<u64> {
        self.weights.keys().copied().collect()
    }

    /// Forgets those of `uuids` that `store` has no more.
    pub(super) fn sweep(&mut self, uuids: &[u64], store: &FlowStore) {
        for uuid in uuids {
            if store.get(&self.key(*uuid)).is_none() {
                self.bytes -= self.weights.remove(uuid).unwrap_or_default();
            }
        }
    }
}

/// An agent has one part in so many of the store's flows.
const PART: usize = 4;

/// Bytes that all flows of an agent may take, about.
const BYTES: usize = 256 << 20;

/// Between two looks.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

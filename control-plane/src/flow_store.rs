//! The flows that queries see: live ones, and for a while those that ended.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use sonde_proto::flow::Flow;
use sonde_proto::record::WatchId;
use sonde_proto::time::Timestamp;

/// The store as the parts of the control plane share it. Sections are short and never await.
pub type SharedFlowStore = Arc<RwLock<FlowStore>>;

/// Flows by watch and UUID, at most `capacity` of them. Each is as its last record had it.
#[derive(Debug)]
pub struct FlowStore {
    flows: HashMap<FlowKey, Arc<Flow>>,
    /// Ended flows and when they leave, oldest first.
    ended: VecDeque<(Timestamp, FlowKey)>,
    capacity: usize,
    hold: Duration,
    refused: u64,
}

/// Names a flow in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The watch that metered it.
    pub watch: WatchId,
    /// Its `UUID` as a number.
    pub uuid: u64,
}

impl FlowStore {
    /// A store of `capacity` flows at most, in which an ended flow can be seen for `hold` more.
    pub fn new(capacity: usize, hold: Duration) -> Self {
        Self {
            flows: HashMap::new(),
            ended: VecDeque::new(),
            capacity,
            hold,
            refused: 0,
        }
    }

    /// Keeps the newest state of a flow. When the store is full the flow that ended first makes
    /// room; when none has ended, a new flow is refused and counted.
    pub fn put(&mut self, key: FlowKey, flow: Arc<Flow>, ended: bool, now: Timestamp) {
        if self.flows.len() >= self.capacity && !self.flows.contains_key(&key) {
            match self.ended.pop_front() {
                Some((_, oldest)) => {
                    self.flows.remove(&oldest);
                }
                None => {
                    self.refused += 1;
                    return;
                }
            }
        }
        self.flows.insert(key, flow);
        if ended {
            self.ended.push_back((now.after(self.hold), key));
        }
    }

    /// Lets go of the flows that ended longer ago than the hold time.
    pub fn expire(&mut self, now: Timestamp) {
        while let Some((_, key)) = self.ended.pop_front_if(|(leaves, _)| *leaves <= now) {
            self.flows.remove(&key);
        }
    }

    /// The flow of that key.
    pub fn get(&self, key: &FlowKey) -> Option<&Arc<Flow>> {
        self.flows.get(key)
    }

    /// All flows, in no order.
    pub fn flows(&self) -> impl Iterator<Item = &Arc<Flow>> {
        self.flows.values()
    }

    /// How many flows are kept.
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether no flow is kept.
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// New flows that found the store full.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

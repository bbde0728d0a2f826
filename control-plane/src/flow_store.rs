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
    flows: HashMap<FlowKey, Kept>,
    /// Ended flows and when they leave, oldest first. An entry that its flow does not confirm is
    /// stale: the flow was put again since.
    ended: VecDeque<(Timestamp, FlowKey)>,
    /// The same for flows of uploads, which stay for longer.
    uploaded: VecDeque<(Timestamp, FlowKey)>,
    capacity: usize,
    hold: Duration,
    refused: u64,
}

#[derive(Debug)]
struct Kept {
    flow: Arc<Flow>,
    /// When it leaves, once it has ended.
    leaves: Option<Timestamp>,
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
    /// A store of `capacity` flows at most, in which an ended flow can be seen for `hold` more, one
    /// of an upload for [`UPLOAD_HOLD`].
    pub fn new(capacity: usize, hold: Duration) -> Self {
        Self {
            flows: HashMap::new(),
            ended: VecDeque::new(),
            uploaded: VecDeque::new(),
            capacity,
            hold,
            refused: 0,
        }
    }

    /// Keeps the newest state of a flow. When the store is full the flow that ended first makes
    /// room; when none has ended, a new flow is refused and counted.
    pub fn put(&mut self, key: FlowKey, flow: Arc<Flow>, ended: bool, now: Timestamp) {
        if !self.flows.contains_key(&key) && !self.make_room() {
            self.refused += 1;
            return;
        }
        let (hold, queue) = match key.watch {
            WatchId::UPLOAD => (UPLOAD_HOLD, &mut self.uploaded),
            _ => (self.hold, &mut self.ended),
        };
        let leaves = ended.then(|| now.after(hold));
        if let Some(leaves) = leaves {
            queue.push_back((leaves, key));
        }
        self.flows.insert(key, Kept { flow, leaves });
    }

    /// Lets go of the flows that ended longer ago than the hold time.
    pub fn expire(&mut self, now: Timestamp) {
        while let Some((leaves, key)) = self.ended.pop_front_if(|(leaves, _)| *leaves <= now) {
            self.release(leaves, &key);
        }
        while let Some((leaves, key)) = self.uploaded.pop_front_if(|(leaves, _)| *leaves <= now) {
            self.release(leaves, &key);
        }
    }

    /// The flow of that key.
    pub fn get(&self, key: &FlowKey) -> Option<&Arc<Flow>> {
        self.flows.get(key).map(|kept| &kept.flow)
    }

    /// All flows, in no order.
    pub fn flows(&self) -> impl Iterator<Item = &Arc<Flow>> {
        self.flows.values().map(|kept| &kept.flow)
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

    /// Whether a flow more has its place, after ended ones left for it.
    fn make_room(&mut self) -> bool {
        while self.flows.len() >= self.capacity {
            let next = self.ended.pop_front().or_else(|| self.uploaded.pop_front());
            let Some((leaves, key)) = next else {
                return false;
            };
            self.release(leaves, &key);
        }
        true
    }

    /// Lets go of an ended flow, unless it was put again since.
    fn release(&mut self, leaves: Timestamp, key: &FlowKey) {
        let confirmed = |kept: &Kept| kept.leaves == Some(leaves);
        if self.flows.get(key).is_some_and(confirmed) {
            self.flows.remove(key);
        }
    }
}

/// How long the flows of an upload can be seen: they have all ended when the client begins to ask.
pub const UPLOAD_HOLD: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn key(uuid: u64) -> FlowKey {
        let watch = WatchId(1);
        FlowKey { watch, uuid }
    }

    fn put(store: &mut FlowStore, uuid: u64, ended: bool, seconds: u64) {
        store.put(key(uuid), Arc::new(Flow::default()), ended, at(seconds));
    }

    #[test]
    fn an_ended_flow_is_held_for_a_while() {
        let mut store = FlowStore::new(2, HOLD);
        put(&mut store, 1, true, 0);
        store.expire(at(9));
        assert_eq!(store.len(), 1);
        store.expire(at(10));
        assert!(store.is_empty());
    }

    #[test]
    fn the_flows_of_an_upload_are_held_for_longer() {
        let mut store = FlowStore::new(2, HOLD);
        let uploaded = FlowKey { watch: WatchId::UPLOAD, uuid: 1 };
        store.put(uploaded, Arc::new(Flow::default()), true, at(0));
        put(&mut store, 1, true, 0);
        store.expire(at(599));
        assert_eq!(store.len(), 1);
        put(&mut store, 2, false, 599);
        put(&mut store, 3, false, 599);
        assert_eq!((store.len(), store.refused()), (2, 0), "it makes room");
        put(&mut store, 2, true, 600);
        put(&mut store, 3, true, 600);
        store.put(uploaded, Arc::new(Flow::default()), true, at(600));
        store.expire(at(1200));
        assert!(store.is_empty());
    }

    #[test]
    fn the_flow_that_ended_first_makes_room() {
        let mut store = FlowStore::new(2, HOLD);
        put(&mut store, 1, false, 0);
        put(&mut store, 2, false, 0);
        put(&mut store, 3, false, 0);
        assert_eq!((store.len(), store.refused()), (2, 1));
        put(&mut store, 2, true, 1);
        put(&mut store, 3, false, 2);
        assert_eq!((store.len(), store.refused()), (2, 1));
        assert!(store.get(&key(2)).is_none());
    }

    #[test]
    fn a_flow_that_lives_again_stays() {
        let mut store = FlowStore::new(2, HOLD);
        put(&mut store, 1, true, 0);
        put(&mut store, 1, false, 1);
        store.expire(at(60));
        assert_eq!(store.len(), 1);
    }

    #[test]
    fn a_flow_that_ends_twice_counts_once() {
        let mut store = FlowStore::new(2, HOLD);
        put(&mut store, 1, true, 0);
        put(&mut store, 1, true, 1);
        for uuid in 2..10 {
            put(&mut store, uuid, true, 2);
            assert!(store.len() <= 2);
        }
    }
}

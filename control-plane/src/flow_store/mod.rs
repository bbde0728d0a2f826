//! The flows that queries see: live ones, and for a while those that ended.

mod shelf;
mod shelves;
mod walk;

use std::collections::VecDeque;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use sonde_proto::record::{FlowRecord, WatchId};
use sonde_proto::time::Timestamp;

pub use walk::{Flows, Row, Rows};

use crate::flow::LazyFlow;
use shelves::{Cursor, Shelves};

/// The store as the parts of the control plane share it. Sections are short and never await: who
/// looks at many flows goes from shelf to shelf with [`Flows`], so that ingest has its turn meanwhile.
pub type SharedFlowStore = Arc<RwLock<FlowStore>>;

/// Flows by watch and UUID, at most `capacity` of them. Each is as its last record had it.
///
/// A flow takes [`LazyFlow::SIZE`] bytes, with its headline and its place about 860 (the benches
/// `far_end` and `query` measure them), so a store of a million flows takes 0.86 GB, whoever looks at
/// them.
#[derive(Debug)]
pub struct FlowStore {
    flows: Shelves,
    /// Ended flows and when they leave, oldest first. An entry that its flow does not confirm is
    /// stale: the flow was put again since.
    ended: VecDeque<(Timestamp, FlowKey)>,
    /// The same for flows of uploads, which stay for longer.
    uploaded: VecDeque<(Timestamp, FlowKey)>,
    /// The flow that is looked at next for one whose end was lost.
    next: Cursor,
    capacity: usize,
    times: Times,
    counts: Counts,
    /// All flows are there that were put after.
    horizon: Timestamp,
}

/// Flows that the store lost, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records of new flows that found it full. A flow that goes on knocks once a record.
    pub refused: u64,
    /// Flows that had ended and left before their time, to make room.
    pub evicted: u64,
    /// Flows of which nobody spoke any more: their end was lost.
    pub forgotten: u64,
}

/// How long flows are alive, and how long they stay that nobody speaks of any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// After a flow ended.
    pub hold: Duration,
    /// Of a flow's own silence, in which it counts as alive (`flow.expire`).
    pub idle: Duration,
    /// After the last word of a flow that has not ended. Longer than any shard is silent of a flow
    /// it has, so that this is one whose end was lost.
    pub silence: Duration,
}

/// How long a flow stays.
#[derive(Clone, Copy, Debug)]
struct Stay {
    /// When it was put.
    at: Timestamp,
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

impl FlowKey {
    /// The key of a record's flow.
    pub fn of(record: &FlowRecord) -> Self {
        Self { watch: record.watch, uuid: record.uuid }
    }
}

impl FlowStore {
    /// A store of `capacity` flows at most. The flows of an upload are held for [`UPLOAD_HOLD`].
    pub fn new(capacity: usize, times: Times) -> Self {
        Self {
            flows: Shelves::new(capacity),
            ended: VecDeque::new(),
            uploaded: VecDeque::new(),
            next: Cursor::default(),
            capacity,
            times,
            counts: Counts::default(),
            horizon: Timestamp::default(),
        }
    }

    /// Keeps the newest state of a flow. When the store is full the flow that ended first makes
    /// room; when none has ended, a record of a new flow is refused and counted.
    pub fn put(&mut self, key: FlowKey, flow: impl Into<LazyFlow>, ended: bool, now: Timestamp) {
        let hold = match key.watch {
            WatchId::UPLOAD => UPLOAD_HOLD,
            _ => self.times.hold,
        };
        let leaves = ended.then(|| now.after(hold));
        if self.flows.len() >= self.capacity && self.get(&key).is_none() && !self.make_room() {
            self.counts.refused += 1;
            return;
        }
        self.flows.put(key, flow.into(), Stay { at: now, leaves });
        if let Some(leaves) = leaves {
            let queue = match key.watch {
                WatchId::UPLOAD => &mut self.uploaded,
                _ => &mut self.ended,
            };
            queue.push_back((leaves, key));
        }
    }

    /// Lets go of flows that ended longer ago than the hold time, and of some that have been silent
    /// too long; so many at a time that nobody waits for it. Called every few milliseconds.
    pub fn expire(&mut self, now: Timestamp) {
        self.horizon = self.horizon.min(now);
        // One that leaves later than a flow that ends now was put before the clock was set back.
        let latest = now.after(self.times.hold);
        let due = |(leaves, _): &mut (Timestamp, FlowKey)| *leaves <= now || *leaves > latest;
        for _ in 0..LEAVE {
            let Some((leaves, key)) = self.ended.pop_front_if(due) else { break };
            self.release(leaves, &key);
        }
        for _ in 0..LEAVE {
            let due = |(leaves, _): &mut (Timestamp, FlowKey)| *leaves <= now;
            let Some((leaves, key)) = self.uploaded.pop_front_if(due) else { break };
            self.release(leaves, &key);
        }
        self.forget_silent(now);
    }

    /// Looks at the next few flows, all of them in turn, however many there are.
    fn forget_silent(&mut self, now: Timestamp) {
        for _ in 0..LOOKS.min(self.flows.len()) {
            let Some((key, stay)) = self.flows.at(&mut self.next) else { return };
            // A clock that was set back starts the wait again.
            stay.at = stay.at.min(now);
            if stay.leaves.is_none() && now.since(stay.at) > self.times.silence {
                self.horizon = self.horizon.max(stay.at);
                let key = *key;
                // Another flow takes its place, and is looked at next.
                self.flows.remove(&key);
                self.counts.forgotten += 1;
            } else {
                self.next.advance();
            }
        }
    }

    /// The flow of that key.
    pub fn get(&self, key: &FlowKey) -> Option<&LazyFlow> {
        self.flows.flow(key)
    }

    /// How many flows are kept.
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// How many flows are kept at most.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether no flow is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Records of new flows that found the store full. A flow that goes on knocks once a record.
    pub fn refused(&self) -> u64 {
        self.counts.refused
    }

    /// What was lost so far, and why.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether a flow more has its place, after ended ones left for it.
    fn make_room(&mut self) -> bool {
        while self.flows.len() >= self.capacity {
            let next = self.ended.pop_front().or_else(|| self.uploaded.pop_front());
            let Some((leaves, key)) = next else {
                return false;
            };
            self.counts.evicted += u64::from(self.release(leaves, &key));
        }
        true
    }

    /// Lets go of an ended flow, unless it was put again since; whether it left.
    fn release(&mut self, leaves: Timestamp, key: &FlowKey) -> bool {
        let confirmed = |stay: &&Stay| stay.leaves == Some(leaves);
        let Some(stay) = self.flows.stay(key).filter(confirmed) else { return false };
        // Uploads tell of another time and place.
        if key.watch != WatchId::UPLOAD {
            self.horizon = self.horizon.max(stay.at);
        }
        self.flows.remove(key).is_some()
    }
}

/// How long the flows of an upload can be seen: they have all ended when the client begins to ask.
pub const UPLOAD_HOLD: Duration = Duration::from_secs(600);

/// Flows that are looked at in one call: a million is through in a minute at the most.
const LOOKS: usize = 1024;

/// Ended flows that leave in one call at most: a million a second, in milliseconds each time.
const LEAVE: usize = 16_384;

#[cfg(test)]
mod tests {
    use sonde_proto::flow::Flow;

    use super::*;

    const TIMES: Times = Times {
        hold: Duration::from_secs(10),
        idle: Duration::from_secs(90),
        silence: Duration::from_secs(100),
    };

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
        let mut store = FlowStore::new(2, TIMES);
        put(&mut store, 1, true, 0);
        store.expire(at(9));
        assert_eq!(store.len(), 1);
        store.expire(at(10));
        assert!(store.is_empty());
    }

    #[test]
    fn the_flows_of_an_upload_are_held_for_longer() {
        let mut store = FlowStore::new(2, TIMES);
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
        let mut store = FlowStore::new(2, TIMES);
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
    fn what_is_lost_is_counted_by_its_reason() {
        let mut store = FlowStore::new(2, TIMES);
        put(&mut store, 1, true, 0);
        put(&mut store, 1, true, 1);
        put(&mut store, 2, false, 1);
        put(&mut store, 3, false, 2);
        assert_eq!(store.counts(), Counts { evicted: 1, ..Counts::default() }, "1, once");
        put(&mut store, 4, false, 2);
        put(&mut store, 4, false, 2);
        assert_eq!((store.counts().refused, store.len()), (2, 2));
        store.expire(at(103));
        assert_eq!(store.counts(), Counts { refused: 2, evicted: 1, forgotten: 2 });
    }

    #[test]
    fn a_crowd_leaves_in_slices() {
        let mut store = FlowStore::new(100_000, TIMES);
        (0..50_000).for_each(|uuid| put(&mut store, uuid, true, 0));
        store.expire(at(10));
        assert_eq!(store.len(), 50_000 - LEAVE);
        (0..3).for_each(|_| store.expire(at(10)));
        assert_eq!((store.len(), store.counts()), (0, Counts::default()));
    }

    #[test]
    fn a_flow_that_lives_again_stays() {
        let mut store = FlowStore::new(2, TIMES);
        put(&mut store, 1, true, 0);
        put(&mut store, 1, false, 1);
        store.expire(at(60));
        assert_eq!(store.len(), 1);
    }

    #[test]
    fn a_flow_whose_end_is_lost_leaves_in_the_end() {
        let mut store = FlowStore::new(10_000, TIMES);
        (0..5_000).for_each(|uuid| put(&mut store, uuid, false, 0));
        (0..10).for_each(|uuid| put(&mut store, uuid, false, 1));
        store.expire(at(100));
        assert_eq!(store.len(), 5_000);
        store.expire(at(101));
        assert!(store.len() >= 5_000 - LOOKS, "not all at once");
        (0..10).for_each(|_| store.expire(at(101)));
        assert_eq!(store.len(), 10);
        (0..10).for_each(|uuid| assert!(store.get(&key(uuid)).is_some()));
        store.expire(at(102));
        assert!(store.is_empty());
    }

    #[test]
    fn a_clock_set_back_keeps_nothing_for_ever() {
        let mut store = FlowStore::new(10, TIMES);
        put(&mut store, 1, true, 1_000_000);
        put(&mut store, 2, false, 1_000_000);
        put(&mut store, 3, true, 5);
        store.expire(at(5));
        assert!(store.get(&key(1)).is_none() && store.len() == 2);
        store.expire(at(15));
        assert_eq!(store.len(), 1);
        store.expire(at(106));
        assert!(store.is_empty());
    }

    #[test]
    fn a_flow_that_ends_twice_counts_once() {
        let mut store = FlowStore::new(2, TIMES);
        put(&mut store, 1, true, 0);
        put(&mut store, 1, true, 1);
        for uuid in 2..10 {
            put(&mut store, uuid, true, 2);
            assert!(store.len() <= 2);
        }
    }
}

//! The flow stream: what subscribers and exporters see of the flows, in bulks.
//!
//! Publishing never waits: each subscriber has a queue of its own, bounded in messages and bytes,
//! that loses its oldest when it is full. A bulk is shared by all who receive it, and encoded once
//! for each form that anybody asks for.

mod encoding;
mod message;
mod queue;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sonde_proto::flow::Stats;
use sonde_proto::time::Timestamp;

pub use encoding::Encoding;
pub use message::{Message, Namespaces, Obj};
pub use queue::{QueueLimits, Subscriber};

use crate::flow::LazyFlow;
use queue::Queue;

/// Where ingest puts flows and subscribers take them. Clones are the same stream.
#[derive(Clone, Debug)]
pub struct FlowStream {
    inner: Arc<Inner>,
}

/// When a bulk is full. Skydive: 100 flows or 5 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BulkConfig {
    /// Flows in a bulk at most.
    pub flows: usize,
    /// The longest a flow waits for its bulk to fill.
    pub delay: Duration,
}

impl Default for BulkConfig {
    fn default() -> Self {
        Self { flows: 100, delay: Duration::from_secs(5) }
    }
}

/// What became of the messages so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamStatus {
    /// Subscribers now.
    pub subscribers: usize,
    /// Flows put into bulks while there were subscribers.
    pub flows: u64,
    /// Bulks that were full or due.
    pub bulks: u64,
    /// Messages that subscribers lost because they were slow, all subscribers that ever were.
    pub lost: u64,
    /// Flows in those messages, once for each subscriber that lost them.
    pub flows_lost: u64,
}

#[derive(Debug)]
struct Inner {
    bulk: BulkConfig,
    state: Mutex<State>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct State {
    subscribers: HashMap<u64, Arc<Queue>>,
    next_id: u64,
    pending: Vec<LazyFlow>,
    /// When the oldest pending flow came.
    since: Timestamp,
    flows: u64,
    bulks: u64,
    /// Flows lost by subscribers that left.
    flows_lost: u64,
    closed: bool,
}

impl FlowStream {
    /// A stream without subscribers.
    pub fn new(bulk: BulkConfig) -> Self {
        Self { inner: Arc::new(Inner { bulk, state: Mutex::default(), lost: Arc::default() }) }
    }

    /// Receives the messages of `namespaces` from now on, until the subscriber is dropped.
    pub fn subscribe(&self, namespaces: Namespaces, limits: QueueLimits) -> Subscriber {
        let queue = Arc::new(Queue::new(namespaces, limits, self.inner.lost.clone()));
        let mut state = self.inner.state();
        if state.closed {
            queue.close();
        }
        let id = state.next_id;
        state.next_id += 1;
        state.subscribers.insert(id, queue.clone());
        drop(state);
        let inner = self.inner.clone();
        Subscriber::new(queue, move || {
            let mut state = inner.state();
            if let Some(queue) = state.subscribers.remove(&id) {
                state.flows_lost += queue.flows_lost.load(Ordering::Relaxed);
            }
        })
    }

    /// Adds flows; bulks that fill up go out. `now` starts the clock of a new bulk.
    pub fn publish<F: Into<LazyFlow>>(&self, flows: impl IntoIterator<Item = F>, now: Timestamp) {
        let mut state = self.inner.state();
        if state.subscribers.is_empty() {
            return;
        }
        for flow in flows {
            if state.pending.is_empty() {
                state.since = now;
            }
            state.pending.push(flow.into());
            if state.pending.len() >= self.inner.bulk.flows {
                state.send_pending();
            }
        }
    }

    /// Sends the bulk that is due. Called every few milliseconds.
    pub fn tick(&self, now: Timestamp) {
        let mut state = self.inner.state();
        // A clock that was set back starts the wait again, it does not prolong it for ever.
        state.since = state.since.min(now);
        if now.since(state.since) >= self.inner.bulk.delay {
            state.send_pending();
        }
    }

    /// Sends statistics to those who subscribed to them.
    pub fn publish_stats(&self, stats: impl IntoIterator<Item = Stats>) {
        let state = self.inner.state();
        for stats in stats {
            let message = Arc::new(Message::new("stats".into(), Obj::Stats(stats)));
            for queue in state.subscribers.values().filter(|q| q.namespaces.stats) {
                queue.push(message.clone());
            }
        }
    }

    /// Sends what is pending, full or not.
    pub fn flush(&self) {
        self.inner.state().send_pending();
    }

    /// Sends what is pending and ends the stream: each subscriber receives what is in its queue,
    /// then `None`.
    pub fn close(&self) {
        let mut state = self.inner.state();
        state.send_pending();
        state.closed = true;
        for queue in state.subscribers.values() {
            queue.close();
        }
    }

    /// Whether anybody subscribed to statistics.
    pub fn wants_stats(&self) -> bool {
        let state = self.inner.state();
        state.subscribers.values().any(|q| q.namespaces.stats)
    }

    /// What became of the messages so far.
    pub fn status(&self) -> StreamStatus {
        let state = self.inner.state();
        let flows_lost = |queue: &Arc<Queue>| queue.flows_lost.load(Ordering::Relaxed);
        StreamStatus {
            flows_lost: state.flows_lost + state.subscribers.values().map(flows_lost).sum::<u64>(),
            subscribers: state.subscribers.len(),
            flows: state.flows,
            bulks: state.bulks,
            lost: self.inner.lost.load(Ordering::Relaxed),
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn send_pending(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let flows = std::mem::take(&mut self.pending);
        self.flows += flows.len() as u64;
        self.bulks += 1;
        for (capture, flows) in self.by_capture(&flows) {
            let message = Arc::new(Message::new(format!("flow/{capture}"), flows));
            for queue in self.subscribers.values() {
                if queue.namespaces.captures.contains(&capture) {
                    queue.push(message.clone());
                }
            }
        }
        if self.subscribers.values().any(|q| q.namespaces.flows) {
            let message = Arc::new(Message::new("flow".into(), flows));
            for queue in self.subscribers.values().filter(|q| q.namespaces.flows) {
                queue.push(message.clone());
            }
        }
    }

    /// The flows of each capture that somebody subscribed to and that has any.
    fn by_capture(&self, flows: &[LazyFlow]) -> HashMap<String, Vec<LazyFlow>> {
        let mut shares: HashMap<String, Vec<_>> = self
            .subscribers
            .values()
            .flat_map(|queue| &queue.namespaces.captures)
            .map(|capture| (capture.clone(), Vec::new()))
            .collect();
        if !shares.is_empty() {
            for flow in flows {
                if let Some(share) = shares.get_mut(flow.capture_id()) {
                    share.push(flow.clone());
                }
            }
            shares.retain(|_, share| !share.is_empty());
        }
        shares
    }
}

#[cfg(test)]
mod tests {
    use sonde_proto::flow::Flow;

    use super::*;

    const LIMITS: QueueLimits = QueueLimits { messages: 3, bytes: 1 << 20 };

    fn stream(flows: usize) -> FlowStream {
        FlowStream::new(BulkConfig { flows, delay: Duration::from_secs(5) })
    }

    fn flow(capture: &str, uuid: &str) -> Arc<Flow> {
        Arc::new(Flow { uuid: uuid.into(), capture_id: capture.into(), ..Flow::default() })
    }

    fn uuids(message: &Message) -> Vec<&str> {
        match message.obj() {
            Obj::Flows(flows) => flows.iter().map(|flow| flow.uuid.as_str()).collect(),
            Obj::Stats(_) => Vec::new(),
        }
    }

    #[tokio::test]
    async fn bulks_go_out_when_full_or_due() {
        let stream = stream(2);
        let mut all = stream.subscribe(Namespaces::parse(["flow"]), LIMITS);
        let start = Timestamp::from_millis(1_000_000);
        stream.publish(["1", "2", "3"].map(|id| flow("c", id)), start);
        assert_eq!(uuids(&all.next().await.unwrap()), ["1", "2"]);

        stream.tick(start.after(Duration::from_millis(4_999)));
        assert!(all.take().is_none());
        stream.tick(start.after(Duration::from_secs(5)));
        assert_eq!(uuids(&all.take().unwrap()), ["3"]);
        stream.tick(start.after(Duration::from_secs(50)));
        assert!(all.take().is_none(), "an empty bulk is not sent");
    }

    #[tokio::test]
    async fn a_clock_set_back_holds_no_bulk_for_ever() {
        let stream = stream(100);
        let mut all = stream.subscribe(Namespaces::parse(["flow"]), LIMITS);
        stream.publish([flow("c", "1")], Timestamp::from_millis(9_000_000));
        stream.tick(Timestamp::from_millis(1_000));
        assert!(all.take().is_none());
        stream.tick(Timestamp::from_millis(6_000));
        assert_eq!(uuids(&all.take().unwrap()), ["1"]);
    }

    #[tokio::test]
    async fn a_capture_has_a_namespace_of_its_own() {
        let stream = stream(3);
        let mut wild = stream.subscribe(Namespaces::parse(["*", "flow/x"]), LIMITS);
        let mut x = stream.subscribe(Namespaces::parse(["flow/x"]), LIMITS);
        let mut z = stream.subscribe(Namespaces::parse(["flow/z"]), LIMITS);
        let flows = [flow("x", "1"), flow("y", "2"), flow("x", "3")];
        stream.publish(flows, Timestamp::default());

        let message = x.take().unwrap();
        assert_eq!(message.namespace(), "flow/x");
        assert_eq!(uuids(&message), ["1", "3"]);
        assert!(x.take().is_none() && z.take().is_none());
        let message = wild.take().unwrap();
        assert_eq!(message.namespace(), "flow");
        assert_eq!(uuids(&message), ["1", "2", "3"]);
        assert!(wild.take().is_none(), "each flow once");
    }

    #[tokio::test]
    async fn statistics_go_to_those_who_asked() {
        let stream = stream(1);
        let mut plain = stream.subscribe(Namespaces::parse([]), LIMITS);
        assert!(!stream.wants_stats());
        let mut stats = stream.subscribe(Namespaces::parse(["stats"]), LIMITS);
        assert!(stream.wants_stats());
        stream.publish_stats([Stats { flow_count: 7, ..Stats::default() }]);
        stream.publish([flow("c", "1")], Timestamp::default());
        assert!(matches!(stats.take().unwrap().obj(), Obj::Stats(stats) if stats.flow_count == 7));
        assert!(stats.take().is_none());
        assert_eq!(uuids(&plain.take().unwrap()), ["1"]);
        assert!(plain.take().is_none());
    }

    #[tokio::test]
    async fn a_slow_subscriber_loses_the_oldest_and_nobody_else_does() {
        let stream = stream(1);
        let mut slow = stream.subscribe(Namespaces::parse(["flow"]), LIMITS);
        let mut quick = stream.subscribe(Namespaces::parse(["flow"]), LIMITS);
        for id in ["1", "2", "3", "4", "5"] {
            stream.publish([flow("c", id)], Timestamp::default());
            assert_eq!(uuids(&quick.take().unwrap()), [id]);
        }
        assert_eq!((slow.lost(), quick.lost()), (2, 0));
        assert_eq!(uuids(&slow.take().unwrap()), ["3"]);
        assert_eq!(stream.status().lost, 2);
    }

    #[tokio::test]
    async fn flows_that_subscribers_lost_are_counted_when_they_left_too() {
        let stream = stream(2);
        let all = Namespaces::parse(["flow"]);
        let (slow, slower) = (stream.subscribe(all.clone(), LIMITS), stream.subscribe(all, LIMITS));
        (0..10).for_each(|_| stream.publish([flow("c", "1")], Timestamp::default()));
        assert_eq!((stream.status().lost, stream.status().flows_lost), (4, 8));
        drop(slow);
        assert_eq!((stream.status().lost, stream.status().flows_lost), (4, 8));
        drop(slower);
        assert_eq!((stream.status().lost, stream.status().flows_lost), (4, 8));
    }

    #[tokio::test]
    async fn leaving_ends_nobody_elses_subscription() {
        let stream = stream(1);
        let leaves = stream.subscribe(Namespaces::parse(["flow"]), LIMITS);
        let mut stays = stream.subscribe(Namespaces::parse(["flow"]), LIMITS);
        drop(leaves);
        assert_eq!(stream.status().subscribers, 1);
        stream.publish([flow("c", "1")], Timestamp::default());
        assert_eq!(uuids(&stays.take().unwrap()), ["1"]);
    }

    #[tokio::test]
    async fn closing_delivers_what_is_pending_first() {
        let stream = stream(100);
        let mut all = stream.subscribe(Namespaces::parse(["flow"]), LIMITS);
        stream.publish([flow("c", "1")], Timestamp::default());
        stream.close();
        assert_eq!(uuids(&all.next().await.unwrap()), ["1"]);
        assert!(all.next().await.is_none());
        let mut late = stream.subscribe(Namespaces::parse(["flow"]), LIMITS);
        assert!(late.next().await.is_none());
    }
}

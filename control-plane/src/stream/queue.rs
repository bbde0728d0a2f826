//! A subscriber's queue: bounded, never waited for.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::message::{Message, Namespaces};

/// How much a slow subscriber may lag behind. One message is kept however large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Messages that wait at most.
    pub messages: usize,
    /// Sum of their [`Message::weight`] at most.
    pub bytes: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { messages: 10_000, bytes: 64 << 20 }
    }
}

/// The receiving end of the stream. Dropping it ends the subscription.
pub struct Subscriber {
    queue: Arc<Queue>,
    leave: Option<Box<dyn FnOnce() + Send>>,
}

impl Subscriber {
    pub(super) fn new(queue: Arc<Queue>, leave: impl FnOnce() + Send + 'static) -> Self {
        Self { queue, leave: Some(Box::new(leave)) }
    }

    /// The oldest message that waits; `None` when the stream is closed and all were taken.
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Arc<Message>> {
        loop {
            let pushed = self.queue.pushed.notified();
            {
                let mut waiting = self.queue.waiting();
                if let Some(message) = waiting.pop() {
                    return Some(message);
                }
                if waiting.closed {
                    return None;
                }
            }
            pushed.await;
        }
    }

    /// The oldest message, if one waits.
    pub fn take(&mut self) -> Option<Arc<Message>> {
        self.queue.waiting().pop()
    }

    /// Messages that were lost because this subscriber was slow.
    pub fn lost(&self) -> u64 {
        self.queue.lost.load(Ordering::Relaxed)
    }

    /// Flows in those messages.
    pub fn flows_lost(&self) -> u64 {
        self.queue.flows_lost.load(Ordering::Relaxed)
    }

    /// Whether it asked to be told of what it lost.
    pub fn wants_losses(&self) -> bool {
        self.queue.namespaces.loss
    }

    /// The counter behind [`Self::lost`], for those who show it elsewhere.
    pub fn lost_counter(&self) -> Arc<AtomicU64> {
        self.queue.lost.clone()
    }
}

impl std::fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Subscriber").field(&self.queue).finish()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        if let Some(leave) = self.leave.take() {
            leave();
        }
    }
}

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) namespaces: Namespaces,
    limits: QueueLimits,
    waiting: Mutex<Waiting>,
    pushed: Notify,
    lost: Arc<AtomicU64>,
    /// Flows in the messages lost.
    pub(super) flows_lost: AtomicU64,
    /// What all queues of the stream lost together.
    lost_by_all: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Arc<Message>>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    pub(super) fn new(
        namespaces: Namespaces,
        limits: QueueLimits,
        lost_by_all: Arc<AtomicU64>,
    ) -> Self {
        Self {
            namespaces,
            limits,
            waiting: Mutex::default(),
            pushed: Notify::new(),
            lost: Arc::default(),
            flows_lost: AtomicU64::new(0),
            lost_by_all,
        }
    }

    pub(super) fn push(&self, message: Arc<Message>) {
        let mut waiting = self.waiting();
        waiting.bytes += message.weight();
        waiting.messages.push_back(message);
        let (mut lost, mut flows) = (0, 0);
        while waiting.messages.len() > 1 && waiting.exceeds(self.limits) {
            flows += waiting.pop().map_or(0, |message| message.flows() as u64);
            lost += 1;
        }
        drop(waiting);
        if lost > 0 {
            self.lost.fetch_add(lost, Ordering::Relaxed);
            self.flows_lost.fetch_add(flows, Ordering::Relaxed);
            self.lost_by_all.fetch_add(lost, Ordering::Relaxed);
        }
        self.pushed.notify_one();
    }

    pub(super) fn close(&self) {
        self.waiting().closed = true;
        self.pushed.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn pop(&mut self) -> Option<Arc<Message>> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.weight();
        Some(message)
    }

    fn exceeds(&self, limits: QueueLimits) -> bool {
        self.messages.len() > limits.messages || self.bytes > limits.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::Obj;
    use super::*;

    fn message() -> Arc<Message> {
        let flow = Arc::new(sonde_proto::flow::Flow::default());
        Arc::new(Message::new("flow".into(), Obj::Flows(vec![flow])))
    }

    fn queue(limits: QueueLimits) -> Queue {
        Queue::new(Namespaces::parse(["flow"]), limits, Arc::default())
    }

    #[test]
    fn bytes_bound_the_queue_too() {
        let one = message().weight();
        let queue = queue(QueueLimits { messages: 100, bytes: one * 2 });
        for _ in 0..5 {
            queue.push(message());
        }
        assert_eq!(queue.waiting().messages.len(), 2);
        assert_eq!(queue.waiting().bytes, one * 2);
        assert_eq!(queue.lost.load(Ordering::Relaxed), 3);
        assert_eq!(queue.lost_by_all.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn one_message_fits_always() {
        let queue = queue(QueueLimits { messages: 0, bytes: 0 });
        queue.push(message());
        assert_eq!(queue.waiting().messages.len(), 1);
        queue.push(message());
        assert_eq!(queue.waiting().messages.len(), 1);
        assert_eq!(queue.lost.load(Ordering::Relaxed), 1);
    }
}

//! The flows of one agent, on their way to the store and the subscribers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sonde_proto::flow::FlowFinishType;
use tokio::task::yield_now;

use super::message::{AgentFlow, BadMessage, Message};
use super::share::Share;
use super::{Agents, Inner};
use crate::flow::LazyFlow;

/// Takes what a connected agent sends.
#[derive(Debug)]
pub(crate) struct Intake {
    agents: Agents,
    share: Arc<Mutex<Share>>,
    refused: Arc<AtomicU64>,
}

impl Intake {
    pub(super) fn new(agents: Agents, share: Arc<Mutex<Share>>) -> Self {
        Self { agents, share, refused: Arc::default() }
    }

    /// How many flows there was no room for, and messages that were none.
    pub(crate) fn refused(&self) -> Arc<AtomicU64> {
        self.refused.clone()
    }

    /// Takes a message in: its flows that have room in the agent's share. What stands before a
    /// fault was taken in.
    pub(crate) async fn take(&self, frame: &[u8]) -> Result<(), BadMessage> {
        let taken = self.try_take(frame).await;
        if taken.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
            self.inner().bad.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    async fn try_take(&self, frame: &[u8]) -> Result<(), BadMessage> {
        let Message { flows, stats } = Message::read(frame)?;
        self.sweep().await;
        for flows in flows.chunks(SLICE) {
            let flows: Result<Vec<_>, _> =
                flows.iter().map(|bytes| AgentFlow::read(bytes)).collect();
            self.keep(flows?);
            yield_now().await;
        }
        self.inner().stream.publish_stats(stats);
        Ok(())
    }

    fn keep(&self, flows: Vec<AgentFlow>) {
        let Inner { store, stream, clock, refused, .. } = self.inner();
        let now = clock.now();
        let mut kept = Vec::with_capacity(flows.len());
        {
            let mut share = self.share();
            let mut store = store.write().unwrap_or_else(PoisonError::into_inner);
            for AgentFlow { uuid, flow, elements } in flows {
                let ended = flow.finish_type() != FlowFinishType::NotFinished;
                let flow = LazyFlow::from(Arc::new(flow));
                if share.admit(uuid, flow.weight() + elements * ELEMENT) {
                    store.put(share.key(uuid), flow.clone(), ended, now);
                    kept.push(flow);
                } else {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        stream.publish(kept, now);
    }

    /// Makes room of flows that the store has no more, a few at a time.
    async fn sweep(&self) {
        let Inner { store, clock, .. } = self.inner();
        let uuids = {
            let mut share = self.share();
            if share.is_due(clock.now()) { share.uuids() } else { Vec::new() }
        };
        for uuids in uuids.chunks(SLICE) {
            {
                let mut share = self.share();
                share.sweep(uuids, &store.read().unwrap_or_else(PoisonError::into_inner));
            }
            yield_now().await;
        }
    }

    fn inner(&self) -> &Inner {
        &self.agents.0
    }

    fn share(&self) -> MutexGuard<'_, Share> {
        self.share.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Flows that are read, and put, at once, while others wait: a millisecond's work.
const SLICE: usize = 256;

/// Bytes of a DNS record or a packet, without its texts.
const ELEMENT: usize = 512;

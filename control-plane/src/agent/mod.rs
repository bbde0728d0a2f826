//! Skydive's agents, as far as they are more than publishers of topology: the flows that they
//! meter go the way of ours, and what is to be done on their nodes they are asked to do.

mod executor;
mod failures;
mod intake;
mod message;
mod orders;
mod share;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sonde_proto::record::WatchId;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::flow_store::SharedFlowStore;
use crate::stream::FlowStream;

pub(crate) use executor::{Executor, Line};
pub(crate) use failures::Failures;
pub(crate) use intake::Intake;
pub(crate) use orders::{Errand, Order, Orders, Outcome, Outcomes, Task, agent_of};

use share::Share;

/// All agents, connected or not. Clones are the same agents.
#[derive(Clone)]
pub struct Agents(Arc<Inner>);

struct Inner {
    store: SharedFlowStore,
    stream: FlowStream,
    clock: Clock,
    known: Mutex<Known>,
    orders: watch::Sender<Orders>,
    outcomes: Mutex<Outcomes>,
    /// Messages that were none, of all agents that ever were.
    bad: AtomicU64,
    /// Flows that an agent had no room for, the same.
    refused: AtomicU64,
    /// True once the daemon stops.
    stopped: watch::Sender<bool>,
}

/// The agents that have sent flows, by host id.
#[derive(Default)]
struct Known {
    shares: HashMap<String, Arc<Mutex<Share>>>,
    /// Agents that were ever given a share.
    count: u32,
}

impl Agents {
    /// No agent yet. Their flows go to `store` and `stream`.
    pub fn new(store: SharedFlowStore, stream: FlowStream, clock: Clock) -> Self {
        let (known, outcomes, bad, refused) = Default::default();
        let (orders, stopped) = (watch::Sender::default(), watch::Sender::new(false));
        let inner = Inner { store, stream, clock, known, orders, outcomes, bad, refused, stopped };
        Self(Arc::new(inner))
    }

    /// Messages that were none and flows that there was no room for, of all agents that ever were.
    pub fn refused(&self) -> (u64, u64) {
        (self.0.bad.load(Ordering::Relaxed), self.0.refused.load(Ordering::Relaxed))
    }

    /// Ends the connections of agents that send flows.
    pub fn close(&self) {
        self.0.stopped.send_replace(true);
    }

    /// Waits for [`close`](Self::close).
    pub(crate) fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stopped = self.0.stopped.subscribe();
        async move { _ = stopped.wait_for(|stopped| *stopped).await }
    }

    /// Where the flows go of the agent on that host.
    pub(crate) fn intake(&self, host: &str) -> Intake {
        Intake::new(self.clone(), self.share(host))
    }

    /// Who has the agent on that host do what it shall.
    pub(crate) fn executor(&self, host: &str) -> Executor {
        Executor::new(self.clone(), host, PATIENCE)
    }

    /// Tells agents all that they shall do of one task. The same again changes nothing.
    pub(crate) fn order(&self, task: Task, orders: &Orders) {
        self.0.orders.send_if_modified(|known| {
            let of_task = known.iter().filter(|(errand, _)| errand.task == task);
            if of_task.eq(orders) {
                return false;
            }
            known.retain(|errand, _| errand.task != task);
            known.extend(orders.clone());
            true
        });
        // What was begun once and is over has no agent's executor to forget it.
        let orders = self.0.orders.borrow();
        self.outcomes_mut().retain(|errand, _| orders.contains_key(errand));
    }

    /// What came of it: of lasting tasks, where their agents are connected.
    pub(crate) fn outcomes(&self) -> Outcomes {
        self.outcomes_mut().clone()
    }

    fn outcomes_mut(&self) -> MutexGuard<'_, Outcomes> {
        self.0.outcomes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The share of an agent: the same when it comes back, so that its flows are the same too.
    fn share(&self, host: &str) -> Arc<Mutex<Share>> {
        let capacity = self.0.store.read().unwrap_or_else(PoisonError::into_inner).capacity();
        let known = &mut *self.known();
        if let Some(share) = known.shares.get(host) {
            return share.clone();
        }
        if known.shares.len() >= REMEMBERED {
            known.shares.retain(|_, share| Arc::strong_count(share) > 1);
        }
        known.count += 1;
        let watch = WatchId(WatchId::UPLOAD.0.saturating_sub(known.count));
        let share = Arc::new(Mutex::new(Share::new(watch, capacity)));
        known.shares.insert(host.to_owned(), share.clone());
        share
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Agents {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Agents").field("known", &self.known().shares.len()).finish()
    }
}

/// How long an agent may take to answer. Skydive: 10 s.
const PATIENCE: Duration = Duration::from_secs(10);

/// Agents whose share is kept while they are away.
const REMEMBERED: usize = 1024;

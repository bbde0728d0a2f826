//! The seam to the data plane: drains the rings into the flow store and the flow stream, and
//! hands plans down.

mod drain;
mod lag;
mod ledger;
mod name;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sonde_proto::plan::{Plan, Point};
use sonde_proto::record::WatchId;
use sonde_proto::report::{Books, Lost};
use sonde_proto::ring::{Rings, Strain};
use sonde_proto::time::Timestamp;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::flow_store::SharedFlowStore;
use crate::mirror::Mirror;
use crate::stream::FlowStream;

pub use crate::flow::Watched;
pub use ledger::{QueueStatus, WatchTotals};
pub use name::{Names, TidOfMac};

use drain::Drain;
use ledger::Ledger;

/// The desired state of all captures: what the data plane gets, and what records mean.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// For the lcores. `revision` and `sweep` are filled in by ingest.
    pub plan: Plan,
    /// For the records that come back, every watch of the plan.
    pub watched: HashMap<WatchId, Arc<Watched>>,
    /// For the frames that come back, the watches that are mirrored.
    pub mirrors: HashMap<WatchId, Mirror>,
}

/// Starts the task that drains `rings`. It ends when the last handle is dropped.
///
/// `clock` is the time of day: it says when an ended flow leaves the store and when a bulk is due.
pub fn start(
    rings: Rings,
    store: SharedFlowStore,
    stream: FlowStream,
    names: Names,
    clock: impl Fn() -> Timestamp + Send + 'static,
) -> Lcores {
    let shared = Arc::<Shared>::default();
    let (wake, woken) = watch::channel(());
    let (tell, progress) = watch::channel(Progress::default());
    let drain = Drain::new(rings, store, stream, names, clock, shared.clone());
    tokio::spawn(drain.run(woken, tell));
    Lcores { shared, wake: Arc::new(wake), progress }
}

/// The handle to all lcores: what they shall do, and what they say of themselves.
#[derive(Clone, Debug)]
pub struct Lcores {
    shared: Arc<Shared>,
    wake: Arc<watch::Sender<()>>,
    progress: watch::Receiver<Progress>,
}

impl Lcores {
    /// Hands the data plane a new desired state. The newest wins; the same one again changes
    /// nothing. Watches that leave are still understood while their last flows come in.
    pub fn follow(&self, desired: Desired) {
        self.shared.state().follow(desired);
        self.wake.send_replace(());
    }

    /// Makes the flow store current: sweeps the shards, and waits until every open ring has
    /// reported all that changed before the call. `false` when `limit` was over first.
    ///
    /// Callers that come while a sweep runs share the next one.
    pub async fn refresh(&self, limit: Duration) -> bool {
        let sweep = self.shared.state().want_sweep();
        self.wake.send_replace(());
        self.reached(limit, |progress| progress.answered >= sweep).await
    }

    /// Waits until the data plane has closed all rings and all that was in them is in the store.
    /// `false` when `limit` was over first.
    pub async fn closed(&self, limit: Duration) -> bool {
        // The drain that runs now may have passed a ring already that was not closed then.
        let drains = self.progress.borrow().drains + 2;
        self.wake.send_replace(());
        self.reached(limit, |progress| progress.drains >= drains && progress.open == 0).await
    }

    /// Each queue, as its newest report had it; of the closed ones the most recent.
    pub fn status(&self) -> Vec<QueueStatus> {
        self.shared.state().ledger.status()
    }

    /// The books of all queues together, those included that were closed.
    pub fn totals(&self) -> Books {
        self.shared.state().ledger.totals()
    }

    /// Enters what a point lost since it was opened, where its queues cannot say: all queues of a
    /// DPDK port share its counters, which are read beside the lcores.
    pub fn lost(&self, point: Point, lost: Lost) {
        self.shared.state().ledger.lost(point, lost);
    }

    /// Packets that captures wanted whole and that were lost for want of room, on their way or here.
    pub fn packets_lost(&self) -> u64 {
        let state = self.shared.state();
        let lost = state.ledger.watches().values().map(|totals| totals.copies_lost).sum::<u64>();
        state.packets_lost + lost
    }

    /// What became of rings that were drained too late.
    pub fn strain(&self) -> Strain {
        self.shared.state().strain
    }

    /// The longest that a record can have waited between its ring and the store: of the newest
    /// drain that found any, and ever.
    pub fn lag(&self) -> (Duration, Duration) {
        self.shared.state().lag
    }

    /// State and counters of each watch, over all lcores. A watch that nobody reported yet is
    /// absent.
    pub fn watches(&self) -> HashMap<WatchId, WatchTotals> {
        self.shared.state().ledger.watches()
    }

    async fn reached(&self, limit: Duration, goal: impl FnMut(&Progress) -> bool) -> bool {
        let mut progress = self.progress.clone();
        timeout(limit, progress.wait_for(goal)).await.is_ok_and(|reached| reached.is_ok())
    }
}

/// How far the drain is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    /// The last sweep that every ring open at that moment answered.
    answered: u64,
    /// Rings that are open.
    open: usize,
    /// Drains so far.
    drains: u64,
}

/// What the handles and the task share. Sections are short and never await.
#[derive(Debug, Default)]
struct Shared(Mutex<State>);

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct State {
    /// The newest plan; its sweep is the one that is under way.
    plan: Arc<Plan>,
    /// Whether the lcores have to be handed `plan`.
    fresh: bool,
    /// The newest sweep that somebody waits for, at most one above `plan.sweep`.
    wanted: u64,
    /// The watches of the plan.
    planned: HashMap<WatchId, Arc<Watched>>,
    /// Watches that left the plan, oldest first.
    left: VecDeque<(WatchId, Arc<Watched>)>,
    /// Both together.
    watched: Arc<HashMap<WatchId, Arc<Watched>>>,
    mirrors: Arc<HashMap<WatchId, Mirror>>,
    ledger: Ledger,
    /// Packets that there was no room to keep.
    packets_lost: u64,
    strain: Strain,
    /// The newest lag, and the longest ever.
    lag: (Duration, Duration),
}

impl State {
    fn follow(&mut self, desired: Desired) {
        if desired.plan.points != self.plan.points {
            self.plan = Arc::new(Plan {
                revision: self.plan.revision + 1,
                sweep: self.plan.sweep,
                points: desired.plan.points,
            });
            self.fresh = true;
        }
        self.mirrors = Arc::new(desired.mirrors);
        let mut watched = desired.watched;
        for (id, known) in &self.planned {
            if !watched.contains_key(id) {
                self.left.push_back((*id, known.clone()));
            }
        }
        let surplus = self.left.len().saturating_sub(REMEMBERED);
        self.left.drain(..surplus);
        self.planned.clone_from(&watched);
        for (id, known) in &self.left {
            watched.entry(*id).or_insert_with(|| known.clone());
        }
        self.ledger.retain(|watch| watched.contains_key(&watch));
        self.watched = Arc::new(watched);
    }

    /// What was counted of each watch of the plan, and of those that left it and have flows yet.
    fn tables(&self) -> Vec<(Arc<Watched>, WatchTotals)> {
        let counted = self.ledger.watches().into_iter();
        let lasting =
            counted.filter(|(id, totals)| totals.flows > 0 || self.planned.contains_key(id));
        lasting.filter_map(|(id, totals)| Some((self.watched.get(&id)?.clone(), totals))).collect()
    }

    /// The number of a sweep that no lcore has begun yet.
    fn want_sweep(&mut self) -> u64 {
        self.wanted = self.plan.sweep + 1;
        self.wanted
    }

    /// The plan to hand down, if there is news. The next sweep waits for `free`: one that came on
    /// top of another would keep both from ever ending.
    fn news(&mut self, free: bool) -> Option<Arc<Plan>> {
        if free && self.wanted > self.plan.sweep {
            Arc::make_mut(&mut self.plan).sweep = self.wanted;
            self.fresh = true;
        }
        std::mem::take(&mut self.fresh).then(|| self.plan.clone())
    }
}

/// Watches that left the plan and are still understood.
const REMEMBERED: usize = 4096;

#[cfg(test)]
mod tests;

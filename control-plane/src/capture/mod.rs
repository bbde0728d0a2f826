//! Captures: which nodes are watched, and how. They come by REST or with the start of the daemon,
//! are kept in the state file, and become the data plane's plan whenever they or the graph change.

mod kind;
mod listen;
mod mirrored;
mod mirrors;
mod place;
mod remote;
mod running;
mod shown;
mod target;
mod validate;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sonde_proto::capture::Capture;
use sonde_proto::graph::Node;
use sonde_proto::plan::{KeyMode, Plan};
use sonde_proto::status::MirrorStatus;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::agent::{Agents, Outcome, Task};
use crate::announced::Announced;
use crate::asker::Asker;
use crate::export::Exports;
use crate::graph::{Graph, Topology};
use crate::ingest::Lcores;
use crate::notice::Notices;
use crate::resource::{ResourceError, Resources};
use crate::store::{Store, StoreError};

pub use kind::Kind;
pub use listen::ListenConfig;
pub(crate) use place::point;
pub use validate::Runnable;

use mirrors::Mirrors;
use remote::Remote;
use running::{Run, Running};
use shown::{Counted, Shown};

/// All captures. Clones are the same captures.
///
/// Every call may wait for the disk, for DNS or for a query: async code calls from a blocking
/// thread.
#[derive(Clone, Debug)]
pub struct Captures(Arc<Inner>);

/// What captures work on.
#[derive(Clone, Debug)]
pub struct CapturesConfig {
    /// The host whose nodes are captured.
    pub host: String,
    /// `LayerKeyMode` of captures that name none.
    pub key_mode: KeyMode,
    /// Where `pcapsocket` captures listen.
    pub listen: ListenConfig,
    /// Where the nodes are.
    pub asker: Asker,
    /// Who does what captures ask for.
    pub lcores: Lcores,
    /// Who sends flows to the targets of captures.
    pub exports: Exports,
    /// Who does it on nodes of other hosts.
    pub agents: Agents,
    /// Where it is told what becomes of captures.
    pub notices: Notices,
}

#[derive(Debug)]
struct Inner {
    config: CapturesConfig,
    resources: Resources<Capture>,
    /// Who sends their frames to their targets.
    mirrors: Mirrors,
    book: Mutex<Book>,
}

#[derive(Debug)]
struct Book {
    running: Running,
    remote: Remote,
    shown: Shown,
    announced: Announced<Capture>,
    /// What the lcores were last told.
    told: Plan,
}

impl Captures {
    /// Takes up the captures that `store` keeps.
    pub fn open(config: CapturesConfig, store: &Store) -> Result<Self, StoreError> {
        let resources = Resources::open(store, config.asker.clock.clone(), config.key_mode)?;
        let book = Book {
            running: Running::new(config.host.clone(), config.listen.clone()),
            remote: Remote::default(),
            shown: Shown::default(),
            announced: Announced::new(NAMESPACE, config.notices.clone()),
            told: Plan::default(),
        };
        let (mirrors, book) = (Mirrors::default(), Mutex::new(book));
        let captures = Self(Arc::new(Inner { config, resources, mirrors, book }));
        captures.reconcile();
        captures.announce();
        Ok(captures)
    }

    /// Adds a capture under a new UUID, for `ttl` or until it is deleted. It is kept, and the
    /// lcores are told, when this returns.
    pub fn create(
        &self,
        capture: Capture,
        ttl: Option<Duration>,
    ) -> Result<Capture, ResourceError> {
        let entry = self.0.resources.create(capture, ttl)?;
        self.reconcile();
        self.announce();
        Ok(entry.resource.clone())
    }

    /// The captures as they are kept, without their `Count`.
    pub fn resources(&self) -> &Resources<Capture> {
        &self.0.resources
    }

    /// Who sends their flows to their targets.
    pub fn exports(&self) -> &Exports {
        &self.0.config.exports
    }

    /// Creates the capture that the configuration asks for, unless it is there already.
    pub fn start_up(&self, capture: Capture) -> Result<(), ResourceError> {
        match self.create(capture, None) {
            Ok(_) | Err(ResourceError::Duplicate) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Deletes a capture: its flows end. `false` when there is none of that ID.
    pub fn delete(&self, id: &str) -> Result<bool, StoreError> {
        let known = self.0.resources.delete(id)?;
        if known {
            self.reconcile();
            self.show();
            self.announce();
        }
        Ok(known)
    }

    /// All captures by ID, each with its `Count`: as many nodes show that it is active.
    pub fn list(&self) -> BTreeMap<String, Capture> {
        self.listed(&self.book())
    }

    /// What became of the frames of captures that are mirrored, by `UUID`.
    pub fn mirrors(&self) -> BTreeMap<String, MirrorStatus> {
        self.0.mirrors.status()
    }

    /// Frames that mirrors lost.
    pub fn mirrors_lost(&self) -> u64 {
        self.0.mirrors.lost()
    }

    /// Follows the graph and the counters until it is dropped.
    pub async fn run(self) {
        let mut events = self.0.config.asker.look(Graph::subscribe);
        let mut second = interval(REFRESH);
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // What changed before the subscription.
        self.aside(Self::reconcile).await;
        loop {
            tokio::select! {
                event = events.recv() => {
                    if matches!(event, Err(RecvError::Closed)) {
                        return;
                    }
                    // Changes come in crowds; the captures look once at each crowd.
                    sleep(DEBOUNCE).await;
                    events = events.resubscribe();
                    self.aside(Self::reconcile).await;
                }
                _ = second.tick() => self.aside(Self::tick).await,
            }
        }
    }

    /// Runs what may block where it stops nobody.
    async fn aside(&self, work: fn(&Self)) {
        let captures = self.clone();
        if let Err(error) = spawn_blocking(move || work(&captures)).await {
            tracing::error!(%error, "captures");
        }
    }

    fn tick(&self) {
        let expired = self.0.resources.expire().unwrap_or_else(|error| {
            tracing::error!(%error, "captures whose time is over stay");
            false
        });
        self.0.mirrors.try_again();
        if self.make_way() || expired {
            self.reconcile();
        }
        self.show();
        self.announce();
    }

    /// Moves captures away from ports that other programs have; whether there was any.
    fn make_way(&self) -> bool {
        let counted = self.counted();
        let failed = |run: &Run| counted.failure(run).map(|error| error.kind());
        self.book().running.make_way(|run| failed(run) == Some(ErrorKind::AddrInUse))
    }

    /// Tells the lcores what the captures ask for now.
    fn reconcile(&self) {
        let Inner { config, resources, mirrors, .. } = &*self.0;
        let book = &mut *self.book();
        let (entries, graph) = (resources.entries(), &config.asker.look(Graph::snapshot));
        book.running.keep(|id| entries.contains_key(id), graph);
        config.exports.keep(|id| entries.contains_key(id));
        mirrors.keep(|id| entries.contains_key(id));
        book.remote.keep(|id| entries.contains_key(id), graph);
        for (id, entry) in entries.iter() {
            if let Some(runnable) = &entry.parsed {
                if let Some(export) = &runnable.export {
                    config.exports.start(id, export);
                }
                if let Some(target) = runnable.mirror {
                    mirrors.start(id, target);
                }
                let nodes = self.matches(id, runnable, graph);
                book.running.start(id, runnable, &nodes, graph);
                book.remote.start(&entry.resource, runnable, &nodes, &config.host);
            }
        }
        config.agents.order(Task::Capture, book.remote.orders());
        let mut desired =
            (book.running).desired(|id| entries.get(id).and_then(|entry| entry.parsed.as_ref()));
        if desired.plan != book.told {
            book.told = desired.plan.clone();
            config.exports.connect(&mut desired);
            mirrors.connect(&mut desired);
            config.lcores.follow(desired);
        }
    }

    /// Writes state and counters on the nodes.
    fn show(&self) {
        let Inner { config, resources, .. } = &*self.0;
        let counted = self.counted();
        let outcomes = config.agents.outcomes();
        let Book { running, remote, shown, .. } = &mut *self.book();
        let entries = resources.entries();
        let capture = |id: &str| entries.get(id).map(|entry| &entry.resource);
        let now = config.asker.clock.now();
        shown.update(running, capture, &counted, &config.asker.graph, now);
        remote.show(&outcomes, capture, &config.asker, now);
    }

    /// Tells subscribers what the captures are now.
    fn announce(&self) {
        let mut book = self.book();
        let captures = self.listed(&book);
        book.announced.update(captures);
    }

    fn listed(&self, book: &Book) -> BTreeMap<String, Capture> {
        let mut captures: BTreeMap<_, _> = (self.0.resources.entries().iter())
            .map(|(id, entry)| (id.clone(), entry.resource.clone()))
            .collect();
        for (pair, _) in book.running.pairs() {
            if let Some(capture) = captures.get_mut(&pair.capture) {
                capture.count += u64::from(book.shown.is_active(pair));
            }
        }
        for (errand, outcome) in self.0.config.agents.outcomes() {
            if let Some(capture) = captures.get_mut(&errand.resource) {
                capture.count += u64::from(outcome == Outcome::Begun);
            }
        }
        captures
    }

    /// The nodes that `runnable` asks for; none, and a line in the log, when its query fails.
    fn matches(&self, id: &str, runnable: &Runnable, graph: &Topology) -> Vec<Arc<Node>> {
        self.0.config.asker.nodes(&runnable.query, graph).unwrap_or_else(|error| {
            tracing::debug!(capture = id, %error, "query");
            Vec::new()
        })
    }

    fn counted(&self) -> Counted {
        let lcores = &self.0.config.lcores;
        Counted::new(lcores.watches(), &lcores.status())
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of the notices of captures.
const NAMESPACE: &str = "OnDemandCaptureNotification";

/// Time between two looks at the counters, as in Skydive.
const REFRESH: Duration = Duration::from_secs(1);

/// How long the first change of a crowd waits for the rest.
const DEBOUNCE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests;

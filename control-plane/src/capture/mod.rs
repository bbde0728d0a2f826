//! Captures: which nodes are watched, and how. They come by REST or with the start of the daemon,
//! are kept in a file, and become the data plane's plan whenever they or the graph change.

mod kind;
mod running;
mod shown;
mod store;
mod ttl;
mod validate;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sonde_proto::capture::Capture;
use sonde_proto::graph::Node;
use sonde_proto::plan::{KeyMode, Plan};
use sonde_proto::time::Timestamp;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, sleep};
use uuid::Uuid;

use crate::clock::Clock;
use crate::flow_store::{SharedFlowStore, Snapshot};
use crate::graph::{Graph, SharedGraph, Topology};
use crate::gremlin::{Answer, Limits};
use crate::ingest::Lcores;

pub use kind::Kind;
pub use store::StoreError;
pub use ttl::parse_duration;
pub use validate::Invalid;

use running::Running;
use shown::{Counted, Shown};
use store::{Store, Stored};
use validate::{Runnable, validate};

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
    /// Tells the time.
    pub clock: Clock,
    /// Where the nodes are.
    pub graph: SharedGraph,
    /// Queries may look at flows.
    pub flows: SharedFlowStore,
    /// Who does what captures ask for.
    pub lcores: Lcores,
}

#[derive(Debug)]
struct Inner {
    config: CapturesConfig,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    entries: BTreeMap<String, Entry>,
    running: Running,
    shown: Shown,
    /// What the lcores were last told.
    told: Plan,
    store: Option<Store>,
}

#[derive(Debug)]
struct Entry {
    capture: Capture,
    /// Absent when the capture was kept by an earlier run and is not valid any more.
    runnable: Option<Runnable>,
    expires: Option<Timestamp>,
}

/// Why a capture was refused.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// It breaks rules, one at least.
    #[error("{}", .0.iter().map(Invalid::to_string).collect::<Vec<_>>().join(", "))]
    Invalid(Vec<Invalid>),
    /// One that does the same is there already.
    #[error("duplicated resource")]
    Duplicate,
    /// There are [`MAX_CAPTURES`].
    #[error("there are {MAX_CAPTURES} captures already, delete some first")]
    TooMany,
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Captures {
    /// Takes up the captures kept in `directory`; without one, captures are forgotten at the end.
    pub fn open(config: CapturesConfig, directory: Option<&Path>) -> Result<Self, StoreError> {
        let mut book = Book::default();
        if let Some(directory) = directory {
            let store = Store::open(directory)?;
            for stored in store.load()? {
                book.entries
                    .insert(stored.capture.uuid.clone(), Entry::restored(stored, config.key_mode));
            }
            book.store = Some(store);
        }
        let captures = Self(Arc::new(Inner { config, book: Mutex::new(book) }));
        captures.expire()?;
        captures.reconcile();
        Ok(captures)
    }

    /// Adds a capture under a new UUID, for `ttl` or until it is deleted. It is kept, and the
    /// lcores are told, when this returns.
    pub fn create(
        &self,
        mut capture: Capture,
        ttl: Option<Duration>,
    ) -> Result<Capture, CaptureError> {
        // Looked at twice: the filter of one that has no place is not worth a question to DNS.
        if self.book().entries.len() >= MAX_CAPTURES {
            return Err(CaptureError::TooMany);
        }
        let runnable =
            validate(&mut capture, self.0.config.key_mode).map_err(CaptureError::Invalid)?;
        capture.uuid = Uuid::new_v4().to_string();
        capture.count = 0;
        let entry = Entry {
            capture: capture.clone(),
            runnable: Some(runnable),
            expires: ttl.map(|ttl| self.now().after(ttl)),
        };
        {
            let mut book = self.book();
            if book.entries.len() >= MAX_CAPTURES {
                return Err(CaptureError::TooMany);
            }
            if book.entries.values().any(|other| other.duplicates(&entry)) {
                return Err(CaptureError::Duplicate);
            }
            if let Some(store) = &book.store {
                store.put(&entry.stored())?;
            }
            book.entries.insert(capture.uuid.clone(), entry);
        }
        self.reconcile();
        Ok(capture)
    }

    /// Creates the capture that the configuration asks for, unless it is there already.
    pub fn start_up(&self, gremlin: &str, bpf: &str, kind: &str) -> Result<(), CaptureError> {
        let capture = Capture {
            gremlin_query: gremlin.to_owned(),
            bpf_filter: bpf.to_owned(),
            kind: kind.to_owned(),
            ..Capture::default()
        };
        match self.create(capture, None) {
            Ok(_) | Err(CaptureError::Duplicate) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Deletes a capture: its flows end. `false` when there is none of that ID.
    pub fn delete(&self, id: &str) -> Result<bool, StoreError> {
        let known = self.book().remove(&[id.to_owned()])?;
        if known {
            self.reconcile();
            self.show();
        }
        Ok(known)
    }

    /// The capture of that ID, with its `Count`.
    pub fn get(&self, id: &str) -> Option<Capture> {
        self.list().remove(id)
    }

    /// All captures by ID, each with its `Count`.
    pub fn list(&self) -> BTreeMap<String, Capture> {
        let counted = self.counted();
        let book = self.book();
        let mut captures: BTreeMap<_, _> =
            (book.entries.iter()).map(|(id, entry)| (id.clone(), entry.capture.clone())).collect();
        for (pair, run) in book.running.pairs() {
            if let Some(capture) = captures.get_mut(&pair.capture) {
                capture.count += u64::from(counted.is_active(run));
            }
        }
        captures
    }

    /// Follows the graph and the counters until it is dropped.
    pub async fn run(self) {
        let mut events = self.graph(Graph::subscribe);
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
        if let Err(error) = self.expire() {
            tracing::error!(%error, "captures whose time is over stay");
        }
        self.show();
    }

    /// Tells the lcores what the captures ask for now.
    fn reconcile(&self) {
        let config = &self.0.config;
        let book = &mut *self.book();
        let graph = &self.graph(Graph::snapshot);
        book.running.keep(|id| book.entries.contains_key(id), graph);
        for (id, entry) in &book.entries {
            if let Some(runnable) = &entry.runnable {
                let nodes = self.matches(id, runnable, graph);
                book.running.start(id, runnable, &nodes, graph, &config.host);
            }
        }
        let desired = (book.running)
            .desired(|id| book.entries.get(id).and_then(|entry| entry.runnable.as_ref()));
        if desired.plan != book.told {
            book.told = desired.plan.clone();
            config.lcores.follow(desired);
        }
    }

    /// Deletes the captures whose time is over.
    fn expire(&self) -> Result<(), StoreError> {
        let now = self.now();
        let mut book = self.book();
        let over: Vec<_> = (book.entries.iter())
            .filter(|(_, entry)| entry.expires.is_some_and(|expires| expires <= now))
            .map(|(id, _)| id.clone())
            .collect();
        let removed = book.remove(&over)?;
        drop(book);
        if removed {
            self.reconcile();
        }
        Ok(())
    }

    /// Writes state and counters on the nodes.
    fn show(&self) {
        let counted = self.counted();
        let Book { entries, running, shown, .. } = &mut *self.book();
        shown.update(
            running,
            |id| entries.get(id).map(|entry| &entry.capture),
            &counted,
            &self.0.config.graph,
            self.now(),
        );
    }

    /// The nodes that `runnable` asks for; none, and a line in the log, when its query fails.
    fn matches(&self, id: &str, runnable: &Runnable, graph: &Topology) -> Vec<Arc<Node>> {
        let Inner { config, .. } = &*self.0;
        let begun = self.now();
        let expired = || self.now().since(begun) > QUERY_TIME;
        let flows = match runnable.query.reads_flows() {
            true => Snapshot::of(&config.flows),
            false => Snapshot::default(),
        };
        match runnable.query.run(graph, &flows, &Limits::default(), &expired) {
            Ok(Answer::Nodes(nodes)) => nodes,
            // Every node of every path.
            Ok(Answer::Paths(paths)) => paths.concat(),
            Ok(_) => Vec::new(),
            Err(error) => {
                tracing::debug!(capture = id, %error, "query");
                Vec::new()
            }
        }
    }

    fn counted(&self) -> Counted {
        let lcores = &self.0.config.lcores;
        Counted::new(lcores.watches(), &lcores.status())
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn graph<T>(&self, look: impl FnOnce(&Graph) -> T) -> T {
        look(&self.0.config.graph.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn now(&self) -> Timestamp {
        self.0.config.clock.now()
    }
}

impl Book {
    /// Forgets those of `ids` that are there, on the disk first; whether there was any.
    fn remove(&mut self, ids: &[String]) -> Result<bool, StoreError> {
        let known = || ids.iter().filter(|id| self.entries.contains_key(*id));
        if known().next().is_none() {
            return Ok(false);
        }
        if let Some(store) = &self.store {
            store.remove(known().map(String::as_str))?;
        }
        for id in ids {
            self.entries.remove(id);
        }
        Ok(true)
    }
}

impl Entry {
    /// A capture of an earlier run. One that is not valid any more (a host in its filter that is
    /// not found, say) is kept and shown, but does not run.
    fn restored(stored: Stored, default_mode: KeyMode) -> Self {
        let mut capture = stored.capture;
        let runnable = validate(&mut capture, default_mode);
        if let Err(broken) = &runnable {
            let why = CaptureError::Invalid(broken.clone());
            tracing::warn!(capture = capture.uuid, %why, "a capture of before does not run");
        }
        Self {
            capture,
            runnable: runnable.ok(),
            expires: stored.expires.map(Timestamp::from_millis),
        }
    }

    fn stored(&self) -> Stored {
        Stored {
            capture: self.capture.clone(),
            expires: self.expires.map(|at| at.nanos() / 1_000_000),
        }
    }

    /// Skydive's rule: same type and query, and same filter unless the type allows for several.
    fn duplicates(&self, other: &Self) -> bool {
        let several = Kind::named(&self.capture.kind).is_none_or(Kind::several);
        self.capture.kind == other.capture.kind
            && self.capture.gremlin_query == other.capture.gremlin_query
            && (self.capture.bpf_filter == other.capture.bpf_filter || !several)
    }
}

/// More captures than this are refused: each has a filter to run and a table to keep.
pub const MAX_CAPTURES: usize = 1024;

/// Time between two looks at the counters, as in Skydive.
const REFRESH: Duration = Duration::from_secs(1);

/// How long the first change of a crowd waits for the rest.
const DEBOUNCE: Duration = Duration::from_millis(250);

/// What the query of a capture may take.
const QUERY_TIME: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;

//! Nodes and edges that clients add to the topology (Skydive API §2.8). They are kept in the state
//! file until they are deleted, their time is over, or a node goes that they were at.

mod kept;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sonde_proto::graph::{Edge, Metadata, Node};
use sonde_proto::time::Timestamp;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::clock::Clock;
use crate::graph::{Change, ELEMENTS, Event, Graph, GraphError, Kind, SharedGraph};
use crate::store::{Store, StoreError};

use kept::{Addition, Kept, KeptOf};

/// What clients added. Clones are the same. Calls wait for the disk and for the graph.
#[derive(Clone, Debug)]
pub struct Additions(Arc<Inner>);

/// A kind of element that clients add.
pub trait Added: Kind + Serialize + DeserializeOwned {
    #[doc(hidden)]
    fn kept(kept: &Kept) -> &KeptOf<Self>;

    #[doc(hidden)]
    fn kept_mut(kept: &mut Kept) -> &mut KeptOf<Self>;

    /// IDs of the kept edges that go with the elements of these IDs.
    #[doc(hidden)]
    fn edges_of(kept: &Kept, ids: &HashSet<&str>) -> Vec<String>;
}

/// Why an element is not added.
#[derive(Debug, thiserror::Error)]
pub enum AdditionError {
    /// The graph is as large as clients may make it.
    #[error("the graph has {ELEMENTS} nodes and edges already")]
    TooMany,
    /// The graph refuses it.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[doc(hidden)]
#[derive(Debug)]
pub struct Inner {
    graph: SharedGraph,
    clock: Clock,
    kept: Mutex<Kept>,
}

impl Additions {
    /// Puts what `store` keeps into the graph. Edges whose ends are not there wait for them.
    pub fn open(store: &Store, graph: SharedGraph, clock: Clock) -> Result<Self, StoreError> {
        let waits = clock.now().after(WAIT);
        let kept = Mutex::new(Kept::load(store, waits)?);
        let additions = Self(Arc::new(Inner { graph, clock, kept }));
        additions.expire()?;
        additions.enter::<Node>();
        additions.enter::<Edge>();
        Ok(additions)
    }

    /// Adds an element, for `ttl` or until it is deleted. It is kept when this returns.
    pub fn create<K: Added>(
        &self,
        element: K,
        ttl: Option<Duration>,
    ) -> Result<Arc<K>, AdditionError> {
        let now = self.now();
        let mut kept = self.kept();
        let kept = K::kept_mut(&mut kept);
        let element = self.edit(|graph| {
            if graph.len() >= ELEMENTS {
                return Err(AdditionError::TooMany);
            }
            Ok(graph.add(element, now)?)
        })?;
        let (id, expires) = (element.element().id.clone(), ttl.map(|ttl| now.after(ttl)));
        if let Err(error) = kept.table.put(&id, &element, expires) {
            self.edit(|graph| graph.delete::<K>(&id, now));
            return Err(error.into());
        }
        kept.entries.insert(id, Addition { element: element.clone(), expires, waits: None });
        Ok(element)
    }

    /// Lets `change` edit the metadata of the element of that ID, unless it is not the one that was
    /// `before` any more: then there is `None`. Of one that no client added nothing is kept.
    pub fn update<K: Added>(
        &self,
        id: &str,
        before: &Arc<K>,
        change: impl FnOnce(&mut Metadata),
    ) -> Result<Option<Arc<K>>, StoreError> {
        let mut kept = self.kept();
        let after = self.edit(|graph| {
            let there = K::all(graph).get(id).is_some_and(|there| Arc::ptr_eq(there, before));
            if there { graph.update::<K>(id, self.now(), change) } else { None }
        });
        if let Some(after) = &after {
            K::kept_mut(&mut kept).change(id, before.element(), after.element())?;
        }
        Ok(after)
    }

    /// Deletes an element, and with a node every edge at it. `false` when there is none of that ID.
    pub fn delete<K: Added>(&self, id: &str) -> Result<bool, StoreError> {
        self.remove::<K>(&mut self.kept(), id)
    }

    /// The same, while no other adds or deletes.
    fn remove<K: Added>(&self, kept: &mut Kept, id: &str) -> Result<bool, StoreError> {
        let was_kept = kept.forget::<K>(&[id.to_owned()])?;
        let deleted = self.edit(|graph| graph.delete::<K>(id, self.now())).is_some();
        Ok(was_kept || deleted)
    }

    /// Follows the graph and the time until it is dropped.
    pub async fn run(self) {
        let mut events = self.look(Graph::subscribe);
        let mut second = interval(EXPIRY);
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // What changed before the subscription.
        let mut due = Some(Instant::now());
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Ok(Event::Node(Change::Updated { .. }) | Event::Edge(Change::Updated { .. })) => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => {
                        // Changes come in crowds; one look at each crowd will do.
                        due.get_or_insert_with(|| Instant::now() + DEBOUNCE);
                    }
                    Err(RecvError::Closed) => return,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    due = None;
                    self.aside(Self::settle).await;
                }
                _ = second.tick() => self.aside(Self::expire).await,
            }
        }
    }

    /// Runs what may block where it stops nobody.
    async fn aside(&self, work: fn(&Self) -> Result<(), StoreError>) {
        let additions = self.clone();
        match spawn_blocking(move || work(&additions)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "nodes and edges of clients"),
            Err(error) => tracing::error!(%error, "nodes and edges of clients"),
        }
    }

    /// Forgets what is not in the graph any more, and adds the edges whose ends came.
    fn settle(&self) -> Result<(), StoreError> {
        self.sweep::<Edge>()?;
        self.sweep::<Node>()?;
        self.enter::<Node>();
        self.enter::<Edge>();
        Ok(())
    }

    fn sweep<K: Added>(&self) -> Result<(), StoreError> {
        let mut kept = self.kept();
        let graph = self.look(Graph::snapshot);
        let gone = K::kept(&kept).which(|addition| {
            addition.waits.is_none() && K::all(&graph).get(&addition.element.element().id).is_none()
        });
        kept.forget::<K>(&gone).map(drop)
    }

    /// Puts those into the graph that wait for it and that it takes.
    fn enter<K: Added>(&self) {
        let mut kept = self.kept();
        let waiting =
            K::kept_mut(&mut kept).entries.values_mut().filter(|addition| addition.waits.is_some());
        let graph = self.look(Graph::snapshot);
        let ready: Vec<_> =
            waiting.filter(|addition| addition.element.fits(&graph).is_ok()).collect();
        drop(graph);
        for addition in ready {
            let element = K::clone(&addition.element);
            if let Ok(element) = self.edit(|graph| graph.add(element, self.now())) {
                (addition.element, addition.waits) = (element, None);
            }
        }
    }

    /// Deletes what is over, and gives up what waited for too long.
    fn expire(&self) -> Result<(), StoreError> {
        self.expire_all::<Edge>()?;
        self.expire_all::<Node>()
    }

    fn expire_all<K: Added>(&self) -> Result<(), StoreError> {
        let now = self.now();
        let is_over = |end: Option<Timestamp>| end.is_some_and(|end| end <= now);
        let mut kept = self.kept();
        let vain = K::kept(&kept).which(|addition| {
            is_over(addition.waits) || addition.waits.is_some() && is_over(addition.expires)
        });
        kept.forget::<K>(&vain)?;
        let over = K::kept(&kept).which(|addition| is_over(addition.expires));
        over.iter().try_for_each(|id| self.remove::<K>(&mut kept, id).map(drop))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look<T>(&self, look: impl FnOnce(&Graph) -> T) -> T {
        look(&self.0.graph.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn edit<T>(&self, edit: impl FnOnce(&mut Graph) -> T) -> T {
        edit(&mut self.0.graph.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }
}

impl Added for Node {
    fn kept(kept: &Kept) -> &KeptOf<Self> {
        &kept.nodes
    }

    fn kept_mut(kept: &mut Kept) -> &mut KeptOf<Self> {
        &mut kept.nodes
    }

    /// Those at the nodes, in the graph or not yet.
    fn edges_of(kept: &Kept, ids: &HashSet<&str>) -> Vec<String> {
        kept.edges.which(|Addition { element, .. }| {
            ids.contains(&*element.parent) || ids.contains(&*element.child)
        })
    }
}

impl Added for Edge {
    fn kept(kept: &Kept) -> &KeptOf<Self> {
        &kept.edges
    }

    fn kept_mut(kept: &mut Kept) -> &mut KeptOf<Self> {
        &mut kept.edges
    }

    fn edges_of(_: &Kept, _: &HashSet<&str>) -> Vec<String> {
        Vec::new()
    }
}

/// How long edges of before wait for their ends. Those of interfaces never come: interfaces have
/// other IDs after a restart.
const WAIT: Duration = Duration::from_secs(24 * 3600);

/// Time between two looks for what is over.
const EXPIRY: Duration = Duration::from_secs(1);

/// How long the first change of a crowd waits for the rest.
const DEBOUNCE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests;

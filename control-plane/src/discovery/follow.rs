//! The task of a network namespace: hears the kernel, asks it for what changed, and starts over
//! when it cannot.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rtnetlink::packet_route::RouteNetlinkMessage;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, Interval, MissedTickBehavior, sleep_until};
use tracing::{debug, warn};

use super::ethtool::Ethtool;
use super::named;
use super::namespace::{Namespace, NetnsKey};
use super::namespaces::SharedNamespaces;
use super::netlink::{Change, Changes, Kernel, NetlinkError, Sockets, Tables};
use super::wants::Wants;

/// How a namespace is entered.
#[derive(Clone, Debug)]
pub(super) enum Entrance {
    /// The threads of the runtime are there.
    Here,
    /// By a thread that goes there.
    Into(Arc<File>),
}

/// Why a namespace cannot be followed.
#[derive(Debug, thiserror::Error)]
pub(super) enum FollowError {
    #[error("cannot enter the network namespace: {0}")]
    Enter(#[source] io::Error),
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

impl Entrance {
    /// Opens sockets in the namespace.
    pub(super) async fn open<T: Send + 'static>(
        &self,
        open: impl FnOnce() -> Result<T, NetlinkError> + Send + 'static,
    ) -> Result<T, FollowError> {
        let opened = match self {
            Self::Here => open(),
            Self::Into(file) => {
                let opened = named::enter(file.clone(), open).await;
                opened.map_err(FollowError::Enter)?
            }
        };
        Ok(opened?)
    }
}

/// Follows a namespace.
pub(super) struct Follower {
    namespaces: SharedNamespaces,
    key: NetnsKey,
    entrance: Entrance,
    counters: Interval,
}

/// The kernel's side of a namespace, and what is to be asked of it.
struct Ear {
    changes: Changes,
    kernel: Kernel,
    ethtool: Ethtool,
    wants: Wants,
    /// When what was heard is written, if there is something.
    due: Option<Instant>,
    /// Tables are not read before.
    tables_at: Instant,
    /// Numbers that no namespace has, as far as those of the census were asked.
    nobodys: BTreeSet<i32>,
    census: u32,
}

impl Follower {
    pub(super) fn new(
        namespaces: SharedNamespaces,
        key: NetnsKey,
        entrance: Entrance,
        counters_every: Duration,
    ) -> Self {
        Self { namespaces, key, entrance, counters: ticks(counters_every) }
    }

    /// Follows until it is dropped, with sockets that were opened already if there are any.
    pub(super) async fn follow(mut self, mut sockets: Option<Sockets>) {
        loop {
            let opened = match sockets.take() {
                Some(sockets) => Ok(sockets),
                None => self.entrance.open(Sockets::open).await,
            };
            let error = match opened {
                Ok(sockets) => match self.hear(sockets).await {
                    Ok(never) => match never {},
                    Err(error) => error.into(),
                },
                Err(error) => error,
            };
            warn!(%error, "discovery of links starts over");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Brings the namespace up to date and keeps it so, until netlink fails.
    async fn hear(&mut self, sockets: Sockets) -> Result<Infallible, NetlinkError> {
        let mut ear = Ear {
            changes: sockets.changes,
            kernel: sockets.kernel,
            ethtool: Ethtool::new(sockets.generic),
            wants: Wants::default(),
            due: None,
            tables_at: Instant::now(),
            nobodys: BTreeSet::new(),
            census: 0,
        };
        let poke = self.poke();
        self.resynchronise(&mut ear).await?;
        loop {
            let due = ear.due;
            tokio::select! {
                change = ear.changes.next() => match change? {
                    Change::Told(messages) => {
                        ear.wants.hear(&messages);
                        let mut namespaces = self.namespaces.lock();
                        if let Some(namespace) = namespaces.get_mut(self.key) {
                            namespace.apply(&messages);
                        }
                        drop(namespaces);
                        self.schedule(&mut ear);
                    }
                    Change::Lost => {
                        warn!("changes of the network were lost, reading all of it");
                        // What the socket still holds is from before the loss: taken over after
                        // the dump, it would undo it.
                        ear.changes.forget()?;
                        self.resynchronise(&mut ear).await?;
                    }
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.settle(&mut ear).await?;
                }
                _ = self.counters.tick() => {
                    let links = ear.kernel.links().await?;
                    self.namespaces.lock().count(self.key, &links);
                    self.schedule(&mut ear);
                }
                () = poke.notified() => ear.be_due(Instant::now() + SETTLE),
            }
        }
    }

    /// What wakes it when something happens in other namespaces.
    fn poke(&self) -> Arc<Notify> {
        let namespaces = self.namespaces.lock();
        namespaces.get(self.key).map(|namespace| namespace.poke.clone()).unwrap_or_default()
    }

    async fn resynchronise(&self, ear: &mut Ear) -> Result<(), NetlinkError> {
        let dump = ear.kernel.dump().await?;
        ear.wants.everything(&dump.links);
        ear.nobodys.clear();
        if let Some(namespace) = self.namespaces.lock().get_mut(self.key) {
            namespace.resynchronise(&dump);
        }
        self.settle(ear).await
    }

    /// Sees to it that what is not in the graph yet will be.
    fn schedule(&self, ear: &mut Ear) {
        let soon = Instant::now() + SETTLE;
        let dirty = self.namespaces.lock().get(self.key).is_some_and(Namespace::is_dirty);
        if dirty || !ear.wants.settings.is_empty() {
            ear.be_due(soon);
        }
        if ear.wants.tables() {
            ear.be_due(soon.max(ear.tables_at));
        }
    }

    /// Asks for what changed, and writes it.
    async fn settle(&self, ear: &mut Ear) -> Result<(), NetlinkError> {
        ear.due = None;
        self.read_again(ear).await?;
        let links = std::mem::take(&mut ear.wants.settings);
        let settings = ear.ethtool.settings(&links).await?;
        let mut tables = Tables::default();
        let now = Instant::now();
        if now >= ear.tables_at && ear.wants.tables() {
            tables = self.read(ear).await?;
            // However long they are: most of the time nobody reads them.
            ear.tables_at = now + now.elapsed() * REST;
        }
        let peers = self.peers(ear).await;
        {
            let mut namespaces = self.namespaces.lock();
            if let Some(namespace) = namespaces.get_mut(self.key) {
                namespace.take_settings(&links, settings);
                namespace.take_tables(tables);
                namespace.take_peers(&peers);
            }
        }
        while self.namespaces.lock().settle(self.key) {
            yield_now().await;
        }
        // Links that have come into doubt, and tables that are not to be read yet.
        self.schedule(ear);
        Ok(())
    }

    /// Reads links that are in doubt.
    async fn read_again(&self, ear: &mut Ear) -> Result<(), NetlinkError> {
        let stale = match self.namespaces.lock().get_mut(self.key) {
            Some(namespace) => std::mem::take(&mut namespace.stale),
            None => return Ok(()),
        };
        for index in stale {
            let told = ear.kernel.link(index).await?.map(RouteNetlinkMessage::NewLink);
            if let Some(namespace) = self.namespaces.lock().get_mut(self.key) {
                namespace.apply(told.as_slice());
            }
        }
        Ok(())
    }

    async fn read(&self, ear: &mut Ear) -> Result<Tables, NetlinkError> {
        let wants = std::mem::take(&mut ear.wants);
        let mut tables = Tables::default();
        if wants.neighbours {
            tables.neighbours = Some(ear.kernel.neighbours().await?);
        }
        if wants.fdb {
            tables.fdb = Some(ear.kernel.fdb().await?);
        }
        if wants.routes {
            tables.routes = Some(ear.kernel.routes().await?);
        }
        Ok(tables)
    }

    /// Finds out whose the numbers of namespaces are that links refer to.
    async fn peers(&self, ear: &mut Ear) -> Vec<(i32, NetnsKey)> {
        let (mut unnamed, others) = {
            let namespaces = self.namespaces.lock();
            let Some(namespace) = namespaces.get(self.key) else { return Vec::new() };
            let unnamed = namespace.unnamed();
            if ear.census != namespaces.census() {
                // Somebody new may have a number that was nobody's.
                ear.census = namespaces.census();
                ear.nobodys.clear();
            }
            if unnamed.is_subset(&ear.nobodys) {
                return Vec::new();
            }
            (unnamed, namespaces.others(self.key))
        };
        let mut named = Vec::new();
        for (other, identity) in others {
            let Some(file) = identity.file else { continue };
            match ear.kernel.nsid(&*file).await {
                Ok(Some(id)) => {
                    unnamed.remove(&id);
                    named.push((id, other));
                }
                Ok(None) => {}
                Err(error) => debug!(%error, "the number of a network namespace"),
            }
            if unnamed.is_empty() {
                break;
            }
        }
        ear.nobodys = unnamed;
        named
    }
}

impl Ear {
    /// Sees to it that what was heard is written at that time, or before.
    fn be_due(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}

/// Ticks, the first one after the time between them.
pub(super) fn ticks(every: Duration) -> Interval {
    let every = every.max(Duration::from_millis(1));
    let mut ticks = tokio::time::interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// What happens within this time is one revision of a node.
const SETTLE: Duration = Duration::from_millis(100);

/// How many times longer than reading the tables took nobody reads them again.
const REST: u32 = 10;

/// Time between a failure of netlink and the next try.
const PAUSE: Duration = Duration::from_secs(1);

//! Which network namespaces there are: takes each in as it appears, and lets it go with its name.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sonde_proto::graph::{Metadata, uuid_v5};
use tokio::task::{AbortHandle, JoinSet, spawn_blocking};
use tracing::{debug, warn};

use super::element::Owner;
use super::follow::{Entrance, Follower, ticks};
use super::named::{self, Inode, Named};
use super::namespace::NetnsKey;
use super::namespaces::SharedNamespaces;
use super::netlink::Sockets;
use super::watch::Watch;

/// Takes in the namespaces of the host beside its own.
pub(super) struct Census {
    pub(super) namespaces: SharedNamespaces,
    /// Where namespaces have their names.
    pub(super) directory: PathBuf,
    /// Whether those count that only processes are in.
    pub(super) processes: bool,
    pub(super) counters_every: Duration,
    /// The host's own namespace, which is none of these.
    pub(super) own: Option<Inode>,
}

/// A namespace that was taken in.
struct Held {
    named: Named,
    key: NetnsKey,
    follower: AbortHandle,
}

impl Census {
    /// Keeps the census until it is dropped; the followers end with it.
    pub(super) async fn run(self) {
        let mut held = BTreeMap::new();
        let mut refused = HashSet::new();
        let mut followers = JoinSet::new();
        let mut ticks = ticks(LOOK_EVERY);
        loop {
            let mut watch = match Watch::new(&self.directory) {
                Ok(watch) => Some(watch),
                Err(error) => {
                    warn!(%error, "network namespaces are looked for, not told of");
                    None
                }
            };
            loop {
                self.look(&mut held, &mut refused, &mut followers).await;
                // Several changes at once are one.
                tokio::time::sleep(SETTLE).await;
                let changed = async {
                    match &mut watch {
                        Some(watch) => watch.changed().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    changed = changed => if let Err(error) = changed {
                        warn!(%error, "network namespaces cannot be watched");
                        break;
                    },
                    // A process tells nobody that it took its namespace with it.
                    _ = ticks.tick() => {}
                }
            }
            ticks.tick().await;
        }
    }

    async fn look(
        &self,
        held: &mut BTreeMap<Inode, Held>,
        refused: &mut HashSet<Inode>,
        followers: &mut JoinSet<()>,
    ) {
        let (directory, processes) = (self.directory.clone(), self.processes);
        let found = spawn_blocking(move || {
            let mut found = named::in_directory(&directory);
            if processes {
                found.extend(named::of_processes());
            }
            found
        });
        let Ok(found) = found.await else { return };
        let mut there: BTreeMap<Inode, Named> = BTreeMap::new();
        for named in found.into_iter().filter(|named| Some(named.inode) != self.own) {
            // Of several names the first one counts, unless another one is known already.
            let known = held.get(&named.inode).is_some_and(|held| held.named == named);
            if known || !there.contains_key(&named.inode) {
                there.insert(named.inode, named);
            }
        }
        held.retain(|inode, held| {
            let stays = there.get(inode) == Some(&held.named);
            if !stays {
                held.follower.abort();
                self.namespaces.lock().remove(held.key);
            }
            stays
        });
        refused.retain(|inode| there.contains_key(inode));
        for (inode, named) in there {
            if held.contains_key(&inode) || refused.contains(&inode) {
                continue;
            }
            match self.take_in(&named, followers).await {
                Ok(taken) => {
                    held.insert(inode, taken);
                }
                Err(Refusal::NoNamespace) => {}
                Err(Refusal::Closed(error)) => {
                    let path = named.path.display();
                    warn!(%error, "cannot look into the network namespace {path}");
                    refused.insert(inode);
                }
            }
        }
        while followers.try_join_next().is_some() {}
    }

    async fn take_in(&self, named: &Named, followers: &mut JoinSet<()>) -> Result<Held, Refusal> {
        let path = named.path.clone();
        let opened = spawn_blocking(move || named::open(&path)).await;
        let file = opened.ok().and_then(Result::ok).ok_or(Refusal::NoNamespace)?;
        // It may have got another name meanwhile.
        if file.metadata().map(|file| Inode::of(&file)).ok() != Some(named.inode) {
            return Err(Refusal::NoNamespace);
        }
        let file = Arc::new(file);
        let entrance = Entrance::Into(file.clone());
        let sockets = entrance
            .open(Sockets::open)
            .await
            .map_err(|error| Refusal::Closed(error.to_string()))?;
        let key = {
            let mut namespaces = self.namespaces.lock();
            let node = namespaces.node(metadata(named, namespaces.host()));
            namespaces.add_node(node, Some(named.name.clone()), Some(file))
        };
        debug!(name = named.name, "a network namespace");
        let follower = Follower::new(self.namespaces.clone(), key, entrance, self.counters_every);
        let follower = followers.spawn(follower.follow(Some(sockets)));
        Ok(Held { named: named.clone(), key, follower })
    }
}

/// Why a file is not taken in.
enum Refusal {
    /// It is none, or not yet: its mount will be told.
    NoNamespace,
    /// It must not be entered, or asked.
    Closed(String),
}

/// The metadata of a namespace's node (API §8.5).
fn metadata(named: &Named, host: &Owner) -> Metadata {
    let path = named.path.to_string_lossy();
    let mut metadata = Metadata::new();
    metadata.insert("Name".into(), named.name.as_str().into());
    metadata.insert("Type".into(), TYPE.into());
    metadata.insert("Path".into(), path.as_ref().into());
    metadata.insert("Inode".into(), named.inode.inode.into());
    metadata.insert("Device".into(), named.inode.device.into());
    metadata.insert("TID".into(), uuid_v5(&[&host.tid, &path, TYPE]).to_string().into());
    metadata
}

/// Skydive's type of a network namespace's node.
const TYPE: &str = "netns";

/// What happens within this time is looked at once.
const SETTLE: Duration = Duration::from_millis(20);

/// Between two looks at what nobody tells of.
const LOOK_EVERY: Duration = Duration::from_secs(10);

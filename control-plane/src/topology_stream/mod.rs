//! The topology as clients follow it and add to it (Skydive API §7.6, §7.7).
//!
//! A client is told of each change as it happens. One that falls behind is told the difference
//! between what it knows and what is, and so is one that sees a part of the graph only: no queue
//! grows, and nobody misses how things stand now.

mod author;
mod difference;
mod ears;
mod filter;
mod follower;
mod operation;
mod origins;
mod publication;
mod request;
mod seen;
mod telling;

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::asker::Asker;
use crate::envelope::WEIGHT;
use crate::gremlin::Limits;
use crate::json;
use crate::live::Live;
use crate::notice::Notices;

use origins::Origins;

pub use author::Author;
pub use filter::{Filter, FilterError};
pub use follower::{Follower, Part};
pub use publication::Persistence;
pub use telling::Policy;

/// What followers work on. Clones are the same stream.
#[derive(Clone, Debug)]
pub struct TopologyStream {
    asker: Asker,
    /// What a filter may cost.
    limits: Live<Limits>,
    /// Turns of queries, shared with those over REST.
    queries: Arc<Semaphore>,
    /// KiB for what clients' messages become, until it is in the graph.
    room: Arc<Semaphore>,
    /// What followers are told besides.
    notices: Notices,
    /// Where elements are told: here, or by a peer.
    origins: Origins,
    /// True once the daemon stops.
    stopped: watch::Sender<bool>,
}

impl TopologyStream {
    /// A stream of the graph that `asker` asks. A filter may cost as much as `limits`, and waits for
    /// one of the turns of `queries`.
    pub fn new(
        asker: Asker,
        limits: Live<Limits>,
        queries: Arc<Semaphore>,
        notices: Notices,
    ) -> Self {
        let (origins, stopped) = (Origins::default(), watch::Sender::new(false));
        let room = Arc::new(Semaphore::new(WEIGHT >> 10));
        Self { asker, limits, queries, room, notices, origins, stopped }
    }

    /// What the analyzer of `peer` does here, and is told (Skydive API §7.9). `host` is ours.
    pub fn replication(&self, peer: &str, host: &str) -> Part {
        let author = Author::peer(peer, host, self.origins.clone());
        Part {
            follows: Some(Policy::Full),
            filter: Some(Filter::here(self.origins.clone())),
            publishes: Some((author, Persistence::DeleteOnDisconnect)),
            greets: true,
        }
    }

    /// Waits for room for so many bytes, of all at most. Whoever has it waits for no client, so that
    /// all have their turn.
    pub(crate) async fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let kibibytes = u32::try_from(bytes.min(WEIGHT) >> 10).ok()?;
        self.room.clone().acquire_many_owned(kibibytes).await.ok()
    }

    /// Ends every follower.
    pub fn close(&self) {
        self.stopped.send_replace(true);
    }
}

/// The namespace of all that is said of the graph.
pub(crate) const NAMESPACE: &str = "Graph";

/// The JSON text of a value whose maps have texts as keys.
fn text(value: &impl Serialize) -> Vec<u8> {
    let mut text = Vec::new();
    json::append(&mut text, value);
    text
}

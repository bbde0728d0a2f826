//! Capture files that clients send: metered by the data plane like any other source.

use std::error::Error;
use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::live::Live;

/// Meters a capture from its first byte to its last; blocks. The error says where the capture is
/// damaged, and how; what came before is metered all the same. Given by the one who knows the data
/// plane.
pub type Replay = Arc<dyn Fn(Box<dyn Read + Send>) -> Result<(), Damaged> + Send + Sync>;

/// Why a capture cannot be read (on).
pub type Damaged = Box<dyn Error + Send + Sync>;

/// What uploads share.
pub struct Uploads {
    replay: Replay,
    /// Bytes of one upload at most.
    limit: Live<u64>,
    turns: Arc<Semaphore>,
    stopping: watch::Sender<bool>,
}

impl Uploads {
    /// Takes uploads of `limit` bytes at most.
    pub fn new(replay: Replay, limit: Live<u64>) -> Self {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        Self { replay, limit, turns, stopping: watch::Sender::new(false) }
    }

    /// A turn to upload, unless [`AT_ONCE`] are under way.
    pub(crate) fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.turns.clone().try_acquire_owned().ok()
    }

    /// Bytes of one upload at most.
    pub(crate) fn limit(&self) -> u64 {
        *self.limit.get()
    }

    /// What meters.
    pub(crate) fn replay(&self) -> Replay {
        self.replay.clone()
    }

    /// Turns true when no more is taken.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Ends the uploads under way where they are.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }
}

impl fmt::Debug for Uploads {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Uploads").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// A pipe of few chunks from a task that waits to a thread that blocks.
pub(crate) fn pipe() -> (mpsc::Sender<Bytes>, impl Read + Send + 'static) {
    let (sender, chunks) = mpsc::channel(CHUNKS);
    (sender, Pipe { chunks, rest: Bytes::new() })
}

struct Pipe {
    chunks: mpsc::Receiver<Bytes>,
    rest: Bytes,
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.rest = chunk,
                None => return Ok(0),
            }
        }
        let length = into.len().min(self.rest.len());
        self.rest.split_to(length).copy_to_slice(into.get_mut(..length).unwrap_or_default());
        Ok(length)
    }
}

/// What lcores call the source of an upload. Nobody waits for those: they wait for a client.
pub const SOURCE: &str = "upload";

/// Uploads at once: each has a flow table of its own.
pub const AT_ONCE: usize = 2;

/// Bytes of an upload at most when nobody says otherwise.
pub const LIMIT: u64 = 1 << 30;

/// Chunks that wait for the thread.
const CHUNKS: usize = 4;

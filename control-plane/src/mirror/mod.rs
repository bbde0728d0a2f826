//! Frames of captures, mirrored to who wants to look at them: in ERSPAN type I (Skydive API §9.4).

mod filter;
mod sender;

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;

use bytes::Bytes;
use sonde_proto::report::PacketHead;

pub use filter::filter;
use sender::Sender;

/// Sends the frames of a capture to a target, once it is open. Clones are the same mirror; its thread
/// ends with the last of them.
#[derive(Clone, Debug)]
pub struct Mirror(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    target: IpAddr,
    /// Where frames wait for the thread, when there is one.
    queue: OnceLock<SyncSender<Bytes>>,
    counts: Arc<Counts>,
}

/// What became of frames.
#[derive(Debug)]
struct Counts {
    sent: AtomicU64,
    lost: AtomicU64,
    /// Those that all mirrors lost.
    all_lost: Arc<AtomicU64>,
}

impl Counts {
    fn lose(&self, frames: u64) {
        self.lost.fetch_add(frames, Ordering::Relaxed);
        self.all_lost.fetch_add(frames, Ordering::Relaxed);
    }
}

impl Mirror {
    /// A mirror that loses all frames until it is open. What it loses is counted in `all_lost`, too.
    pub fn new(target: IpAddr, all_lost: Arc<AtomicU64>) -> Self {
        let counts = Counts { sent: AtomicU64::new(0), lost: AtomicU64::new(0), all_lost };
        Self(Arc::new(Inner { target, queue: OnceLock::new(), counts: Arc::new(counts) }))
    }

    /// Opens its socket and starts its thread, unless that is done. Needs CAP_NET_RAW.
    pub fn open(&self) -> io::Result<()> {
        let Inner { target, queue, counts } = &*self.0;
        if queue.get().is_some() {
            return Ok(());
        }
        let sender = Sender::open(*target)?;
        let (frames, taken) = sync_channel(QUEUE);
        let counts = counts.clone();
        thread::Builder::new()
            .name("sonde-mirror".into())
            .spawn(move || sender.send_all(&taken, &counts))?;
        // The thread of who comes second ends at once.
        let _ = queue.set(frames);
        Ok(())
    }

    /// Where it sends frames to.
    pub fn target(&self) -> IpAddr {
        self.0.target
    }

    /// Puts a frame. It never waits: what finds no room is lost and counted, as is what is no
    /// Ethernet, for which ERSPAN has no word.
    pub fn put(&self, head: &PacketHead, frame: Bytes) {
        let queue = self.0.queue.get().filter(|_| head.link == ETHERNET);
        if queue.is_none_or(|queue| queue.try_send(frame).is_err()) {
            self.0.counts.lose(1);
        }
    }

    /// Frames that were sent.
    pub fn sent(&self) -> u64 {
        self.0.counts.sent.load(Ordering::Relaxed)
    }

    /// Frames that were not.
    pub fn lost(&self) -> u64 {
        self.0.counts.lost.load(Ordering::Relaxed)
    }
}

/// LINKTYPE of Ethernet.
const ETHERNET: u16 = 1;

/// Frames that wait for the thread at most, each of 4096 bytes at most: ingest hands them on by the
/// thousand.
const QUEUE: usize = 16_384;

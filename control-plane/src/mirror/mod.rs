//! Frames of captures, mirrored to who wants to look at them: in ERSPAN type I (Skydive API §9.4).

mod filter;
mod sender;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use bytes::Bytes;
use sonde_proto::report::PacketHead;

pub use filter::filter;
use sender::Sender;

/// Sends the frames of a capture to a target. Clones are the same mirror; its thread ends with the
/// last of them.
#[derive(Clone, Debug)]
pub struct Mirror {
    queue: SyncSender<Bytes>,
    counts: Arc<Counts>,
}

/// What became of frames.
#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    lost: AtomicU64,
}

impl Mirror {
    /// A mirror and its thread. Needs CAP_NET_RAW.
    pub fn open(target: IpAddr) -> io::Result<Self> {
        let sender = Sender::open(target)?;
        let (queue, frames) = sync_channel(QUEUE);
        let counts = Arc::<Counts>::default();
        let counted = counts.clone();
        thread::Builder::new()
            .name("sonde-mirror".into())
            .spawn(move || sender.send_all(&frames, &counted))?;
        Ok(Self { queue, counts })
    }

    /// Puts a frame. It never waits: what finds no room is lost and counted, as is what is no
    /// Ethernet, for which ERSPAN has no word.
    pub fn put(&self, head: &PacketHead, frame: Bytes) {
        if head.link != ETHERNET || self.queue.try_send(frame).is_err() {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Frames that were sent.
    pub fn sent(&self) -> u64 {
        self.counts.sent.load(Ordering::Relaxed)
    }

    /// Frames that were not.
    pub fn lost(&self) -> u64 {
        self.counts.lost.load(Ordering::Relaxed)
    }
}

/// LINKTYPE of Ethernet.
const ETHERNET: u16 = 1;

/// Frames that wait for the thread at most, each of 4096 bytes at most: ingest hands them on by the
/// thousand.
const QUEUE: usize = 16_384;

//! Captures that clients write into a TCP socket (Skydive's `pcapsocket`, API §9.4).

mod client;
mod pace;

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use crossbeam::queue::ArrayQueue;
use sonde_proto::report::Lost;
use sonde_proto::time::Timestamp;

use self::client::Client;
use super::{BURST, Closed, Frame, LinkType, Source, wall_clock};

/// A TCP port into which clients write captures, pcap or pcapng. Their frames come at the pace they
/// were captured at, and with the time of now.
///
/// Several clients may write at once, [`CLIENTS`] at most; the others wait in the kernel until one
/// is done. Each has a thread that reads, waits and hands its frames over: who writes slowly, or
/// nothing at all, holds up nobody else, and a client that is faster than its frames are due is
/// held back by TCP. No frame is lost on the way. Of a frame the first [`SNAP`] bytes are looked
/// at; memory is bounded by [`QUEUE`] such frames, and by what each
/// [`PcapReader`](super::pcap::PcapReader) takes.
///
/// A capture that is damaged ends its connection and nothing else. It is counted in
/// [`Lost::errors`], as is a client that cannot be served.
#[derive(Debug)]
pub struct PcapSocket {
    listener: TcpListener,
    shared: Arc<Shared>,
    /// For the threads of clients that come.
    sender: SyncSender<Parcel>,
    parcels: Receiver<Parcel>,
    /// Came while the worker waited.
    early: Option<Parcel>,
    now: Timestamp,
    /// When clients were last looked for.
    looked: Timestamp,
}

/// Told where a capture came in that is damaged, and what is wrong with it.
pub type OnDamage = fn(SocketAddr, Closed);

impl PcapSocket {
    /// Listens at `address`. `on_damage` is told of damaged captures, of one in a second at most;
    /// all are counted.
    pub fn open(address: SocketAddr, on_damage: OnDamage) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (sender, parcels) = sync_channel(QUEUE);
        let shared = Shared {
            address,
            on_damage,
            spare: ArrayQueue::new(QUEUE),
            clients: AtomicUsize::new(0),
            errors: AtomicU64::new(0),
            told: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        };
        Ok(Self {
            listener,
            shared: Arc::new(shared),
            sender,
            parcels,
            early: None,
            now: wall_clock(),
            looked: Timestamp::default(),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Takes up the clients that wait, as far as there are places. Those that go as fast as they
    /// come leave places free: what is left of a crowd waits for the next look.
    fn look(&mut self) {
        for _ in 0..CLIENTS {
            if self.shared.is_full() {
                return;
            }
            match self.listener.accept() {
                Ok((stream, _)) => {
                    if Client::start(stream, &self.shared, &self.sender).is_err() {
                        self.shared.errors.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // The client is gone already, or there are too many files: the next look sees.
                Err(_) => {
                    self.shared.errors.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
        }
    }
}

impl Source for PcapSocket {
    fn burst(&mut self, mut meter: impl FnMut(Frame<'_>)) -> Result<usize, Closed> {
        self.now = wall_clock();
        // A clock that was set back must not keep clients out.
        if self.now < self.looked || self.now.since(self.looked) >= LOOK {
            self.looked = self.now;
            self.look();
        }
        let mut taken = 0;
        while taken < BURST
            && let Some(parcel) = self.early.take().or_else(|| self.parcels.try_recv().ok())
        {
            meter(parcel.frame());
            // One that finds no room is freed.
            let _ = self.shared.spare.push(parcel.bytes);
            taken += 1;
        }
        Ok(taken)
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    fn lost(&mut self) -> Lost {
        Lost { errors: self.shared.errors.load(Ordering::Relaxed), ..Lost::default() }
    }

    /// Waits for the next frame.
    fn idle(&mut self, _empty: u32, limit: Duration) {
        if self.early.is_none() {
            self.early = self.parcels.recv_timeout(limit.min(LOOK)).ok();
        }
    }
}

impl Drop for PcapSocket {
    /// Sends the clients away; their threads end within a tenth of a second.
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
    }
}

/// A frame on its way to the worker.
#[derive(Debug)]
struct Parcel {
    bytes: Vec<u8>,
    length: u32,
    at: Timestamp,
    link: LinkType,
}

impl Parcel {
    fn frame(&self) -> Frame<'_> {
        Frame { bytes: &self.bytes, length: self.length, at: self.at, link: self.link }
    }
}

/// What the source and the threads of its clients share.
#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    on_damage: OnDamage,
    /// Buffers to put frames in, so that none is allocated twice.
    spare: ArrayQueue<Vec<u8>>,
    /// Clients that are served.
    clients: AtomicUsize,
    /// Captures that were damaged, and clients that could not be served.
    errors: AtomicU64,
    /// When damage was last told of, in nanoseconds since the epoch.
    told: AtomicU64,
    /// Whether the source is gone.
    closed: AtomicBool,
}

impl Shared {
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether others may be waiting for a place.
    fn is_full(&self) -> bool {
        self.clients.load(Ordering::Acquire) >= CLIENTS
    }

    /// Counts a damaged capture.
    fn damaged(&self, closed: Closed, now: Timestamp) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        let told = Timestamp::from_nanos(self.told.load(Ordering::Relaxed));
        if now < told || now.since(told) >= TELL {
            self.told.store(now.nanos(), Ordering::Relaxed);
            (self.on_damage)(self.address, closed);
        }
    }
}

/// Clients that are served at once.
pub const CLIENTS: usize = 4;

/// Bytes of a frame that are looked at, at most: no capture may ask for more (`HeaderSize`).
pub const SNAP: usize = 4096;

/// Frames that wait for the worker at most.
pub const QUEUE: usize = 256;

/// Between two looks for clients.
const LOOK: Duration = Duration::from_millis(10);

/// Between two times that damage is told of.
const TELL: Duration = Duration::from_secs(1);

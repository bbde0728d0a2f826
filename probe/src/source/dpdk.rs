//! Queues of DPDK ports.
//!
//! capsule brings the ports up (see [`crate::lcore`]); bursts are taken here, straight from
//! `rte_eth_rx_burst`. capsule's own receive path takes 32 frames at most, allocates for each burst
//! and frees frames one by one: it moves a quarter of the frames.

#![expect(unsafe_code, reason = "calls into DPDK")]

mod port;
mod sender;
mod spread;

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{hint, ptr, slice, thread};

use capsule_ffi as ffi;
use sonde_proto::report::Lost;
use sonde_proto::time::Timestamp;

use self::port::device;
pub use self::port::{PortFacts, PortStats, hashes_symmetrically, port_stats, port_xstats};
pub(crate) use self::port::{
    end_promiscuous, insist_on_symmetry, port_facts, port_number, readers,
};
pub use self::sender::PortSender;
pub(crate) use self::sender::{close_gate, open_gate};
pub use self::spread::{Headers, Spread};
use super::{BURST, Closed, Frame, LinkType, Source, wall_clock};

/// A receive queue of a port. It stays on the thread that claimed it, as DPDK demands.
#[derive(Debug)]
pub struct RxQueue {
    port: u16,
    queue: u16,
    idle: Idle,
    stamps: Option<Stamps>,
    now: Timestamp,
    /// The wall clock at the last burst.
    wall: Timestamp,
    mbufs: [*mut ffi::rte_mbuf; BURST],
}

/// What an lcore does while no frames come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Polls on: for cores that do nothing else.
    Spin,
    /// Polls on for a while, then naps of at most 100 us between polls.
    Adaptive,
}

impl RxQueue {
    /// The queue, unless the port has no such queue or somebody polls it already.
    pub(crate) fn claim(port: u16, queue: u16, idle: Idle) -> Option<Self> {
        let queues = device(port)?.nb_rx_queues;
        let claimed = queue < queues
            && CLAIMED.lock().unwrap_or_else(PoisonError::into_inner).insert((port, queue));
        let (stamps, wall) = (Stamps::of(port), wall_clock());
        claimed.then(|| Self {
            port,
            queue,
            idle,
            stamps,
            now: if stamps.is_some() { Timestamp::default() } else { wall },
            wall,
            mbufs: [ptr::null_mut(); BURST],
        })
    }
}

impl Source for RxQueue {
    #[inline]
    fn burst(&mut self, mut meter: impl FnMut(Frame<'_>)) -> Result<usize, Closed> {
        let wall = wall_clock();
        self.now = match self.stamps {
            None => wall,
            // After the end of a file its time goes on at the pace of the wall.
            Some(_) => self.now.after(wall.since(self.wall)),
        };
        self.wall = wall;
        let room = self.mbufs.as_mut_ptr();
        // SAFETY: the queue exists and is polled by this thread alone (`claim`), and `room` takes
        // BURST pointers. A port that is stopped or closed gives none.
        let taken = unsafe { ffi::_rte_eth_rx_burst(self.port, self.queue, room, BURST as u16) };
        if taken == 0 {
            return Ok(0);
        }
        let burst = Burst(&mut self.mbufs[..usize::from(taken)]);
        for at in 0..burst.0.len().min(AHEAD) {
            burst.prefetch(at);
        }
        for at in 0..burst.0.len() {
            burst.prefetch(at + AHEAD);
            if let Some(stamps) = self.stamps {
                self.now = burst.time(at, stamps).unwrap_or(wall);
            }
            meter(burst.frame(at, self.now));
        }
        Ok(burst.0.len())
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    /// Nothing: ports count, not queues, and reading their counters may cost a system call or a
    /// slow walk over PCI. It is done off the lcore, by [`port_stats`].
    fn lost(&mut self) -> Lost {
        Lost::default()
    }

    fn idle(&mut self, empty: u32, limit: Duration) {
        match self.idle {
            Idle::Adaptive if empty > POLLS_AWAKE => thread::sleep(NAP.min(limit)),
            Idle::Spin | Idle::Adaptive => hint::spin_loop(),
        }
    }
}

impl Drop for RxQueue {
    fn drop(&mut self) {
        CLAIMED.lock().unwrap_or_else(PoisonError::into_inner).remove(&(self.port, self.queue));
    }
}

/// The mbufs of one burst, given back together even if metering one of them panics.
struct Burst<'a>(&'a mut [*mut ffi::rte_mbuf]);

impl Burst<'_> {
    /// The frame of an mbuf: its first segment's bytes, and the length of all of them.
    #[inline]
    fn frame(&self, at: usize, now: Timestamp) -> Frame<'_> {
        // SAFETY: `rte_eth_rx_burst` filled the slice with mbufs that are ours until `drop`.
        let mbuf = unsafe { &*self.0[at] };
        let length = usize::from(mbuf.data_len);
        // SAFETY: DPDK keeps `data_off + data_len <= buf_len`, all within one buffer.
        let bytes = unsafe { slice::from_raw_parts(data(mbuf), length) };
        Frame {
            bytes,
            length: mbuf.pkt_len.max(u32::from(mbuf.data_len)),
            at: now,
            link: LinkType::Ethernet,
        }
    }

    /// When the driver says an mbuf was captured.
    #[inline]
    fn time(&self, at: usize, stamps: Stamps) -> Option<Timestamp> {
        let mbuf = self.0[at];
        // SAFETY: as in `frame`.
        if unsafe { (*mbuf).ol_flags } & stamps.flag == 0 {
            return None;
        }
        // SAFETY: DPDK gave the offset of eight bytes within every mbuf.
        let place = unsafe { mbuf.byte_add(stamps.offset) };
        // SAFETY: as above; the field is as aligned as DPDK made it, which is not relied on.
        let micros = unsafe { place.cast::<u64>().read_unaligned() };
        Some(Timestamp::from_nanos(micros.saturating_mul(1000)))
    }

    /// Fetches the headers of a frame to come into the cache.
    #[inline]
    fn prefetch(&self, at: usize) {
        #[cfg(target_arch = "x86_64")]
        if let Some(&mbuf) = self.0.get(at) {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: as in `frame`.
            let mbuf = unsafe { &*mbuf };
            // SAFETY: a prefetch never faults, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(data(mbuf).cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = at;
    }
}

impl Drop for Burst<'_> {
    fn drop(&mut self) {
        // SAFETY: all mbufs are ours and no frame borrows them any more.
        unsafe { ffi::rte_pktmbuf_free_bulk(self.0.as_mut_ptr(), self.0.len() as u32) }
    }
}

/// Where `net_pcap` puts the time a file gives a frame, in microseconds since the epoch: with it a
/// file makes the flows that reading it makes. Other drivers count in units of their own.
#[derive(Clone, Copy, Debug)]
struct Stamps {
    offset: usize,
    flag: u64,
}

impl Stamps {
    /// None when the port has no such times.
    fn of(port: u16) -> Option<Self> {
        if port_facts(port)?.driver != "net_pcap" {
            return None;
        }
        let (mut offset, mut flag) = (0, 0);
        // SAFETY: EAL is initialised, and both places can be written.
        let known = unsafe { ffi::_rte_mbuf_timestamp(&mut offset, &mut flag) } == 0;
        let offset = usize::try_from(offset).ok()?;
        known.then_some(Self { offset, flag })
    }
}

/// EAL's number for the calling thread, given back when dropped. A thread without one goes around
/// the mempool's cache and takes a third fewer frames.
#[derive(Debug)]
pub(crate) struct Registration {
    ours: bool,
    /// It belongs to the thread: neither `Send` nor `Sync`.
    thread: PhantomData<*const ()>,
}

impl Registration {
    /// Registers the calling thread, unless it has a number (the main thread) or none is left.
    pub(crate) fn new() -> Self {
        // SAFETY: reads a variable of this thread.
        let number = unsafe { ffi::_rte_lcore_id() };
        // SAFETY: EAL is initialised, and this thread has no number yet.
        let ours = number == u32::MAX && unsafe { ffi::rte_thread_register() } == 0;
        Self { ours, thread: PhantomData }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if self.ours {
            // SAFETY: this thread was registered by `new`.
            unsafe { ffi::rte_thread_unregister() }
        }
    }
}

#[inline]
fn data(mbuf: &ffi::rte_mbuf) -> *const u8 {
    mbuf.buf_addr.cast::<u8>().wrapping_add(usize::from(mbuf.data_off))
}

/// Queues that somebody polls, by port and queue.
static CLAIMED: Mutex<BTreeSet<(u16, u16)>> = Mutex::new(BTreeSet::new());

/// How many frames ahead headers are fetched: a few, for a frame takes about as long as memory.
const AHEAD: usize = 4;

/// Empty polls before the first nap: some 10 us, longer than the gaps within a stream.
const POLLS_AWAKE: u32 = 256;

/// With the kernel's 50 us of timer slack it becomes 100 us at most.
const NAP: Duration = Duration::from_micros(50);

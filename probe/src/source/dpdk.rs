//! Queues of DPDK ports.
//!
//! capsule brings the ports up (see [`crate::lcore`]); bursts are taken here, straight from
//! `rte_eth_rx_burst`. capsule's own receive path takes 32 frames at most, allocates for each burst
//! and frees frames one by one: it moves a quarter of the frames.

#![expect(unsafe_code, reason = "calls into DPDK")]

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;
use std::{hint, ptr, slice, thread};

use capsule_ffi as ffi;
use sonde_proto::record::Mac;
use sonde_proto::report::Lost;
use sonde_proto::time::Timestamp;

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
    lost: Lost,
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
            lost: Lost::default(),
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

    fn lost(&mut self) -> Lost {
        // Ports count, not queues: the first one speaks for all, or the sum would be a multiple.
        // While the control plane reads the same counters the last answer stands: no waiting here.
        if self.queue == 0
            && let Ok(_reader) = READER.try_lock().or_else(|e| match e {
                TryLockError::Poisoned(e) => Ok(e.into_inner()),
                TryLockError::WouldBlock => Err(()),
            })
            && let Some(stats) = stats(self.port)
        {
            self.lost = lost(&stats);
        }
        self.lost
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

/// A port as DPDK describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortFacts {
    /// Name of its driver, such as `net_ixgbe`.
    pub driver: String,
    /// Its Ethernet address.
    pub mac: Mac,
    /// Largest packet in bytes.
    pub mtu: u16,
    /// The NUMA node it is attached to, if it says so.
    pub socket: Option<u16>,
    /// Receive queues that are set up.
    pub queues: u16,
    /// Whether it spreads frames over its queues by their addresses and ports.
    pub rss: bool,
    /// Whether it takes frames that are not addressed to it.
    pub promiscuous: bool,
    /// Speed in Mbit/s, 0 when unknown.
    pub speed: u32,
    /// Whether the link is up.
    pub link_up: bool,
}

/// What a port has counted since it was started, and its link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Frames handed to the queues.
    pub packets: u64,
    /// Bytes of those frames.
    pub bytes: u64,
    /// Frames that never reached a queue.
    pub lost: Lost,
    /// Speed in Mbit/s, 0 when unknown.
    pub speed: u32,
    /// Whether the link is up.
    pub link_up: bool,
}

/// Counters and link of a port, from any thread; `None` when there is no such port (any more).
pub fn port_stats(port: u16) -> Option<PortStats> {
    let _reader = readers();
    let stats = stats(port)?;
    let (speed, link_up) = link(port);
    Some(PortStats {
        packets: stats.ipackets,
        bytes: stats.ibytes,
        lost: lost(&stats),
        speed,
        link_up,
    })
}

/// Keeps [`port_stats`] out while ports are closed.
pub(crate) fn readers() -> MutexGuard<'static, ()> {
    READER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of the port a device became.
pub(crate) fn port_number(device: &CStr) -> Option<u16> {
    let mut port = 0;
    // SAFETY: the name ends in NUL and `port` outlives the call.
    let failed = unsafe { ffi::rte_eth_dev_get_port_by_name(device.as_ptr(), &mut port) };
    (failed == 0).then_some(port)
}

/// All that DPDK says of a port.
pub(crate) fn port_facts(port: u16) -> Option<PortFacts> {
    let info = device(port)?;
    let driver = if info.driver_name.is_null() {
        String::new()
    } else {
        // SAFETY: the driver's name is a string that lives as long as the driver.
        unsafe { CStr::from_ptr(info.driver_name) }.to_string_lossy().into_owned()
    };
    let mut mac = ffi::rte_ether_addr::default();
    // SAFETY: `mac` outlives the call; an unknown port is answered with an error.
    unsafe { ffi::rte_eth_macaddr_get(port, &mut mac) };
    let mut mtu = 0;
    // SAFETY: as above, for `mtu`.
    unsafe { ffi::rte_eth_dev_get_mtu(port, &mut mtu) };
    // SAFETY: takes a number only; answers -1 when the port does not say.
    let socket = unsafe { ffi::rte_eth_dev_socket_id(port) };
    // SAFETY: takes a number only; answers -1 when the port does not know the mode.
    let promiscuous = unsafe { ffi::rte_eth_promiscuous_get(port) } == 1;
    let (speed, link_up) = link(port);
    Some(PortFacts {
        driver,
        mac: mac.addr_bytes,
        mtu,
        socket: u16::try_from(socket).ok(),
        queues: info.nb_rx_queues,
        rss: info.nb_rx_queues > 1 && info.flow_type_rss_offloads & ffi::ETH_RSS_IP != 0,
        promiscuous,
        speed,
        link_up,
    })
}

/// Leaves promiscuous mode, if the port was brought into it.
pub(crate) fn end_promiscuous(port: u16) {
    // SAFETY: takes a number only; answers -1 when the port does not know the mode.
    if unsafe { ffi::rte_eth_promiscuous_get(port) } == 1 {
        // SAFETY: takes a number only. A port that cannot has nothing to leave.
        unsafe { ffi::rte_eth_promiscuous_disable(port) };
    }
}

fn device(port: u16) -> Option<ffi::rte_eth_dev_info> {
    let mut info = ffi::rte_eth_dev_info::default();
    // SAFETY: `info` outlives the call; an unknown port is answered with an error.
    let failed = unsafe { ffi::rte_eth_dev_info_get(port, &mut info) };
    (failed == 0).then_some(info)
}

/// Reads the port's counters. Some drivers add up registers that clear when read, so one thread at
/// a time: hold [`READER`].
fn stats(port: u16) -> Option<ffi::rte_eth_stats> {
    let mut stats = ffi::rte_eth_stats::default();
    // SAFETY: `stats` outlives the call; an unknown port is answered with an error.
    let failed = unsafe { ffi::rte_eth_stats_get(port, &mut stats) };
    (failed == 0).then_some(stats)
}

fn lost(stats: &ffi::rte_eth_stats) -> Lost {
    Lost { missed: stats.imissed, no_mbuf: stats.rx_nombuf, errors: stats.ierrors }
}

fn link(port: u16) -> (u32, bool) {
    let (mut speed, mut up) = (0, 0);
    // SAFETY: both outlive the call; an unknown port is answered with an error.
    unsafe { ffi::_rte_eth_link(port, &mut speed, &mut up) };
    (speed, up != 0)
}

#[inline]
fn data(mbuf: &ffi::rte_mbuf) -> *const u8 {
    mbuf.buf_addr.cast::<u8>().wrapping_add(usize::from(mbuf.data_off))
}

/// Queues that somebody polls, by port and queue.
static CLAIMED: Mutex<BTreeSet<(u16, u16)>> = Mutex::new(BTreeSet::new());

/// Held while counters of a port are read.
static READER: Mutex<()> = Mutex::new(());

/// How many frames ahead headers are fetched: a few, for a frame takes about as long as memory.
const AHEAD: usize = 4;

/// Empty polls before the first nap: some 10 us, longer than the gaps within a stream.
const POLLS_AWAKE: u32 = 256;

/// With the kernel's 50 us of timer slack it becomes 100 us at most.
const NAP: Duration = Duration::from_micros(50);

//! Ports of DPDK and their queues: here its functions, under names that are safe to call.
//!
//! capsule brings the ports up (see [`crate::lcore`]); bursts are taken here, straight from
//! `rte_eth_rx_burst`. capsule's own receive path takes 32 frames at most, allocates for each burst
//! and frees frames one by one: it moves a quarter of the frames.
#![expect(unsafe_code, reason = "calls into DPDK")]

#[forbid(unsafe_code)]
mod port;
#[forbid(unsafe_code)]
mod queue;
#[forbid(unsafe_code)]
mod sender;
#[forbid(unsafe_code)]
mod spread;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, c_uint};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{io, slice};

use capsule_ffi as ffi;
use sonde_proto::record::Mac;
use sonde_proto::time::Timestamp;

pub use self::port::{PortFacts, PortStats, hashes_symmetrically, port_stats, port_xstats};
pub(crate) use self::port::{end_promiscuous, insist_on_symmetry, port_facts};
pub use self::queue::{Idle, RxQueue};
pub use self::sender::PortSender;
pub use self::spread::{Headers, Spread};
use super::{BURST, Frame, LinkType};

/// A port, held: meanwhile no port is closed, and no other thread asks one. (Some drivers add up
/// registers that clear when read.) No lcore holds one once it polls.
struct Port {
    number: u16,
    info: ffi::rte_eth_dev_info,
    _held: MutexGuard<'static, ()>,
}

impl Port {
    /// `None` when there is no such port (any more).
    fn hold(number: u16) -> Option<Self> {
        let held = hold_ports();
        let mut info = ffi::rte_eth_dev_info::default();
        // SAFETY: `info` outlives the call; an unknown port is answered with an error.
        let failed = unsafe { ffi::rte_eth_dev_info_get(number, &mut info) };
        (failed == 0).then_some(Self { number, info, _held: held })
    }

    fn driver(&self) -> String {
        if self.info.driver_name.is_null() {
            return String::new();
        }
        // SAFETY: DPDK gave it; the driver's name is a string that lives as long as the driver.
        unsafe { CStr::from_ptr(self.info.driver_name) }.to_string_lossy().into_owned()
    }

    fn mac(&self) -> Mac {
        let mut mac = ffi::rte_ether_addr::default();
        // SAFETY: `mac` outlives the call.
        unsafe { ffi::rte_eth_macaddr_get(self.number, &mut mac) };
        mac.addr_bytes
    }

    /// Bytes of a packet at most, `None` when the port does not say.
    fn mtu(&self) -> Option<u16> {
        let mut mtu = 0;
        // SAFETY: `mtu` outlives the call.
        let failed = unsafe { ffi::rte_eth_dev_get_mtu(self.number, &mut mtu) };
        (failed == 0).then_some(mtu)
    }

    /// The NUMA node it is attached to, if it says so.
    fn socket(&self) -> Option<u16> {
        // SAFETY: takes a number only; answers -1 when the port does not say.
        u16::try_from(unsafe { ffi::rte_eth_dev_socket_id(self.number) }).ok()
    }

    fn is_promiscuous(&self) -> bool {
        // SAFETY: takes a number only; answers -1 when the port does not know the mode.
        unsafe { ffi::rte_eth_promiscuous_get(self.number) == 1 }
    }

    /// Leaves promiscuous mode. A port that cannot has nothing to leave.
    fn end_promiscuous(&self) {
        // SAFETY: takes a number only.
        unsafe { ffi::rte_eth_promiscuous_disable(self.number) };
    }

    /// Speed in Mbit/s, 0 when unknown, and whether the link is up.
    fn link(&self) -> (u32, bool) {
        let (mut speed, mut up) = (0, 0);
        // SAFETY: both outlive the call.
        unsafe { ffi::_rte_eth_link(self.number, &mut speed, &mut up) };
        (speed, up != 0)
    }

    fn stats(&self) -> Option<ffi::rte_eth_stats> {
        let mut stats = ffi::rte_eth_stats::default();
        // SAFETY: `stats` outlives the call.
        let failed = unsafe { ffi::rte_eth_stats_get(self.number, &mut stats) };
        (failed == 0).then_some(stats)
    }

    /// What the driver counts, [`XSTATS`] at most: the names, and values with the index of theirs.
    fn xstats(&self) -> (Vec<ffi::rte_eth_xstat_name>, Vec<ffi::rte_eth_xstat>) {
        // SAFETY: with no room given DPDK only says how much there should be.
        let count = unsafe { ffi::rte_eth_xstats_get_names(self.number, ptr::null_mut(), 0) };
        let count = u32::try_from(count).unwrap_or_default().min(XSTATS);
        let mut names = vec![ffi::rte_eth_xstat_name::default(); count as usize];
        let mut values = vec![ffi::rte_eth_xstat::default(); count as usize];
        // SAFETY: there is room for `count` names.
        let named =
            unsafe { ffi::rte_eth_xstats_get_names(self.number, names.as_mut_ptr(), count) };
        // SAFETY: there is room for `count` values.
        let valued = unsafe { ffi::rte_eth_xstats_get(self.number, values.as_mut_ptr(), count) };
        // More than there is room for: the driver found new ones meanwhile, and wrote none.
        let read = |n: i32| usize::try_from(n).ok().filter(|&n| n <= count as usize).unwrap_or(0);
        names.truncate(read(named));
        values.truncate(read(valued));
        (names, values)
    }

    /// Whether the key it says it hashes with is symmetric, `None` when it does not say.
    fn has_symmetric_key(&self) -> Option<bool> {
        let length = self.info.hash_key_size;
        let mut key = [0; u8::MAX as usize];
        let mut rss = ffi::rte_eth_rss_conf {
            rss_key: key.as_mut_ptr(),
            rss_key_len: length,
            ..Default::default()
        };
        // SAFETY: the key has room for any length, and both outlive the call.
        let failed = unsafe { ffi::rte_eth_dev_rss_hash_conf_get(self.number, &mut rss) };
        let known = failed == 0 && length > 0;
        known.then(|| ffi::is_symmetric_key(&key[..usize::from(length)]))
    }

    /// Has it hash with the symmetric key, if it takes one. A port that refuses keeps its own.
    fn set_symmetric_key(&self) {
        let mut rss = ffi::rte_eth_rss_conf {
            rss_key: ffi::symmetric_key(),
            rss_key_len: self.info.hash_key_size,
            rss_hf: ffi::symmetric_rss(&self.info),
        };
        if rss.rss_hf != 0 {
            // SAFETY: a port that can hash so takes a key no longer than this one, which is never
            // freed.
            unsafe { ffi::rte_eth_dev_rss_hash_update(self.number, &mut rss) };
        }
    }
}

/// The number of the port a device became.
pub(crate) fn port_number(device: &CStr) -> Option<u16> {
    let _held = hold_ports();
    let mut port = 0;
    // SAFETY: the name ends in NUL and `port` outlives the call.
    let failed = unsafe { ffi::rte_eth_dev_get_port_by_name(device.as_ptr(), &mut port) };
    (failed == 0).then_some(port)
}

/// Keeps everybody from asking ports: they may be closed.
pub(crate) fn hold_ports() -> MutexGuard<'static, ()> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sole right to take frames from a queue. It stays on the thread that claimed it, as DPDK
/// demands.
#[derive(Debug)]
struct Claim {
    port: u16,
    queue: u16,
    /// Those of the burst that is lent.
    mbufs: [*mut ffi::rte_mbuf; BURST],
}

impl Claim {
    /// `None` when the port has no such queue, or somebody has claimed it.
    fn new(port: &Port, queue: u16) -> Option<Self> {
        let port_has_it = queue < port.info.nb_rx_queues;
        let claimed = port_has_it && claims().insert((port.number, queue));
        claimed.then(|| Self { port: port.number, queue, mbufs: [ptr::null_mut(); BURST] })
    }

    /// Takes the frames that wait, [`BURST`] at most; `None` when there are none.
    #[inline]
    fn burst(&mut self) -> Option<Burst<'_>> {
        let room = self.mbufs.as_mut_ptr();
        // SAFETY: the queue exists and is polled by this thread alone, and `room` takes BURST
        // pointers. A port that is stopped or closed gives none.
        let taken = unsafe { ffi::_rte_eth_rx_burst(self.port, self.queue, room, BURST as u16) };
        if taken == 0 {
            return None;
        }
        Some(Burst(&mut self.mbufs[..usize::from(taken)]))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        claims().remove(&(self.port, self.queue));
    }
}

fn claims() -> MutexGuard<'static, BTreeSet<(u16, u16)>> {
    CLAIMED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The mbufs of one burst, given back together even if metering one of them panics.
struct Burst<'a>(&'a mut [*mut ffi::rte_mbuf]);

impl Burst<'_> {
    #[inline]
    fn len(&self) -> usize {
        self.0.len()
    }

    /// The frame of an mbuf: its first segment's bytes, and the length of all of them.
    #[inline]
    fn frame(&self, at: usize, now: Timestamp) -> Frame<'_> {
        // SAFETY: DPDK filled the slice with mbufs that are ours until `drop`.
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
    #[inline]
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
    fn of(port: &Port) -> Option<Self> {
        if port.driver() != "net_pcap" {
            return None;
        }
        let (mut offset, mut flag) = (0, 0);
        // SAFETY: EAL is initialised, as there is a port, and both places can be written.
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
        // SAFETY: this thread has no number yet; EAL refuses while it is not initialised.
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

/// Lets frames out: all ports are started.
pub(crate) fn open_gate() {
    gate().get_or_insert_default();
}

/// Lets no more out, and returns once nobody sends: the ports may be stopped.
pub(crate) fn close_gate() {
    *gate() = None;
}

/// Has mbufs ready for a port. An error when it is not started.
fn prepare(port: &Port) -> io::Result<()> {
    let mut gate = gate();
    let pools = gate.as_mut().filter(|_| port.info.nb_tx_queues > QUEUE).ok_or_else(closed)?;
    if let Entry::Vacant(place) = pools.entry(port.number) {
        place.insert(Pool::new(port.number)?);
    }
    Ok(())
}

/// Whether the port, which was prepared, took the frame of at most [`ROOM`] bytes. A short one is
/// filled up with zeros. An error when the port is not started any more.
fn offer(port: u16, frame: &[u8]) -> io::Result<bool> {
    let gate = gate();
    let pool = gate.as_ref().and_then(|pools| pools.get(&port)).ok_or_else(closed)?;
    let Some(mut mbuf) = pool.mbuf(frame) else { return Ok(false) };
    // SAFETY: the port was prepared, so it has this queue. It is started, as the gate is open, and
    // nobody else sends, as the gate is held. The mbuf is ours, and the port's once it is taken.
    let taken = unsafe { ffi::_rte_eth_tx_burst(port, QUEUE, &mut mbuf, 1) };
    if taken == 0 {
        // SAFETY: it was not taken, so it still is ours.
        unsafe { ffi::_rte_pktmbuf_free(mbuf) };
    }
    Ok(taken == 1)
}

/// Mbufs of one port. They are never given back: ports that are closed may still hold some.
#[derive(Debug)]
struct Pool(NonNull<ffi::rte_mempool>);

// SAFETY: DPDK's pools may be used by any thread.
unsafe impl Send for Pool {}

impl Pool {
    fn new(port: u16) -> io::Result<Self> {
        let name = CString::new(format!("sonde_send_{port}"))?;
        // SAFETY: the name ends in NUL, and EAL is initialised, as there is a port.
        let pool = unsafe {
            ffi::rte_pktmbuf_pool_create(name.as_ptr(), MBUFS, 0, 0, MBUF_ROOM, ANY_SOCKET)
        };
        let none = || io::Error::new(io::ErrorKind::OutOfMemory, "no memory for mbufs to send");
        NonNull::new(pool).map(Self).ok_or_else(none)
    }

    /// An mbuf with the frame; `None` when the port holds all.
    fn mbuf(&self, frame: &[u8]) -> Option<*mut ffi::rte_mbuf> {
        // SAFETY: the pool is never freed.
        let mbuf = unsafe { ffi::_rte_pktmbuf_alloc(self.0.as_ptr()) };
        // SAFETY: DPDK gave an mbuf that nobody else has, or none.
        let fields = unsafe { mbuf.as_mut() }?;
        let room = usize::from(fields.buf_len - fields.data_off);
        // SAFETY: DPDK keeps `data_off <= buf_len`, all within one buffer, which is ours as well.
        let room = unsafe { slice::from_raw_parts_mut(data(fields).cast_mut(), room) };
        let length = frame.len().max(SHORTEST);
        let (bytes, rest) = room[..length].split_at_mut(frame.len());
        bytes.copy_from_slice(frame);
        rest.fill(0);
        (fields.data_len, fields.pkt_len) = (length as u16, length as u32);
        Some(mbuf)
    }
}

fn gate() -> MutexGuard<'static, Option<BTreeMap<u16, Pool>>> {
    GATE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the port is not started")
}

/// Taken to ask a port, and to close all.
static HELD: Mutex<()> = Mutex::new(());

/// Queues that somebody polls, by port and queue.
static CLAIMED: Mutex<BTreeSet<(u16, u16)>> = Mutex::new(BTreeSet::new());

/// The pools of ports that were sent on, while all ports are started. Who holds a [`Port`] may take
/// it, never the other way round.
static GATE: Mutex<Option<BTreeMap<u16, Pool>>> = Mutex::new(None);

/// Counters of a driver at most: a few hundred are usual, some for each queue.
const XSTATS: u32 = 4096;

/// The transmit queue.
const QUEUE: u16 = 0;

/// Mbufs of a port: more than a queue holds.
const MBUFS: c_uint = 1023;

/// Bytes of an mbuf with the headroom that drivers want.
const MBUF_ROOM: u16 = 128 + ROOM as u16;

/// Bytes of a frame that an mbuf has room for.
const ROOM: usize = 2048;

/// DPDK's `SOCKET_ID_ANY`.
const ANY_SOCKET: i32 = -1;

/// Bytes of the shortest Ethernet frame without its checksum (IEEE 802.3).
const SHORTEST: usize = 60;

//! Sends frames on ports, off the lcores. An lcore only takes; of the transmit queues that capsule
//! sets up beside the receive queues the first is used here, by one thread at a time. The mbufs are
//! from pools of their own, so that no lcore ever waits for a thread that sends.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::{CString, c_uint};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;
use std::{ptr, slice};

use capsule_ffi as ffi;

/// Sends on one port.
#[derive(Debug)]
pub struct PortSender {
    port: u16,
    /// Bytes of a frame at most.
    longest: usize,
}

impl PortSender {
    /// The way out of a port that is started. An error when it is not, or not any more.
    pub fn open(port: u16) -> io::Result<Self> {
        let mut gate = gate();
        let pools = gate.as_mut().ok_or_else(closed)?;
        if let Entry::Vacant(place) = pools.entry(port) {
            place.insert(Pool::new(port)?);
        }
        let mut mtu = 0;
        // SAFETY: `mtu` outlives the call; an unknown port is answered with an error.
        let failed = unsafe { ffi::rte_eth_dev_get_mtu(port, &mut mtu) };
        let mtu = if failed == 0 { usize::from(mtu) } else { MTU };
        Ok(Self { port, longest: (mtu + HEADER).min(ROOM) })
    }

    /// Sends a frame, from its Ethernet header on; a short one is filled up with zeros. Waits for a
    /// moment when the port is busy. An error when it takes none, or when the frame is larger than
    /// its MTU.
    pub fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        let Self { port, longest } = *self;
        if frame.len() > longest {
            let why = format!("a frame of {} bytes, the port takes {longest}", frame.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        for _ in 0..TRIES {
            if Self::offer(port, frame)? {
                return Ok(());
            }
            sleep(PAUSE);
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "the port takes no frames"))
    }

    /// Whether the port took the frame.
    fn offer(port: u16, frame: &[u8]) -> io::Result<bool> {
        let gate = gate();
        let pool = gate.as_ref().ok_or_else(closed)?.get(&port).ok_or_else(closed)?;
        let Some(mut mbuf) = pool.mbuf(frame) else { return Ok(false) };
        // SAFETY: the port is started, as the gate is open, and nobody else sends on this queue, as
        // the gate is held; the mbuf is ours, and the port's once it is taken.
        let taken = unsafe { ffi::_rte_eth_tx_burst(port, QUEUE, &mut mbuf, 1) };
        if taken == 0 {
            // SAFETY: it was not taken, so it still is ours.
            unsafe { ffi::_rte_pktmbuf_free(mbuf) };
        }
        Ok(taken == 1)
    }
}

/// Lets frames out: all ports are started.
pub(crate) fn open_gate() {
    gate().get_or_insert_default();
}

/// Lets no more out, and returns once nobody sends: the ports may be stopped.
pub(crate) fn close_gate() {
    *gate() = None;
}

/// Mbufs of one port. They are never given back: ports that are closed may still hold some.
#[derive(Debug)]
struct Pool(ptr::NonNull<ffi::rte_mempool>);

impl Pool {
    fn new(port: u16) -> io::Result<Self> {
        let name = CString::new(format!("sonde_send_{port}"))?;
        // SAFETY: the name ends in NUL, and EAL is initialised, as there are ports that run.
        let pool = unsafe {
            ffi::rte_pktmbuf_pool_create(name.as_ptr(), MBUFS, 0, 0, MBUF_ROOM, ANY_SOCKET)
        };
        let none = || io::Error::new(io::ErrorKind::OutOfMemory, "no memory for mbufs to send");
        ptr::NonNull::new(pool).map(Self).ok_or_else(none)
    }

    /// An mbuf with the frame; `None` when the port holds all.
    fn mbuf(&self, frame: &[u8]) -> Option<*mut ffi::rte_mbuf> {
        // SAFETY: the pool is never freed while the gate is open.
        let mbuf = unsafe { ffi::_rte_pktmbuf_alloc(self.0.as_ptr()) };
        // SAFETY: DPDK gave an mbuf that nobody else has, or none.
        let fields = unsafe { mbuf.as_mut() }?;
        let length = frame.len().max(SHORTEST);
        let start = fields.buf_addr.cast::<u8>().wrapping_add(usize::from(fields.data_off));
        // SAFETY: behind `data_off` there is room for ROOM bytes, and `length` is no more.
        let room = unsafe { slice::from_raw_parts_mut(start, length) };
        let (bytes, rest) = room.split_at_mut(frame.len());
        bytes.copy_from_slice(frame);
        rest.fill(0);
        (fields.data_len, fields.pkt_len) = (length as u16, length as u32);
        Some(mbuf)
    }
}

// SAFETY: DPDK's pools may be used by any thread.
unsafe impl Send for Pool {}

fn gate() -> MutexGuard<'static, Option<BTreeMap<u16, Pool>>> {
    GATE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the port is not started")
}

/// The pools of ports that were sent on, while all ports are started.
static GATE: Mutex<Option<BTreeMap<u16, Pool>>> = Mutex::new(None);

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

/// The MTU of a port that does not say.
const MTU: usize = 1500;

/// Bytes of an Ethernet header with one VLAN tag.
const HEADER: usize = 18;

/// Bytes of the shortest Ethernet frame without its checksum (IEEE 802.3).
const SHORTEST: usize = 60;

/// How often a frame is offered, and the time between.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(1);

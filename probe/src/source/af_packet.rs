//! Kernel interfaces, through AF_PACKET (packet(7)): here the system calls, and the memory shared
//! with the kernel.
#![expect(unsafe_code, reason = "no safe library sets up TPACKET_V3 and fanout")]

#[forbid(unsafe_code)]
mod device;
#[forbid(unsafe_code)]
mod queue;
#[forbid(unsafe_code)]
mod ring;
#[forbid(unsafe_code)]
mod sender;

use std::ffi::{c_int, c_uint};
use std::fs::{File, OpenOptions};
use std::mem::offset_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{io, slice, thread};

use libc::{tpacket_block_desc, tpacket_hdr_v1};

pub use self::queue::{AfPacket, AfPacketConfig};
pub use self::sender::PacketSender;

/// Why an interface could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {}", io::Error::from_raw_os_error(*errno))]
pub struct OpenError {
    /// What was asked of the kernel: a system call or socket option.
    pub call: &'static str,
    /// The errno it gave.
    pub errno: i32,
}

impl OpenError {
    fn new(call: &'static str, error: &io::Error) -> Self {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        Self { call, errno }
    }

    /// From the errno of the calling thread.
    fn last(call: &'static str) -> Self {
        Self::new(call, &io::Error::last_os_error())
    }
}

/// A packet socket of TPACKET_V3, of the network namespace it was opened in.
#[derive(Debug)]
struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Opens a socket that no frame reaches before [`Self::bind`].
    fn open() -> Result<Self, OpenError> {
        // SAFETY: no memory of ours is involved.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        check("socket", fd)?;
        // SAFETY: the descriptor is new and nobody else's.
        let socket = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        let version = libc::tpacket_versions::TPACKET_V3 as c_int;
        socket.set("PACKET_VERSION", libc::SOL_PACKET, libc::PACKET_VERSION, &version)?;
        Ok(socket)
    }

    /// Sets up the blocks of the ring and maps them: once for a socket, the kernel refuses more. Must
    /// precede [`Self::bind`].
    fn blocks(&self, size: u32, count: u32, retire: Duration) -> Result<Blocks, OpenError> {
        let request = libc::tpacket_req3 {
            tp_block_size: size,
            tp_block_nr: count,
            // Frames of version 3 have any size; the kernel checks the product only.
            tp_frame_size: FRAME_SIZE,
            tp_frame_nr: (size / FRAME_SIZE).saturating_mul(count),
            tp_retire_blk_tov: retire.as_millis() as c_uint,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        self.set("PACKET_RX_RING", libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        let (size, count) = (size as usize, count as usize);
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                size * count,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                self.0.as_raw_fd(),
                0,
            )
        };
        match NonNull::new(base) {
            Some(mapped) if base != libc::MAP_FAILED => {
                Ok(Blocks { base: mapped.cast(), size, count, current: 0, ours: false })
            }
            _ => Err(OpenError::last("mmap")),
        }
    }

    /// Binds to an interface; returns its ARPHRD number.
    fn bind(&self, index: u32) -> Result<u16, OpenError> {
        let index = match c_int::try_from(index) {
            Ok(index @ 1..) => index,
            // Zero would bind to all interfaces.
            _ => {
                return Err(OpenError { call: "bind", errno: libc::ENODEV });
            }
        };
        let address = libc::sockaddr_ll {
            sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
            sll_ifindex: index,
            ..UNBOUND
        };
        // SAFETY: `address` is a sockaddr_ll of the length given; the kernel only reads it.
        let rc =
            unsafe { libc::bind(self.0.as_raw_fd(), (&raw const address).cast(), ADDRESS_LENGTH) };
        check("bind", rc)?;
        Ok(self.name()?.sll_hatype)
    }

    /// Asks for the frames of others too, as long as the socket is open.
    fn promiscuous(&self, index: u32) -> Result<(), OpenError> {
        let request = libc::packet_mreq {
            mr_ifindex: index as c_int,
            mr_type: libc::PACKET_MR_PROMISC as u16,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        let option = libc::PACKET_ADD_MEMBERSHIP;
        self.set("PACKET_ADD_MEMBERSHIP", libc::SOL_PACKET, option, &request)
    }

    /// Joins a fanout, or founds one under a number that is free in the namespace. Returns it.
    fn join(&self, fanout: Option<u16>) -> Result<u16, OpenError> {
        let (id, flags) = match fanout {
            Some(id) => (id, 0),
            None => (0, libc::PACKET_FANOUT_FLAG_UNIQUEID),
        };
        let request = c_uint::from(id) | (libc::PACKET_FANOUT_HASH | flags) << 16;
        self.set("PACKET_FANOUT", libc::SOL_PACKET, libc::PACKET_FANOUT, &request)?;
        let [joined] = self.get("PACKET_FANOUT", libc::SOL_PACKET, libc::PACKET_FANOUT)?;
        Ok(joined as u16)
    }

    /// Lets frames in, the first `snap` bytes of each; none when that is zero.
    fn admit(&self, snap: u32) -> Result<(), OpenError> {
        let mut instruction =
            libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: snap };
        let program = libc::sock_fprog { len: 1, filter: &raw mut instruction };
        self.set("SO_ATTACH_FILTER", libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
    }

    /// Waits until there is a block to read, `limit` at most. Returns whether the socket has an
    /// error to tell.
    fn wait(&self, limit: Duration) -> bool {
        let mut poll = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let limit = libc::timespec {
            tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(limit.subsec_nanos() as i32),
        };
        // SAFETY: one pollfd and a timespec, both live; a null signal mask leaves it as it is.
        unsafe { libc::ppoll(&raw mut poll, 1, &raw const limit, ptr::null()) };
        // When interrupted nothing is set, and the caller comes back.
        poll.revents & !libc::POLLIN != 0
    }

    /// Takes the error the socket has to tell; 0 is none.
    fn take_error(&self) -> i32 {
        match self.get("SO_ERROR", libc::SOL_SOCKET, libc::SO_ERROR) {
            Ok([errno]) => errno as i32,
            Err(error) => error.errno,
        }
    }

    /// Whether the socket is still bound to the interface: the kernel unbinds it when the
    /// interface goes away, not when it goes down.
    fn is_bound_to(&self, index: u32) -> bool {
        self.name().is_ok_and(|name| name.sll_ifindex == index as c_int)
    }

    /// Frames the ring had no room for, since the last call.
    fn drops(&self) -> u32 {
        let statistics = self.get("PACKET_STATISTICS", libc::SOL_PACKET, libc::PACKET_STATISTICS);
        // tpacket_stats_v3: packets, drops, freezes.
        statistics.map_or(0, |[_, drops, _]| drops)
    }

    /// Where the socket is bound.
    fn name(&self) -> Result<libc::sockaddr_ll, OpenError> {
        let mut address = UNBOUND;
        let mut length = ADDRESS_LENGTH;
        // SAFETY: the kernel writes at most `length` bytes, which is the size of `address`.
        let rc = unsafe {
            libc::getsockname(self.0.as_raw_fd(), (&raw mut address).cast(), &raw mut length)
        };
        check("getsockname", rc).map(|()| address)
    }

    fn set<T: Copy>(
        &self,
        call: &'static str,
        level: c_int,
        option: c_int,
        value: &T,
    ) -> Result<(), OpenError> {
        // SAFETY: `value` is live and of the length given. The kernel only reads it, and what it may
        // point to: an address that is none is an error.
        let rc = unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                level,
                option,
                (&raw const *value).cast(),
                size_of::<T>() as libc::socklen_t,
            )
        };
        check(call, rc)
    }

    fn get<const N: usize>(
        &self,
        call: &'static str,
        level: c_int,
        option: c_int,
    ) -> Result<[u32; N], OpenError> {
        let mut value = [0; N];
        let mut length = size_of_val(&value) as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes, which is the size of `value`, and any
        // bytes are integers.
        let rc = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                level,
                option,
                (&raw mut value).cast(),
                &raw mut length,
            )
        };
        check(call, rc).map(|()| value)
    }
}

impl From<PacketSocket> for File {
    fn from(socket: PacketSocket) -> Self {
        socket.0.into()
    }
}

/// The memory shared with the kernel (TPACKET_V3, Documentation/networking/packet_mmap.rst): blocks
/// in a ring. The kernel fills one after the other and hands each over; they are read in that order
/// and given back.
#[derive(Debug)]
struct Blocks {
    base: NonNull<u8>,
    /// Bytes of a block.
    size: usize,
    count: usize,
    /// The block being read, or waited for.
    current: usize,
    /// Whether the kernel has handed it over.
    ours: bool,
}

// SAFETY: the mapping belongs to the process, not to the thread that made it, and this is its only
// owner.
unsafe impl Send for Blocks {}

impl Blocks {
    /// The current block, once the kernel has handed it over.
    fn current(&mut self) -> Option<&[u8]> {
        if !self.ours {
            let status = self.status().load(Ordering::Acquire);
            self.ours = status & libc::TP_STATUS_USER != 0;
        }
        // SAFETY: the block lies in the mapping, which lives as long as `self`. Nobody writes it
        // while it is ours, and `give_back` cannot be called while the slice is in use.
        self.ours.then(|| unsafe { slice::from_raw_parts(self.start().as_ptr(), self.size) })
    }

    /// Gives the current block back to the kernel, if it is ours, and turns to the next.
    fn give_back(&mut self) {
        if self.ours {
            self.status().store(libc::TP_STATUS_KERNEL, Ordering::Release);
            self.ours = false;
            self.current = (self.current + 1) % self.count;
        }
    }

    /// The word by which the current block changes hands.
    fn status(&self) -> &AtomicU32 {
        const STATUS: usize =
            offset_of!(tpacket_block_desc, hdr) + offset_of!(tpacket_hdr_v1, block_status);
        // SAFETY: a block is a page at least and begins with its header.
        let word = unsafe { self.start().add(STATUS) };
        // SAFETY: the mapping lives as long as `self`, blocks begin on pages and the word is
        // aligned in them. The kernel accesses it atomically, and no slice of `current` is in use:
        // it would borrow `self` exclusively.
        unsafe { AtomicU32::from_ptr(word.as_ptr().cast()) }
    }

    /// Where the current block begins.
    fn start(&self) -> NonNull<u8> {
        // SAFETY: blocks are counted modulo their number, so this one lies in the mapping.
        unsafe { self.base.add(self.current * self.size) }
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this length, and nothing borrows it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.size * self.count) };
    }
}

/// Opens sockets in the network namespace at `netns` (the calling thread's when absent), where they
/// stay.
fn in_namespace<T: Send>(
    netns: Option<&Path>,
    open: impl FnOnce() -> Result<T, OpenError> + Send,
) -> Result<T, OpenError> {
    let Some(netns) = netns else { return open() };
    // A thread of its own enters the namespace and ends in it.
    thread::scope(|scope| {
        thread::Builder::new()
            .name("sonde-netns".into())
            .spawn_scoped(scope, || {
                enter(netns)?;
                open()
            })
            .map_err(|error| OpenError::new("clone", &error))?
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Moves the calling thread into the network namespace at `path`.
fn enter(path: &Path) -> Result<(), OpenError> {
    let namespace = OpenOptions::new()
        .read(true)
        // Not to hang when it is something else, a pipe for instance.
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| OpenError::new("open", &error))?;
    // SAFETY: the descriptor is open; no memory of ours is involved.
    let rc = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    check("setns", rc)
}

fn check(call: &'static str, rc: c_int) -> Result<(), OpenError> {
    if rc < 0 {
        return Err(OpenError::last(call));
    }
    Ok(())
}

const UNBOUND: libc::sockaddr_ll = libc::sockaddr_ll {
    sll_family: libc::AF_PACKET as u16,
    sll_protocol: 0,
    sll_ifindex: 0,
    sll_hatype: 0,
    sll_pkttype: 0,
    sll_halen: 0,
    sll_addr: [0; 8],
};

const ADDRESS_LENGTH: libc::socklen_t = size_of::<libc::sockaddr_ll>() as libc::socklen_t;

const FRAME_SIZE: u32 = 2048;

//! The system calls behind a packet socket.
#![expect(unsafe_code, reason = "no safe library sets up TPACKET_V3 and fanout")]

use std::ffi::{c_int, c_uint};
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::ptr;
use std::time::Duration;

use super::{OpenError, Ring};

/// A packet socket of TPACKET_V3, of the network namespace it was opened in.
#[derive(Debug)]
pub(super) struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Opens a socket that no frame reaches before [`Self::bind`].
    pub(super) fn open() -> Result<Self, OpenError> {
        // SAFETY: no memory of ours is involved.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        check("socket", fd)?;
        // SAFETY: the descriptor is new and nobody else's.
        let socket = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        let version = libc::tpacket_versions::TPACKET_V3 as c_int;
        socket.set("PACKET_VERSION", libc::SOL_PACKET, libc::PACKET_VERSION, &version)?;
        Ok(socket)
    }

    /// Sets up and maps the ring. Must precede [`Self::bind`].
    pub(super) fn ring(
        &self,
        block_size: u32,
        blocks: u32,
        retire: Duration,
    ) -> Result<Ring, OpenError> {
        let request = libc::tpacket_req3 {
            tp_block_size: block_size,
            tp_block_nr: blocks,
            // Frames of version 3 have any size; the kernel checks the product only.
            tp_frame_size: FRAME_SIZE,
            tp_frame_nr: (block_size / FRAME_SIZE).saturating_mul(blocks),
            tp_retire_blk_tov: retire.as_millis() as c_uint,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        self.set("PACKET_RX_RING", libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        Ring::map(self.0.as_fd(), block_size as usize, blocks as usize)
    }

    /// Binds to an interface; returns its ARPHRD number.
    pub(super) fn bind(&self, index: u32) -> Result<u16, OpenError> {
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
    pub(super) fn promiscuous(&self, index: u32) -> Result<(), OpenError> {
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
    pub(super) fn join(&self, fanout: Option<u16>) -> Result<u16, OpenError> {
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
    pub(super) fn admit(&self, snap: u32) -> Result<(), OpenError> {
        let mut instruction =
            libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: snap };
        let program = libc::sock_fprog { len: 1, filter: &raw mut instruction };
        self.set("SO_ATTACH_FILTER", libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
    }

    /// Waits until there is a block to read, `limit` at most. Returns whether the socket has an
    /// error to tell.
    pub(super) fn wait(&self, limit: Duration) -> bool {
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
    pub(super) fn take_error(&self) -> i32 {
        match self.get("SO_ERROR", libc::SOL_SOCKET, libc::SO_ERROR) {
            Ok([errno]) => errno as i32,
            Err(error) => error.errno,
        }
    }

    /// Whether the socket is still bound to the interface: the kernel unbinds it when the
    /// interface goes away, not when it goes down.
    pub(super) fn is_bound_to(&self, index: u32) -> bool {
        self.name().is_ok_and(|name| name.sll_ifindex == index as c_int)
    }

    /// Frames the ring had no room for, since the last call.
    pub(super) fn drops(&self) -> u32 {
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
        // SAFETY: `value` is live and of the length given; the kernel only reads it, and what a
        // `sock_fprog` points to is live as well.
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

/// Moves the calling thread into the network namespace at `path`.
pub(super) fn enter(path: &Path) -> Result<(), OpenError> {
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

//! The thread of a mirror: frames in, GRE packets out.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use bytes::Bytes;
use nix::libc;
use nix::sys::socket::{MsgFlags, MultiHeaders, sendmmsg};
use socket2::{Domain, Protocol, Socket, Type};

use super::Counts;

/// Sends frames to one host.
pub(super) struct Sender {
    socket: Socket,
}

impl Sender {
    /// Opens a raw socket, whose IP headers the kernel writes.
    pub(super) fn open(target: IpAddr) -> io::Result<Self> {
        let target = SocketAddr::new(target, 0);
        let gre = Protocol::from(libc::IPPROTO_GRE);
        let domain = Domain::for_address(target);
        let socket = Socket::new(domain, Type::from(libc::SOCK_RAW), Some(gre))?;
        socket.connect(&target.into())?;
        // Nobody reads what the target may send.
        socket.set_recv_buffer_size(0)?;
        Ok(Self { socket })
    }

    /// Sends until no mirror is left that puts frames: those that wait, in one call.
    pub(super) fn send_all(&self, frames: &Receiver<Bytes>, counts: &Counts) {
        let mut batch = Vec::with_capacity(BATCH);
        while let Ok(first) = frames.recv() {
            batch.push(first);
            batch.extend(frames.try_iter().take(BATCH - 1));
            let sent = self.send(&batch);
            counts.sent.fetch_add(sent, Ordering::Relaxed);
            counts.lose(batch.len() as u64 - sent);
            batch.clear();
        }
    }

    /// How many of the frames the kernel took.
    fn send(&self, batch: &[Bytes]) -> u64 {
        let packets: Vec<_> =
            batch.iter().map(|frame| [IoSlice::new(&GRE), IoSlice::new(frame)]).collect();
        let (mut left, mut sent) = (packets.as_slice(), 0);
        while !left.is_empty() {
            let mut headers = MultiHeaders::<()>::preallocate(left.len(), None);
            let addresses = vec![None; left.len()];
            let socket = self.socket.as_raw_fd();
            let done = sendmmsg(socket, &mut headers, left, &addresses, [], MsgFlags::empty())
                .map_or(0, Iterator::count);
            sent += done as u64;
            // The one after those is what the kernel refused.
            left = left.get(done + 1..).unwrap_or_default();
        }
        sent
    }
}

/// The header of GRE without options (RFC 2784), before an Ethernet frame that was mirrored: ERSPAN
/// type I has no header of its own (draft-foschiano-erspan, section 4.1).
const GRE: [u8; 4] = [0, 0, 0x88, 0xbe];

/// Frames in one system call at most.
const BATCH: usize = 64;

//! Requests and their answers.

use std::io;

use rtnetlink::packet_core::{NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP};
use rtnetlink::sys::{AsyncSocketExt, SocketAddr, TokioSocket};

use super::frame::{Frame, frames};
use super::{NetlinkError, open};

/// Asks the kernel, in the network namespace of the thread that opened it. One request at a time:
/// the kernel answers no faster than the answers are taken, so that none piles up.
pub(in super::super) struct Requests {
    socket: TokioSocket,
    sequence: u32,
    datagram: Vec<u8>,
}

impl Requests {
    /// Opens a socket of that netlink protocol.
    pub(in super::super) fn open(protocol: isize) -> Result<Self, NetlinkError> {
        Ok(Self { socket: open(protocol)?, sequence: 0, datagram: Vec::with_capacity(DATAGRAM) })
    }

    /// Sends a request, and hands each message of the answer to `take`. False when the answer is
    /// of no one moment, because something changed meanwhile. The request must ask for a dump or
    /// for an acknowledgement, or else the answer has no end.
    pub(in super::super) async fn ask(
        &mut self,
        mut request: Vec<u8>,
        mut take: impl FnMut(&Frame<'_>),
    ) -> Result<bool, NetlinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        if let Some(sequence) = request.get_mut(SEQUENCE) {
            sequence.copy_from_slice(&self.sequence.to_ne_bytes());
        }
        let kernel = SocketAddr::new(0, 0);
        self.socket.send_to(&request, &kernel).await.map_err(NetlinkError::Send)?;
        let mut whole = true;
        loop {
            self.datagram.clear();
            let from = self.socket.recv_from(&mut self.datagram).await;
            if from.map_err(NetlinkError::Receive)?.port_number() != 0 {
                continue;
            }
            for frame in frames(&self.datagram) {
                let frame = frame.map_err(|_| NetlinkError::Torn)?;
                // An answer to a request that was given up.
                if frame.header.sequence_number != self.sequence {
                    continue;
                }
                whole &= !frame.interrupted();
                match frame.header.message_type {
                    NLMSG_NOOP => {}
                    NLMSG_DONE | NLMSG_ERROR => {
                        let code =
                            frame.body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                        if code == 0 {
                            return Ok(whole);
                        }
                        let error = io::Error::from_raw_os_error(code.saturating_neg());
                        return Err(NetlinkError::Refused(error));
                    }
                    _ => take(&frame),
                }
            }
        }
    }
}

/// Where a request has its sequence number (`struct nlmsghdr`).
const SEQUENCE: std::ops::Range<usize> = 8..12;

/// Bytes of a datagram: a link with some hundred virtual functions.
const DATAGRAM: usize = 256 << 10;

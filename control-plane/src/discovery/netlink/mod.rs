//! The kernel's side: answers to requests, and news of changes, each of one network namespace.

mod changes;
mod frame;
mod kernel;
mod requests;
pub(super) mod sock_diag;

pub(super) use changes::{Change, Changes};
pub(super) use kernel::{Dump, Kernel, Tables};
pub(super) use requests::Requests;

use std::io;

use rtnetlink::sys::{AsyncSocket, SocketAddr, TokioSocket};

/// Why the kernel cannot be asked or heard.
#[derive(Debug, thiserror::Error)]
pub(super) enum NetlinkError {
    /// No socket, or no membership in the groups of changes.
    #[error("cannot open a netlink socket: {0}")]
    Open(#[source] io::Error),
    /// A request cannot be sent.
    #[error("cannot send to netlink: {0}")]
    Send(#[source] io::Error),
    /// The socket is broken.
    #[error("cannot receive from netlink: {0}")]
    Receive(#[source] io::Error),
    /// The kernel does not do what it was asked for.
    #[error("netlink refuses: {0}")]
    Refused(#[source] io::Error),
    /// An answer that is none.
    #[error("an answer of netlink is cut off")]
    Torn,
}

/// The three sockets that a namespace is followed by. They stay in the network namespace of the
/// thread that opened them, whichever thread uses them.
pub(super) struct Sockets {
    pub(super) changes: Changes,
    pub(super) kernel: Kernel,
    /// Generic netlink, for ethtool.
    pub(super) generic: Requests,
}

impl Sockets {
    /// Needs the context of a tokio runtime.
    pub(super) fn open() -> Result<Self, NetlinkError> {
        Ok(Self {
            // First: what happens while the kernel is asked is told again.
            changes: Changes::open()?,
            kernel: Kernel::open()?,
            generic: Requests::open(rtnetlink::sys::protocols::NETLINK_GENERIC)?,
        })
    }
}

fn open(protocol: isize) -> Result<TokioSocket, NetlinkError> {
    let mut socket = TokioSocket::new(protocol).map_err(NetlinkError::Open)?;
    socket.socket_mut().bind(&SocketAddr::new(0, 0)).map_err(NetlinkError::Open)?;
    Ok(socket)
}

//! News of changes.

use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::NLMSG_OVERRUN;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, TokioSocket};

use super::frame::{Torn, frames};
use super::{NetlinkError, open};

/// Hears of changes, in the network namespace of the thread that opened it.
pub(in super::super) struct Changes {
    socket: TokioSocket,
    datagram: Vec<u8>,
}

/// What has changed.
pub(in super::super) enum Change {
    /// These, in their order.
    Told(Vec<RouteNetlinkMessage>),
    /// More than could be told: only a dump shows what there is.
    Lost,
}

impl Changes {
    /// Opens a socket that hears of every change from now on.
    pub(super) fn open() -> Result<Self, NetlinkError> {
        let mut socket = open(NETLINK_ROUTE)?;
        let inner = socket.socket_mut();
        // Room for a storm of changes. The kernel grants what it may; an overrun is survived.
        let _ = inner.set_rx_buf_sz(RECEIVE_BUFFER);
        for group in GROUPS {
            inner.add_membership(group as u32).map_err(NetlinkError::Open)?;
        }
        Ok(Self { socket, datagram: Vec::with_capacity(DATAGRAM) })
    }

    /// Waits for a change. Nothing is lost when the future is dropped.
    pub(in super::super) async fn next(&mut self) -> Result<Change, NetlinkError> {
        loop {
            self.datagram.clear();
            match self.socket.recv_from(&mut self.datagram).await {
                // Only the kernel, port 0, knows of changes.
                Ok(from) if from.port_number() != 0 => {}
                Ok(_) => return Ok(messages(&self.datagram)),
                Err(error) if error.raw_os_error() == Some(ENOBUFS) => return Ok(Change::Lost),
                Err(error) => return Err(NetlinkError::Receive(error)),
            }
        }
    }

    /// Forgets what was told until now: after an overrun, and before a dump, which knows better.
    pub(in super::super) fn forget(&mut self) -> Result<(), NetlinkError> {
        for _ in 0..MOST_FORGOTTEN {
            self.datagram.clear();
            match self.socket.socket_ref().recv_from(&mut self.datagram, 0) {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(ENOBUFS) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(NetlinkError::Receive(error)),
            }
        }
        Ok(())
    }
}

fn messages(datagram: &[u8]) -> Change {
    let mut told = Vec::new();
    for frame in frames(datagram) {
        match frame {
            Ok(frame) if frame.header.message_type == NLMSG_OVERRUN => return Change::Lost,
            Ok(frame) => told.extend(frame.route()),
            Err(Torn) => return Change::Lost,
        }
    }
    Change::Told(told)
}

const GROUPS: [MulticastGroup; 7] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    // Of bridges too.
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Nsid,
];

/// Bytes of changes the kernel may hold for us.
const RECEIVE_BUFFER: u32 = 4 << 20;

/// Bytes of a datagram; the kernel's longest is 32 KiB.
const DATAGRAM: usize = 64 << 10;

/// Datagrams that are forgotten at once: more than the buffer holds. Who sends without end is not
/// waited for.
const MOST_FORGOTTEN: usize = 1 << 16;

/// "No buffer space available": messages were dropped (netlink(7)).
const ENOBUFS: i32 = 105;

#[cfg(test)]
mod tests {
    use super::super::frame::tests::datagram;
    use super::*;

    #[test]
    fn what_is_cut_off_is_lost() {
        let whole = datagram(&["eth0", "eth1"]);
        let told = |bytes: &[u8]| match messages(bytes) {
            Change::Told(told) => Some(told.len()),
            Change::Lost => None,
        };
        assert_eq!(told(&whole), Some(2));
        assert_eq!(told(&whole[..whole.len() / 2]), Some(1));
        assert_eq!(told(&whole[..whole.len() - 1]), None);
    }

    #[test]
    fn what_cannot_be_read_is_passed_over() {
        let mut datagram = datagram(&["eth0", "eth1"]);
        // The length of the first attribute.
        datagram[32] = 0xff;
        assert!(matches!(messages(&datagram), Change::Told(told) if told.len() == 1));
    }
}

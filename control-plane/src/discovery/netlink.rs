//! The kernel's side of links and addresses: a dump of all there is, and news of each change.

use std::io;

use futures_util::TryStreamExt;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::{LinkExtentMask, LinkMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use rtnetlink::{Handle, MulticastGroup};
use tracing::debug;

/// Why the kernel cannot be asked or heard.
#[derive(Debug, thiserror::Error)]
pub(super) enum NetlinkError {
    /// No socket, or no membership in the groups of links and addresses.
    #[error("cannot open a netlink socket: {0}")]
    Open(#[source] io::Error),
    /// The socket of changes is broken.
    #[error("cannot receive from netlink: {0}")]
    Receive(#[source] io::Error),
    /// Links or addresses cannot be read.
    #[error("cannot read links and addresses from netlink: {0}")]
    Dump(#[source] rtnetlink::Error),
}

/// All links and addresses of a network namespace.
pub(super) struct Dump {
    pub(super) links: Vec<LinkMessage>,
    /// Links as the bridge family tells of them, with their VLANs.
    pub(super) bridge: Vec<LinkMessage>,
    pub(super) addresses: Vec<AddressMessage>,
}

/// Asks the kernel, in the network namespace of the thread that opened it.
pub(super) struct Kernel(Handle);

/// Hears of changes, in the network namespace of the thread that opened it.
pub(super) struct Changes {
    socket: TokioSocket,
    datagram: Vec<u8>,
}

/// What has changed.
pub(super) enum Change {
    /// These, in their order.
    Told(Vec<RouteNetlinkMessage>),
    /// More than could be told: only a dump shows what there is.
    Lost,
}

impl Kernel {
    /// Opens a socket; a task of its own serves it until this is dropped.
    pub(super) fn open() -> Result<Self, NetlinkError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(NetlinkError::Open)?;
        tokio::spawn(connection);
        Ok(Self(handle))
    }

    /// Everything discovery follows.
    pub(super) async fn dump(&self) -> Result<Dump, NetlinkError> {
        let request = self
            .0
            .link()
            .get()
            .set_filter_mask(AddressFamily::Bridge, vec![LinkExtentMask::BrvlanCompressed]);
        let bridge = request.execute().try_collect().await.unwrap_or_else(|error| {
            // A kernel without bridges refuses.
            debug!(%error, "no VLANs of bridges");
            Vec::new()
        });
        let addresses = self.0.address().get().execute().try_collect().await;
        Ok(Dump {
            links: self.links().await?,
            bridge,
            addresses: addresses.map_err(NetlinkError::Dump)?,
        })
    }

    /// All links, with their counters.
    pub(super) async fn links(&self) -> Result<Vec<LinkMessage>, NetlinkError> {
        let links = self.0.link().get().execute().try_collect().await;
        links.map_err(NetlinkError::Dump)
    }
}

impl Changes {
    /// Opens a socket that hears of every change from now on.
    pub(super) fn open() -> Result<Self, NetlinkError> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE).map_err(NetlinkError::Open)?;
        let inner = socket.socket_mut();
        // Room for a storm of changes. The kernel grants what it may; an overrun is survived.
        let _ = inner.set_rx_buf_sz(RECEIVE_BUFFER);
        inner.bind(&SocketAddr::new(0, 0)).map_err(NetlinkError::Open)?;
        for group in GROUPS {
            inner.add_membership(group as u32).map_err(NetlinkError::Open)?;
        }
        Ok(Self { socket, datagram: Vec::with_capacity(DATAGRAM) })
    }

    /// Waits for a change. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Result<Change, NetlinkError> {
        loop {
            self.datagram.clear();
            match self.socket.recv_from(&mut self.datagram).await {
                // Only the kernel, port 0, knows about links.
                Ok(from) if from.port_number() != 0 => {}
                Ok(_) => return Ok(messages(&self.datagram)),
                Err(error) if error.raw_os_error() == Some(ENOBUFS) => return Ok(Change::Lost),
                Err(error) => return Err(NetlinkError::Receive(error)),
            }
        }
    }
}

/// The messages of a datagram. One that cannot be read is as good as lost.
fn messages(mut datagram: &[u8]) -> Change {
    let mut told = Vec::new();
    while !datagram.is_empty() {
        let message = match NetlinkMessage::<RouteNetlinkMessage>::deserialize(datagram) {
            Ok(message) => message,
            Err(error) => {
                debug!(%error, "a netlink message that cannot be read");
                return Change::Lost;
            }
        };
        // Messages begin at multiples of four, and are never shorter than their header.
        let length = (message.header.length.max(HEADER) as usize).next_multiple_of(4);
        datagram = datagram.get(length..).unwrap_or_default();
        match message.payload {
            NetlinkPayload::InnerMessage(message) => told.push(message),
            NetlinkPayload::Overrun(_) => return Change::Lost,
            _ => {}
        }
    }
    Change::Told(told)
}

const GROUPS: [MulticastGroup; 3] =
    [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];

/// Bytes of changes the kernel may hold for us.
const RECEIVE_BUFFER: u32 = 4 << 20;

/// Bytes of a datagram; the kernel's longest is 32 KiB.
const DATAGRAM: usize = 64 << 10;

/// Bytes of a netlink header.
const HEADER: u32 = 16;

/// "No buffer space available": messages were dropped (netlink(7)).
const ENOBUFS: i32 = 105;

#[cfg(test)]
mod tests {
    use super::*;
    use rtnetlink::packet_route::link::LinkAttribute;

    fn datagram(names: &[&str]) -> Vec<u8> {
        let mut datagram = Vec::new();
        for name in names {
            let mut link = LinkMessage::default();
            link.attributes.push(LinkAttribute::IfName(name.to_string()));
            let mut message = NetlinkMessage::from(RouteNetlinkMessage::NewLink(link));
            message.finalize();
            let start = datagram.len();
            datagram.resize(start + message.buffer_len().next_multiple_of(4), 0);
            message.serialize(&mut datagram[start..]);
        }
        datagram
    }

    #[test]
    fn a_datagram_holds_several_messages() {
        let Change::Told(told) = messages(&datagram(&["eth0", "a"])) else {
            panic!("both messages are well");
        };
        let names: Vec<_> = told
            .iter()
            .map(|message| match message {
                RouteNetlinkMessage::NewLink(link) => link.attributes.clone(),
                other => panic!("not a link: {other:?}"),
            })
            .collect();
        assert_eq!(
            names,
            [[LinkAttribute::IfName("eth0".into())], [LinkAttribute::IfName("a".into())]]
        );
    }

    #[test]
    fn what_cannot_be_read_is_lost() {
        let whole = datagram(&["eth0", "eth1"]);
        for end in 1..whole.len() {
            if end == whole.len() / 2 {
                continue;
            }
            let cut = messages(&whole[..end]);
            assert!(matches!(cut, Change::Lost), "cut at {end}");
        }
    }
}

//! What the kernel knows of the network.

use std::os::fd::{AsFd, AsRawFd};

use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use rtnetlink::packet_route::neighbour::NeighbourMessage;
use rtnetlink::packet_route::nsid::{NsidAttribute, NsidMessage};
use rtnetlink::packet_route::route::RouteMessage;
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use tracing::debug;

use super::super::neighbour::Neighbour;
use super::super::route::Route;
use super::super::table::ByLink;
use super::frame::request;
use super::{NetlinkError, Requests};

/// All links and addresses of a network namespace.
#[derive(Default)]
pub(in super::super) struct Dump {
    pub(in super::super) links: Vec<LinkMessage>,
    /// Links as the bridge family tells of them, with their VLANs.
    pub(in super::super) bridge: Vec<LinkMessage>,
    pub(in super::super) addresses: Vec<AddressMessage>,
}

/// The tables of all links that were read anew.
#[derive(Default)]
pub(in super::super) struct Tables {
    pub(in super::super) neighbours: Option<ByLink<Neighbour>>,
    pub(in super::super) fdb: Option<ByLink<Neighbour>>,
    pub(in super::super) routes: Option<ByLink<Route>>,
}

/// Asks the kernel, in the network namespace of the thread that opened it.
pub(in super::super) struct Kernel(Requests);

impl Kernel {
    /// Opens a socket.
    pub(super) fn open() -> Result<Self, NetlinkError> {
        Requests::open(NETLINK_ROUTE).map(Self)
    }

    /// All links and addresses.
    pub(in super::super) async fn dump(&mut self) -> Result<Dump, NetlinkError> {
        let bridge = links_request(AddressFamily::Bridge, LinkExtentMask::BrvlanCompressed);
        Ok(Dump {
            bridge: unless_unknown(self.collect(bridge, link_of).await)?,
            links: self.links().await?,
            addresses: self
                .collect(RouteNetlinkMessage::GetAddress(AddressMessage::default()), |told| {
                    match told {
                        RouteNetlinkMessage::NewAddress(address) => Some(address),
                        _ => None,
                    }
                })
                .await?,
        })
    }

    /// All links, with their counters and virtual functions.
    pub(in super::super) async fn links(&mut self) -> Result<Vec<LinkMessage>, NetlinkError> {
        self.collect(links_request(AddressFamily::Unspec, LinkExtentMask::Vf), link_of).await
    }

    /// A link, while it is there.
    pub(in super::super) async fn link(
        &mut self,
        index: u32,
    ) -> Result<Option<LinkMessage>, NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        let message = RouteNetlinkMessage::GetLink(message);
        let mut link = None;
        let asked = self.0.ask(request(message, NLM_F_REQUEST | NLM_F_ACK), |frame| {
            link = frame.route().and_then(link_of);
        });
        unless_unknown(asked.await)?;
        Ok(link)
    }

    /// The neighbours of all links.
    pub(in super::super) async fn neighbours(&mut self) -> Result<ByLink<Neighbour>, NetlinkError> {
        self.neighbours_of(AddressFamily::Unspec).await
    }

    /// Where bridges and tunnels forward frames to, of all links; nothing where the kernel has
    /// neither.
    pub(in super::super) async fn fdb(&mut self) -> Result<ByLink<Neighbour>, NetlinkError> {
        unless_unknown(self.neighbours_of(AddressFamily::Bridge).await)
    }

    /// The routes of all links.
    pub(in super::super) async fn routes(&mut self) -> Result<ByLink<Route>, NetlinkError> {
        let mut routes = ByLink::default();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            let message = RouteNetlinkMessage::GetRoute(message);
            let read = |table: &mut ByLink<Route>, told| {
                if let RouteNetlinkMessage::NewRoute(message) = told {
                    Route::read(&message).for_each(|(link, route)| table.add(link, route));
                }
            };
            // A kernel without IPv6 has no such routes.
            routes.merge(unless_unknown(self.fold(message, read).await)?);
        }
        Ok(routes)
    }

    /// The number that the network namespace has which `netns` is open on; `None` while it has
    /// none here.
    pub(in super::super) async fn nsid(
        &mut self,
        netns: impl AsFd,
    ) -> Result<Option<i32>, NetlinkError> {
        let mut message = NsidMessage::default();
        let fd = u32::try_from(netns.as_fd().as_raw_fd()).unwrap_or_default();
        message.attributes.push(NsidAttribute::Fd(fd));
        let request = request(RouteNetlinkMessage::GetNsId(message), NLM_F_REQUEST | NLM_F_ACK);
        let mut id = None;
        self.0
            .ask(request, |frame| {
                if let Some(RouteNetlinkMessage::NewNsId(answer)) = frame.route() {
                    id = answer.attributes.iter().find_map(|attribute| match attribute {
                        NsidAttribute::Id(id) => Some(*id),
                        _ => None,
                    });
                }
            })
            .await?;
        Ok(id.filter(|id| *id >= 0))
    }

    async fn neighbours_of(
        &mut self,
        family: AddressFamily,
    ) -> Result<ByLink<Neighbour>, NetlinkError> {
        let mut message = NeighbourMessage::default();
        message.header.family = family;
        let message = RouteNetlinkMessage::GetNeighbour(message);
        self.fold(message, |table: &mut ByLink<Neighbour>, told| {
            if let RouteNetlinkMessage::NewNeighbour(message) = told {
                table.add(message.header.ifindex, Neighbour::read(&message));
            }
        })
        .await
    }

    async fn collect<T>(
        &mut self,
        message: RouteNetlinkMessage,
        pick: impl Fn(RouteNetlinkMessage) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        self.fold(message, |found: &mut Vec<T>, told| found.extend(pick(told))).await
    }

    /// A dump, put together message by message.
    async fn fold<T: Default>(
        &mut self,
        message: RouteNetlinkMessage,
        add: impl Fn(&mut T, RouteNetlinkMessage),
    ) -> Result<T, NetlinkError> {
        let request = request(message, NLM_F_REQUEST | NLM_F_DUMP);
        let mut tries = TRIES;
        loop {
            let mut found = T::default();
            let whole = self
                .0
                .ask(request.clone(), |frame| {
                    if let Some(told) = frame.route() {
                        add(&mut found, told);
                    }
                })
                .await?;
            tries -= 1;
            // What never stands still is taken as it was seen: its next change is told.
            if whole || tries == 0 {
                return Ok(found);
            }
        }
    }
}

fn links_request(family: AddressFamily, more: LinkExtentMask) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.header.interface_family = family;
    message.attributes.push(LinkAttribute::ExtMask(vec![more]));
    RouteNetlinkMessage::GetLink(message)
}

fn link_of(told: RouteNetlinkMessage) -> Option<LinkMessage> {
    match told {
        RouteNetlinkMessage::NewLink(link) => Some(link),
        _ => None,
    }
}

/// Nothing, where the kernel does not know what it was asked for.
fn unless_unknown<T: Default>(answer: Result<T, NetlinkError>) -> Result<T, NetlinkError> {
    match answer {
        Err(NetlinkError::Refused(error)) => {
            debug!(%error, "a kernel without");
            Ok(T::default())
        }
        answer => answer,
    }
}

/// Dumps until one is of a single moment.
const TRIES: u32 = 4;

//! What is to be read anew because of what the kernel told.

use std::collections::BTreeSet;

use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

/// Parts of a namespace that were told to change. Tables are read as a whole: the kernel does not
/// tell of each route, neighbour and forwarding entry that comes or goes with its link or its address.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wants {
    pub(super) neighbours: bool,
    pub(super) fdb: bool,
    pub(super) routes: bool,
    /// Links whose drivers may have something new to tell.
    pub(super) settings: BTreeSet<u32>,
}

impl Wants {
    pub(super) fn hear(&mut self, messages: &[RouteNetlinkMessage]) {
        for message in messages {
            match message {
                RouteNetlinkMessage::NewLink(link)
                    if link.header.interface_family == AddressFamily::Unspec =>
                {
                    self.settings.insert(link.header.index);
                    self.all_tables();
                }
                RouteNetlinkMessage::DelLink(link) => {
                    self.settings.remove(&link.header.index);
                    self.all_tables();
                }
                RouteNetlinkMessage::NewNeighbour(told)
                | RouteNetlinkMessage::DelNeighbour(told) => match told.header.family {
                    AddressFamily::Bridge => self.fdb = true,
                    _ => self.neighbours = true,
                },
                RouteNetlinkMessage::NewAddress(_) | RouteNetlinkMessage::DelAddress(_) => {
                    self.all_tables();
                }
                RouteNetlinkMessage::NewRoute(_) | RouteNetlinkMessage::DelRoute(_) => {
                    self.routes = true;
                }
                _ => {}
            }
        }
    }

    /// All tables, and the settings of these links.
    pub(super) fn everything(&mut self, links: &[LinkMessage]) {
        self.all_tables();
        self.settings = links.iter().map(|link| link.header.index).collect();
    }

    fn all_tables(&mut self) {
        (self.neighbours, self.fdb, self.routes) = (true, true, true);
    }

    pub(super) fn tables(&self) -> bool {
        self.neighbours || self.fdb || self.routes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtnetlink::packet_route::address::AddressMessage;
    use rtnetlink::packet_route::neighbour::NeighbourMessage;
    use rtnetlink::packet_route::route::RouteMessage;

    #[test]
    fn each_change_wants_its_part() {
        let mut link = LinkMessage::default();
        link.header.index = 7;
        let mut entry = NeighbourMessage::default();
        entry.header.family = AddressFamily::Bridge;
        let neighbour = NeighbourMessage::default();
        let none = Wants::default;
        let tables = || Wants { neighbours: true, fdb: true, routes: true, ..none() };
        for (message, wanted) in [
            (
                RouteNetlinkMessage::NewLink(link.clone()),
                Wants { settings: [7].into(), ..tables() },
            ),
            (RouteNetlinkMessage::DelLink(link), tables()),
            (RouteNetlinkMessage::NewAddress(AddressMessage::default()), tables()),
            (RouteNetlinkMessage::DelNeighbour(entry), Wants { fdb: true, ..none() }),
            (RouteNetlinkMessage::NewNeighbour(neighbour), Wants { neighbours: true, ..none() }),
            (
                RouteNetlinkMessage::DelRoute(RouteMessage::default()),
                Wants { routes: true, ..none() },
            ),
        ] {
            let mut wants = none();
            wants.hear(&[message]);
            assert_eq!(wants, wanted);
        }
    }
}

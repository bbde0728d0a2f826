//! The routes over a link, as `RoutingTables` has them (API §8.5).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteVia,
};
use serde_json::Value;
use sonde_proto::graph::Metadata;

use super::element::put;
use super::table::Table;

/// A route by one link. A route by several is one of each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Route {
    table: Id,
    prefix: IpAddr,
    length: u8,
    protocol: u8,
    priority: u32,
    link: u32,
    gateway: Option<IpAddr>,
    source: Option<IpAddr>,
}

/// A routing table's number. The main table comes first, the local one last: queries take the
/// first route that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Id {
    rank: u8,
    number: u32,
}

impl Route {
    /// The route, once for each next hop, by the hop's interface index. Nothing of a route that
    /// leads nowhere, or that is a copy in a cache.
    pub(super) fn read(message: &RouteMessage) -> impl Iterator<Item = (u32, Self)> {
        let hops = if message.header.flags.contains(RouteFlags::Cloned) {
            Vec::new()
        } else {
            read(message).unwrap_or_default()
        };
        hops.into_iter().map(|route| (route.link, route))
    }
}

fn read(message: &RouteMessage) -> Option<Vec<Route>> {
    let header = &message.header;
    let unspecified: IpAddr = match header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let mut route = Route {
        table: Id::new(header.table.into()),
        prefix: unspecified,
        length: header.destination_prefix_length,
        protocol: header.protocol.into(),
        priority: 0,
        link: 0,
        gateway: None,
        source: None,
    };
    let mut several = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => route.prefix = ip(address)?,
            RouteAttribute::PrefSource(address) => route.source = ip(address),
            RouteAttribute::Priority(priority) => route.priority = *priority,
            RouteAttribute::Table(number) => route.table = Id::new(*number),
            RouteAttribute::Oif(link) => route.link = *link,
            RouteAttribute::MultiPath(hops) => several = Some(hops),
            attribute => route.gateway = gateway(attribute).or(route.gateway),
        }
    }
    let Some(several) = several else {
        return (route.link != 0).then(|| vec![route]);
    };
    let hops = several.iter().map(|hop| Route {
        link: hop.interface_index,
        gateway: hop.attributes.iter().find_map(gateway),
        ..route.clone()
    });
    Some(hops.collect())
}

fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        RouteAttribute::Via(RouteVia::Inet(ip)) => Some((*ip).into()),
        RouteAttribute::Via(RouteVia::Inet6(ip)) => Some((*ip).into()),
        _ => None,
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}

impl Id {
    fn new(number: u32) -> Self {
        let rank = match number {
            MAIN => 0,
            LOCAL => 2,
            _ => 1,
        };
        Self { rank, number }
    }
}

/// `RoutingTables` of a link; `None` without routes. `mac_of` knows the neighbours of the link.
pub(super) fn tables(
    routes: &Table<Route>,
    mac_of: impl Fn(IpAddr) -> Option<String>,
) -> Option<Value> {
    let mut tables: BTreeMap<Id, Vec<&Route>> = BTreeMap::new();
    for route in &routes.listed {
        tables.entry(route.table).or_default().push(route);
    }
    let tables: Vec<Value> =
        tables.into_iter().map(|(id, routes)| table(id, &routes, &mac_of)).collect();
    (!tables.is_empty()).then(|| tables.into())
}

/// Routes that differ in their next hop only are one.
fn table(id: Id, routes: &[&Route], mac_of: impl Fn(IpAddr) -> Option<String>) -> Value {
    let same = |a: &&Route, b: &&Route| {
        (a.prefix, a.length, a.protocol) == (b.prefix, b.length, b.protocol)
    };
    let listed = routes.chunk_by(same).filter_map(|hops| {
        let first = hops.first()?;
        let mut route = Metadata::new();
        put(&mut route, "Protocol", Some(first.protocol));
        put(&mut route, "Prefix", Some(format!("{}/{}", first.prefix, first.length)));
        let hops: Vec<Value> = hops.iter().map(|route| next_hop(route, &mac_of)).collect();
        put(&mut route, "NextHops", Some(hops));
        Some(Value::Object(route))
    });
    let mut table = Metadata::new();
    put(&mut table, "ID", Some(id.number));
    let source = routes.iter().find_map(|route| route.source);
    put(&mut table, "Src", source.map(|source| source.to_string()));
    put(&mut table, "Routes", Some(listed.collect::<Vec<_>>()));
    Value::Object(table)
}

fn next_hop(route: &Route, mac_of: impl Fn(IpAddr) -> Option<String>) -> Value {
    let mut hop = Metadata::new();
    put(&mut hop, "Priority", Some(route.priority));
    put(&mut hop, "IP", route.gateway.map(|ip| ip.to_string()));
    put(&mut hop, "MAC", route.gateway.and_then(mac_of));
    put(&mut hop, "IfIndex", Some(route.link));
    Value::Object(hop)
}

/// The main table (rtnetlink(7)).
const MAIN: u32 = 254;

/// The table of the host's own addresses.
const LOCAL: u32 = 255;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::table::ByLink;
    use rtnetlink::packet_route::route::{RouteNextHop, RouteProtocol};
    use serde_json::json;

    fn message(table: u8, prefix: &str, attributes: &[RouteAttribute]) -> RouteMessage {
        let (address, length) = prefix.split_once('/').unwrap();
        let address: IpAddr = address.parse().unwrap();
        let mut message = RouteMessage::default();
        message.header.address_family =
            if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        message.header.table = table;
        message.header.protocol = RouteProtocol::Kernel;
        message.header.destination_prefix_length = length.parse().unwrap();
        if message.header.destination_prefix_length != 0 {
            message.attributes.push(RouteAttribute::Destination(address.into()));
        }
        message.attributes.extend_from_slice(attributes);
        message
    }

    fn address(text: &str) -> RouteAddress {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn tables_are_those_that_next_hop_reads() {
        let mut routes = ByLink::default();
        let mut hop = RouteNextHop::default();
        hop.interface_index = 2;
        hop.attributes.push(RouteAttribute::Gateway(address("10.0.0.9")));
        let mut elsewhere = hop.clone();
        elsewhere.interface_index = 3;
        let oif = RouteAttribute::Oif(2);
        for message in [
            message(255, "10.0.0.2/32", std::slice::from_ref(&oif)),
            message(
                254,
                "10.0.0.0/24",
                &[oif.clone(), RouteAttribute::PrefSource(address("10.0.0.2"))],
            ),
            message(
                254,
                "0.0.0.0/0",
                &[
                    oif.clone(),
                    RouteAttribute::Gateway(address("10.0.0.1")),
                    RouteAttribute::Priority(5),
                ],
            ),
            message(0, "fd00::/64", &[oif, RouteAttribute::Table(1000)]),
            message(254, "10.1.0.0/16", &[RouteAttribute::MultiPath(vec![hop, elsewhere])]),
            message(254, "10.2.0.0/16", &[]),
        ] {
            Route::read(&message).for_each(|(link, route)| routes.add(link, route));
        }
        let mac_of =
            |ip: IpAddr| (ip.to_string() == "10.0.0.1").then(|| "02:00:00:00:00:01".into());
        let here = tables(&routes.take(2), mac_of).unwrap();
        assert_eq!(
            here,
            json!([
                {"ID": 254, "Src": "10.0.0.2", "Routes": [
                    {"Protocol": 2, "Prefix": "0.0.0.0/0", "NextHops": [
                        {"Priority": 5, "IP": "10.0.0.1", "MAC": "02:00:00:00:00:01", "IfIndex": 2}]},
                    {"Protocol": 2, "Prefix": "10.0.0.0/24", "NextHops": [{"Priority": 0, "IfIndex": 2}]},
                    {"Protocol": 2, "Prefix": "10.1.0.0/16", "NextHops": [
                        {"Priority": 0, "IP": "10.0.0.9", "IfIndex": 2}]},
                ]},
                {"ID": 1000, "Routes": [
                    {"Protocol": 2, "Prefix": "fd00::/64", "NextHops": [{"Priority": 0, "IfIndex": 2}]},
                ]},
                {"ID": 255, "Routes": [
                    {"Protocol": 2, "Prefix": "10.0.0.2/32", "NextHops": [{"Priority": 0, "IfIndex": 2}]},
                ]},
            ])
        );
        let there = tables(&routes.take(3), mac_of).unwrap();
        assert_eq!(there[0]["Routes"][0]["NextHops"][0]["IfIndex"], 3);
        assert_eq!(tables(&routes.take(4), mac_of), None);
    }

    #[test]
    fn copies_in_a_cache_are_no_routes() {
        let mut message = message(254, "10.0.0.0/8", &[RouteAttribute::Oif(2)]);
        message.header.flags = RouteFlags::Cloned;
        assert_eq!(Route::read(&message).count(), 0);
    }
}

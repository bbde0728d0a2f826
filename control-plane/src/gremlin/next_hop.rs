//! `NextHop`: where a node would send a packet, by its routing tables (Skydive API §3.7).

use std::net::IpAddr;

use serde_json::{Map, Value};
use sonde_proto::graph::{Metadata, Node};

/// Where the node would send a packet, as Skydive's next hop object (`IP`, `MAC`, `IfIndex`,
/// `Priority`); `None` when no route matches.
pub fn next_hop(node: &Node, to: IpAddr) -> Option<Value> {
    let (hop, gateway) = route(&node.metadata, to)?;
    let via = gateway.map_or_else(|| to.to_string(), str::to_owned);
    let mac = match text(hop, "MAC") {
        "" => neighbour_mac(&node.metadata, &via),
        mac => Some(mac),
    };
    let int = |key: &str| hop.get(key).cloned().unwrap_or(0.into());
    let mut answer = Map::new();
    answer.insert("Priority".into(), int("Priority"));
    answer.insert("IP".into(), via.into());
    if let Some(mac) = mac {
        answer.insert("MAC".into(), mac.into());
    }
    answer.insert("IfIndex".into(), int("IfIndex"));
    Some(answer.into())
}

/// The next hop of the route that wins, and its gateway: the first matching route with a gateway,
/// else the first on the link, else the first default route.
fn route(metadata: &Metadata, to: IpAddr) -> Option<(&Map<String, Value>, Option<&str>)> {
    let (mut on_link, mut default) = (None, None);
    let routes = objects(metadata, "RoutingTables").flat_map(|table| objects(table, "Routes"));
    for route in routes {
        let Some(length) = matched(text(route, "Prefix"), to) else {
            continue;
        };
        let Some(hop) = objects(route, "NextHops").next() else {
            continue;
        };
        let gateway = Some(text(hop, "IP")).filter(|ip| !ip.is_empty());
        match gateway {
            _ if length == 0 => default = default.or(Some((hop, gateway))),
            Some(_) => return Some((hop, gateway)),
            None => on_link = on_link.or(Some((hop, None))),
        }
    }
    on_link.or(default)
}

fn neighbour_mac<'a>(metadata: &'a Metadata, ip: &str) -> Option<&'a str> {
    objects(metadata, "Neighbors")
        .find(|neighbour| text(neighbour, "IP") == ip)
        .map(|neighbour| text(neighbour, "MAC"))
        .filter(|mac| !mac.is_empty())
}

/// The length of a prefix that holds the address.
fn matched(prefix: &str, ip: IpAddr) -> Option<u32> {
    let (address, length) = prefix.split_once('/')?;
    let length: u32 = length.parse().ok()?;
    let (a, b, bits) = match (address.parse().ok()?, ip) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
        _ => return None,
    };
    let differ: u128 = a ^ b;
    let free = u32::checked_sub(bits, length)?;
    (differ.checked_shr(free).unwrap_or(0) == 0).then_some(length)
}

fn objects<'a>(
    object: &'a Map<String, Value>,
    key: &str,
) -> impl Iterator<Item = &'a Map<String, Value>> {
    let items = object.get(key).and_then(Value::as_array);
    items.into_iter().flatten().filter_map(Value::as_object)
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hop(to: &str) -> Option<Value> {
        let metadata = json!({
            "RoutingTables": [
                {"ID": 254, "Routes": [
                    {"Prefix": "0.0.0.0/0", "NextHops": [{"Priority": 5, "IP": "10.0.0.1", "IfIndex": 2}]},
                    {"Prefix": "10.0.0.0/24", "NextHops": [{"IfIndex": 2}]},
                    {"Prefix": "10.0.0.128/25", "NextHops": [{"IP": "10.0.0.9", "IfIndex": 3}]}
                ]},
                {"ID": 255, "Routes": [
                    {"Prefix": "10.0.0.130/32", "NextHops": [{"IP": "10.0.0.8", "IfIndex": 4}]}
                ]}
            ],
            "Neighbors": [{"IP": "10.0.0.1", "MAC": "0a:00:00:00:00:01"}]
        });
        let node = Node { metadata: metadata.as_object().unwrap().clone(), ..Node::default() };
        next_hop(&node, to.parse().unwrap())
    }

    #[test]
    fn gateway_before_link_before_default() {
        let far =
            json!({"Priority": 5, "IP": "10.0.0.1", "MAC": "0a:00:00:00:00:01", "IfIndex": 2});
        assert_eq!(hop("8.8.8.8"), Some(far));
        let near = json!({"Priority": 0, "IP": "10.0.0.7", "IfIndex": 2});
        assert_eq!(hop("10.0.0.7"), Some(near));
        let behind = json!({"Priority": 0, "IP": "10.0.0.9", "IfIndex": 3});
        assert_eq!(hop("10.0.0.130"), Some(behind));
        assert_eq!(hop("fe80::1"), None);
    }

    #[test]
    fn prefixes_hold_addresses_of_their_family() {
        let matched = |prefix, ip: &str| matched(prefix, ip.parse().unwrap());
        assert_eq!(matched("10.0.0.0/8", "10.9.9.9"), Some(8));
        assert_eq!(matched("10.0.0.0/8", "11.0.0.0"), None);
        assert_eq!(matched("::/0", "fe80::1"), Some(0));
        assert_eq!(matched("fe80::/64", "fe80::1"), Some(64));
        assert_eq!(matched("fe80::1/128", "fe80::2"), None);
        assert_eq!(matched("10.0.0.0/33", "10.0.0.0"), None);
        assert_eq!(matched("nonsense", "10.0.0.0"), None);
    }
}

//! Who sends, and from where to where: addresses that an injection leaves out are those of nodes
//! (Skydive API §10).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use serde_json::Value;
use sonde_proto::graph::Node;
use sonde_proto::plan::Point;

use super::recipe::{Mac, Recipe, bare, read_mac};
use crate::agent::agent_of;
use crate::asker::Asker;
use crate::capture;
use crate::graph::{Graph, Topology};
use crate::gremlin;

/// A node that sends.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sender {
    /// ID of its node.
    pub(super) node: String,
    /// The host of the agent that sends, if it is not ours.
    pub(super) agent: Option<String>,
    pub(super) point: Point,
    /// Absent where frames are those of a file.
    pub(super) route: Option<Route>,
}

/// From where to where.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Route {
    pub(super) ips: Ips,
    /// Source and destination; absent on a link without MAC addresses.
    pub(super) macs: Option<(Mac, Mac)>,
}

/// Source and destination.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Ips {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

/// Why nothing can be sent, in Skydive's words.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum NoRoute {
    #[error("Not able to find a source node for '{0}'")]
    NoSource(String),
    #[error("No source IP in node")]
    NoSourceIp,
    #[error("No destination node and IP")]
    NoDestination,
    #[error("No destination IP in node")]
    NoDestinationIp,
    #[error("No source MAC in node")]
    NoSourceMac,
    #[error("Failed to resolve destination MAC address")]
    NoDestinationMac,
    #[error("SrcIP and DstIP: expected two addresses of one version, as Type says")]
    Versions,
    #[error("more than {SENDERS} nodes match '{0}'")]
    Many(String),
}

/// The nodes that send, and their routes: those of `host`, which is ours, and those of agents.
/// `text`: the query for them, for errors.
pub(super) fn senders(
    asker: &Asker,
    host: &str,
    recipe: &Recipe,
    text: &str,
) -> Result<Vec<Sender>, NoRoute> {
    let topology = asker.look(Graph::snapshot);
    let nodes = asker.nodes(&recipe.src, &topology).unwrap_or_default();
    let mut senders: Vec<(Arc<Node>, Point)> = Vec::new();
    let agent = |node: &Node| agent_of(node, host).map(str::to_owned);
    for node in nodes {
        if !node.host.is_empty() && node.host != host && agent(&node).is_none() {
            continue;
        }
        match capture::point(&node, &topology) {
            Some(_) if senders.len() == SENDERS => return Err(NoRoute::Many(text.to_owned())),
            Some(point) => senders.push((node, point)),
            None => {}
        }
    }
    if senders.is_empty() {
        return Err(NoRoute::NoSource(text.to_owned()));
    }
    if recipe.pcap.is_some() {
        let sender = |(node, point): (Arc<Node>, _)| {
            let (node, agent) = (node.id.clone(), agent(&node));
            Sender { node, agent, point, route: None }
        };
        return Ok(senders.into_iter().map(sender).collect());
    }
    let receiver = receiver(asker, recipe, &topology);
    let sender = |(node, point): (Arc<Node>, Point)| {
        let route = Some(route(recipe, &node, receiver.as_deref())?);
        Ok(Sender { node: node.id.clone(), agent: agent(&node), point, route })
    };
    senders.into_iter().map(sender).collect()
}

fn receiver(asker: &Asker, recipe: &Recipe, topology: &Topology) -> Option<Arc<Node>> {
    asker.nodes(recipe.dst.as_ref()?, topology).unwrap_or_default().into_iter().next()
}

fn route(recipe: &Recipe, from: &Node, to: Option<&Node>) -> Result<Route, NoRoute> {
    let src = recipe.src_ip.or_else(|| ip(from, recipe.is_ipv6)).ok_or(NoRoute::NoSourceIp)?;
    let dst = match (recipe.dst_ip, to) {
        (Some(ip), _) => ip,
        (None, Some(node)) => ip(node, recipe.is_ipv6).ok_or(NoRoute::NoDestinationIp)?,
        (None, None) => return Err(NoRoute::NoDestination),
    };
    let ips = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) if !recipe.is_ipv6 => Ips::V4(src, dst),
        (IpAddr::V6(src), IpAddr::V6(dst)) if recipe.is_ipv6 => Ips::V6(src, dst),
        _ => return Err(NoRoute::Versions),
    };
    let macs = match from.text("EncapType") {
        "ether" | "" => {
            let src = recipe.src_mac.or_else(|| mac(from)).ok_or(NoRoute::NoSourceMac)?;
            let next = || {
                let hop = gremlin::next_hop(from, dst)?;
                read_mac(hop.get("MAC")?.as_str()?)
            };
            let dst = recipe.dst_mac.or_else(next).or_else(|| to.and_then(mac));
            Some((src, dst.ok_or(NoRoute::NoDestinationMac)?))
        }
        // Its addresses are zeros.
        "loopback" => Some(([0; 6], [0; 6])),
        _ => None,
    };
    Ok(Route { ips, macs })
}

fn ip(node: &Node, is_ipv6: bool) -> Option<IpAddr> {
    let key = if is_ipv6 { "IPV6" } else { "IPV4" };
    let addresses = node.metadata.get(key)?.as_array()?;
    addresses.iter().filter_map(Value::as_str).find_map(bare)
}

fn mac(node: &Node) -> Option<Mac> {
    read_mac(node.text("MAC"))
}

/// Nodes that send for one injection at most.
const SENDERS: usize = 64;

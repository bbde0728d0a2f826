//! Where the frames of a node are seen, or why nowhere (Skydive API §9.3).

use std::path::PathBuf;

use serde_json::Value;
use sonde_proto::graph::{Node, relation};
use sonde_proto::plan::Point;
use uuid::Uuid;

use crate::graph::Topology;

/// Why a node that a capture asks for is not captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// Flows could not say where they were seen.
    #[error("the node has no TID")]
    NoTid,
    /// No frames can come.
    #[error("the node is down: there is no `UP` among its LinkFlags")]
    Down,
    /// Nobody knows what its frames begin with.
    #[error("the node has no EncapType")]
    NoEncapsulation,
    /// The data plane could not find it.
    #[error("the node has no IfIndex")]
    NoIndex,
    /// The port that the capture asks for, or every one that it may have, is another's.
    #[error("no port is left: other pcapsocket captures have them")]
    PortTaken,
    /// The port that the capture asks for is none of those that it may have.
    #[error("pcapsocket captures may have the ports {first} to {last}")]
    PortForbidden {
        /// The first that they may have.
        first: u16,
        /// The last.
        last: u16,
    },
}

/// The TID that flows of the node carry, which is a UUID.
pub(super) fn tid(node: &Node) -> Result<Uuid, Refusal> {
    node.tid().ok_or(Refusal::NoTid)
}

/// Where frames that cross the node can be taken.
pub(super) fn tapped(node: &Node, graph: &Topology) -> Result<Point, Refusal> {
    if !is_up(node) {
        return Err(Refusal::Down);
    }
    if node.text("EncapType").is_empty() {
        return Err(Refusal::NoEncapsulation);
    }
    point(node, graph).ok_or(Refusal::NoIndex)
}

/// Where frames of the node are seen, and sent, once that is known.
pub(crate) fn point(node: &Node, graph: &Topology) -> Option<Point> {
    if node.text("Type") == "dpdkport" {
        let name = node.text("Name");
        return (!name.is_empty()).then(|| Point::Port(name.to_owned()));
    }
    let index = Some(if_index(node)).filter(|index| *index != 0)?;
    let netns = netns(node, graph);
    Some(Point::Interface { index, netns })
}

/// The node's `IfIndex`, 0 without one.
pub(super) fn if_index(node: &Node) -> u32 {
    let index = node.metadata.get("IfIndex").and_then(Value::as_u64);
    index.and_then(|index| index.try_into().ok()).unwrap_or_default()
}

/// What the node's metadata says of MPLS over UDP (API §4.4).
pub(super) fn mpls_udp_port(node: &Node) -> Option<u16> {
    let port = node.metadata.get("MPLSUDPPort").and_then(Value::as_u64)?;
    u16::try_from(port).ok().filter(|port| *port != 0)
}

/// Whether frames can come: `UP` is among the node's `LinkFlags`.
fn is_up(node: &Node) -> bool {
    node.metadata
        .get("LinkFlags")
        .and_then(Value::as_array)
        .is_some_and(|flags| flags.iter().any(|flag| flag == "UP"))
}

/// The network namespace that owns the node; `None` for the daemon's own.
fn netns(node: &Node, graph: &Topology) -> Option<PathBuf> {
    let owner = graph
        .edges_at(&node.id)
        .find(|edge| {
            edge.child == node.id
                && edge.metadata.get("RelationType").and_then(Value::as_str)
                    == Some(relation::OWNERSHIP)
        })
        .and_then(|edge| graph.node(&edge.parent))
        .filter(|owner| owner.text("Type") == "netns")?;
    Some(owner.text("Path").into())
}

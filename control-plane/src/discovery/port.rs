//! DPDK ports: their nodes, and what the data plane counts on them (API §8.7).

use std::path::Path;

use serde_json::Value;
use sonde_proto::graph::{Metadata, Node, relation, uuid_v5};
use sonde_proto::time::Timestamp;

use super::device::SYSFS;
use super::element::{Author, Owner, lock, mac_text, put, renew};
use super::metric::{self, InterfaceMetric, clamp};
use super::other_end::{OtherEnd, Port};
use super::vhost_user;
use crate::graph::{Graph, SharedGraph};

/// Skydive's type of a DPDK port's node.
pub const TYPE: &str = "dpdkport";

/// A DPDK port as the daemon opened it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortNode {
    /// The port's name in the configuration.
    pub name: String,
    /// DPDK's number of the port.
    pub id: u16,
    /// DPDK's device string: a PCI address, or a vdev such as `net_af_packet0,iface=eth0`.
    pub device: String,
    /// The poll-mode driver.
    pub driver: String,
    /// Where the device is, when it is on a PCI bus.
    pub pci: Option<String>,
    /// The port's own address.
    pub mac: Option<[u8; 6]>,
    /// Bytes of the longest packet.
    pub mtu: u32,
    /// Mbit/s, when known.
    pub speed_mbit: Option<u32>,
    /// Whether there is a carrier.
    pub link_up: bool,
    /// NUMA node of the device, when known.
    pub socket: Option<u32>,
    /// Receive queues.
    pub queues: u16,
    /// CPUs of the lcores that poll the port.
    pub cpus: Vec<u32>,
    /// What spreads frames over the queues: `single`, `symmetric`, `fanout`, `asymmetric`,
    /// `unknown`.
    pub rss: String,
    /// Headers that RSS hashes: `ip`, `tcp`, ...
    pub rss_headers: Vec<&'static str>,
    /// Whether the port takes frames that are not for its address.
    pub promiscuous: bool,
}

/// Counters of a port since it was started, and its link as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames the hardware dropped because the queues were full (`imissed`).
    pub rx_missed: u64,
    /// Frames received with errors (`ierrors`).
    pub rx_errors: u64,
    /// Frames dropped for want of mbufs (`rx_nombuf`).
    pub rx_no_mbuf: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames that could not be sent (`oerrors`).
    pub tx_errors: u64,
    /// Whether there is a carrier.
    pub link_up: bool,
    /// Mbit/s, when known.
    pub speed_mbit: Option<u32>,
    /// All that its driver counts, by name (xstats), when that is asked for.
    pub extended: Vec<(String, u64)>,
}

/// Writes a port's counters and link state on its node; `looked` is when they were last read, or the
/// port was started. False when there is no port of that name.
///
/// Each change is a new revision for every subscriber: call it as often as they should hear,
/// Skydive does every 30 s ([`super::COUNTERS_EVERY`]).
pub fn update(
    graph: &SharedGraph,
    name: &str,
    stats: &PortStats,
    looked: Timestamp,
    now: Timestamp,
) -> bool {
    let mut graph = lock(graph);
    let port = graph.nodes().find(|node| node.text("Type") == TYPE && node.text("Name") == name);
    let Some(id) = port.map(|node| node.id.clone()) else {
        return false;
    };
    graph.update::<Node>(&id, now, |metadata| {
        renew(metadata, LINK_STATE, &link_state(stats.link_up, stats.speed_mbit));
        metric::write(metadata, stats.into(), Some(looked), now);
        if !stats.extended.is_empty() {
            let counters = stats.extended.iter();
            let counters: Metadata =
                counters.map(|(name, count)| (name.clone(), (*count).into())).collect();
            metadata.insert("XStats".into(), counters.into());
        }
    });
    true
}

impl From<&PortStats> for InterfaceMetric {
    fn from(stats: &PortStats) -> Self {
        Self {
            rx_packets: clamp(stats.rx_packets),
            rx_bytes: clamp(stats.rx_bytes),
            rx_missed_errors: clamp(stats.rx_missed),
            rx_errors: clamp(stats.rx_errors),
            rx_dropped: clamp(stats.rx_no_mbuf),
            tx_packets: clamp(stats.tx_packets),
            tx_bytes: clamp(stats.tx_bytes),
            tx_errors: clamp(stats.tx_errors),
            ..Self::default()
        }
    }
}

/// Adds the nodes of the ports, owned by the host, and the edges between those that are the two
/// ends of a vhost-user socket. The ports, with what is at their other end.
pub(super) fn add(
    graph: &mut Graph,
    author: &Author,
    host: &Owner,
    ports: &[PortNode],
    now: Timestamp,
) -> Vec<Port> {
    let mut added: Vec<Port> = Vec::new();
    for port in ports {
        let end = OtherEnd::of(Path::new(SYSFS), &port.device, port.pci.as_deref());
        let node = author.node(metadata(port, end.as_ref(), host));
        let id = node.id.clone();
        let mut edges = vec![author.edge(&host.id, &id, relation::OWNERSHIP, None)];
        if let Some(OtherEnd::Socket(socket)) = &end {
            let peers = added.iter().filter(|other| other.is_on(socket.other_side()));
            let layer2 = |peer: &Port| author.edge(&peer.node, &id, relation::LAYER2, None);
            edges.extend(peers.map(layer2));
        }
        graph.add(node, now).expect("a new UUID is in no graph");
        for edge in edges {
            graph.add(edge, now).expect("its ends were just added");
        }
        added.push(Port { node: id, end });
    }
    added
}

/// The keys that change while a port runs.
const LINK_STATE: &[&str] = &["State", "Speed"];

fn link_state(up: bool, speed: Option<u32>) -> Metadata {
    let mut state = Metadata::new();
    put(&mut state, "State", Some(if up { "UP" } else { "DOWN" }));
    put(&mut state, "Speed", speed);
    state
}

fn metadata(port: &PortNode, end: Option<&OtherEnd>, host: &Owner) -> Metadata {
    let mut metadata = link_state(port.link_up, port.speed_mbit);
    let mut set = |key: &str, value: Value| {
        metadata.insert(key.to_owned(), value);
    };
    set("Name", port.name.as_str().into());
    set("Type", TYPE.into());
    set("TID", uuid_v5(&[&host.tid, &port.name, TYPE]).to_string().into());
    set("EncapType", "ether".into());
    set("IfIndex", port.id.into());
    // A started port is up, whether or not there is a carrier.
    set("LinkFlags", vec!["UP"].into());
    set("Device", port.device.as_str().into());
    set("Driver", port.driver.as_str().into());
    set("Queues", port.queues.into());
    set("Lcores", port.cpus.clone().into());
    set("RSS", port.rss.as_str().into());
    set("Promiscuous", port.promiscuous.into());
    let hashed = !port.rss_headers.is_empty();
    put(&mut metadata, "RSSHeaders", hashed.then(|| port.rss_headers.clone()));
    put(&mut metadata, "MTU", (port.mtu != 0).then_some(port.mtu));
    put(&mut metadata, "MAC", port.mac.and_then(|mac| mac_text(&mac)));
    put(&mut metadata, "PCIAddress", port.pci.clone());
    put(&mut metadata, "BusInfo", port.pci.clone());
    put(&mut metadata, "Socket", port.socket);
    match end {
        Some(OtherEnd::Function(device)) => {
            let function = device.virtual_of.as_ref();
            put(&mut metadata, "VfID", function.map(|function| function.id));
        }
        Some(OtherEnd::Socket(socket)) => {
            metadata.insert(vhost_user::KEY.to_owned(), socket.json(None));
        }
        Some(OtherEnd::Link(_)) | None => {}
    }
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::{Arc, RwLock};

    fn graph_with(ports: &[PortNode]) -> (SharedGraph, Owner, Vec<Port>) {
        let mut graph = Graph::new();
        let author = Author::new("h");
        let node = author.node(Metadata::new());
        let host = Owner { id: node.id.clone(), tid: uuid_v5(&["h"]).to_string() };
        graph.add(node, Timestamp::default()).unwrap();
        let ports = add(&mut graph, &author, &host, ports, Timestamp::default());
        (Arc::new(RwLock::new(graph)), host, ports)
    }

    fn port() -> PortNode {
        PortNode {
            name: "uplink".into(),
            id: 2,
            device: "0000:3b:00.0".into(),
            driver: "net_ice".into(),
            pci: Some("0000:3b:00.0".into()),
            mac: Some([2, 0, 0, 0, 0, 9]),
            mtu: 1500,
            speed_mbit: Some(100_000),
            link_up: true,
            socket: Some(1),
            queues: 2,
            cpus: vec![4, 5],
            rss: "symmetric".into(),
            rss_headers: vec!["ip", "tcp"],
            promiscuous: true,
        }
    }

    fn of(graph: &SharedGraph) -> Metadata {
        let graph = graph.read().unwrap();
        let port = graph.nodes().find(|node| node.text("Type") == TYPE);
        port.unwrap().metadata.clone()
    }

    #[test]
    fn a_port_is_a_node_of_the_host() {
        let (graph, host, _) = graph_with(&[port()]);
        let tid = uuid_v5(&[&host.tid, "uplink", "dpdkport"]).to_string();
        assert_eq!(
            Value::Object(of(&graph)),
            json!({
                "Name": "uplink", "Type": "dpdkport", "TID": tid, "EncapType": "ether",
                "IfIndex": 2, "LinkFlags": ["UP"], "State": "UP", "Device": "0000:3b:00.0",
                "Driver": "net_ice", "PCIAddress": "0000:3b:00.0", "BusInfo": "0000:3b:00.0",
                "MAC": "02:00:00:00:00:09", "MTU": 1500, "Speed": 100_000, "Socket": 1,
                "Queues": 2, "Lcores": [4, 5], "RSS": "symmetric", "RSSHeaders": ["ip", "tcp"],
                "Promiscuous": true,
            })
        );
        let graph = graph.read().unwrap();
        let edge = graph.edges().next().unwrap();
        assert_eq!(edge.metadata["RelationType"], "ownership");
        assert_eq!(edge.parent, host.id);
    }

    #[test]
    fn counters_and_link_state_are_written_and_the_rest_stays() {
        let (graph, _, _) = graph_with(&[port()]);
        let captured = of(&graph);
        {
            let mut graph = graph.write().unwrap();
            let id = graph.nodes().find(|node| node.text("Type") == TYPE);
            let id = id.unwrap().id.clone();
            graph.update::<Node>(&id, Timestamp::default(), |metadata| {
                metadata.insert("Captures".into(), json!([{"ID": "c"}]));
            });
        }
        let stats = PortStats {
            rx_packets: 10,
            rx_bytes: 640,
            rx_missed: 1,
            rx_no_mbuf: 2,
            extended: vec![("rx_q0_packets".into(), 10)],
            ..PortStats::default()
        };
        let (looked, now) = (Timestamp::from_millis(2000), Timestamp::from_millis(5000));
        assert!(update(&graph, "uplink", &stats, looked, now));
        let mut after = of(&graph);
        assert_eq!(after.remove("XStats").unwrap(), json!({"rx_q0_packets": 10}));
        assert_eq!(after["State"], "DOWN");
        assert!(!after.contains_key("Speed"), "nobody knows it now");
        assert_eq!(
            after.remove("Metric").unwrap(),
            json!({"RxPackets": 10, "RxBytes": 640, "RxMissedErrors": 1, "RxDropped": 2,
                   "Last": 5000})
        );
        assert_eq!(
            after.remove("LastUpdateMetric").unwrap(),
            json!({"RxPackets": 10, "RxBytes": 640, "RxMissedErrors": 1, "RxDropped": 2,
                   "Start": 2000, "Last": 5000})
        );
        assert!(after.remove("Captures").is_some());
        after.insert("State".into(), "UP".into());
        after.insert("Speed".into(), 100_000.into());
        assert_eq!(after, captured);
        assert!(!update(&graph, "downlink", &stats, looked, now));
    }

    #[test]
    fn the_two_ends_of_a_socket_are_joined() {
        let vdev = |name: &str, device: &str| PortNode {
            name: name.into(),
            device: device.into(),
            ..PortNode::default()
        };
        let (graph, _, ports) = graph_with(&[
            vdev("vhost", "net_vhost0,iface=/run/a.sock,queues=2"),
            vdev("virtio", "net_virtio_user0,path=/run/a.sock"),
            vdev("other", "net_virtio_user1,path=/run/b.sock"),
            vdev("again", "net_vhost1,iface=/run/a.sock"),
        ]);
        assert_eq!(ports.len(), 4);
        let graph = graph.read().unwrap();
        let name = |id: &str| graph.node(id).unwrap().text("Name").to_owned();
        let edges = graph.edges().filter(|edge| edge.metadata["RelationType"] == "layer2");
        let mut edges: Vec<_> = edges.map(|edge| (name(&edge.parent), name(&edge.child))).collect();
        edges.sort();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(edges, [pair("vhost", "virtio"), pair("virtio", "again")]);
        let virtio = graph.nodes().find(|node| node.text("Name") == "virtio").unwrap();
        assert_eq!(virtio.metadata["VhostUser"], json!({"Path": "/run/a.sock", "Role": "client"}));
    }
}

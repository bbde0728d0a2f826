//! DPDK ports: their nodes, and what the data plane counts on them (API §8.7).

use serde_json::Value;
use sonde_proto::graph::{Metadata, Node, relation, uuid_v5};
use sonde_proto::time::Timestamp;

use super::element::{Author, Owner, lock, mac_text, put, renew};
use super::metric::{self, InterfaceMetric, clamp};
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

/// A port's node, and the name of the link its frames come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lower {
    pub(super) link: String,
    pub(super) node: String,
}

/// Writes a port's counters and link state on its node. False when there is no port of that name.
///
/// Each change is a new revision for every subscriber: call it as often as they should hear,
/// Skydive does every 30 s ([`super::COUNTERS_EVERY`]).
pub fn update(graph: &SharedGraph, name: &str, stats: &PortStats, now: Timestamp) -> bool {
    let mut graph = lock(graph);
    let port = graph.nodes().find(|node| node.text("Type") == TYPE && node.text("Name") == name);
    let Some(id) = port.map(|node| node.id.clone()) else {
        return false;
    };
    graph.update::<Node>(&id, now, |metadata| {
        renew(metadata, LINK_STATE, &link_state(stats.link_up, stats.speed_mbit));
        metric::write(metadata, stats.into(), None, now);
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

/// Adds the nodes of the ports, owned by the host. Those that stand on a kernel link.
pub(super) fn add(
    graph: &mut Graph,
    author: &Author,
    host: &Owner,
    ports: &[PortNode],
    now: Timestamp,
) -> Vec<Lower> {
    let mut lower = Vec::new();
    for port in ports {
        let node = author.node(metadata(port, host));
        let edge = author.edge(&host.id, &node.id, relation::OWNERSHIP, None);
        let link = kernel_link(&port.device).map(str::to_owned);
        lower.extend(link.map(|link| Lower { link, node: node.id.clone() }));
        graph.add(node, now).expect("a new UUID is in no graph");
        graph.add(edge, now).expect("host and port were just added");
    }
    lower
}

/// The keys that change while a port runs.
const LINK_STATE: &[&str] = &["State", "Speed"];

fn link_state(up: bool, speed: Option<u32>) -> Metadata {
    let mut state = Metadata::new();
    put(&mut state, "State", Some(if up { "UP" } else { "DOWN" }));
    put(&mut state, "Speed", speed);
    state
}

fn metadata(port: &PortNode, host: &Owner) -> Metadata {
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
    metadata
}

/// The kernel link a vdev takes its frames from: `iface=` of its device string.
fn kernel_link(device: &str) -> Option<&str> {
    let mut parts = device.split(',').map(str::trim);
    let driver = parts.next()?;
    let known = ["net_af_packet", "net_af_xdp", "eth_af_packet", "eth_af_xdp", "net_pcap"];
    if !known.iter().any(|name| driver.starts_with(name)) {
        return None;
    }
    parts.find_map(|part| part.strip_prefix("iface=")).filter(|link| !link.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::{Arc, RwLock};

    fn graph_with(ports: &[PortNode]) -> (SharedGraph, Owner, Vec<Lower>) {
        let mut graph = Graph::new();
        let author = Author::new("h");
        let node = author.node(Metadata::new());
        let host = Owner { id: node.id.clone(), tid: uuid_v5(&["h"]).to_string() };
        graph.add(node, Timestamp::default()).unwrap();
        let lower = add(&mut graph, &author, &host, ports, Timestamp::default());
        (Arc::new(RwLock::new(graph)), host, lower)
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
        let (graph, host, lower) = graph_with(&[port()]);
        assert_eq!(lower, []);
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
        let now = Timestamp::from_millis(5000);
        assert!(update(&graph, "uplink", &stats, now));
        let mut after = of(&graph);
        assert_eq!(after.remove("XStats").unwrap(), json!({"rx_q0_packets": 10}));
        assert_eq!(after["State"], "DOWN");
        assert!(!after.contains_key("Speed"), "nobody knows it now");
        assert_eq!(
            after.remove("Metric").unwrap(),
            json!({"RxPackets": 10, "RxBytes": 640, "RxMissedErrors": 1, "RxDropped": 2,
                   "Last": 5000})
        );
        assert!(after.remove("Captures").is_some());
        after.insert("State".into(), "UP".into());
        after.insert("Speed".into(), 100_000.into());
        assert_eq!(after, captured);
        assert!(!update(&graph, "downlink", &stats, now));
    }

    #[test]
    fn vdevs_name_their_kernel_link() {
        assert_eq!(kernel_link("net_af_packet0,iface=eth0,qpairs=1"), Some("eth0"));
        assert_eq!(kernel_link("net_af_xdp1,start_queue=0,iface=ens1f0"), Some("ens1f0"));
        assert_eq!(kernel_link("net_af_packet0,iface="), None);
        assert_eq!(kernel_link("net_tap0,iface=tap0"), None);
        assert_eq!(kernel_link("0000:3b:00.0"), None);
    }
}

//! A graph and flows with something for every step to find.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde_json::{Value, json};
use sonde_control_plane::flow::LazyFlow;
use sonde_control_plane::graph::{Graph, HistoryLimits, MemoryHistory};
use sonde_control_plane::gremlin::{Answer, Ground, Limits, Query, QueryError};
use sonde_proto::flow::{
    Flow, FlowLayer, FlowMetric, FlowProtocol, IcmpLayer, RawPacket, TransportLayer,
};
use sonde_proto::graph::{Edge, Metadata, Node};
use sonde_proto::time::Timestamp;

/// What queries are asked of.
#[derive(Debug)]
pub struct Scene {
    graph: Graph,
    flows: Vec<LazyFlow>,
}

impl Scene {
    /// The one there is.
    pub fn get() -> &'static Self {
        static SCENE: LazyLock<Scene> = LazyLock::new(|| Scene { graph: graph(), flows: flows() });
        &SCENE
    }

    /// Answers from it, however long it takes.
    pub fn ask(&self, query: &Query, limits: &Limits) -> Result<Answer, QueryError> {
        let past = query.recall(&self.graph, NOW)?;
        let ground = past.as_ref().map_or(Ground::Now(&self.graph), Ground::Past);
        query.run(ground, &self.flows, limits, &|| false)
    }
}

fn graph() -> Graph {
    let time = Duration::from_secs(3600);
    let mut graph = Graph::with_history(MemoryHistory::new(HistoryLimits { time, bytes: 1 << 20 }));
    for (id, metadata) in [
        (
            "n1",
            json!({"Name": "n1", "Type": "host", "Value": 1, "List": ["a", "b"], "Map": {"a": 1},
            "TID": "T1", "Sockets": [
                {"Process": "curl", "Protocol": "TCP", "LocalAddress": "10.0.0.1",
                    "LocalPort": 1001, "RemoteAddress": "10.0.0.2", "RemotePort": 80},
                7, {}
            ]}),
        ),
        (
            "n2",
            json!({"Name": "n2", "Type": "device", "Value": 2.5, "TID": "T2",
            "MAC": "0a:00:00:00:00:01", "IPV4": ["10.0.0.1", "10.0.1.2/24"],
            "Neighbors": [{"MAC": "x", "IP": "10.0.0.1"}, null, {"IP": 7}],
            "LastUpdateMetric": {"RxPackets": 5, "Start": 1000, "Last": 61000},
            "RoutingTables": [{"ID": 254, "Routes": [
                {"Prefix": "0.0.0.0/0", "NextHops": [{"IP": "10.0.0.1", "IfIndex": 2}]},
                {"Prefix": "::/0", "NextHops": [{"IfIndex": 3}]}, {}, null
            ]}]}),
        ),
        (
            "n3",
            json!({"Name": "n3", "Type": "veth", "Value": "3", "TID": "T3", "Map": {},
                "PeerIntfMAC": "0a:00:00:00:00:02", "IPV6": ["fe80::1/64"], "Up": true,
                "LastUpdateMetric": {"RxBytes": i64::MAX, "Start": 0, "Last": i64::MAX}}),
        ),
        ("n4", json!({"Value": -4, "List": [], "Null": null, "Huge": 1e300, "Name": ""})),
    ] {
        graph
            .add(Node { id: id.into(), metadata: object(metadata), ..Node::default() }, BORN)
            .expect("the IDs differ");
    }
    for (parent, child, kind) in [
        ("n1", "n2", "ownership"),
        ("n1", "n3", "ownership"),
        ("n2", "n3", "layer2"),
        ("n3", "n4", "layer2"),
        ("n4", "n4", "loop"),
    ] {
        let edge = Edge {
            element: Node {
                id: format!("{parent}-{child}"),
                metadata: object(json!({"RelationType": kind, "Name": kind})),
                ..Node::default()
            },
            parent: parent.into(),
            child: child.into(),
        };
        graph.add(edge, BORN).expect("the ends are there");
    }
    for n in 1..4 {
        let then = BORN.after(Duration::from_secs(10 * n));
        for (id, key) in [("n2", "Value"), ("n3", "MTU")] {
            let change = |metadata: &mut Metadata| drop(metadata.insert(key.into(), n.into()));
            graph.update::<Node>(id, then, change).expect("it is there");
            graph.update::<Edge>("n1-n2", then, change).expect("it is there");
        }
    }
    graph.delete::<Edge>("n4-n4", BORN.after(Duration::from_secs(40)));
    graph
}

fn flows() -> Vec<LazyFlow> {
    let flow = |n: i64| {
        let layer = |protocol: FlowProtocol, a: &str, b: &str| FlowLayer {
            protocol: protocol.into(),
            a: a.into(),
            b: b.into(),
            id: n,
        };
        let metric = FlowMetric {
            ab_packets: n,
            ab_bytes: 100 * n,
            start: n,
            last: 60_000 * n,
            ..FlowMetric::default()
        };
        let extreme = FlowMetric {
            ab_bytes: i64::MAX,
            start: i64::MIN,
            last: i64::MAX,
            rtt: -1,
            ..FlowMetric::default()
        };
        Flow {
            uuid: format!("u{n}"),
            tracking_id: format!("t{}", n / 2),
            node_tid: format!("T{n}"),
            application: if n == 4 { "ARP" } else { "TCP" }.into(),
            link: Some(layer(FlowProtocol::Ethernet, "0a:00:00:00:00:01", "0a:00:00:00:00:02")),
            network: (n != 4).then(|| layer(FlowProtocol::Ipv4, "10.0.0.1", "10.0.0.2")),
            transport: (n < 3).then(|| TransportLayer {
                protocol: FlowProtocol::Tcp.into(),
                a: 1000 + n,
                b: 80,
                id: 0,
            }),
            icmp: (n == 3).then(IcmpLayer::default),
            metric: (n != 4).then(|| metric.clone()),
            last_update_metric: match n {
                2 => Some(metric),
                3 => Some(extreme),
                _ => None,
            },
            last_raw_packets: (1..n).map(|_| RawPacket::default()).collect(),
            start: n,
            last: 1000 * n,
            ..Flow::default()
        }
    };
    (1..=4).map(flow).map(Arc::new).map(LazyFlow::from).collect()
}

fn object(value: Value) -> Metadata {
    match value {
        Value::Object(members) => members,
        _ => Metadata::new(),
    }
}

const BORN: Timestamp = Timestamp::from_millis(1_600_000_000_000);
/// A minute later.
const NOW: Timestamp = Timestamp::from_millis(1_600_000_060_000);

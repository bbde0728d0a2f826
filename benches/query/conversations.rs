//! The flow store: conversations of the site's interfaces, three in four over TCP, every tenth over
//! IPv6.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use sonde_control_plane::flow::{FlowNames, LazyFlow, Watched};
use sonde_control_plane::flow_store::{FlowKey, FlowStore, SharedFlowStore, Times};
use sonde_proto::record::{
    Cause, FinishType, FlowRecord, Layer, LayersPath, LinkEnds, Metric, NetworkEnds, Transport,
    TransportEnds, WatchId,
};

use crate::{NOW, site};

/// Names of the cases, and queries.
pub(crate) const QUERIES: [(&str, &str); 17] = [
    ("flows/count", "G.Flows().Count()"),
    ("flows/limit", "G.Flows().Has('Network.A', '10.0.1.2').Limit(100)"),
    ("flows/limit_many", "G.Flows().Has('Application', 'TCP').Limit(100)"),
    ("flows/limit_none", "G.Flows().Has('Network', '192.0.2.1').Limit(100)"),
    ("flows/sort_limit", "G.Flows().Has('Application', 'TCP').Sort(DESC, 'Last').Limit(100)"),
    ("flows/has_port", "G.Flows().Has('Transport', 443).Count()"),
    ("flows/has_ip", "G.Flows().Has('Network', '10.0.1.2').Count()"),
    ("flows/has_range", "G.Flows().Has('Network', Ipv4Range('10.0.0.0/16')).Count()"),
    ("flows/has_sum", "G.Flows().Has('Application', 'TCP').Sum('Metric.ABBytes')"),
    ("flows/metrics", "G.Flows().Metrics()"),
    ("flows/metrics_sum", "G.Flows().Metrics().Sum()"),
    ("flows/aggregates", "G.Flows().Metrics().Aggregates(60)"),
    ("flows/dedup", "G.Flows().Dedup().Count()"),
    ("flows/group", "G.Flows().Group()"),
    ("flows/more_than", "G.Flows().Group().MoreThan()"),
    ("flows/of_node", "G.V().Has('Name', 'device-0-1').Flows().Count()"),
    ("flows/to_nodes", "G.Flows().Hops().Dedup().Count()"),
];

pub(crate) fn store(flows: u32) -> SharedFlowStore {
    let times = Times {
        hold: Duration::from_secs(60),
        idle: Duration::from_secs(540),
        silence: Duration::from_secs(600),
    };
    // Never full.
    let mut store = FlowStore::new(flows as usize + 1, times);
    put(&mut store, 0..flows);
    SharedFlowStore::new(RwLock::new(store))
}

/// Puts the flows of those numbers as ingest does.
pub(crate) fn put(store: &mut FlowStore, numbers: impl Iterator<Item = u32>) {
    let watched: Vec<Arc<Watched>> = (0..WATCHES).map(|n| Arc::new(watched(n))).collect();
    for n in numbers {
        let record = record(n);
        let watched = watched.get(record.watch.0 as usize).cloned();
        let names = FlowNames { watched, ..FlowNames::default() };
        store.put(FlowKey::of(&record), LazyFlow::new(record, names), n % 4 == 0, NOW);
    }
}

/// Every flow is seen twice, by two watches.
fn record(n: u32) -> FlowRecord {
    let (pair, watch) = (n / 2, n % WATCHES);
    let is_ipv6 = pair.is_multiple_of(10);
    let is_tcp = !pair.is_multiple_of(4);
    let mut layers = LayersPath::new();
    let ip = if is_ipv6 { Layer::Ipv6 } else { Layer::Ipv4 };
    let last = if is_tcp { Layer::Tcp } else { Layer::Udp };
    assert!([Layer::Ethernet, ip, last].into_iter().all(|layer| layers.push(layer)));
    let (a, b) = (0x0a00_0000 + pair % 50_000, 0x0a00_0000 + pair / 7 % 50_000);
    let network = if is_ipv6 {
        let ip = |n: u32| Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(n)).into();
        NetworkEnds { a: ip(a), b: ip(b), id: 0 }
    } else {
        NetworkEnds { a: Ipv4Addr::from(a).into(), b: Ipv4Addr::from(b).into(), id: 0 }
    };
    let mac = |n: u32| {
        let [a, b, c, d] = n.to_be_bytes();
        [2, 0, a, b, c, d]
    };
    let protocol = if is_tcp { Transport::Tcp } else { Transport::Udp };
    let port = if is_tcp { 443 } else { 53 };
    let packets = u64::from(pair % 100);
    let start = NOW.after(Duration::from_millis(u64::from(pair / 10)));
    let metric = Metric {
        ab_packets: packets + 1,
        ab_bytes: packets * 700,
        ba_packets: packets,
        ba_bytes: packets * 900,
        start,
        last: start.after(Duration::from_millis(packets * 100)),
        rtt: 33_000,
    };
    FlowRecord {
        watch: WatchId(watch),
        uuid: scattered(n),
        parent: None,
        tracking_id: scattered(pair << 1),
        l3_tracking_id: scattered(pair << 1),
        layers,
        link: Some(LinkEnds { a: mac(a), b: mac(b), id: 0 }),
        network: Some(network),
        transport: Some(TransportEnds { protocol, a: 1024 + (pair % 60_000) as u16, b: port }),
        icmp: None,
        metric,
        last_update: n.is_multiple_of(3).then_some(metric),
        tcp: None,
        ip: None,
        raw_packets: 0,
        finish: FinishType::NotFinished,
        cause: Cause::Update,
    }
}

/// A digest, as good as any.
fn scattered(n: u32) -> u64 {
    u64::from(n).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn watched(n: u32) -> Watched {
    Watched {
        capture_id: format!("8b0a2f31-5c8e-4f7e-9b1d-{n:012x}"),
        node_id: format!("device-{n}-1"),
        node_tid: site::tid(n * site::NODES + 1),
        ..Watched::default()
    }
}

/// Devices that are captured on, of the first hosts.
const WATCHES: u32 = 50;

//! Records for tests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use netflow_parser::NetflowParser;
use serde_json::{Map, Value};
use sonde_proto::record::{
    Cause, FinishType, FlowRecord, Layer, LayersPath, LinkEnds, Metric, NetworkEnds, Transport,
    TransportEnds, WatchId,
};
use sonde_proto::time::Timestamp;

use crate::export::delta::{Count, Delta};
use crate::flow::{FlowNames, Told, Watched};

/// When everything happens.
pub(in crate::export) const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A path of these layers.
pub(in crate::export) fn layers(of: &[Layer]) -> LayersPath {
    let mut path = LayersPath::new();
    assert!(of.iter().all(|layer| path.push(*layer)));
    path
}

/// 10.0.0.1:40000 talks to 10.0.0.2:443 for three seconds.
pub(in crate::export) fn record() -> FlowRecord {
    FlowRecord {
        watch: WatchId(1),
        uuid: 0x0123_4567_89ab_cdef,
        parent: None,
        tracking_id: 1,
        l3_tracking_id: 2,
        layers: layers(&[Layer::Ethernet, Layer::Ipv4, Layer::Tcp]),
        link: Some(LinkEnds { a: [2, 0, 0, 0, 0, 1], b: [2, 0, 0, 0, 0, 2], id: 42 | 43 << 12 }),
        network: Some(NetworkEnds {
            a: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
            b: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)),
            id: 0,
        }),
        transport: Some(TransportEnds { protocol: Transport::Tcp, a: 40_000, b: 443 }),
        icmp: None,
        metric: metric([10, 1_000, 5, 700], 3_000),
        last_update: None,
        tcp: None,
        ip: None,
        raw_packets: 0,
        finish: FinishType::NotFinished,
        cause: Cause::Update,
    }
}

/// Counters that began at [`NOW`] and are so many milliseconds old.
pub(in crate::export) fn metric(counters: [u64; 4], millis: u64) -> Metric {
    let [ab_packets, ab_bytes, ba_packets, ba_bytes] = counters;
    let last = Timestamp::from_millis(NOW.millis().unsigned_abs() + millis);
    Metric { ab_packets, ab_bytes, ba_packets, ba_bytes, start: NOW, last, rtt: 0 }
}

/// The same over IPv6.
pub(in crate::export) fn record_ipv6() -> FlowRecord {
    let [a, b] = [1, 2].map(|n| IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, n)));
    FlowRecord {
        uuid: 6,
        layers: layers(&[Layer::Ethernet, Layer::Ipv6, Layer::Tcp]),
        network: Some(NetworkEnds { a, b, id: 0 }),
        ..record()
    }
}

/// A flow without IP.
pub(in crate::export) fn record_arp() -> FlowRecord {
    FlowRecord {
        uuid: 7,
        layers: layers(&[Layer::Ethernet, Layer::Arp]),
        network: None,
        transport: None,
        ..record()
    }
}

/// A record, seen at the interface with index 3 of a node that has neither end.
pub(in crate::export) fn told(record: FlowRecord) -> Told {
    let watched = Watched { node_tid: "here".into(), if_index: 3, ..Watched::default() };
    let names = FlowNames { watched: Some(Arc::new(watched)), ..FlowNames::default() };
    Told { record, names }
}

/// All of a record is new.
pub(in crate::export) fn delta(told: &Told) -> Delta<'_> {
    let Metric { ab_packets, ab_bytes, ba_packets, ba_bytes, start, last, .. } = told.record.metric;
    Delta {
        record: &told.record,
        names: &told.names,
        ab: Count { packets: ab_packets, bytes: ab_bytes },
        ba: Count { packets: ba_packets, bytes: ba_bytes },
        start,
        end: last,
    }
}

/// What an independent decoder says of a datagram: one packet, of which nothing is left over.
pub(in crate::export) fn decode(decoder: &mut NetflowParser, bytes: &[u8]) -> Value {
    let decoded = decoder.parse_bytes(bytes);
    assert!(decoded.error.is_none(), "{:?}", decoded.error);
    let packets = serde_json::to_value(decoded.packets).unwrap();
    assert_eq!(packets.as_array().unwrap().len(), 1);
    innermost(&packets[0]).clone()
}

/// The records of flows in a decoded IPFIX message, by the names of their elements.
pub(in crate::export) fn flows(message: &Value) -> Vec<Map<String, Value>> {
    let sets = message["flowsets"].as_array().unwrap().iter();
    let data = sets.filter_map(|set| set["body"]["Data"]["fields"].as_array());
    let pair = |pair: &Value| {
        let name = innermost(&pair[0]).as_str().unwrap().to_owned();
        (name, innermost(&pair[1]).clone())
    };
    data.flatten().map(|record| record.as_array().unwrap().iter().map(pair).collect()).collect()
}

/// What an enumeration of the decoder holds.
pub(in crate::export) fn innermost(value: &Value) -> &Value {
    match value.as_object() {
        Some(object) if object.len() == 1 => object.values().next().map_or(value, innermost),
        _ => value,
    }
}

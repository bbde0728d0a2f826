//! Skydive's flow: what clients see, in JSON and in Protobuf, generated from `flow.proto`.

use std::net::IpAddr;

use uuid::Uuid;

use crate::record::{
    self, FinishType, FlowRecord, Icmp, LinkEnds, Mac, Metric, NetworkEnds, Transport,
    TransportEnds,
};
use crate::time::Timestamp;

mod application;
pub(crate) mod json;

#[allow(clippy::all, missing_docs, rustdoc::all, unreachable_pub)]
mod generated {
    pub mod layers {
        include!(concat!(env!("OUT_DIR"), "/layers.rs"));
    }
    pub mod flow {
        include!(concat!(env!("OUT_DIR"), "/flow.rs"));
    }
}

pub use generated::flow::{
    Flow, FlowFinishType, FlowLayer, FlowMetric, FlowProtocol, FlowSet, IcmpLayer, IcmpType,
    IpMetric, Message, RawPacket, Stats, TcpMetric, TransportLayer,
};
pub use generated::layers;

pub use application::ApplicationPorts;

impl From<&FlowRecord> for Flow {
    /// All but `NodeTID`, `CaptureID`, `ANodeTID` and `BNodeTID`, which only the topology knows.
    fn from(record: &FlowRecord) -> Self {
        Self {
            uuid: hex(record.uuid),
            layers_path: record.layers.to_string(),
            application: record.layers.as_slice().last().map_or("", |l| l.name()).to_owned(),
            parent_uuid: record.parent.map(hex).unwrap_or_default(),
            start: record.metric.start.millis(),
            last: record.metric.last.millis(),
            link: record.link.as_ref().map(FlowLayer::from),
            network: record.network.as_ref().map(FlowLayer::from),
            transport: record.transport.as_ref().map(TransportLayer::from),
            icmp: record.icmp.as_ref().map(IcmpLayer::from),
            last_update_metric: record.last_update.as_ref().map(FlowMetric::from),
            metric: Some(FlowMetric::from(&record.metric)),
            tcp_metric: record.tcp.as_ref().map(TcpMetric::from),
            ip_metric: record.ip.as_ref().map(IpMetric::from),
            raw_packets_captured: record.raw_packets.into(),
            tracking_id: hex(record.tracking_id),
            l3_tracking_id: hex(record.l3_tracking_id),
            finish_type: FlowFinishType::from(record.finish).into(),
            ..Self::default()
        }
    }
}

impl From<&LinkEnds> for FlowLayer {
    fn from(link: &LinkEnds) -> Self {
        Self {
            protocol: FlowProtocol::Ethernet.into(),
            a: mac(link.a),
            b: mac(link.b),
            id: link.id,
        }
    }
}

impl From<&NetworkEnds> for FlowLayer {
    fn from(network: &NetworkEnds) -> Self {
        let protocol = match network.a {
            IpAddr::V4(_) => FlowProtocol::Ipv4,
            IpAddr::V6(_) => FlowProtocol::Ipv6,
        };
        Self {
            protocol: protocol.into(),
            a: network.a.to_string(),
            b: network.b.to_string(),
            id: network.id,
        }
    }
}

impl From<&TransportEnds> for TransportLayer {
    fn from(transport: &TransportEnds) -> Self {
        let protocol = match transport.protocol {
            Transport::Tcp => FlowProtocol::Tcp,
            Transport::Udp => FlowProtocol::Udp,
            Transport::Sctp => FlowProtocol::Sctp,
        };
        Self { protocol: protocol.into(), a: transport.a.into(), b: transport.b.into(), id: 0 }
    }
}

impl From<&Icmp> for IcmpLayer {
    fn from(icmp: &Icmp) -> Self {
        Self { r#type: icmp.kind as i32, code: icmp.code.into(), id: icmp.id.into() }
    }
}

impl From<&Metric> for FlowMetric {
    fn from(metric: &Metric) -> Self {
        Self {
            ab_packets: count(metric.ab_packets),
            ab_bytes: count(metric.ab_bytes),
            ba_packets: count(metric.ba_packets),
            ba_bytes: count(metric.ba_bytes),
            start: metric.start.millis(),
            last: metric.last.millis(),
            rtt: count(metric.rtt),
        }
    }
}

impl From<&record::TcpMetric> for TcpMetric {
    fn from(record::TcpMetric { ab, ba }: &record::TcpMetric) -> Self {
        let at = |time: Option<Timestamp>| time.map_or(0, Timestamp::millis);
        Self {
            ab_syn_start: at(ab.syn),
            ba_syn_start: at(ba.syn),
            ab_syn_ttl: ab.syn_ttl.into(),
            ba_syn_ttl: ba.syn_ttl.into(),
            ab_fin_start: at(ab.fin),
            ba_fin_start: at(ba.fin),
            ab_rst_start: at(ab.rst),
            ba_rst_start: at(ba.rst),
            ab_segment_out_of_order: count(ab.out_of_order),
            ab_segment_skipped: count(ab.skipped),
            ab_segment_skipped_bytes: count(ab.skipped_bytes),
            ab_packets: count(ab.packets),
            ab_bytes: count(ab.bytes),
            ab_saw_start: ab.saw_start.into(),
            ab_saw_end: ab.saw_end.into(),
            ba_segment_out_of_order: count(ba.out_of_order),
            ba_segment_skipped: count(ba.skipped),
            ba_segment_skipped_bytes: count(ba.skipped_bytes),
            ba_packets: count(ba.packets),
            ba_bytes: count(ba.bytes),
            ba_saw_start: ba.saw_start.into(),
            ba_saw_end: ba.saw_end.into(),
        }
    }
}

impl From<&record::IpMetric> for IpMetric {
    fn from(ip: &record::IpMetric) -> Self {
        Self { fragments: count(ip.fragments), fragment_errors: count(ip.errors) }
    }
}

impl From<FinishType> for FlowFinishType {
    fn from(finish: FinishType) -> Self {
        match finish {
            FinishType::NotFinished => Self::NotFinished,
            FinishType::Timeout => Self::Timeout,
            FinishType::TcpFin => Self::TcpFin,
            FinishType::TcpRst => Self::TcpRst,
        }
    }
}

/// Skydive's text of a digest: hex without leading zeros.
pub fn hex(digest: u64) -> String {
    format!("{digest:x}")
}

/// Lower case with colons, as Skydive writes MAC addresses.
pub fn mac([a, b, c, d, e, f]: Mac) -> String {
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

/// A TID as flows and nodes carry it; empty when there is none.
pub fn tid(tid: Option<Uuid>) -> String {
    tid.map(|tid| tid.hyphenated().to_string()).unwrap_or_default()
}

fn count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use prost::Message;

    use super::*;
    use crate::record::{Cause, Layer, LayersPath, WatchId};
    use crate::time::Timestamp;

    /// The record behind the example of Skydive's API §4.1.
    fn record() -> FlowRecord {
        let mut layers = LayersPath::new();
        for layer in [Layer::Ethernet, Layer::Ipv4, Layer::Tcp] {
            assert!(layers.push(layer));
        }
        FlowRecord {
            watch: WatchId(1),
            uuid: 0xe43b_cb2f_aaee_0002,
            parent: None,
            tracking_id: 0x8178_9de6_3b99_65cd,
            l3_tracking_id: 0xa8b1_845d_a6a6_715f,
            layers,
            link: Some(LinkEnds {
                a: [0x46, 0x9b, 0xb0, 0xe6, 0x70, 0xfb],
                b: [0x92, 0x46, 0xc1, 0x21, 0x00, 0xae],
                id: 0,
            }),
            network: Some(NetworkEnds {
                a: Ipv4Addr::new(192, 168, 0, 2).into(),
                b: Ipv4Addr::new(192, 168, 0, 1).into(),
                id: 0,
            }),
            transport: Some(TransportEnds { protocol: Transport::Tcp, a: 36108, b: 3333 }),
            icmp: None,
            metric: Metric {
                ab_packets: 5,
                ab_bytes: 344,
                ba_packets: 3,
                ba_bytes: 206,
                start: Timestamp::from_nanos(1_490_086_703_768_999_999),
                last: Timestamp::from_millis(1_490_086_707_507),
                rtt: 33000,
            },
            last_update: None,
            tcp: None,
            ip: None,
            raw_packets: 0,
            finish: FinishType::NotFinished,
            cause: Cause::Sweep,
        }
    }

    #[test]
    fn json_is_skydives() {
        let expected = concat!(
            r#"{"UUID":"e43bcb2faaee0002","LayersPath":"Ethernet/IPv4/TCP","Application":"TCP","#,
            r#""Link":{"Protocol":"ETHERNET","A":"46:9b:b0:e6:70:fb","B":"92:46:c1:21:00:ae","ID":0},"#,
            r#""Network":{"Protocol":"IPV4","A":"192.168.0.2","B":"192.168.0.1","ID":0},"#,
            r#""Transport":{"Protocol":"TCP","A":36108,"B":3333,"ID":0},"#,
            r#""Metric":{"ABPackets":5,"ABBytes":344,"BAPackets":3,"BABytes":206,"#,
            r#""Start":1490086703768,"Last":1490086707507,"RTT":33000},"#,
            r#""Start":1490086703768,"Last":1490086707507,"TrackingID":"81789de63b9965cd","#,
            r#""L3TrackingID":"a8b1845da6a6715f","ParentUUID":"","RawPacketsCaptured":0}"#,
        );
        assert_eq!(serde_json::to_string(&Flow::from(&record())).unwrap(), expected);
    }

    #[test]
    fn a_port_names_the_application_and_leaves_the_path() {
        let ports = ApplicationPorts::new([(3333, "chat".to_owned())], []);
        let flow = ports.flow(&record());
        let bare = ApplicationPorts::default().flow(&record());
        assert_eq!((flow.application.as_str(), bare.application.as_str()), ("CHAT", "TCP"));
        assert_eq!(Flow { application: bare.application.clone(), ..flow }, bare);
    }

    #[test]
    fn both_encodings_carry_the_same() {
        let mut record = record();
        record.parent = Some(0xab);
        record.icmp = Some(Icmp { kind: record::IcmpKind::PacketTooBig, code: 3, id: 77 });
        record.last_update = Some(record.metric);
        record.finish = FinishType::TcpRst;
        let flow = Flow { node_tid: "n".into(), b_node_tid: "b".into(), ..Flow::from(&record) };
        let decoded = Flow::decode(&*flow.encode_to_vec()).unwrap();
        assert_eq!(decoded, flow);
        let json = serde_json::to_string(&flow).unwrap();
        assert!(json.contains(r#""ICMP":{"Type":"PACKET_TOO_BIG","Code":3,"ID":77}"#), "{json}");
        assert!(json.contains(r#""FinishType":3"#), "{json}");
        assert!(json.contains(r#""BNodeTID":"b""#), "{json}");
        assert_eq!(serde_json::from_str::<Flow>(&json).unwrap(), flow);
    }
}

//! Skydive's flow: what clients see, in JSON and in Protobuf, generated from `flow.proto`.

use std::net::IpAddr;

use uuid::Uuid;

use crate::record::{
    FinishType, FlowRecord, Icmp, LinkEnds, Mac, Metric, NetworkEnds, Transport, TransportEnds,
};

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
    IpMetric, RawPacket, Stats, TcpMetric, TransportLayer,
};
pub use generated::layers;

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

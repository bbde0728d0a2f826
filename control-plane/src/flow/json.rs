//! A record in Skydive's JSON (API §4.1), written as its [`Flow`](sonde_proto::flow::Flow)
//! serializes: the same members in the same order, the same ones left out.

use sonde_proto::flow::{
    FlowFinishType, FlowMetric, FlowProtocol, IcmpLayer, IcmpType, IpMetric, TcpMetric,
    TransportLayer,
};
use sonde_proto::record::{FlowRecord, LayersPath, Metric};

use super::FlowNames;
use super::protobuf::network_protocol;
use super::small::Small;
use crate::json::{append, append_text};

/// Appends the flow of a record.
pub(super) fn write(record: &FlowRecord, names: &FlowNames, out: &mut Vec<u8>) {
    put(out, b"{\"UUID\":\"");
    put(out, Small::hex(record.uuid).as_bytes());
    put(out, b"\"");
    if !record.layers.as_slice().is_empty() {
        write_layers(&record.layers, out);
    }
    member(out, b",\"Application\":", names.application(record));
    if let Some(link) = &record.link {
        let ends = [Small::mac(link.a), Small::mac(link.b)];
        write_layer(b",\"Link\":{\"Protocol\":\"", FlowProtocol::Ethernet, ends, link.id, out);
    }
    if let Some(network) = &record.network {
        let ends = [Small::ip(network.a), Small::ip(network.b)];
        let protocol = network_protocol(network.a);
        write_layer(b",\"Network\":{\"Protocol\":\"", protocol, ends, network.id, out);
    }
    if let Some(ends) = &record.transport {
        let layer = TransportLayer::from(ends);
        put(out, b",\"Transport\":{\"Protocol\":\"");
        put(out, layer.protocol().as_str_name().as_bytes());
        put(out, b"\"");
        number(out, b",\"A\":", layer.a);
        number(out, b",\"B\":", layer.b);
        number(out, b",\"ID\":", layer.id);
        put(out, b"}");
    }
    if let Some(icmp) = &record.icmp {
        let layer = IcmpLayer::from(icmp);
        put(out, b",\"ICMP\":{\"Type\":\"");
        put(out, IcmpType::as_str_name(&layer.r#type()).as_bytes());
        put(out, b"\"");
        number_unless_zero(out, b",\"Code\":", layer.code.into());
        number_unless_zero(out, b",\"ID\":", layer.id.into());
        put(out, b"}");
    }
    if let Some(update) = &record.last_update {
        write_metric(b",\"LastUpdateMetric\":{\"ABPackets\":", update, out);
    }
    write_metric(b",\"Metric\":{\"ABPackets\":", &record.metric, out);
    if let Some(tcp) = &record.tcp {
        put(out, b",\"TCPMetric\":");
        append(out, &TcpMetric::from(tcp));
    }
    if let Some(ip) = &record.ip {
        put(out, b",\"IPMetric\":");
        append(out, &IpMetric::from(ip));
    }
    number(out, b",\"Start\":", record.metric.start.millis());
    number(out, b",\"Last\":", record.metric.last.millis());
    put(out, b",\"TrackingID\":\"");
    put(out, Small::hex(record.tracking_id).as_bytes());
    put(out, b"\",\"L3TrackingID\":\"");
    put(out, Small::hex(record.l3_tracking_id).as_bytes());
    put(out, b"\",\"ParentUUID\":\"");
    if let Some(parent) = record.parent {
        put(out, Small::hex(parent).as_bytes());
    }
    put(out, b"\"");
    member(out, b",\"NodeTID\":", names.node_tid());
    member(out, b",\"CaptureID\":", names.capture_id());
    number(out, b",\"RawPacketsCaptured\":", record.raw_packets.into());
    let finish = i32::from(FlowFinishType::from(record.finish));
    number_unless_zero(out, b",\"FinishType\":", finish.into());
    member(out, b",\"ANodeTID\":", names.a_node_tid.as_deref().unwrap_or_default());
    member(out, b",\"BNodeTID\":", names.b_node_tid.as_deref().unwrap_or_default());
    put(out, b"}");
}

fn write_layers(layers: &LayersPath, out: &mut Vec<u8>) {
    // A lone layer without a name leaves an empty path.
    let mark = out.len();
    put(out, b",\"LayersPath\":\"");
    let begin = out.len();
    for (n, layer) in layers.as_slice().iter().enumerate() {
        if n > 0 {
            put(out, b"/");
        }
        put(out, layer.name().as_bytes());
    }
    if out.len() == begin {
        out.truncate(mark);
    } else {
        put(out, b"\"");
    }
}

fn write_layer(
    begin: &[u8],
    protocol: FlowProtocol,
    [a, b]: [Small; 2],
    id: i64,
    out: &mut Vec<u8>,
) {
    put(out, begin);
    put(out, protocol.as_str_name().as_bytes());
    put(out, b"\",\"A\":\"");
    put(out, a.as_bytes());
    put(out, b"\",\"B\":\"");
    put(out, b.as_bytes());
    number(out, b"\",\"ID\":", id);
    put(out, b"}");
}

/// `begin` leads up to the first counter.
fn write_metric(begin: &[u8], metric: &Metric, out: &mut Vec<u8>) {
    let metric = FlowMetric::from(metric);
    number(out, begin, metric.ab_packets);
    number(out, b",\"ABBytes\":", metric.ab_bytes);
    number(out, b",\"BAPackets\":", metric.ba_packets);
    number(out, b",\"BABytes\":", metric.ba_bytes);
    number(out, b",\"Start\":", metric.start);
    number(out, b",\"Last\":", metric.last);
    number_unless_zero(out, b",\"RTT\":", metric.rtt);
    put(out, b"}");
}

/// A member that is left out when it is empty.
fn member(out: &mut Vec<u8>, begin: &[u8], text: &str) {
    if !text.is_empty() {
        put(out, begin);
        append_text(out, text);
    }
}

fn number_unless_zero(out: &mut Vec<u8>, begin: &[u8], n: i64) {
    if n != 0 {
        number(out, begin, n);
    }
}

fn number(out: &mut Vec<u8>, begin: &[u8], n: i64) {
    put(out, begin);
    put(out, itoa::Buffer::new().format(n).as_bytes());
}

#[inline]
fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
}

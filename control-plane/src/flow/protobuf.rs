//! A record in Protobuf (`flow.proto`), written as its [`Flow`](sonde_proto::flow::Flow) encodes:
//! byte for byte the same.

use std::net::IpAddr;

use prost::Message;
use sonde_proto::flow::{
    FlowFinishType, FlowMetric, FlowProtocol, IcmpLayer, IpMetric, TcpMetric, TransportLayer,
};
use sonde_proto::record::{FlowRecord, LayersPath};

use super::FlowNames;
use super::small::Small;

/// Appends the flow of a record, in the order of the field numbers.
pub(super) fn write(record: &FlowRecord, names: &FlowNames, out: &mut Vec<u8>) {
    text(1, Small::hex(record.uuid).as_bytes(), out);
    layers(2, &record.layers, out);
    text(3, names.application(record).as_bytes(), out);
    if let Some(parent) = record.parent {
        text(6, Small::hex(parent).as_bytes(), out);
    }
    number(10, record.metric.start.millis(), out);
    number(11, record.metric.last.millis(), out);
    if let Some(link) = &record.link {
        let ends = [Small::mac(link.a), Small::mac(link.b)];
        layer(20, FlowProtocol::Ethernet, ends, link.id, out);
    }
    if let Some(network) = &record.network {
        let ends = [Small::ip(network.a), Small::ip(network.b)];
        layer(21, network_protocol(network.a), ends, network.id, out);
    }
    if let Some(ends) = &record.transport {
        message(22, &TransportLayer::from(ends), out);
    }
    if let Some(icmp) = &record.icmp {
        message(23, &IcmpLayer::from(icmp), out);
    }
    if let Some(update) = &record.last_update {
        message(31, &FlowMetric::from(update), out);
    }
    message(32, &FlowMetric::from(&record.metric), out);
    text(33, names.node_tid().as_bytes(), out);
    text(34, names.capture_id().as_bytes(), out);
    number(37, record.raw_packets.into(), out);
    if let Some(tcp) = &record.tcp {
        message(38, &TcpMetric::from(tcp), out);
    }
    if let Some(ip) = &record.ip {
        message(39, &IpMetric::from(ip), out);
    }
    text(50, Small::hex(record.tracking_id).as_bytes(), out);
    text(51, Small::hex(record.l3_tracking_id).as_bytes(), out);
    number(60, i32::from(FlowFinishType::from(record.finish)).into(), out);
    text(2000, names.a_node_tid.as_deref().unwrap_or_default().as_bytes(), out);
    text(2001, names.b_node_tid.as_deref().unwrap_or_default().as_bytes(), out);
}

/// The IP version, as Skydive names it.
pub(crate) const fn network_protocol(ip: IpAddr) -> FlowProtocol {
    match ip {
        IpAddr::V4(_) => FlowProtocol::Ipv4,
        IpAddr::V6(_) => FlowProtocol::Ipv6,
    }
}

/// Appends a message that is not written yet, with its field number and its length.
pub(crate) fn delimited(tag: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    key(tag, DELIMITED, out);
    // Flows nearly always have a length of two bytes.
    let at = out.len();
    out.extend_from_slice(&[0; 2]);
    write(out);
    let len = out.len() - at - 2;
    match out.get_mut(at..at + 2) {
        Some([length, _]) if len < 0x80 => {
            *length = len as u8;
            out.remove(at + 1);
        }
        Some([low, high]) if len < 0x4000 => {
            *low = len as u8 | 0x80;
            *high = (len >> 7) as u8;
        }
        _ => {
            let mut length = Vec::new();
            varint(len as u64, &mut length);
            out.splice(at..at + 2, length);
        }
    }
}

fn layer(tag: u32, protocol: FlowProtocol, [a, b]: [Small; 2], id: i64, out: &mut Vec<u8>) {
    delimited(tag, out, |out| {
        number(1, i32::from(protocol).into(), out);
        text(3, a.as_bytes(), out);
        text(4, b.as_bytes(), out);
        number(5, id, out);
    });
}

fn layers(tag: u32, layers: &LayersPath, out: &mut Vec<u8>) {
    let layers = layers.as_slice();
    let names: usize = layers.iter().map(|layer| layer.name().len()).sum();
    let len = names + layers.len().saturating_sub(1);
    if len == 0 {
        return;
    }
    key(tag, DELIMITED, out);
    varint(len as u64, out);
    for (n, layer) in layers.iter().enumerate() {
        if n > 0 {
            out.push(b'/');
        }
        out.extend_from_slice(layer.name().as_bytes());
    }
}

/// A text that is left out when it is empty.
fn text(tag: u32, text: &[u8], out: &mut Vec<u8>) {
    if !text.is_empty() {
        key(tag, DELIMITED, out);
        varint(text.len() as u64, out);
        out.extend_from_slice(text);
    }
}

/// A number that is left out when it is zero.
pub(crate) fn number(tag: u32, n: i64, out: &mut Vec<u8>) {
    if n != 0 {
        key(tag, VARINT, out);
        varint(n as u64, out);
    }
}

fn message(tag: u32, message: &impl Message, out: &mut Vec<u8>) {
    key(tag, DELIMITED, out);
    varint(message.encoded_len() as u64, out);
    message.encode_raw(out);
}

#[inline]
fn key(tag: u32, wire: u32, out: &mut Vec<u8>) {
    varint((tag << 3 | wire).into(), out);
}

#[inline]
fn varint(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Wire types.
const VARINT: u32 = 0;
const DELIMITED: u32 = 2;

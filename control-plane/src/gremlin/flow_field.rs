//! The fields of a flow, by Skydive's names (API §3.7). Of a flow that is a record they are read
//! from the record: a query that looks at all flows makes none.

use std::borrow::Cow;

use serde::Serialize;
use sonde_proto::flow::{
    FlowMetric, FlowProtocol, IcmpLayer, IcmpType, IpMetric, TcpMetric, TransportLayer,
};

use super::field::{Field, Scalar};
use super::flow_getter::Getter;
use crate::flow::network_protocol;

/// A getter of something that headlines have too, called the same there.
macro_rules! narrow {
    ($of_flow:expr, |$record:ident| $read:expr $(,)?) => {
        Getter::narrow($of_flow, |$record, _| $read, |$record| $read)
    };
}

/// A getter of something that only records have.
macro_rules! wide {
    ($of_flow:expr, |$record:ident| $read:expr $(,)?) => {
        Getter::new($of_flow, |$record, _| $read)
    };
}

/// The field of that name, as `Values`, `Sort` and `Dedup` read it.
pub(super) fn getter(name: &str) -> Option<Getter> {
    if let Some((layer, member)) = name.split_once('.') {
        return member_of(layer, member);
    }
    match name {
        "UUID" => {
            narrow!(|flow| Some(Field::text(&flow.uuid)), |record| Some(Field::hex(record.uuid)),)
        }
        "LayersPath" => Getter::new(
            |flow| Some(Field::text(&flow.layers_path)),
            |record, _| Some(Field::Json(Cow::Owned(record.layers.to_string().into()))),
        ),
        "Application" => Getter::narrow(
            |flow| Some(Field::text(&flow.application)),
            |record, names| Some(Field::text(names.application(record))),
            |headline| Some(Field::text(headline.application())),
        ),
        "TrackingID" => narrow!(|flow| Some(Field::text(&flow.tracking_id)), |record| Some(
            Field::hex(record.tracking_id)
        ),),
        "L3TrackingID" => Getter::new(
            |flow| Some(Field::text(&flow.l3_tracking_id)),
            |record, _| Some(Field::hex(record.l3_tracking_id)),
        ),
        "ParentUUID" => Getter::new(
            |flow| Some(Field::text(&flow.parent_uuid)),
            |record, _| Some(record.parent.map_or(Field::text(""), Field::hex)),
        ),
        "NodeTID" => Getter::narrow(
            |flow| Some(Field::text(&flow.node_tid)),
            |_, names| Some(Field::text(names.node_tid())),
            |headline| Some(Field::text(headline.node_tid())),
        ),
        "ANodeTID" => Getter::new(
            |flow| Some(Field::text(&flow.a_node_tid)),
            |_, names| Some(Field::text(names.a_node_tid.as_deref().unwrap_or_default())),
        ),
        "BNodeTID" => Getter::new(
            |flow| Some(Field::text(&flow.b_node_tid)),
            |_, names| Some(Field::text(names.b_node_tid.as_deref().unwrap_or_default())),
        ),
        "CaptureID" => Getter::narrow(
            |flow| Some(Field::text(&flow.capture_id)),
            |_, names| Some(Field::text(names.capture_id())),
            |headline| Some(Field::text(headline.capture_id())),
        ),
        "Start" => narrow!(|flow| Some(Field::int(flow.start)), |record| Some(Field::int(
            record.metric.start.millis()
        )),),
        "Last" => narrow!(|flow| Some(Field::int(flow.last)), |record| Some(Field::int(
            record.metric.last.millis()
        )),),
        "RawPacketsCaptured" => Getter::new(
            |flow| Some(Field::int(flow.raw_packets_captured)),
            |record, _| Some(Field::int(record.raw_packets.into())),
        ),
        "Link" => Getter::object(|flow| object(&flow.link)),
        "Network" => Getter::object(|flow| object(&flow.network)),
        "Transport" => Getter::object(|flow| object(&flow.transport)),
        "ICMP" => Getter::object(|flow| object(&flow.icmp)),
        "DNS" => Getter::beyond(|flow| object(&flow.dns)),
        "DHCPv4" => Getter::beyond(|flow| object(&flow.dhc_pv4)),
        "Metric" => Getter::object(|flow| object(&flow.metric)),
        "LastUpdateMetric" => Getter::object(|flow| object(&flow.last_update_metric)),
        "TCPMetric" => Getter::object(|flow| object(&flow.tcp_metric)),
        _ => None,
    }
}

/// The field of that name, as filters read it: a bare layer stands for both its ends.
pub(super) fn filter_getter(name: &str) -> Option<Getter> {
    match name {
        "Link" => narrow!(
            |flow| {
                let link = flow.link.as_ref()?;
                Some(Field::Pair(Scalar::Text(&link.a), Scalar::Text(&link.b)))
            },
            |record| {
                let link = record.link?;
                Some(Field::Pair(Scalar::Mac(link.a), Scalar::Mac(link.b)))
            },
        ),
        "Network" => narrow!(
            |flow| {
                let network = flow.network.as_ref()?;
                Some(Field::Pair(Scalar::Text(&network.a), Scalar::Text(&network.b)))
            },
            |record| {
                let network = record.network?;
                Some(Field::Pair(Scalar::Ip(network.a), Scalar::Ip(network.b)))
            },
        ),
        "Transport" => narrow!(|flow| Some(ports(flow.transport.as_ref()?)), |record| Some(ports(
            &TransportLayer::from(record.transport.as_ref()?)
        )),),
        name => getter(name),
    }
}

/// A flag of the DNS header.
macro_rules! flag {
    ($field:ident) => {
        Getter::beyond(|flow| Some(Field::One(Scalar::Bool(flow.dns.as_ref()?.$field))))
    };
}

/// Matches the name of an integer member of a layer; `$made` makes the layer of a record, or of what
/// is read in the same words.
macro_rules! integers {
    (
        $getter:ident, $layer:ident, |$record:ident| $made:expr, $member:ident,
        $($name:literal => $field:ident),+ $(,)?
    ) => {
        match $member {
            $($name => $getter!(
                |flow| Some(Field::int(flow.$layer.as_ref()?.$field as i64)),
                |$record| Some(Field::int($made?.$field as i64)),
            ),)+
            _ => None,
        }
    };
}

/// The same of a layer that no record has.
macro_rules! integers_beyond {
    ($layer:ident, $member:ident, $($name:literal => $field:ident),+ $(,)?) => {
        match $member {
            $($name => Getter::beyond(
                |flow| Some(Field::int(flow.$layer.as_ref()?.$field as i64))
            ),)+
            _ => None,
        }
    };
}

fn member_of(layer: &str, member: &str) -> Option<Getter> {
    match layer {
        "Link" | "ETHERNET" => match member {
            "A" => narrow!(|flow| Some(Field::text(&flow.link.as_ref()?.a)), |record| Some(
                Field::mac(record.link?.a)
            ),),
            "B" => narrow!(|flow| Some(Field::text(&flow.link.as_ref()?.b)), |record| Some(
                Field::mac(record.link?.b)
            ),),
            "ID" => Getter::new(
                |flow| Some(Field::int(flow.link.as_ref()?.id)),
                |record, _| Some(Field::int(record.link?.id)),
            ),
            "Protocol" => narrow!(|flow| protocol(flow.link.as_ref()?.protocol), |record| record
                .link
                .map(|_| Field::text(FlowProtocol::Ethernet.as_str_name())),),
            _ => None,
        },
        "Network" | "IPV4" | "IPV6" => match member {
            "A" => narrow!(|flow| Some(Field::text(&flow.network.as_ref()?.a)), |record| Some(
                Field::ip(record.network?.a)
            ),),
            "B" => narrow!(|flow| Some(Field::text(&flow.network.as_ref()?.b)), |record| Some(
                Field::ip(record.network?.b)
            ),),
            "ID" => Getter::new(
                |flow| Some(Field::int(flow.network.as_ref()?.id)),
                |record, _| Some(Field::int(record.network?.id)),
            ),
            "Protocol" => narrow!(|flow| protocol(flow.network.as_ref()?.protocol), |record| Some(
                Field::text(network_protocol(record.network?.a).as_str_name())
            ),),
            _ => None,
        },
        "Transport" | "TCP" | "UDP" | "SCTP" => match member {
            "A" => narrow!(
                |flow| Some(Field::One(Scalar::Port(flow.transport.as_ref()?.a))),
                |record| Some(Field::One(Scalar::Port(record.transport?.a.into()))),
            ),
            "B" => narrow!(
                |flow| Some(Field::One(Scalar::Port(flow.transport.as_ref()?.b))),
                |record| Some(Field::One(Scalar::Port(record.transport?.b.into()))),
            ),
            "ID" => narrow!(|flow| Some(Field::int(flow.transport.as_ref()?.id)), |record| Some(
                Field::int(TransportLayer::from(record.transport.as_ref()?).id)
            ),),
            "Protocol" => {
                narrow!(|flow| protocol(flow.transport.as_ref()?.protocol), |record| protocol(
                    TransportLayer::from(record.transport.as_ref()?).protocol
                ),)
            }
            _ => None,
        },
        "ICMP" => match member {
            "Type" => Getter::new(
                |flow| icmp_type(flow.icmp.as_ref()?),
                |record, _| icmp_type(&IcmpLayer::from(record.icmp.as_ref()?)),
            ),
            _ => integers!(wide, icmp, |record| record.icmp.as_ref().map(IcmpLayer::from),
                member, "Code" => code, "ID" => id),
        },
        "DNS" => match member {
            "OpCode" => Getter::beyond(|flow| Some(Field::text(&flow.dns.as_ref()?.op_code))),
            "ResponseCode" => {
                Getter::beyond(|flow| Some(Field::text(&flow.dns.as_ref()?.response_code)))
            }
            "QR" => flag!(qr),
            "AA" => flag!(aa),
            "TC" => flag!(tc),
            "RD" => flag!(rd),
            "RA" => flag!(ra),
            _ => integers_beyond!(dns, member,
                "ID" => id, "Z" => z, "QDCount" => q_d_count, "ANCount" => a_n_count,
                "NSCount" => n_s_count, "ARCount" => a_r_count,
            ),
        },
        "DHCPv4" => match member {
            "ServerName" => Getter::beyond(|flow| bytes(&flow.dhc_pv4.as_ref()?.server_name)),
            "File" => Getter::beyond(|flow| bytes(&flow.dhc_pv4.as_ref()?.file)),
            _ => integers_beyond!(dhc_pv4, member,
                "HardwareLen" => hardware_len, "HardwareOpts" => hardware_opts, "Xid" => xid,
                "Secs" => secs, "Flags" => flags,
            ),
        },
        "Metric" => integers!(narrow, metric,
            |record| Some(FlowMetric::from(&record.metric)), member,
            "ABPackets" => ab_packets, "ABBytes" => ab_bytes, "BAPackets" => ba_packets,
            "BABytes" => ba_bytes, "Start" => start, "Last" => last, "RTT" => rtt,
        ),
        "LastUpdateMetric" => integers!(wide, last_update_metric,
            |record| record.last_update.as_ref().map(FlowMetric::from), member,
            "ABPackets" => ab_packets, "ABBytes" => ab_bytes, "BAPackets" => ba_packets,
            "BABytes" => ba_bytes, "Start" => start, "Last" => last, "RTT" => rtt,
        ),
        "IPMetric" => integers!(wide, ip_metric,
            |record| record.ip.as_ref().map(IpMetric::from), member,
            "Fragments" => fragments, "FragmentErrors" => fragment_errors,
        ),
        "TCPMetric" => integers!(wide, tcp_metric,
            |record| record.tcp.as_ref().map(TcpMetric::from), member,
            "ABSynStart" => ab_syn_start, "BASynStart" => ba_syn_start,
            "ABSynTTL" => ab_syn_ttl, "BASynTTL" => ba_syn_ttl,
            "ABFinStart" => ab_fin_start, "BAFinStart" => ba_fin_start,
            "ABRstStart" => ab_rst_start, "BARstStart" => ba_rst_start,
            "ABSegmentOutOfOrder" => ab_segment_out_of_order,
            "ABSegmentSkipped" => ab_segment_skipped,
            "ABSegmentSkippedBytes" => ab_segment_skipped_bytes,
            "ABPackets" => ab_packets, "ABBytes" => ab_bytes,
            "ABSawStart" => ab_saw_start, "ABSawEnd" => ab_saw_end,
            "BASegmentOutOfOrder" => ba_segment_out_of_order,
            "BASegmentSkipped" => ba_segment_skipped,
            "BASegmentSkippedBytes" => ba_segment_skipped_bytes,
            "BAPackets" => ba_packets, "BABytes" => ba_bytes,
            "BASawStart" => ba_saw_start, "BASawEnd" => ba_saw_end,
        ),
        _ => None,
    }
}

/// Both ports, which compare as numbers and as texts.
fn ports(transport: &TransportLayer) -> Field<'static> {
    Field::Pair(Scalar::Port(transport.a), Scalar::Port(transport.b))
}

fn icmp_type(icmp: &IcmpLayer) -> Option<Field<'static>> {
    let kind = IcmpType::try_from(icmp.r#type).ok()?;
    Some(Field::text(kind.as_str_name()))
}

fn protocol(number: i32) -> Option<Field<'static>> {
    let protocol = FlowProtocol::try_from(number).ok()?;
    Some(Field::text(protocol.as_str_name()))
}

/// Text that a DHCP server padded with NULs.
fn bytes(bytes: &[u8]) -> Option<Field<'_>> {
    let text = bytes.split(|byte| *byte == 0).next()?;
    std::str::from_utf8(text).ok().map(Field::text)
}

fn object<T: Serialize>(layer: &Option<T>) -> Option<Field<'static>> {
    let value = serde_json::to_value(layer.as_ref()?).ok()?;
    Some(Field::Json(Cow::Owned(value)))
}

/// What `Keys` answers for flows: every member, in the order of the Protobuf schema.
pub(super) const KEYS: [&str; 107] = [
    "UUID",
    "LayersPath",
    "Application",
    "Link.Protocol",
    "Link.A",
    "Link.B",
    "Link.ID",
    "Network.Protocol",
    "Network.A",
    "Network.B",
    "Network.ID",
    "Transport.Protocol",
    "Transport.A",
    "Transport.B",
    "Transport.ID",
    "ICMP.Type",
    "ICMP.Code",
    "ICMP.ID",
    "DHCPv4.Contents",
    "DHCPv4.Payload",
    "DHCPv4.HardwareLen",
    "DHCPv4.HardwareOpts",
    "DHCPv4.Xid",
    "DHCPv4.Secs",
    "DHCPv4.Flags",
    "DHCPv4.ServerName",
    "DHCPv4.File",
    "DNS.ID",
    "DNS.QR",
    "DNS.OpCode",
    "DNS.AA",
    "DNS.TC",
    "DNS.RD",
    "DNS.RA",
    "DNS.Z",
    "DNS.ResponseCode",
    "DNS.QDCount",
    "DNS.ANCount",
    "DNS.NSCount",
    "DNS.ARCount",
    "DNS.Questions",
    "DNS.Answers",
    "DNS.Authorities",
    "DNS.Additionals",
    "DNS.Timestamp",
    "VRRPv2.Contents",
    "VRRPv2.Payload",
    "VRRPv2.Version",
    "VRRPv2.VirtualRtrID",
    "VRRPv2.Priority",
    "VRRPv2.CountIPAddr",
    "VRRPv2.AdverInt",
    "VRRPv2.Checksum",
    "LastUpdateMetric.ABPackets",
    "LastUpdateMetric.ABBytes",
    "LastUpdateMetric.BAPackets",
    "LastUpdateMetric.BABytes",
    "LastUpdateMetric.Start",
    "LastUpdateMetric.Last",
    "LastUpdateMetric.RTT",
    "Metric.ABPackets",
    "Metric.ABBytes",
    "Metric.BAPackets",
    "Metric.BABytes",
    "Metric.Start",
    "Metric.Last",
    "Metric.RTT",
    "TCPMetric.ABSynStart",
    "TCPMetric.BASynStart",
    "TCPMetric.ABSynTTL",
    "TCPMetric.BASynTTL",
    "TCPMetric.ABFinStart",
    "TCPMetric.BAFinStart",
    "TCPMetric.ABRstStart",
    "TCPMetric.BARstStart",
    "TCPMetric.ABSegmentOutOfOrder",
    "TCPMetric.ABSegmentSkipped",
    "TCPMetric.ABSegmentSkippedBytes",
    "TCPMetric.ABPackets",
    "TCPMetric.ABBytes",
    "TCPMetric.ABSawStart",
    "TCPMetric.ABSawEnd",
    "TCPMetric.BASegmentOutOfOrder",
    "TCPMetric.BASegmentSkipped",
    "TCPMetric.BASegmentSkippedBytes",
    "TCPMetric.BAPackets",
    "TCPMetric.BABytes",
    "TCPMetric.BASawStart",
    "TCPMetric.BASawEnd",
    "IPMetric.Fragments",
    "IPMetric.FragmentErrors",
    "Start",
    "Last",
    "TrackingID",
    "L3TrackingID",
    "ParentUUID",
    "NodeTID",
    "ANodeTID",
    "BNodeTID",
    "CaptureID",
    "LastRawPackets",
    "LastRawPackets.Timestamp",
    "LastRawPackets.Index",
    "LastRawPackets.Data",
    "LastRawPackets.LinkType",
    "RawPacketsCaptured",
    "FinishType",
];

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::Value;
    use sonde_proto::flow::Flow;

    use super::super::network::Network;
    use super::super::predicate::{Literal, Predicate};
    use super::*;
    use crate::flow::LazyFlow;
    use crate::flow::tests::{names, record};

    proptest! {
        #[test]
        fn a_record_is_read_as_its_flow(record in record(), names in names()) {
            let lazy = LazyFlow::new(record, names);
            let made = LazyFlow::from(lazy.flow());
            for name in KEYS.into_iter().chain(["Link", "Network", "Transport", "ICMP", "Metric"]) {
                for getter in [getter(name), filter_getter(name)].into_iter().flatten() {
                    let read = |flow| getter.read(flow).map(|field| field.to_value());
                    prop_assert_eq!(read(&lazy), read(&made), "{}", name);
                }
            }
        }
    }

    /// Texts that a field may have, or nearly has.
    fn near(text: &str) -> [String; 5] {
        let shorter = text.get(..text.len().saturating_sub(1)).unwrap_or_default();
        [text.into(), text.to_uppercase(), format!("0{text}"), format!("+{text}"), shorter.into()]
    }

    proptest! {
        #[test]
        fn a_record_is_tested_as_the_texts_of_its_flow(
            record in record(), other in record(), names in names(), extra in "[0-9a-f:.]{0,20}",
        ) {
            let lazy = LazyFlow::new(record, names.clone());
            let made = LazyFlow::from(lazy.flow());
            let other = LazyFlow::new(other, names);
            for name in TEXTS {
                let (Some(field), Some(filter)) = (getter(name), filter_getter(name)) else {
                    panic!("{name} is a field");
                };
                let values = [&lazy, &other].into_iter().filter_map(|flow| filter.read(flow));
                let texts = values.flat_map(|field| match field.to_value() {
                    Value::Array(ends) => ends,
                    one => vec![one],
                });
                let texts: Vec<String> = texts
                    .flat_map(|text| near(text.as_str().unwrap_or(&text.to_string())))
                    .chain([extra.clone()])
                    .collect();
                for text in texts {
                    let literal = || Literal::Text(text.as_str().into());
                    let mut predicates = vec![
                        Predicate::Equal(literal()),
                        Predicate::Ne(literal()),
                        Predicate::Nee(literal()),
                        Predicate::Within(vec![literal(), Literal::Int(7)]),
                        Predicate::Without(vec![literal()]),
                        Predicate::Gt(1000),
                    ];
                    let (v4, v6) = (format!("{text}/9"), format!("{text}/40"));
                    predicates.extend(Network::v4(v4).map(Predicate::Ipv4Range));
                    predicates.extend(Network::v6(v6).map(Predicate::Ipv6Range));
                    for predicate in predicates {
                        for getter in [field, filter] {
                            let admits = |flow| predicate.admits(getter.read(flow).as_ref());
                            prop_assert_eq!(admits(&lazy), admits(&made), "{} {}", name, predicate);
                        }
                    }
                }
            }
        }
    }

    /// Fields that are texts, and both ends of those layers.
    const TEXTS: [&str; 16] = [
        "UUID",
        "TrackingID",
        "L3TrackingID",
        "ParentUUID",
        "NodeTID",
        "CaptureID",
        "Application",
        "LayersPath",
        "Link",
        "Link.A",
        "Network",
        "Network.B",
        "Network.Protocol",
        "Transport",
        "Transport.A",
        "Transport.Protocol",
    ];

    #[test]
    fn every_plain_key_can_be_read_or_is_known_not_to() {
        for key in KEYS {
            let hidden = [
                "DHCPv4.Contents",
                "DHCPv4.Payload",
                "DNS.Questions",
                "DNS.Answers",
                "DNS.Authorities",
                "DNS.Additionals",
                "DNS.Timestamp",
                "VRRPv2.",
                "LastRawPackets",
                "FinishType",
            ];
            let hidden = hidden.iter().any(|hidden| key.starts_with(hidden));
            assert_ne!(getter(key).is_some(), hidden, "{key}");
        }
    }

    #[test]
    fn aliases_read_the_same_layer() {
        for (alias, name) in [
            ("ETHERNET.A", "Link.A"),
            ("IPV4.B", "Network.B"),
            ("IPV6.B", "Network.B"),
            ("SCTP.A", "Transport.A"),
        ] {
            let flow = Flow {
                link: Some(Default::default()),
                network: Some(Default::default()),
                transport: Some(Default::default()),
                ..Flow::default()
            };
            let flow = LazyFlow::from(Arc::new(flow));
            let read = |name: &str| Some(getter(name)?.read(&flow)?.to_value());
            assert_eq!(read(alias), read(name));
            assert!(read(name).is_some());
        }
    }
}

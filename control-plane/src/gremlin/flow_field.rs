//! The fields of a flow, by Skydive's names (API §3.7).

use std::borrow::Cow;

use serde::Serialize;
use sonde_proto::flow::{Flow, FlowProtocol, IcmpType};

use super::field::{Field, Scalar};

/// Reads one field of a flow; `None` when the flow lacks the layer it is in.
pub(super) type Getter = for<'f> fn(&'f Flow) -> Option<Field<'f>>;

/// The field of that name, as `Values`, `Sort` and `Dedup` read it.
pub(super) fn getter(name: &str) -> Option<Getter> {
    if let Some((layer, member)) = name.split_once('.') {
        return member_of(layer, member);
    }
    Some(match name {
        "UUID" => |flow| Some(Field::text(&flow.uuid)),
        "LayersPath" => |flow| Some(Field::text(&flow.layers_path)),
        "Application" => |flow| Some(Field::text(&flow.application)),
        "TrackingID" => |flow| Some(Field::text(&flow.tracking_id)),
        "L3TrackingID" => |flow| Some(Field::text(&flow.l3_tracking_id)),
        "ParentUUID" => |flow| Some(Field::text(&flow.parent_uuid)),
        "NodeTID" => |flow| Some(Field::text(&flow.node_tid)),
        "ANodeTID" => |flow| Some(Field::text(&flow.a_node_tid)),
        "BNodeTID" => |flow| Some(Field::text(&flow.b_node_tid)),
        "CaptureID" => |flow| Some(Field::text(&flow.capture_id)),
        "Start" => |flow| Some(Field::int(flow.start)),
        "Last" => |flow| Some(Field::int(flow.last)),
        "RawPacketsCaptured" => |flow| Some(Field::int(flow.raw_packets_captured)),
        "Link" => |flow| object(&flow.link),
        "Network" => |flow| object(&flow.network),
        "Transport" => |flow| object(&flow.transport),
        "ICMP" => |flow| object(&flow.icmp),
        "DNS" => |flow| object(&flow.dns),
        "DHCPv4" => |flow| object(&flow.dhc_pv4),
        "Metric" => |flow| object(&flow.metric),
        "LastUpdateMetric" => |flow| object(&flow.last_update_metric),
        "TCPMetric" => |flow| object(&flow.tcp_metric),
        _ => return None,
    })
}

/// The field of that name, as filters read it: a bare layer stands for both its ends.
pub(super) fn filter_getter(name: &str) -> Option<Getter> {
    Some(match name {
        "Link" => |flow| {
            let link = flow.link.as_ref()?;
            Some(Field::Pair(Scalar::Text(&link.a), Scalar::Text(&link.b)))
        },
        "Network" => |flow| {
            let network = flow.network.as_ref()?;
            let (a, b) = (&network.a, &network.b);
            Some(Field::Pair(Scalar::Text(a), Scalar::Text(b)))
        },
        "Transport" => |flow| {
            let transport = flow.transport.as_ref()?;
            let (a, b) = (transport.a, transport.b);
            Some(Field::Pair(Scalar::Port(a), Scalar::Port(b)))
        },
        name => return getter(name),
    })
}

/// A flag of the DNS header.
macro_rules! flag {
    ($field:ident) => {
        Some(|flow: &Flow| {
            let dns = flow.dns.as_ref()?;
            Some(Field::One(Scalar::Bool(dns.$field)))
        })
    };
}

/// Matches the name of an integer member of a layer.
macro_rules! integers {
    ($layer:ident, $member:ident, $($name:literal => $field:ident),+ $(,)?) => {
        match $member {
            $($name => Some(
                |flow: &Flow| flow.$layer.as_ref().map(|layer| Field::int(layer.$field as i64))
            ),)+
            _ => None,
        }
    };
}

fn member_of(layer: &str, member: &str) -> Option<Getter> {
    match layer {
        "Link" | "ETHERNET" => match member {
            "A" => Some(|flow| flow.link.as_ref().map(|link| Field::text(&link.a))),
            "B" => Some(|flow| flow.link.as_ref().map(|link| Field::text(&link.b))),
            "ID" => Some(|flow| flow.link.as_ref().map(|link| Field::int(link.id))),
            "Protocol" => Some(|flow| protocol(flow.link.as_ref()?.protocol)),
            _ => None,
        },
        "Network" | "IPV4" | "IPV6" => match member {
            "A" => Some(|flow| flow.network.as_ref().map(|network| Field::text(&network.a))),
            "B" => Some(|flow| flow.network.as_ref().map(|network| Field::text(&network.b))),
            "ID" => Some(|flow| flow.network.as_ref().map(|network| Field::int(network.id))),
            "Protocol" => Some(|flow| protocol(flow.network.as_ref()?.protocol)),
            _ => None,
        },
        "Transport" | "TCP" | "UDP" | "SCTP" => match member {
            "A" => Some(|flow| flow.transport.as_ref().map(|t| Field::One(Scalar::Port(t.a)))),
            "B" => Some(|flow| flow.transport.as_ref().map(|t| Field::One(Scalar::Port(t.b)))),
            "ID" => Some(|flow| flow.transport.as_ref().map(|t| Field::int(t.id))),
            "Protocol" => Some(|flow| protocol(flow.transport.as_ref()?.protocol)),
            _ => None,
        },
        "ICMP" => match member {
            "Type" => Some(|flow| {
                let kind = IcmpType::try_from(flow.icmp.as_ref()?.r#type).ok()?;
                Some(Field::text(kind.as_str_name()))
            }),
            _ => integers!(icmp, member, "Code" => code, "ID" => id),
        },
        "DNS" => match member {
            "OpCode" => Some(|flow| flow.dns.as_ref().map(|dns| Field::text(&dns.op_code))),
            "ResponseCode" => {
                Some(|flow| flow.dns.as_ref().map(|dns| Field::text(&dns.response_code)))
            }
            "QR" => flag!(qr),
            "AA" => flag!(aa),
            "TC" => flag!(tc),
            "RD" => flag!(rd),
            "RA" => flag!(ra),
            _ => integers!(dns, member,
                "ID" => id, "Z" => z, "QDCount" => q_d_count, "ANCount" => a_n_count,
                "NSCount" => n_s_count, "ARCount" => a_r_count,
            ),
        },
        "DHCPv4" => match member {
            "ServerName" => Some(|flow| bytes(&flow.dhc_pv4.as_ref()?.server_name)),
            "File" => Some(|flow| bytes(&flow.dhc_pv4.as_ref()?.file)),
            _ => integers!(dhc_pv4, member,
                "HardwareLen" => hardware_len, "HardwareOpts" => hardware_opts, "Xid" => xid,
                "Secs" => secs, "Flags" => flags,
            ),
        },
        "Metric" => integers!(metric, member,
            "ABPackets" => ab_packets, "ABBytes" => ab_bytes, "BAPackets" => ba_packets,
            "BABytes" => ba_bytes, "Start" => start, "Last" => last, "RTT" => rtt,
        ),
        "LastUpdateMetric" => integers!(last_update_metric, member,
            "ABPackets" => ab_packets, "ABBytes" => ab_bytes, "BAPackets" => ba_packets,
            "BABytes" => ba_bytes, "Start" => start, "Last" => last, "RTT" => rtt,
        ),
        "IPMetric" => integers!(ip_metric, member,
            "Fragments" => fragments, "FragmentErrors" => fragment_errors,
        ),
        "TCPMetric" => integers!(tcp_metric, member,
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
    use super::*;

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
            let read = |name: &str| getter(name).unwrap()(&flow).map(|field| field.to_value());
            assert_eq!(read(alias), read(name));
            assert!(read(name).is_some());
        }
    }
}

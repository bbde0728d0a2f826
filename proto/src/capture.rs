//! A capture as REST clients write and read it (API §2.3), and as nodes show it (§9.5).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::null::null_is_default;

/// The capture resource. Absent members and `null` mean the default; unknown members are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
#[schema(examples(json!({"GremlinQuery": "G.V().Has('Name', 'eth0')", "BPFFilter": "tcp port 80"})))]
pub struct Capture {
    /// Given by the server; a client's own is overwritten.
    #[serde(
        rename = "UUID",
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    #[schema(read_only)]
    pub uuid: String,
    /// Which nodes are captured. Required.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub gremlin_query: String,
    /// Which frames are metered, in libpcap's filter language; empty for all.
    #[serde(
        rename = "BPFFilter",
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub bpf_filter: String,
    /// For people.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// For people.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// How frames are taken: `afpacket`, `dpdk`, `pcap` or `pcapsocket`; empty for the default of
    /// each node's type.
    #[serde(
        rename = "Type",
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub kind: String,
    /// Nodes on which the capture is active. Output only.
    #[serde(deserialize_with = "null_is_default")]
    #[schema(read_only)]
    pub count: u64,
    /// TCP port that a `pcapsocket` capture listens on; 0 for any that is free.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub port: i64,
    /// One in so many flows is metered; 0 and 1 mean all. Clients send 1 when they do not care.
    #[serde(deserialize_with = "null_is_default")]
    pub sampling_rate: u32,
    /// sFlow polling in seconds; clients send 10 when they do not care.
    #[serde(deserialize_with = "null_is_default")]
    pub polling_interval: u32,
    /// Frames of each flow that are kept.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub raw_packet_limit: i64,
    /// Bytes of a frame that are looked at; 0 for 256.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub header_size: i64,
    /// Whether TCP metrics are kept.
    #[serde(rename = "ExtraTCPMetric", deserialize_with = "null_is_default")]
    pub extra_tcp_metric: bool,
    /// Whether IP fragments are put together.
    #[serde(rename = "IPDefrag", deserialize_with = "null_is_default")]
    pub ip_defrag: bool,
    /// Whether TCP streams are put together.
    #[serde(rename = "ReassembleTCP", deserialize_with = "null_is_default")]
    pub reassemble_tcp: bool,
    /// `L2` or `L3`; empty for the server's default, which it fills in.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub layer_key_mode: String,
    /// Application layers that are decoded: VRRP 1, DNS 2, DHCPv4 4.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "is_default")]
    pub extra_layers: i64,
    /// `host:port` of the collector that flows are sent to, or host that frames are; empty for none.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// How flows are sent to `Target`: `ipfix`, `netflowv5`; or frames: `erspanv1`. Nothing is sent
    /// when it is empty or `local`.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub target_type: String,
}

/// An entry of a node's `Captures` metadata: one capture on that node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CaptureOnNode {
    /// `UUID` of the capture.
    #[serde(rename = "ID")]
    pub id: String,
    /// `active` or `error`.
    pub state: CaptureState,
    /// Frames metered.
    pub packets_received: u64,
    /// Frames lost for want of room in the flow table.
    pub packets_dropped: u64,
    /// Frames the interface or port lost before us.
    pub packets_if_dropped: u64,
    /// The capture's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The capture's description.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The capture's filter.
    #[serde(rename = "BPFFilter", default, skip_serializing_if = "String::is_empty")]
    pub bpf_filter: String,
    /// How frames are taken on this node.
    #[serde(rename = "Type", default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Where clients write what a `pcapsocket` capture meters.
    #[serde(rename = "PCAPSocket", default, skip_serializing_if = "String::is_empty")]
    pub pcap_socket: String,
    /// Why the state is `error`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// Whether a capture runs on a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaptureState {
    /// Frames are metered.
    #[default]
    Active,
    /// The node could not be opened.
    Error,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_members_skydive_writes() {
        let capture = Capture {
            uuid: "5f0fd5c8-67d1-4fa3-7d4b-9ac1f7a7a0d3".into(),
            gremlin_query: "G.V().Has('Name','eth0')".into(),
            sampling_rate: 1,
            polling_interval: 10,
            layer_key_mode: "L2".into(),
            ..Capture::default()
        };
        assert_eq!(
            serde_json::to_string(&capture).unwrap(),
            r#"{"UUID":"5f0fd5c8-67d1-4fa3-7d4b-9ac1f7a7a0d3","GremlinQuery":"G.V().Has('Name','eth0')","#
                .to_owned()
                + r#""Count":0,"SamplingRate":1,"PollingInterval":10,"ExtraTCPMetric":false,"#
                + r#""IPDefrag":false,"ReassembleTCP":false,"LayerKeyMode":"L2"}"#
        );
    }

    #[test]
    fn takes_null_for_the_default_and_ignores_what_it_does_not_know() {
        let capture: Capture =
            serde_json::from_str(r#"{"Type":null,"Port":null,"IPDefrag":null,"Colour":"blue"}"#)
                .unwrap();
        assert_eq!(capture, Capture::default());
    }
}

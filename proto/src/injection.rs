//! A packet injection as REST clients write and read it (Skydive API §2.9).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::null::null_is_default;

/// The packet injection resource. Absent members and `null` mean the default; unknown members are
/// ignored; all are written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
#[schema(examples(json!({
    "Src": "G.V().Has('Name', 'eth0')",
    "Dst": "G.V().Has('Name', 'eth1')",
    "Type": "icmp4",
    "Count": 1,
})))]
pub struct PacketInjection {
    /// Given by the server; a client's own is overwritten.
    #[serde(rename = "UUID", deserialize_with = "null_is_default")]
    #[schema(read_only)]
    pub uuid: String,
    /// The nodes that send, in Gremlin. Required.
    #[serde(deserialize_with = "null_is_default")]
    pub src: String,
    /// The node that shall receive, in Gremlin; only its addresses matter.
    #[serde(deserialize_with = "null_is_default")]
    pub dst: String,
    /// In place of the sender's first address.
    #[serde(rename = "SrcIP", deserialize_with = "null_is_default")]
    pub src_ip: String,
    /// In place of the receiver's first address.
    #[serde(rename = "DstIP", deserialize_with = "null_is_default")]
    pub dst_ip: String,
    /// In place of the sender's address.
    #[serde(rename = "SrcMAC", deserialize_with = "null_is_default")]
    pub src_mac: String,
    /// In place of the next hop's address, or the receiver's.
    #[serde(rename = "DstMAC", deserialize_with = "null_is_default")]
    pub dst_mac: String,
    /// Of TCP and UDP; 0 for any.
    #[serde(deserialize_with = "null_is_default")]
    pub src_port: u16,
    /// Of TCP and UDP; 0 for any.
    #[serde(deserialize_with = "null_is_default")]
    pub dst_port: u16,
    /// Identifier of ICMP.
    #[serde(rename = "ICMPID", deserialize_with = "null_is_default")]
    pub icmp_id: u16,
    /// `icmp4`, `icmp6`, `tcp4`, `tcp6`, `udp4` or `udp6`.
    #[serde(rename = "Type", deserialize_with = "null_is_default")]
    pub kind: String,
    /// What the packets carry; random letters when empty.
    #[serde(deserialize_with = "null_is_default")]
    pub payload: String,
    /// How many packets each node sends.
    #[serde(deserialize_with = "null_is_default")]
    pub count: u64,
    /// Milliseconds between two of them.
    #[serde(deserialize_with = "null_is_default")]
    pub interval: u64,
    /// `unique` or `random`; empty for `unique`.
    #[serde(deserialize_with = "null_is_default")]
    pub mode: String,
    /// Random letters that each packet carries more than the one before it.
    #[serde(deserialize_with = "null_is_default")]
    pub increment_payload: i64,
    /// RFC 3339, set by the server.
    #[serde(deserialize_with = "null_is_default")]
    #[schema(read_only)]
    pub start_time: String,
    /// A capture file in base64, the frames of which are sent in place of made ones.
    pub pcap: Option<String>,
    /// Time to live of IPv4; 0 for 64.
    #[serde(rename = "TTL", deserialize_with = "null_is_default")]
    pub ttl: u8,
}

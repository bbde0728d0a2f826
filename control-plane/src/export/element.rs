//! Information elements of IPFIX (RFC 7012; numbers and names are IANA's), and how what is known of
//! a flow is written as them.

use std::net::IpAddr;

use bytes::BufMut;
use sonde_proto::record::{Cause, EndReason, LinkEnds, NetworkEnds};

use super::delta::Delta;
use super::protocol;

/// An information element. `Reverse` is what B sent, where A is the source (RFC 5103).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    FlowId,
    FlowStartMilliseconds,
    FlowEndMilliseconds,
    SourceIpv4Address,
    DestinationIpv4Address,
    SourceIpv6Address,
    DestinationIpv6Address,
    SourceTransportPort,
    DestinationTransportPort,
    ProtocolIdentifier,
    SourceMacAddress,
    DestinationMacAddress,
    VlanId,
    OctetDeltaCount,
    ReverseOctetDeltaCount,
    PacketDeltaCount,
    ReversePacketDeltaCount,
    TcpControlBits,
    ReverseTcpControlBits,
    IngressInterface,
    EgressInterface,
    BiflowDirection,
    FlowEndReason,
    ApplicationName,
}

impl Element {
    /// Appends its field specifier (RFC 7011, section 3.2).
    pub(super) fn specify(self, out: &mut Vec<u8>) {
        let (number, length) = self.form();
        match self {
            Self::ReverseOctetDeltaCount
            | Self::ReversePacketDeltaCount
            | Self::ReverseTcpControlBits => {
                out.put_u16(ENTERPRISE | number);
                out.put_u16(length);
                out.put_u32(REVERSE);
            }
            _ => {
                out.put_u16(number);
                out.put_u16(length);
            }
        }
    }

    /// Its number, and its length in bytes.
    const fn form(self) -> (u16, u16) {
        match self {
            Self::OctetDeltaCount | Self::ReverseOctetDeltaCount => (1, 8),
            Self::PacketDeltaCount | Self::ReversePacketDeltaCount => (2, 8),
            Self::ProtocolIdentifier => (4, 1),
            Self::TcpControlBits | Self::ReverseTcpControlBits => (6, 2),
            Self::SourceTransportPort => (7, 2),
            Self::SourceIpv4Address => (8, 4),
            Self::IngressInterface => (10, 4),
            Self::DestinationTransportPort => (11, 2),
            Self::DestinationIpv4Address => (12, 4),
            Self::EgressInterface => (14, 4),
            Self::SourceIpv6Address => (27, 16),
            Self::DestinationIpv6Address => (28, 16),
            Self::SourceMacAddress => (56, 6),
            Self::VlanId => (58, 2),
            Self::DestinationMacAddress => (80, 6),
            Self::ApplicationName => (96, VARIABLE),
            Self::FlowEndReason => (136, 1),
            Self::FlowId => (148, 8),
            Self::FlowStartMilliseconds => (152, 8),
            Self::FlowEndMilliseconds => (153, 8),
            Self::BiflowDirection => (239, 1),
        }
    }

    /// Appends its value.
    pub(super) fn write(self, delta: &Delta<'_>, out: &mut Vec<u8>) {
        let record = delta.record;
        let ip = |end: fn(&NetworkEnds) -> IpAddr| record.network.as_ref().map(end);
        let mac = |end: fn(&LinkEnds) -> [u8; 6]| record.link.as_ref().map_or([0; 6], end);
        match self {
            Self::FlowId => out.put_u64(record.uuid),
            Self::FlowStartMilliseconds => out.put_i64(delta.start.millis()),
            Self::FlowEndMilliseconds => out.put_i64(delta.end.millis()),
            Self::SourceIpv4Address => out.put_u32(ipv4(ip(|ends| ends.a))),
            Self::DestinationIpv4Address => out.put_u32(ipv4(ip(|ends| ends.b))),
            Self::SourceIpv6Address => out.put_u128(ipv6(ip(|ends| ends.a))),
            Self::DestinationIpv6Address => out.put_u128(ipv6(ip(|ends| ends.b))),
            Self::SourceTransportPort => out.put_u16(delta.ports()[0]),
            Self::DestinationTransportPort => out.put_u16(delta.ports()[1]),
            Self::ProtocolIdentifier => out.put_u8(protocol::number(record)),
            Self::SourceMacAddress => out.put_slice(&mac(|link| link.a)),
            Self::DestinationMacAddress => out.put_slice(&mac(|link| link.b)),
            // The outermost of those that Skydive combines.
            Self::VlanId => out.put_u16(record.link.map_or(0, |link| link.id as u16 & VLAN)),
            Self::OctetDeltaCount => out.put_u64(delta.ab.bytes),
            Self::ReverseOctetDeltaCount => out.put_u64(delta.ba.bytes),
            Self::PacketDeltaCount => out.put_u64(delta.ab.packets),
            Self::ReversePacketDeltaCount => out.put_u64(delta.ba.packets),
            Self::TcpControlBits => out.put_u16(delta.tcp_flags()[0].into()),
            Self::ReverseTcpControlBits => out.put_u16(delta.tcp_flags()[1].into()),
            Self::IngressInterface => out.put_u32(delta.interfaces()[0]),
            Self::EgressInterface => out.put_u32(delta.interfaces()[1]),
            Self::BiflowDirection => out.put_u8(INITIATOR),
            Self::FlowEndReason => out.put_u8(end_reason(record.cause)),
            Self::ApplicationName => text(delta.names.application(record), out),
        }
    }
}

fn ipv4(ip: Option<IpAddr>) -> u32 {
    match ip {
        Some(IpAddr::V4(ip)) => ip.to_bits(),
        _ => 0,
    }
}

fn ipv6(ip: Option<IpAddr>) -> u128 {
    match ip {
        Some(IpAddr::V6(ip)) => ip.to_bits(),
        _ => 0,
    }
}

/// A text of variable length (RFC 7011, section 7), cut where one byte cannot say its length. It has
/// a byte at least: there are collectors that take a set for over at a text without any.
fn text(text: &str, out: &mut Vec<u8>) {
    let text = if text.is_empty() { NO_NAME } else { text };
    let text = &text[..text.floor_char_boundary(LONGEST)];
    out.put_u8(text.len() as u8);
    out.put_slice(text.as_bytes());
}

/// `flowEndReason` (RFC 5102, section 5.11.3). A flow that goes on is told as one whose active
/// timeout came.
const fn end_reason(cause: Cause) -> u8 {
    match cause {
        Cause::End(EndReason::Idle) => 1,
        Cause::Update | Cause::Sweep | Cause::End(EndReason::Active) => 2,
        Cause::End(EndReason::Finished) => 3,
        Cause::End(EndReason::Stopped | EndReason::Drained) => 4,
        Cause::End(EndReason::Evicted) => 5,
    }
}

/// The bit of a specifier that a number of the enterprise follows.
const ENTERPRISE: u16 = 1 << 15;

/// The enterprise number of what is told of the other direction (RFC 5103, section 6.1).
const REVERSE: u32 = 29_305;

/// The length of elements that say their length themselves.
const VARIABLE: u16 = 0xffff;

/// What has no name.
const NO_NAME: &str = "unknown";

/// Bytes of a text at most.
const LONGEST: usize = 254;

/// The bits of a VLAN identifier.
const VLAN: u16 = 0xfff;

/// `biflowDirection`: the source began, for all that is known (RFC 5103, section 6.3).
const INITIATOR: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::template::Template;
    use crate::export::tests::testing;

    #[test]
    fn every_value_has_the_length_that_is_specified() {
        let told =
            [testing::record(), testing::record_ipv6(), testing::record_arp()].map(testing::told);
        for (template, told) in Template::ALL.into_iter().zip(&told) {
            let delta = testing::delta(told);
            for element in template.elements(true) {
                let mut out = Vec::new();
                element.write(&delta, &mut out);
                match element.form().1 {
                    VARIABLE => assert_eq!(out.len(), 1 + usize::from(out[0])),
                    length => assert_eq!(out.len(), usize::from(length), "{element:?}"),
                }
            }
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        for (given, expected) in [("", 7), ("DNS", 3), (&"x".repeat(255), 254)] {
            let mut out = Vec::new();
            text(given, &mut out);
            assert_eq!((usize::from(out[0]), out.len()), (expected, expected + 1));
        }
        let mut out = Vec::new();
        text(&"é".repeat(200), &mut out);
        assert_eq!(std::str::from_utf8(&out[1..]).unwrap(), "é".repeat(127));
    }
}

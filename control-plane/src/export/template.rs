//! The templates of IPFIX (RFC 7011, section 3.4), and which flows are told by which.

use bytes::BufMut;
use sonde_proto::record::FlowRecord;

use super::element::Element;

/// What a record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Template {
    /// A flow of IPv4.
    Ipv4,
    /// A flow of IPv6.
    Ipv6,
    /// A flow without IP.
    Ethernet,
}

impl Template {
    /// All, by their IDs.
    pub(super) const ALL: [Self; 3] = [Self::Ipv4, Self::Ipv6, Self::Ethernet];

    /// By which such a flow is told.
    pub(super) fn of(record: &FlowRecord) -> Self {
        match record.network {
            Some(ends) if ends.a.is_ipv4() => Self::Ipv4,
            Some(_) => Self::Ipv6,
            None => Self::Ethernet,
        }
    }

    /// Its ID, which is that of its sets, too.
    pub(super) const fn id(self) -> u16 {
        match self {
            Self::Ipv4 => 256,
            Self::Ipv6 => 257,
            Self::Ethernet => 258,
        }
    }

    /// Its elements in order; those of TCP flags only if they are known.
    pub(super) fn elements(self, tcp_flags: bool) -> impl Iterator<Item = Element> {
        let ends = match self {
            Self::Ipv4 => IPV4,
            Self::Ipv6 => IPV6,
            Self::Ethernet => &[],
        };
        let flags = if tcp_flags && self != Self::Ethernet { TCP_FLAGS } else { &[] };
        BEFORE.iter().chain(ends).chain(flags).chain(AFTER).copied()
    }

    /// Appends the template (RFC 7011, section 3.4.1).
    pub(super) fn write(self, tcp_flags: bool, out: &mut Vec<u8>) {
        out.put_u16(self.id());
        out.put_u16(self.elements(tcp_flags).count() as u16);
        self.elements(tcp_flags).for_each(|element| element.specify(out));
    }
}

const BEFORE: &[Element] =
    &[Element::FlowId, Element::FlowStartMilliseconds, Element::FlowEndMilliseconds];

const IPV4: &[Element] = &[
    Element::SourceIpv4Address,
    Element::DestinationIpv4Address,
    Element::SourceTransportPort,
    Element::DestinationTransportPort,
    Element::ProtocolIdentifier,
];

const IPV6: &[Element] = &[
    Element::SourceIpv6Address,
    Element::DestinationIpv6Address,
    Element::SourceTransportPort,
    Element::DestinationTransportPort,
    Element::ProtocolIdentifier,
];

const TCP_FLAGS: &[Element] = &[Element::TcpControlBits, Element::ReverseTcpControlBits];

const AFTER: &[Element] = &[
    Element::OctetDeltaCount,
    Element::ReverseOctetDeltaCount,
    Element::PacketDeltaCount,
    Element::ReversePacketDeltaCount,
    Element::SourceMacAddress,
    Element::DestinationMacAddress,
    Element::VlanId,
    Element::IngressInterface,
    Element::EgressInterface,
    Element::BiflowDirection,
    Element::FlowEndReason,
    Element::ApplicationName,
];

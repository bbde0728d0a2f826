//! IPv4, IPv6 and its extension headers.

use sonde_proto::record::Layer;

use super::rest::{Rest, Stop};
use super::{Next, Piece, Step, icmp, transport, tunnel};

/// IANA's protocol numbers.
mod protocol_number {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ICMPV4: u8 = 1;
    pub(super) const IGMP: u8 = 2;
    pub(super) const IPV4: u8 = 4;
    pub(super) const TCP: u8 = 6;
    pub(super) const UDP: u8 = 17;
    pub(super) const RUDP: u8 = 27;
    pub(super) const IPV6: u8 = 41;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const GRE: u8 = 47;
    pub(super) const ESP: u8 = 50;
    pub(super) const AH: u8 = 51;
    pub(super) const ICMPV6: u8 = 58;
    pub(super) const DESTINATION: u8 = 60;
    pub(super) const OSPF: u8 = 89;
    pub(super) const ETHER_IP: u8 = 97;
    pub(super) const VRRP: u8 = 112;
    pub(super) const SCTP: u8 = 132;
    pub(super) const MOBILITY: u8 = 135;
    pub(super) const UDP_LITE: u8 = 136;
    pub(super) const MPLS: u8 = 137;
    pub(super) const HIP: u8 = 139;
    pub(super) const SHIM6: u8 = 140;
}

/// IP of the version that the first nibble says.
pub(super) fn any<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (&[first], _) = rest.split::<1>()?;
    match first >> 4 {
        4 => v4(piece, rest),
        6 => v6(piece, rest),
        _ => Err(Stop::Unread),
    }
}

/// IPv4 (RFC 791 §3.1). Any fragment, the first too, ends the path and has no ports.
#[inline]
pub(super) fn v4<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (header, after) = rest.split::<20>()?;
    let [
        vihl,
        _,
        l0,
        l1,
        _,
        _,
        f0,
        f1,
        _,
        protocol,
        _,
        _,
        s0,
        s1,
        s2,
        s3,
        d0,
        d1,
        d2,
        d3,
    ] = *header;
    let header_length = u32::from(vihl & 0x0f) * 4;
    let total_length = match u32::from(u16::from_be_bytes([l0, l1])) {
        // Segmentation offload leaves the length to the card.
        0 => rest.len(),
        length => length,
    };
    if vihl >> 4 != 4 || header_length < 20 || total_length < header_length {
        return Err(Stop::Unread);
    }
    // Addresses stand before the options: they count even if the options are cut.
    piece.name(Layer::Ipv4)?;
    piece.set_ipv4([s0, s1, s2, s3], [d0, d1, d2, d3], total_length);
    let payload = if vihl == 0x45 {
        after
    } else {
        let length = header_length as usize - 20;
        check_options(after, length, OPTIONS_V4)?;
        after.skip(length)?
    };
    let payload = payload.limit(total_length - header_length);
    // More fragments, or an offset.
    if u16::from_be_bytes([f0, f1]) & 0x3fff != 0 {
        piece.name(Layer::Fragment)?;
        return Ok(Next::End);
    }
    self::protocol(piece, protocol, payload)
}

/// IPv6 (RFC 8200 §3).
#[inline]
pub(super) fn v6<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (header, payload) = rest.split::<40>()?;
    let Some((head, addresses)) = header.split_first_chunk::<8>() else {
        return Err(Stop::Unread);
    };
    let (Some((source, _)), Some((_, destination))) = (
        addresses.split_first_chunk::<16>(),
        addresses.split_last_chunk::<16>(),
    ) else {
        return Err(Stop::Unread);
    };
    let [version, _, _, _, l0, l1, next, _] = *head;
    if version >> 4 != 6 {
        return Err(Stop::Unread);
    }
    let payload_length = match u32::from(u16::from_be_bytes([l0, l1])) {
        // A jumbogram (RFC 2675), or segmentation offload.
        0 => payload.len(),
        length => length,
    };
    piece.name(Layer::Ipv6)?;
    piece.set_ipv6(*source, *destination, payload_length);
    protocol(piece, next, payload.limit(payload_length))
}

/// What an IP protocol number, or an IPv6 next header, announces.
#[inline]
pub(super) fn protocol<'a>(piece: &mut Piece, protocol: u8, rest: Rest<'a>) -> Step<'a> {
    match protocol {
        protocol_number::TCP => transport::tcp(piece, rest),
        protocol_number::UDP => transport::udp(piece, rest),
        _ => other(piece, protocol, rest),
    }
}

fn other<'a>(piece: &mut Piece, protocol: u8, rest: Rest<'a>) -> Step<'a> {
    match protocol {
        protocol_number::ICMPV4 => icmp::v4(piece, rest),
        protocol_number::ICMPV6 => icmp::v6(piece, rest),
        protocol_number::SCTP => transport::sctp(piece, rest),
        protocol_number::HOP_BY_HOP => options(piece, Layer::Ipv6HopByHop, rest),
        protocol_number::DESTINATION => options(piece, Layer::Ipv6Destination, rest),
        protocol_number::ROUTING => extension(piece, Some(Layer::Ipv6Routing), rest),
        protocol_number::MOBILITY | protocol_number::HIP | protocol_number::SHIM6 => {
            extension(piece, None, rest)
        }
        protocol_number::FRAGMENT => fragment(piece, rest),
        protocol_number::AH => authentication(piece, rest),
        protocol_number::IPV4 | protocol_number::IPV6 => Ok(Next::Ip(rest)),
        protocol_number::GRE => tunnel::gre(piece, rest),
        protocol_number::MPLS => tunnel::mpls(piece, rest),
        protocol_number::ETHER_IP => {
            let (_, rest) = rest.split::<2>()?;
            piece.name(Layer::EtherIp)?;
            Ok(Next::Ethernet(rest))
        }
        protocol_number::ESP => last(piece, Layer::IpsecEsp, 8, rest),
        protocol_number::IGMP => igmp(piece, rest),
        protocol_number::OSPF => last(piece, Layer::Ospf, 16, rest),
        protocol_number::VRRP => last(piece, Layer::Vrrp, 8, rest),
        protocol_number::RUDP => last(piece, Layer::Rudp, 9, rest),
        protocol_number::UDP_LITE => last(piece, Layer::UdpLite, 8, rest),
        _ => Ok(Next::End),
    }
}

/// A protocol that is named and not read further.
fn last<'a>(piece: &mut Piece, layer: Layer, header: usize, rest: Rest<'a>) -> Step<'a> {
    rest.skip(header)?;
    piece.name(layer)?;
    Ok(Next::End)
}

/// An extension header of the common form (RFC 6564 §3): next header, length in units of 8 bytes
/// beyond the first 8.
fn extension<'a>(piece: &mut Piece, layer: Option<Layer>, rest: Rest<'a>) -> Step<'a> {
    let (&[next, units], _) = rest.split::<2>()?;
    let rest = rest.skip(8 + 8 * usize::from(units))?;
    if let Some(layer) = layer {
        piece.name(layer)?;
    }
    Ok(Next::Protocol(next, rest))
}

/// Hop-by-hop and destination options (RFC 8200 §4.3, §4.6).
fn options<'a>(piece: &mut Piece, layer: Layer, rest: Rest<'a>) -> Step<'a> {
    let (&[_, units], list) = rest.split::<2>()?;
    check_options(list, 6 + 8 * usize::from(units), OPTIONS_V6)?;
    extension(piece, Some(layer), rest)
}

/// How options are written: which have one byte only, and what the length byte counts.
#[derive(Clone, Copy)]
struct Options {
    /// Ends the list.
    end: Option<u8>,
    /// Has no length byte.
    pad: u8,
    /// Bytes of an option that its length byte leaves out.
    uncounted: usize,
    /// The shortest length byte there is.
    shortest: u8,
}

/// RFC 791 §3.1. No option has less than one byte of data.
const OPTIONS_V4: Options = Options {
    end: Some(0),
    pad: 1,
    uncounted: 0,
    shortest: 3,
};

/// RFC 8200 §4.2.
const OPTIONS_V6: Options = Options {
    end: None,
    pad: 0,
    uncounted: 2,
    shortest: 0,
};

/// Refuses options that overrun their list of `length` bytes: a receiver drops such a packet, so
/// that it belongs to no connection.
fn check_options(list: Rest<'_>, length: usize, form: Options) -> Result<(), Stop> {
    let Some(mut bytes) = list.bytes().get(..length) else {
        return Err(list.missing(length));
    };
    while let Some((&kind, after)) = bytes.split_first() {
        if form.end == Some(kind) {
            break;
        }
        if kind == form.pad {
            bytes = after;
            continue;
        }
        // A lone last byte harms nobody.
        let Some(&length) = after.first() else { break };
        if length < form.shortest {
            return Err(Stop::Unread);
        }
        bytes = bytes
            .get(usize::from(length) + form.uncounted..)
            .ok_or(Stop::Unread)?;
    }
    Ok(())
}

/// IGMP: queries and reports of versions 1 to 3 (RFC 9776 §4). Other types are other protocols.
fn igmp<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (&[kind, ..], _) = rest.split::<8>()?;
    if matches!(kind, 0x11 | 0x12 | 0x16 | 0x17 | 0x22) {
        piece.name(Layer::Igmp)?;
    }
    Ok(Next::End)
}

/// The fragment header (RFC 8200 §4.5). As with IPv4, nothing after it is read.
fn fragment<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    rest.skip(8)?;
    piece.name(Layer::Ipv6Fragment)?;
    piece.name(Layer::Fragment)?;
    Ok(Next::End)
}

/// The authentication header (RFC 4302 §2): length in units of 4 bytes, less 2.
fn authentication<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (&[next, units], _) = rest.split::<2>()?;
    let rest = rest.skip((4 * (usize::from(units) + 2)).max(12))?;
    piece.name(Layer::IpsecAh)?;
    Ok(Next::Protocol(next, rest))
}

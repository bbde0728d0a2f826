//! IPv4, IPv6 and its extension headers.

use sonde_proto::record::Layer;

use super::fragment::Header;
use super::rest::{Rest, Stop};
use super::walk::{Next, Step};
use super::{Piece, icmp, transport, tunnel};

/// IANA's protocol numbers.
pub(super) mod protocol_number {
    pub(in crate::parse) const HOP_BY_HOP: u8 = 0;
    pub(in crate::parse) const ICMPV4: u8 = 1;
    pub(in crate::parse) const IGMP: u8 = 2;
    pub(in crate::parse) const IPV4: u8 = 4;
    pub(in crate::parse) const TCP: u8 = 6;
    pub(in crate::parse) const UDP: u8 = 17;
    pub(in crate::parse) const RUDP: u8 = 27;
    pub(in crate::parse) const IPV6: u8 = 41;
    pub(in crate::parse) const ROUTING: u8 = 43;
    pub(in crate::parse) const FRAGMENT: u8 = 44;
    pub(in crate::parse) const GRE: u8 = 47;
    pub(in crate::parse) const ESP: u8 = 50;
    pub(in crate::parse) const AH: u8 = 51;
    pub(in crate::parse) const ICMPV6: u8 = 58;
    pub(in crate::parse) const DESTINATION: u8 = 60;
    pub(in crate::parse) const OSPF: u8 = 89;
    pub(in crate::parse) const ETHER_IP: u8 = 97;
    pub(in crate::parse) const VRRP: u8 = 112;
    pub(in crate::parse) const SCTP: u8 = 132;
    pub(in crate::parse) const MOBILITY: u8 = 135;
    pub(in crate::parse) const UDP_LITE: u8 = 136;
    pub(in crate::parse) const MPLS: u8 = 137;
    pub(in crate::parse) const HIP: u8 = 139;
    pub(in crate::parse) const SHIM6: u8 = 140;
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
#[inline(always)]
pub(super) fn v4<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (header, after) = rest.split::<20>()?;
    let [vihl, _, l0, l1, i0, i1, f0, f1, ttl, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
        *header;
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
    piece.set_ipv4([s0, s1, s2, s3], [d0, d1, d2, d3], total_length, ttl);
    let payload = if vihl == 0x45 {
        after
    } else {
        let length = header_length as usize - 20;
        check_options(after, length, OPTIONS_V4)?;
        after.skip(length)?
    };
    let payload = payload.limit(total_length - header_length);
    let place = u16::from_be_bytes([f0, f1]);
    // More fragments, or an offset.
    if place & 0x3fff != 0 {
        piece.name(Layer::Fragment)?;
        return Ok(Next::Fragment(Header {
            protocol,
            id: u16::from_be_bytes([i0, i1]).into(),
            // In units of 8 bytes.
            offset: place << 3,
            more: place & 0x2000 != 0,
            rest: payload,
        }));
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
    let (Some((source, _)), Some((_, destination))) =
        (addresses.split_first_chunk::<16>(), addresses.split_last_chunk::<16>())
    else {
        return Err(Stop::Unread);
    };
    let [version, _, _, _, l0, l1, next, hop_limit] = *head;
    if version >> 4 != 6 {
        return Err(Stop::Unread);
    }
    let payload_length = match u32::from(u16::from_be_bytes([l0, l1])) {
        // A jumbogram (RFC 2675), or segmentation offload.
        0 => payload.len(),
        length => length,
    };
    piece.name(Layer::Ipv6)?;
    piece.set_ipv6(*source, *destination, payload_length, hop_limit);
    protocol(piece, next, payload.limit(payload_length))
}

/// What an IP protocol number, or an IPv6 next header, announces.
#[inline(always)]
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
        protocol_number::VRRP => {
            rest.skip(8)?;
            piece.carry(Layer::Vrrp, rest)?;
            Ok(Next::End)
        }
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
const OPTIONS_V4: Options = Options { end: Some(0), pad: 1, uncounted: 0, shortest: 3 };

/// RFC 8200 §4.2.
const OPTIONS_V6: Options = Options { end: None, pad: 0, uncounted: 2, shortest: 0 };

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
        bytes = bytes.get(usize::from(length) + form.uncounted..).ok_or(Stop::Unread)?;
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

/// The fragment header (RFC 8200 §4.5). As with IPv4, a fragment is not read further.
fn fragment<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (&[protocol, _, o0, o1, id @ ..], rest) = rest.split::<8>()?;
    piece.name(Layer::Ipv6Fragment)?;
    piece.name(Layer::Fragment)?;
    let place = u16::from_be_bytes([o0, o1]);
    Ok(Next::Fragment(Header {
        protocol,
        id: u32::from_be_bytes(id),
        // In units of 8 bytes, above three other bits.
        offset: place & !7,
        more: place & 1 != 0,
        rest,
    }))
}

/// The authentication header (RFC 4302 §2): length in units of 4 bytes, less 2.
fn authentication<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (&[next, units], _) = rest.split::<2>()?;
    let rest = rest.skip((4 * (usize::from(units) + 2)).max(12))?;
    piece.name(Layer::IpsecAh)?;
    Ok(Next::Protocol(next, rest))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::super::testing::{ethernet, hex, ipv4, ipv6, only, paths, pieces, tcp, udp};
    use crate::source::LinkType;

    fn path_of(packet: &[u8]) -> String {
        let kind = if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd };
        only(&ethernet(kind, packet)).layers.to_string()
    }

    #[test]
    fn fragments_have_no_ports() {
        for flags in [0x2000u16, 0x0001, 0x2001] {
            let mut packet = ipv4(6, &tcp());
            packet[6..8].copy_from_slice(&flags.to_be_bytes());
            let piece = only(&ethernet(0x0800, &packet));
            assert_eq!(piece.layers.to_string(), "Ethernet/IPv4/Fragment");
            assert_eq!(piece.ports, None);
        }
        let mut whole = ipv4(6, &tcp());
        whole[6] = 0x40;
        assert_eq!(path_of(&whole), "Ethernet/IPv4/TCP");
        let fragment = ipv6(44, &[hex("0600 0001 00000001"), tcp()].concat());
        assert_eq!(path_of(&fragment), "Ethernet/IPv6/IPv6Fragment/Fragment");
    }

    #[test]
    fn extension_headers_are_followed() {
        let tcp = tcp();
        let pad = "010400000000";
        let packet = |next: u8, headers: &str| ipv6(next, &[hex(headers), tcp.clone()].concat());
        let cases = [
            (packet(0, &format!("3c00 {pad} 0600 {pad}")), "IPv6HopByHop/IPv6Destination/TCP"),
            // Segment routing (type 4), type 2 of Mobile IPv6.
            (packet(43, "0602 04000000 0000 fd000000000000000000000000000003"), "IPv6Routing/TCP"),
            (packet(43, "0602 02010000 0000 fd000000000000000000000000000003"), "IPv6Routing/TCP"),
            (packet(135, "0600 000000000000"), "TCP"),
            (packet(51, "0604 0000 00000001 00000001 000000000000000000000000"), "IPSecAH/TCP"),
            (packet(50, "00000001 00000001"), "IPSecESP"),
        ];
        for (packet, path) in cases {
            assert_eq!(path_of(&packet), format!("Ethernet/IPv6/{path}"));
        }
        // An option that overruns its header.
        assert_eq!(path_of(&packet(60, "0600 01ff00000000")), "Ethernet/IPv6");
        assert_eq!(path_of(&packet(59, "")), "Ethernet/IPv6");
    }

    #[test]
    fn ipv4_options_are_checked() {
        let with_options = |options: &str| {
            let options = hex(options);
            let mut packet = ipv4(6, &[options.clone(), tcp()].concat());
            packet[0] = 0x45 + options.len() as u8 / 4;
            path_of(&packet)
        };
        assert_eq!(with_options("94040000"), "Ethernet/IPv4/TCP");
        assert_eq!(with_options("01010100"), "Ethernet/IPv4/TCP");
        assert_eq!(with_options("94050000"), "Ethernet/IPv4");
        assert_eq!(with_options("82000000"), "Ethernet/IPv4");
    }

    #[test]
    fn broken_headers_end_the_path() {
        let mut short = ipv4(6, &tcp());
        short[0] = 0x44;
        assert_eq!(path_of(&short), "Ethernet");
        let mut version = ipv6(6, &tcp());
        version[0] = 0x50;
        assert_eq!(paths(&ethernet(0x86dd, &version)), ["Ethernet"]);
        // A total length that ends within the TCP header, and padding behind it.
        let mut padded = ipv4(6, &tcp());
        padded[3] = 22;
        let piece = only(&ethernet(0x0800, &padded));
        assert_eq!(piece.layers.to_string(), "Ethernet/IPv4");
        assert!(!piece.truncated);
    }

    #[test]
    fn ip_in_ip_is_one_piece() {
        let inner4 = {
            let mut packet = ipv4(6, &tcp());
            packet[12..20].copy_from_slice(&[172, 16, 0, 1, 172, 16, 0, 2]);
            packet
        };
        let cases = [
            (ipv4(4, &inner4), "IPv4/IPv4/TCP", "10.0.0.1"),
            (ipv4(41, &ipv6(6, &tcp())), "IPv4/IPv6/TCP", "10.0.0.1"),
            (ipv6(4, &inner4), "IPv6/IPv4/TCP", "172.16.0.1"),
            (ipv6(41, &ipv6(6, &tcp())), "IPv6/IPv6/TCP", "fd00::1"),
        ];
        for (packet, path, source) in cases {
            let kind = if path.starts_with("IPv4") { 0x0800 } else { 0x86dd };
            let piece = only(&ethernet(kind, &packet));
            assert_eq!(piece.layers.to_string(), format!("Ethernet/{path}"));
            assert_eq!(piece.network.unwrap().source, source.parse::<IpAddr>().unwrap());
            // The key has the addresses of the first header, whichever are shown.
            let outer: IpAddr =
                if kind == 0x0800 { "10.0.0.1" } else { "fd00::1" }.parse().unwrap();
            assert_eq!(piece.key.addresses.unwrap()[0], outer);
            assert_eq!(piece.ports.unwrap().source, 1000);
            assert!(piece.ip_in_ip);
        }
        assert!(!only(&ethernet(0x0800, &ipv4(6, &tcp()))).ip_in_ip);
    }

    #[test]
    fn protocols_are_named() {
        let cases = [
            (2, "1600 0000 e0000001", "IGMP"),
            (2, "1300 0000 e0000001", ""),
            (89, "0201 0010 0a000001 00000000 0000 0000", "OSPF"),
            (112, "2101 6401 0001 0000", "VRRP"),
            (136, "0001 0002 0008 0000", "UDPLite"),
            (50, "00000001 00000001", "IPSecESP"),
            (103, "2000 0000", ""),
        ];
        for (protocol, payload, name) in cases {
            let path = path_of(&ipv4(protocol, &hex(payload)));
            let expected = format!("Ethernet/IPv4/{name}");
            assert_eq!(path, expected.trim_end_matches('/'));
        }
        let ether_ip =
            ipv4(97, &[hex("3000"), ethernet(0x0800, &ipv4(17, &udp(1, 2, b"")))].concat());
        assert_eq!(path_of(&ether_ip), "Ethernet/IPv4/EtherIP/Ethernet/IPv4/UDP");
    }

    #[test]
    fn without_ethernet_the_ip_header_gives_the_length() {
        let v4 = pieces(LinkType::Raw, &[ipv4(6, &tcp()), vec![0; 6]].concat())[0];
        assert_eq!((v4.length, v4.wire_length), (40, 46));
        // As Skydive counts: without the 40 bytes of the header.
        let v6 = pieces(LinkType::Raw, &ipv6(6, &tcp()))[0];
        assert_eq!((v6.length, v6.wire_length), (20, 60));
    }
}

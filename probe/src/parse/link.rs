//! Link layers: Ethernet, VLAN tags, LLC, PPP, cooked and loopback headers.

use sonde_proto::record::Layer;

use super::rest::{Rest, Stop};
use super::walk::{Next, Step};
use super::{Link, Piece, ip, tunnel};

/// Bytes of an Ethernet header (IEEE 802.3 §3.1).
const ETHERNET: usize = 14;
/// Bytes of a BSD loopback header.
const LOOPBACK: usize = 4;

/// Numbers of the IEEE's EtherType registry.
pub(super) mod ether_type {
    pub(in crate::parse) const IPV4: u16 = 0x0800;
    pub(in crate::parse) const ARP: u16 = 0x0806;
    pub(in crate::parse) const DOT1Q: u16 = 0x8100;
    pub(in crate::parse) const IPV6: u16 = 0x86dd;
    pub(in crate::parse) const MPLS: u16 = 0x8847;
    pub(in crate::parse) const MPLS_MULTICAST: u16 = 0x8848;
    pub(in crate::parse) const PPPOE_DISCOVERY: u16 = 0x8863;
    pub(in crate::parse) const PPPOE_SESSION: u16 = 0x8864;
    pub(in crate::parse) const EAPOL: u16 = 0x888e;
    pub(in crate::parse) const DOT1AD: u16 = 0x88a8;
    pub(in crate::parse) const LLDP: u16 = 0x88cc;
    pub(in crate::parse) const CONFIGURATION_TEST: u16 = 0x9000;
}

/// The first EtherType: values below are 802.3 lengths.
pub(super) const FIRST_ETHER_TYPE: u16 = 0x0600;

/// Ethernet II or 802.3.
#[inline(always)]
pub(super) fn ethernet<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (header, rest) = rest.split::<ETHERNET>()?;
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *header;
    piece.name(Layer::Ethernet)?;
    if piece.link.is_none() {
        piece.link = Some(Link {
            source: [s0, s1, s2, s3, s4, s5],
            destination: [d0, d1, d2, d3, d4, d5],
            id: 0,
        });
        // Also when it stands inside IP (EtherIP in a capture of raw IP).
        piece.length = piece.wire_length;
    }
    ether_type(piece, u16::from_be_bytes([t0, t1]), rest)
}

/// What an EtherType announces, behind VLAN tags if there are; an 802.3 length announces LLC.
#[inline(always)]
pub(super) fn ether_type<'a>(piece: &mut Piece, kind: u16, rest: Rest<'a>) -> Step<'a> {
    let (kind, rest) = match kind {
        ether_type::DOT1Q | ether_type::DOT1AD => vlan(piece, rest)?,
        _ => (kind, rest),
    };
    match kind {
        ether_type::IPV4 => ip::v4(piece, rest),
        ether_type::IPV6 => ip::v6(piece, rest),
        _ => other(piece, kind, rest),
    }
}

fn other<'a>(piece: &mut Piece, kind: u16, rest: Rest<'a>) -> Step<'a> {
    match kind {
        ..FIRST_ETHER_TYPE => llc(piece, rest.limit(u32::from(kind))),
        ether_type::ARP => arp(piece, rest),
        ether_type::MPLS | ether_type::MPLS_MULTICAST => tunnel::mpls(piece, rest),
        ether_type::PPPOE_DISCOVERY | ether_type::PPPOE_SESSION => pppoe(piece, rest),
        ether_type::EAPOL => eapol(piece, rest),
        ether_type::LLDP => lldp(piece, rest),
        ether_type::CONFIGURATION_TEST => configuration_test(piece, rest),
        _ => Ok(Next::End),
    }
}

/// 802.1Q and 802.1ad tags, each of priority, id and the EtherType of what follows it. The ids are
/// combined with the outermost in the low 12 bits; the sixth and later ones do not fit the number.
/// What follows the last tag.
#[inline]
fn vlan<'a>(piece: &mut Piece, mut rest: Rest<'a>) -> Result<(u16, Rest<'a>), Stop> {
    let mut shift = 0;
    loop {
        let (&[c0, c1, t0, t1], after) = rest.split::<4>()?;
        piece.name(Layer::Dot1Q)?;
        if let Some(link) = &mut piece.link
            && shift < 60
        {
            link.id |= i64::from(u16::from_be_bytes([c0, c1]) & 0x0fff) << shift;
            shift += 12;
        }
        rest = after;
        let kind = u16::from_be_bytes([t0, t1]);
        if !matches!(kind, ether_type::DOT1Q | ether_type::DOT1AD) {
            return Ok((kind, rest));
        }
    }
}

/// After a Linux cooked header: an EtherType, or 4 for 802.2 LLC (`LINUX_SLL_P_802_2`). The header
/// itself has no name in the path but leaves its slash.
pub(super) fn cooked<'a>(piece: &mut Piece, kind: u16, rest: Rest<'a>) -> Step<'a> {
    piece.name(Layer::Cooked)?;
    match kind {
        4 => llc(piece, rest),
        FIRST_ETHER_TYPE.. => Ok(Next::EtherType(kind, rest)),
        _ => Ok(Next::End),
    }
}

/// A BSD loopback header: the address family, in the byte order of the writer or of the network.
pub(super) fn loopback<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (&family, rest) = rest.split::<LOOPBACK>()?;
    piece.name(Layer::Loopback)?;
    let family = u32::from_be_bytes(family).min(u32::from_le_bytes(family));
    match family {
        // AF_INET; AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, macOS.
        2 | 10 | 24 | 28 | 30 => Ok(Next::Ip(rest)),
        _ => Ok(Next::End),
    }
}

/// PPP (RFC 1661 §2): a protocol number of one byte or two, after the HDLC address if it is there.
pub(super) fn ppp<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let rest = if rest.bytes().starts_with(&[0xff, 0x03]) { rest.skip(2)? } else { rest };
    let (&[first], after) = rest.split::<1>()?;
    let (protocol, rest) = if first & 1 == 1 {
        (u16::from(first), after)
    } else {
        let (&protocol, rest) = rest.split::<2>()?;
        (u16::from_be_bytes(protocol), rest)
    };
    piece.name(Layer::Ppp)?;
    match protocol {
        0x0021 | 0x0057 => Ok(Next::Ip(rest)),
        0x0281 | 0x0283 => tunnel::mpls(piece, rest),
        _ => Ok(Next::End),
    }
}

/// PPPoE (RFC 2516 §4); code 0 is a session, which carries PPP.
fn pppoe<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (&[_, code, _, _, l0, l1], rest) = rest.split::<6>()?;
    piece.name(Layer::PppoE)?;
    if code != 0 {
        return Ok(Next::End);
    }
    Ok(Next::Ppp(rest.limit(u32::from(u16::from_be_bytes([l0, l1])))))
}

/// 802.2 LLC: two access points and a control field of one or two bytes.
pub(super) fn llc<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (&[destination, source, control], after) = rest.split::<3>()?;
    let unnumbered = control & 0x03 == 0x03;
    let rest = if unnumbered { after } else { after.skip(1)? };
    piece.name(Layer::Llc)?;
    match (destination & 0xfe, source & 0xfe) {
        (0xaa, 0xaa) => snap(piece, rest),
        (0x42, 0x42) => stp(piece, rest),
        _ => Ok(Next::End),
    }
}

/// SNAP: an organisation and its own protocol number. Organisation 0 uses EtherTypes.
pub(super) fn snap<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (&[o0, o1, o2, t0, t1], rest) = rest.split::<5>()?;
    piece.name(Layer::Snap)?;
    let kind = u16::from_be_bytes([t0, t1]);
    match ([o0, o1, o2], kind) {
        ([0, 0, 0], FIRST_ETHER_TYPE..) => Ok(Next::EtherType(kind, rest)),
        ([0, 0, 0x0c], 0x2000) => cdp(piece, rest),
        _ => Ok(Next::End),
    }
}

/// A bridge protocol data unit (802.1D §9): protocol 0, version, type.
fn stp<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (&[p0, p1, _, _], _) = rest.split::<4>()?;
    if [p0, p1] == [0, 0] {
        piece.name(Layer::Stp)?;
    }
    Ok(Next::End)
}

/// Cisco Discovery Protocol: version, time to live, checksum, then type-length-values.
fn cdp<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (_, _) = rest.split::<4>()?;
    piece.name(Layer::CiscoDiscovery)?;
    piece.name(Layer::CiscoDiscoveryInfo)?;
    Ok(Next::End)
}

/// ARP (RFC 826): the fixed part says how long the addresses are.
fn arp<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (&[_, _, _, _, hardware, protocol, _, _], rest) = rest.split::<8>()?;
    rest.skip(2 * (usize::from(hardware) + usize::from(protocol)))?;
    piece.name(Layer::Arp)?;
    Ok(Next::End)
}

/// EAP over LAN (802.1X §11.3): version, type, length.
fn eapol<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (&[_, kind, _, _], rest) = rest.split::<4>()?;
    piece.name(Layer::Eapol)?;
    match kind {
        0 => {
            rest.skip(4)?;
            piece.name(Layer::Eap)?;
        }
        3 => {
            rest.skip(95)?;
            piece.name(Layer::EapolKey)?;
        }
        _ => {}
    }
    Ok(Next::End)
}

/// LLDP (802.1AB §8): chassis id, port id and time to live come first, in this order.
fn lldp<'a>(piece: &mut Piece, mut rest: Rest<'a>) -> Step<'a> {
    for expected in 1..=3 {
        let (&head, value) = rest.split::<2>()?;
        let head = u16::from_be_bytes(head);
        if head >> 9 != expected {
            return Err(Stop::Unread);
        }
        rest = value.skip(usize::from(head & 0x01ff))?;
    }
    piece.name(Layer::LinkLayerDiscovery)?;
    piece.name(Layer::LinkLayerDiscoveryInfo)?;
    Ok(Next::End)
}

/// Ethernet Configuration Testing Protocol: skip count, then a function; numbers are little-endian.
fn configuration_test<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (_, rest) = rest.split::<2>()?;
    piece.name(Layer::EthernetCtp)?;
    let (&function, _) = rest.split::<2>()?;
    match u16::from_le_bytes(function) {
        1 => piece.name(Layer::EthernetCtpReply)?,
        2 => piece.name(Layer::EthernetCtpForwardData)?,
        _ => {}
    }
    Ok(Next::End)
}

#[cfg(test)]
mod tests {
    use sonde_proto::record::LayersPath;

    use super::super::testing::{ethernet, hex, ipv4, only, paths, pieces, tcp};
    use crate::source::LinkType;

    /// An IPv4 packet behind VLAN tags.
    fn tagged(tags: &[u16]) -> Vec<u8> {
        let mut payload = Vec::new();
        for (i, tag) in tags.iter().enumerate() {
            payload.extend(tag.to_be_bytes());
            let is_last = i + 1 == tags.len();
            payload.extend(if is_last { [0x08, 0x00] } else { [0x81, 0x00] });
        }
        payload.extend(ipv4(6, &tcp()));
        ethernet(0x88a8, &payload)
    }

    #[test]
    fn vlan_ids_are_combined() {
        let cases: [(&[u16], i64); 5] = [
            (&[5], 5),
            (&[8, 10], 40_968),
            (&[8, 10, 20], 335_585_288),
            (&[8, 10, 20, 30], 2_061_919_887_368),
            (&[1, 0, 0, 0, 0, 2], 1),
        ];
        for (tags, id) in cases {
            let piece = only(&tagged(tags));
            assert_eq!(piece.link.unwrap().id, id);
            let path = format!("Ethernet/{}IPv4/TCP", "Dot1Q/".repeat(tags.len()));
            assert_eq!(piece.layers.to_string(), path);
        }
        // Priority and drop eligibility are no part of the id.
        assert_eq!(only(&tagged(&[0xf005])).link.unwrap().id, 5);
    }

    #[test]
    fn a_path_that_is_full_ends() {
        let piece = only(&tagged(&[1; 30]));
        assert_eq!(piece.layers.as_slice().len(), LayersPath::DEPTH);
        assert_eq!(piece.network, None);
    }

    #[test]
    fn ethernet_carries_many_things() {
        let ip = ipv4(6, &tcp());
        let ppp = |protocol: &str| {
            let session = [hex("1100 0001"), vec![0, ip.len() as u8 + 2]].concat();
            ethernet(0x8864, &[session, hex(protocol), ip.clone()].concat())
        };
        let arp = "0001 0800 0604 0001 020000000001 0a000001 000000000000 0a000002";
        let cases = [
            (ethernet(0x0806, &hex(arp)), "Ethernet/ARP"),
            (ethernet(0x0806, &hex(arp)[..20]), "Ethernet"),
            (ethernet(0x1234, &[0; 46]), "Ethernet"),
            (ethernet(38, &hex("424203 0000 00 00 0000")), "Ethernet/LLC/STP"),
            (ethernet(3, &hex("fefe03 83")), "Ethernet/LLC"),
            (
                ethernet(48, &[hex("aaaa03 000000 0800"), ip.clone()].concat()),
                "Ethernet/LLC/SNAP/IPv4/TCP",
            ),
            (
                ethernet(20, &hex("aaaa03 00000c 2000 02b4 0000 0001 0004")),
                "Ethernet/LLC/SNAP/CiscoDiscovery/CiscoDiscoveryInfo",
            ),
            (
                ethernet(0x88cc, &hex("0207 04 020000000001 0403 056531 0602 0078 0000")),
                "Ethernet/LinkLayerDiscovery/LinkLayerDiscoveryInfo",
            ),
            (ethernet(0x88cc, &hex("0403 056531 0602 0078 0000")), "Ethernet"),
            (ethernet(0x888e, &hex("0100 0005 01010005 01")), "Ethernet/EAPOL/EAP"),
            (
                ethernet(0x888e, &[hex("0103 005f"), vec![0; 95]].concat()),
                "Ethernet/EAPOL/EAPOLKey",
            ),
            (ethernet(0x888e, &hex("0101 0000")), "Ethernet/EAPOL"),
            (ethernet(0x9000, &hex("0000 0100 0000")), "Ethernet/EthernetCTP/EthernetCTPReply"),
            (ethernet(0x8863, &hex("1109 0000 0004 01010000")), "Ethernet/PPPoE"),
            (ppp("0021"), "Ethernet/PPPoE/PPP/IPv4/TCP"),
            (ppp("c021"), "Ethernet/PPPoE/PPP"),
        ];
        for (bytes, path) in cases {
            assert_eq!(paths(&bytes), [path]);
        }
    }

    #[test]
    fn ethernet_inside_ip_counts_the_wire_length() {
        let mut bytes = ipv4(97, &[vec![0x30, 0], ethernet(0x0800, &ipv4(6, &tcp()))].concat());
        bytes.push(0);
        let pieces = pieces(LinkType::Raw, &bytes);
        assert_eq!(pieces[0].layers.to_string(), "IPv4/EtherIP/Ethernet/IPv4/TCP");
        assert_eq!(pieces[0].length as usize, bytes.len());
    }

    #[test]
    fn other_link_types_have_no_link() {
        let ip = ipv4(6, &tcp());
        let sll = "0000 0001 0006 020000000001 0000";
        let cases = [
            (LinkType::Raw, hex(""), "IPv4/TCP"),
            (LinkType::Sll, hex(&format!("{sll} 0800")), "/IPv4/TCP"),
            (LinkType::Sll, hex(&format!("{sll} 0004 aaaa03 000000 0800")), "/LLC/SNAP/IPv4/TCP"),
            (LinkType::Sll2, hex("0800 0000 00000002 0001 00 06 020000000001 0000"), "/IPv4/TCP"),
            (LinkType::Null, hex("02000000"), "Loopback/IPv4/TCP"),
            (LinkType::Loop, hex("00000002"), "Loopback/IPv4/TCP"),
        ];
        for (link, header, path) in cases {
            let bytes = [header, ip.clone()].concat();
            let pieces = pieces(link, &bytes);
            assert_eq!(pieces.len(), 1);
            assert_eq!(pieces[0].layers.to_string(), path);
            assert_eq!(pieces[0].link, None);
            // Without Ethernet the IP header's total length counts.
            assert_eq!(pieces[0].length, 40);
            assert_eq!(pieces[0].wire_length as usize, bytes.len());
        }
    }
}

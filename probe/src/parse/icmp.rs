//! ICMPv4 and ICMPv6, folded into Skydive's types.

use std::net::IpAddr;

use sonde_proto::record::{Icmp, IcmpKind, Layer};

use super::rest::Rest;
use super::walk::{Next, Step};
use super::{Echo, Network, Piece};

/// ICMPv4 (RFC 792). Bytes 4 and 5 count as the identifier in every type.
pub(super) fn v4<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (&[kind, code, _, _, i0, i1, _, _], _) = rest.split::<8>()?;
    piece.name(Layer::Icmpv4)?;
    if piece.icmp.is_none() {
        let icmp = Icmp { kind: kind_v4(kind), code, id: u16::from_be_bytes([i0, i1]) };
        piece.key.icmp = Some(digested(icmp));
        piece.icmp = Some(icmp);
        piece.echo = match kind {
            8 => Some(Echo::Request),
            0 => Some(Echo::Reply),
            _ => None,
        };
    }
    Ok(Next::End)
}

/// ICMPv6 (RFC 4443) and the messages of neighbour and listener discovery in it. An ICMPv6 header
/// in a piece whose addresses are IPv4 (6in4) enters the key and is not shown, as in Skydive.
pub(super) fn v6<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (&[kind, code, _, _], body) = rest.split::<4>()?;
    piece.name(Layer::Icmpv6)?;
    let is_ipv6 = matches!(piece.network, Some(Network { source: IpAddr::V6(_), .. }));
    let echo = match kind {
        128 => Some(Echo::Request),
        129 => Some(Echo::Reply),
        _ => None,
    };
    // Identifier and sequence number.
    let id = echo.and_then(|_| body.bytes().first_chunk::<4>());
    let id = id.map(|&[i0, i1, _, _]| u16::from_be_bytes([i0, i1]));
    let icmp = Icmp { kind: kind_v6(kind), code, id: id.unwrap_or_default() };
    if piece.key.icmp.is_none() {
        // The code of an echo is no part of the key, where its identifier is.
        let code = if id.is_some() { 0 } else { code };
        piece.key.icmp = Some(digested(Icmp { code, ..icmp }));
    }
    if piece.icmp.is_none() && is_ipv6 {
        piece.icmp = Some(icmp);
        piece.echo = echo;
    }
    let Some((layer, length)) = message(kind, body.len()) else {
        return Ok(Next::End);
    };
    body.skip(length)?;
    piece.name(layer)?;
    Ok(Next::End)
}

/// The layer of an ICMPv6 message whose body has `length` bytes, and how many its fixed part has.
fn message(kind: u8, length: u32) -> Option<(Layer, usize)> {
    Some(match kind {
        128 | 129 => (Layer::Icmpv6Echo, 4),
        // RFC 3810 §8.1: the versions of a query differ in length only.
        130 if length > 20 => (Layer::Mldv2MulticastListenerQuery, 24),
        130 => (Layer::Mldv1MulticastListenerQuery, 20),
        131 => (Layer::Mldv1MulticastListenerReport, 20),
        132 => (Layer::Mldv1MulticastListenerDone, 20),
        133 => (Layer::Icmpv6RouterSolicitation, 4),
        134 => (Layer::Icmpv6RouterAdvertisement, 12),
        135 => (Layer::Icmpv6NeighborSolicitation, 20),
        136 => (Layer::Icmpv6NeighborAdvertisement, 20),
        137 => (Layer::Icmpv6Redirect, 36),
        143 => (Layer::Mldv2MulticastListenerReport, 4),
        _ => return None,
    })
}

/// As ICMP enters the digests of a flow (Skydive API §5.2).
fn digested(icmp: Icmp) -> u32 {
    (icmp.kind as u32) << 24 | u32::from(icmp.code) << 16 | u32::from(icmp.id)
}

fn kind_v4(kind: u8) -> IcmpKind {
    match kind {
        0 | 8 => IcmpKind::Echo,
        3 => IcmpKind::DestinationUnreachable,
        4 => IcmpKind::SourceQuench,
        5 => IcmpKind::Redirect,
        9 | 10 => IcmpKind::Router,
        11 => IcmpKind::TimeExceeded,
        12 => IcmpKind::ParameterProblem,
        13 | 14 => IcmpKind::Timestamp,
        15 | 16 => IcmpKind::Info,
        17 | 18 => IcmpKind::AddressMask,
        _ => IcmpKind::Unknown,
    }
}

fn kind_v6(kind: u8) -> IcmpKind {
    match kind {
        1 => IcmpKind::DestinationUnreachable,
        2 => IcmpKind::PacketTooBig,
        3 => IcmpKind::TimeExceeded,
        4 => IcmpKind::ParameterProblem,
        128 | 129 => IcmpKind::Echo,
        133 | 134 => IcmpKind::Router,
        135 | 136 => IcmpKind::Neighbor,
        137 => IcmpKind::Redirect,
        _ => IcmpKind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ethernet, hex, ipv4, ipv6, only};
    use super::*;

    fn icmp_v4(message: &str) -> Piece {
        only(&ethernet(0x0800, &ipv4(1, &hex(message))))
    }

    fn icmp_v6(message: &str, body: usize) -> Piece {
        let message = [hex(message), vec![0; body]].concat();
        only(&ethernet(0x86dd, &ipv6(58, &message)))
    }

    #[test]
    fn echoes_have_an_identifier() {
        let request = icmp_v4("0800 0000 75a2 0001");
        assert_eq!(request.layers.to_string(), "Ethernet/IPv4/ICMPv4");
        let expected = Icmp { kind: IcmpKind::Echo, code: 0, id: 30114 };
        assert_eq!((request.icmp, request.echo), (Some(expected), Some(Echo::Request)));
        let reply = icmp_v4("0000 0000 75a2 0001");
        assert_eq!((reply.icmp, reply.echo), (Some(expected), Some(Echo::Reply)));
        let v6 = icmp_v6("8100 0000 75a2 0001", 0);
        assert_eq!(v6.layers.to_string(), "Ethernet/IPv6/ICMPv6/ICMPv6Echo");
        assert_eq!((v6.icmp, v6.echo), (Some(expected), Some(Echo::Reply)));
    }

    #[test]
    fn keys_leave_out_the_code_of_an_icmpv6_echo() {
        assert_eq!(icmp_v4("0803 0000 75a2 0001").key.icmp, Some(0x0203_75a2));
        assert_eq!(icmp_v6("8103 0000 75a2 0001", 0).key.icmp, Some(0x0200_75a2));
        assert_eq!(icmp_v6("8701 0000", 20).key.icmp, Some(0x0301_0000));
    }

    #[test]
    fn icmpv6_in_6in4_enters_the_key_and_is_not_shown() {
        let inner = ipv6(58, &hex("8000 0000 75a2 0001"));
        let piece = only(&ethernet(0x0800, &ipv4(41, &inner)));
        assert_eq!(piece.layers.to_string(), "Ethernet/IPv4/IPv6/ICMPv6/ICMPv6Echo");
        assert_eq!((piece.icmp, piece.key.icmp), (None, Some(0x0200_75a2)));
    }

    #[test]
    fn bytes_four_and_five_are_the_identifier_of_every_icmpv4_message() {
        let redirect = icmp_v4("0501 0000 0a00 0003");
        let expected = Icmp { kind: IcmpKind::Redirect, code: 1, id: 0x0a00 };
        assert_eq!((redirect.icmp, redirect.echo), (Some(expected), None));
    }

    #[test]
    fn icmpv6_messages_are_named() {
        let cases = [
            ("8500", 4, "/ICMPv6RouterSolicitation", IcmpKind::Router),
            ("8600", 12, "/ICMPv6RouterAdvertisement", IcmpKind::Router),
            ("8700", 20, "/ICMPv6NeighborSolicitation", IcmpKind::Neighbor),
            ("8800", 20, "/ICMPv6NeighborAdvertisement", IcmpKind::Neighbor),
            ("8800", 19, "", IcmpKind::Neighbor),
            ("8900", 36, "/ICMPv6Redirect", IcmpKind::Redirect),
            ("8200", 20, "/MLDv1MulticastListenerQuery", IcmpKind::Unknown),
            ("8200", 24, "/MLDv2MulticastListenerQuery", IcmpKind::Unknown),
            ("8f00", 4, "/MLDv2MulticastListenerReport", IcmpKind::Unknown),
            ("0200", 4, "", IcmpKind::PacketTooBig),
            ("0104", 4, "", IcmpKind::DestinationUnreachable),
        ];
        for (head, body, name, kind) in cases {
            let piece = icmp_v6(&format!("{head} 0000"), body);
            assert_eq!(piece.layers.to_string(), format!("Ethernet/IPv6/ICMPv6{name}"));
            let icmp = piece.icmp.unwrap();
            assert_eq!((icmp.kind, icmp.id), (kind, 0));
        }
    }

    #[test]
    fn types_are_folded() {
        let folded = [
            (IcmpKind::Echo, vec![0, 8]),
            (IcmpKind::DestinationUnreachable, vec![3]),
            (IcmpKind::SourceQuench, vec![4]),
            (IcmpKind::Redirect, vec![5]),
            (IcmpKind::Router, vec![9, 10]),
            (IcmpKind::TimeExceeded, vec![11]),
            (IcmpKind::ParameterProblem, vec![12]),
            (IcmpKind::Timestamp, vec![13, 14]),
            (IcmpKind::Info, vec![15, 16]),
            (IcmpKind::AddressMask, vec![17, 18]),
        ];
        for kind in 0..=255u8 {
            let expected = folded
                .iter()
                .find(|(_, types)| types.contains(&kind))
                .map_or(IcmpKind::Unknown, |(folded, _)| *folded);
            assert_eq!(kind_v4(kind), expected, "type {kind}");
        }
    }
}

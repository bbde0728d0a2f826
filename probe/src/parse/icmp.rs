//! ICMPv4 and ICMPv6, folded into Skydive's types.

use std::net::IpAddr;

use sonde_proto::record::{Icmp, IcmpKind, Layer};

use super::rest::Rest;
use super::{Echo, Network, Next, Piece, Step};

/// ICMPv4 (RFC 792). Bytes 4 and 5 count as the identifier in every type.
pub(super) fn v4<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (&[kind, code, _, _, i0, i1, _, _], _) = rest.split::<8>()?;
    piece.name(Layer::Icmpv4)?;
    if piece.icmp.is_none() {
        piece.icmp = Some(Icmp {
            kind: kind_v4(kind),
            code,
            id: u16::from_be_bytes([i0, i1]),
        });
        piece.echo = match kind {
            8 => Some(Echo::Request),
            0 => Some(Echo::Reply),
            _ => None,
        };
    }
    Ok(Next::End)
}

/// ICMPv6 (RFC 4443) and the messages of neighbour and listener discovery in it. An ICMPv6 header
/// in a piece whose addresses are IPv4 (6in4) is named only, as Skydive does.
pub(super) fn v6<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (&[kind, code, _, _], body) = rest.split::<4>()?;
    piece.name(Layer::Icmpv6)?;
    let is_ipv6 = matches!(
        piece.network,
        Some(Network {
            source: IpAddr::V6(_),
            ..
        })
    );
    let echo = match kind {
        128 => Some(Echo::Request),
        129 => Some(Echo::Reply),
        _ => None,
    };
    if piece.icmp.is_none() && is_ipv6 {
        let id = match (echo, body.bytes().first_chunk::<2>()) {
            (Some(_), Some(&id)) => u16::from_be_bytes(id),
            _ => 0,
        };
        piece.icmp = Some(Icmp {
            kind: kind_v6(kind),
            code,
            id,
        });
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

//! The plain kind of frame, which most are: Ethernet, VLAN tags, IPv4 without options or IPv6
//! without extension headers, TCP or UDP, and as much again behind VXLAN.
//!
//! Nothing here that [`super::parse`] does not say too. It only says it in a tenth of the
//! instructions, and leaves to it whatever is cut, odd or rare.

use sonde_proto::record::{Layer, LayersPath, Transport};

use super::application;
use super::ip::protocol_number;
use super::link::ether_type;
use super::rest::Rest;
use crate::source::{Frame, LinkType};

/// A plain piece: headers that are all there, and all of which count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain {
    /// MAC addresses as numbers, source first.
    pub(crate) macs: [u64; 2],
    /// VLAN ids combined, the outermost in the low 12 bits.
    pub(crate) vlans: u64,
    /// IP addresses.
    pub(crate) addresses: Addresses,
    /// TCP or UDP.
    pub(crate) transport: Transport,
    /// Ports, source first.
    pub(crate) ports: [u16; 2],
    /// TCP flags, 0 for UDP.
    pub(crate) tcp_flags: u8,
    /// Names of all layers.
    pub(crate) layers: LayersPath,
    /// VXLAN network identifier, if the piece ends in VXLAN.
    pub(crate) vni: Option<u32>,
    /// Bytes that count for the flow.
    pub(crate) length: u32,
}

/// IP addresses as numbers, source first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addresses {
    /// No IP.
    None,
    /// IPv4.
    V4([u32; 2]),
    /// IPv6.
    V6([u128; 2]),
}

/// The pieces of a plain frame of which at most `header_size` bytes are looked at: one, and the one
/// inside it if it is a VXLAN tunnel. `None` says nothing but that the frame is not plain.
#[inline(always)]
pub(crate) fn plain(frame: &Frame<'_>, header_size: u32) -> Option<(Plain, Option<Plain>)> {
    if frame.link != LinkType::Ethernet {
        return None;
    }
    let (outer, inside) = piece(Rest::new(frame.bytes, frame.length, header_size), frame.length)?;
    match inside {
        None => Some((outer, None)),
        Some(inside) => Some((outer, Some(inner(frame, inside)?))),
    }
}

/// The piece inside a tunnel. One inside two tunnels is not plain.
#[inline(never)]
fn inner(frame: &Frame<'_>, inside: Rest<'_>) -> Option<Plain> {
    let length = frame.length.max(inside.end()).saturating_sub(inside.offset());
    let (inner, more) = piece(inside, length)?;
    more.is_none().then_some(inner)
}

/// A piece, and what is inside it.
#[inline(always)]
fn piece(rest: Rest<'_>, length: u32) -> Option<(Plain, Option<Rest<'_>>)> {
    let (&[d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1], mut rest) =
        rest.split::<14>().ok()?;
    let destination = u64::from_be_bytes([0, 0, d0, d1, d2, d3, d4, d5]);
    let source = u64::from_be_bytes([0, 0, s0, s1, s2, s3, s4, s5]);
    let mut kind = u16::from_be_bytes([t0, t1]);
    let (mut vlans, mut tags) = (0, 0);
    while matches!(kind, ether_type::DOT1Q | ether_type::DOT1AD) {
        let (&[c0, c1, t0, t1], after) = rest.split::<4>().ok()?;
        if tags == MOST_TAGS {
            return None;
        }
        vlans |= u64::from(u16::from_be_bytes([c0, c1]) & 0x0fff) << (12 * tags);
        tags += 1;
        kind = u16::from_be_bytes([t0, t1]);
        rest = after;
    }
    let (addresses, protocol, payload) = match kind {
        ether_type::IPV4 => v4(rest)?,
        ether_type::IPV6 => v6(rest)?,
        _ => return None,
    };
    let version = usize::from(kind == ether_type::IPV6);
    let mut plain = Plain {
        macs: [source, destination],
        vlans,
        addresses,
        transport: Transport::Tcp,
        ports: [0; 2],
        tcp_flags: 0,
        layers: PATHS[tags][version][0],
        vni: None,
        length,
    };
    match protocol {
        protocol_number::TCP => {
            let (&[s0, s1, d0, d1, .., data_offset, flags], _) = payload.split::<14>().ok()?;
            payload.skip(usize::from(data_offset >> 4) * 4).ok()?;
            plain.ports = [u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])];
            plain.tcp_flags = flags;
            Some((plain, None))
        }
        protocol_number::UDP => {
            let (&[s0, s1, d0, d1, l0, l1, _, _], payload) = payload.split::<8>().ok()?;
            let payload = match u16::from_be_bytes([l0, l1]) {
                length @ 8.. => payload.limit(u32::from(length) - 8),
                _ => return None,
            };
            plain.transport = Transport::Udp;
            plain.ports = [u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1])];
            plain.layers = PATHS[tags][version][1];
            let inside = match application::carried(plain.ports, None) {
                None => None,
                Some(Layer::Vxlan) => {
                    let (&[flags, _, _, _, v0, v1, v2, _], inside) = payload.split::<8>().ok()?;
                    if flags & 0x08 == 0 {
                        return None;
                    }
                    plain.vni = Some(u32::from_be_bytes([0, v0, v1, v2]));
                    plain.layers.push(Layer::Vxlan);
                    Some(inside)
                }
                Some(layer) => {
                    let name = application::name(layer, payload)?;
                    if let Some(layer) = name {
                        plain.layers.push(layer);
                    }
                    None
                }
            };
            Some((plain, inside))
        }
        _ => None,
    }
}

/// IPv4 (RFC 791 §3.1): addresses, protocol, payload.
#[inline(always)]
fn v4(rest: Rest<'_>) -> Option<(Addresses, u8, Rest<'_>)> {
    let (header, after) = rest.split::<20>().ok()?;
    let [vihl, _, l0, l1, _, _, f0, f1, _, protocol, _, _, addresses @ ..] = *header;
    let total_length = u32::from(u16::from_be_bytes([l0, l1]));
    let is_fragment = u16::from_be_bytes([f0, f1]) & 0x3fff != 0;
    if vihl != 0x45 || is_fragment || total_length < 20 {
        return None;
    }
    let [s0, s1, s2, s3, d0, d1, d2, d3] = addresses;
    let source = u32::from_be_bytes([s0, s1, s2, s3]);
    let destination = u32::from_be_bytes([d0, d1, d2, d3]);
    Some((Addresses::V4([source, destination]), protocol, after.limit(total_length - 20)))
}

/// IPv6 (RFC 8200 §3): addresses, next header, payload.
#[inline(always)]
fn v6(rest: Rest<'_>) -> Option<(Addresses, u8, Rest<'_>)> {
    let (header, after) = rest.split::<40>().ok()?;
    let (&[version, _, _, _, l0, l1, next, _], addresses) = header.split_first_chunk::<8>()?;
    let (source, destination) =
        (addresses.split_first_chunk::<16>()?.0, addresses.split_last_chunk::<16>()?.1);
    let length = u32::from(u16::from_be_bytes([l0, l1]));
    if version >> 4 != 6 || length == 0 {
        return None;
    }
    let addresses = [source, destination].map(|address| u128::from_be_bytes(*address));
    Some((Addresses::V6(addresses), next, after.limit(length)))
}

/// VLAN tags of a plain piece at most.
const MOST_TAGS: usize = 2;

/// The paths of plain pieces, by VLAN tags, IP version and transport.
static PATHS: [[[LayersPath; 2]; 2]; MOST_TAGS + 1] = {
    let mut paths = [[[LayersPath::new(); 2]; 2]; MOST_TAGS + 1];
    let mut tags = 0;
    while tags <= MOST_TAGS {
        let mut version = 0;
        while version < 2 {
            let mut path = LayersPath::new();
            path.push(Layer::Ethernet);
            let mut tag = 0;
            while tag < tags {
                path.push(Layer::Dot1Q);
                tag += 1;
            }
            path.push(if version == 0 { Layer::Ipv4 } else { Layer::Ipv6 });
            let mut udp = path;
            path.push(Layer::Tcp);
            udp.push(Layer::Udp);
            paths[tags][version] = [path, udp];
            version += 1;
        }
        tags += 1;
    }
    paths
};

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::super::testing::{ethernet, frame, hex, ipv4, ipv6, tcp, udp};
    use super::super::{Piece, parse};
    use super::*;

    /// What [`parse`] says of a frame, as long as it fits a plain piece.
    fn parsed(frame: &Frame<'_>, header_size: u32) -> Vec<Piece> {
        let mut pieces = Vec::new();
        parse(frame, header_size, &mut pieces).unwrap();
        pieces
    }

    /// That both readers say the same of a frame, if it is plain; whether it is.
    fn agree(frame: &Frame<'_>, header_size: u32) -> bool {
        let Some((outer, inner)) = plain(frame, header_size) else { return false };
        let pieces = parsed(frame, header_size);
        let all: Vec<Plain> = [Some(outer), inner].into_iter().flatten().collect();
        assert_eq!(pieces.len(), all.len(), "{pieces:?}");
        for (piece, plain) in pieces.iter().zip(&all) {
            let key = |piece: &Piece| {
                let link = piece.link.unwrap();
                let mac =
                    |[a, b, c, d, e, f]: [u8; 6]| u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
                let network = piece.network.unwrap();
                let addresses = match (network.source, network.destination) {
                    (IpAddr::V4(a), IpAddr::V4(b)) => Addresses::V4([a.to_bits(), b.to_bits()]),
                    (IpAddr::V6(a), IpAddr::V6(b)) => Addresses::V6([a.to_bits(), b.to_bits()]),
                    mixed => panic!("expected one version, {mixed:?}"),
                };
                let id = (link.id as u64, network.id);
                ([mac(link.source), mac(link.destination)], addresses, id)
            };
            let id = (plain.vlans, plain.vni.unwrap_or_default().into());
            assert_eq!(key(piece), (plain.macs, plain.addresses, id));
            let ports = piece.ports.unwrap();
            assert_eq!(
                (ports.protocol, [ports.source, ports.destination], piece.tcp_flags, piece.vni),
                (plain.transport, plain.ports, plain.tcp_flags, plain.vni)
            );
            assert_eq!(piece.layers, plain.layers);
            assert_eq!((piece.length, piece.wire_length), (plain.length, plain.length));
            assert!(!piece.truncated && !piece.too_deep && !piece.ip_in_ip);
            assert_eq!((piece.icmp, piece.key.icmp, piece.echo), (None, None, None));
        }
        // Nothing of an inner piece enters the key of a plain outer one.
        let network = pieces[0].network.unwrap();
        assert_eq!(pieces[0].key.addresses, Some([network.source, network.destination]));
        assert_eq!(pieces[0].key.ports, pieces[0].ports);
        true
    }

    fn plain_frames() -> Vec<Vec<u8>> {
        let tagged = ethernet(0x88a8, &[hex("0008 8100 000a 86dd"), ipv6(6, &tcp())].concat());
        let vxlan = [hex("08000000 00000a00"), tagged.clone()].concat();
        vec![
            ethernet(0x0800, &ipv4(6, &tcp())),
            ethernet(0x86dd, &ipv6(17, &udp(1000, 2000, b"payload"))),
            ethernet(0x0800, &ipv4(17, &udp(1000, 123, &[0; 48]))),
            ethernet(0x8100, &[hex("0005 0800"), ipv4(17, &udp(50000, 4789, &vxlan))].concat()),
            tagged,
        ]
    }

    #[test]
    fn usual_frames_are_plain() {
        for bytes in plain_frames() {
            assert!(agree(&frame(LinkType::Ethernet, &bytes), 256), "{bytes:02x?}");
        }
    }

    #[test]
    fn odd_frames_are_not() {
        let whole = ethernet(0x0800, &ipv4(6, &tcp()));
        let cut = Frame { bytes: &whole[..53], ..frame(LinkType::Ethernet, &whole) };
        assert!(!agree(&cut, 256));
        let [vxlan, _] = &plain_frames()[3..] else { panic!("expected the tunnel") };
        assert!(!agree(&frame(LinkType::Ethernet, vxlan), 100));
        for (at, value) in [(12, 0x86), (14, 0x46), (20, 0x20), (23, 1), (17, 19)] {
            let mut odd = whole.clone();
            odd[at] = value;
            assert!(!agree(&frame(LinkType::Ethernet, &odd), 256), "{at} {value}");
        }
    }

    proptest! {
        #[test]
        fn both_readers_agree(
            which in any::<prop::sample::Index>(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in any::<prop::sample::Index>(),
            more in 0..100u32,
            header_size in prop_oneof![Just(256u32), 14..150u32],
        ) {
            let mut bytes = which.get(&plain_frames()).clone();
            for (at, value) in damage {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let whole = frame(LinkType::Ethernet, &bytes);
            agree(&whole, header_size);
            agree(&Frame { length: whole.length + more, ..whole }, header_size);
            let kept = 14 + cut.index(bytes.len() - 14);
            agree(&Frame { bytes: &bytes[..kept], ..whole }, header_size);
        }
    }
}

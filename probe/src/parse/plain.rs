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

/// Takes plain pieces. There is a call for each kind of header, so that what is done with a piece
/// is compiled for each, with all that the kind says known beforehand.
pub(crate) trait Sink {
    /// Takes a piece, and says what it made of it. To be inlined.
    fn take(&mut self, plain: Plain, inside: Option<Inside<'_>>) -> bool;
}

/// A plain piece: headers that are all there, and all of which count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain {
    /// MAC addresses as numbers, source first.
    pub(crate) macs: [u64; 2],
    /// VLAN ids combined, the outermost in the low 12 bits.
    pub(crate) vlans: u32,
    /// IP addresses.
    pub(crate) addresses: Addresses,
    /// Ports, source first.
    pub(crate) ports: [u16; 2],
    /// TCP flags, 0 for UDP.
    pub(crate) tcp_flags: u8,
    /// Names of its layers.
    pub(crate) path: PlainPath,
    /// VXLAN network identifier, if the piece ends in VXLAN.
    pub(crate) vni: Option<u32>,
    /// Bytes that count for the flow.
    pub(crate) length: u32,
}

/// The layers of a plain piece, in few bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlainPath {
    /// Place in [`PATHS`].
    place: u8,
    /// What UDP carries.
    carried: Option<Layer>,
}

impl PlainPath {
    #[inline(always)]
    fn new(tags: usize, is_ipv6: bool, is_udp: bool, carried: Option<Layer>) -> Self {
        Self { place: (4 * tags) as u8 + 2 * u8::from(is_ipv6) + u8::from(is_udp), carried }
    }

    /// TCP or UDP.
    #[inline(always)]
    pub(crate) fn transport(self) -> Transport {
        if self.place & 1 == 0 { Transport::Tcp } else { Transport::Udp }
    }

    /// The layers by name.
    pub(crate) fn layers(self) -> LayersPath {
        let mut layers = PATHS.get(usize::from(self.place)).copied().unwrap_or_default();
        if let Some(layer) = self.carried {
            layers.push(layer);
        }
        layers
    }
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

/// Gives the outermost piece of a plain frame to `sink`, and what is inside it if it is a VXLAN
/// tunnel. At most `header_size` bytes of the frame are looked at. `false` says nothing but that
/// it is not plain, or that the sink said so.
#[inline(always)]
pub(crate) fn plain(frame: &Frame<'_>, header_size: u32, sink: &mut impl Sink) -> bool {
    if frame.link != LinkType::Ethernet {
        return false;
    }
    let rest = Rest::new(frame.bytes, frame.length, header_size);
    ethernet(rest, frame.length, sink).unwrap_or_default()
}

/// The frame inside a tunnel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inside<'a>(Rest<'a>);

impl Inside<'_> {
    /// As [`plain`], for the frame inside one of that length.
    #[inline(always)]
    pub(crate) fn plain(self, length: u32, sink: &mut impl Sink) -> bool {
        let Self(rest) = self;
        let length = length.max(rest.end()).saturating_sub(rest.offset());
        ethernet(rest, length, sink).unwrap_or_default()
    }
}

/// What stands around the transport header of a piece.
#[derive(Clone, Copy)]
struct Around {
    macs: [u64; 2],
    vlans: u32,
    tags: usize,
    length: u32,
}

#[inline(always)]
fn ethernet(rest: Rest<'_>, length: u32, sink: &mut impl Sink) -> Option<bool> {
    let (header, mut rest) = rest.split::<14>().ok()?;
    // Two loads that overlap: the source address shares its word with the EtherType.
    let destination = u64::from_be_bytes(*header.first_chunk()?) >> 16;
    let last = u64::from_be_bytes(*header.last_chunk()?);
    let (source, mut kind) = (last >> 16, last as u16);
    let (mut vlans, mut tags) = (0, 0);
    while matches!(kind, ether_type::DOT1Q | ether_type::DOT1AD) {
        let (&[c0, c1, t0, t1], after) = rest.split::<4>().ok()?;
        if tags == MOST_TAGS {
            return None;
        }
        vlans |= u32::from(u16::from_be_bytes([c0, c1]) & 0x0fff) << (12 * tags);
        tags += 1;
        kind = u16::from_be_bytes([t0, t1]);
        rest = after;
    }
    let around = Around { macs: [source, destination], vlans, tags, length };
    match kind {
        ether_type::IPV4 => {
            let (addresses, protocol, payload) = v4(rest)?;
            transport(around, Addresses::V4(addresses), protocol, payload, sink)
        }
        ether_type::IPV6 => {
            let (addresses, protocol, payload) = v6(rest)?;
            transport(around, Addresses::V6(addresses), protocol, payload, sink)
        }
        _ => None,
    }
}

#[inline(always)]
fn transport(
    around: Around,
    addresses: Addresses,
    protocol: u8,
    payload: Rest<'_>,
    sink: &mut impl Sink,
) -> Option<bool> {
    let Around { macs, vlans, tags, length } = around;
    let is_ipv6 = matches!(addresses, Addresses::V6(_));
    let plain = |ports: u32, tcp_flags, is_udp, carried, vni| Plain {
        macs,
        vlans,
        addresses,
        ports: [(ports >> 16) as u16, ports as u16],
        tcp_flags,
        path: PlainPath::new(tags, is_ipv6, is_udp, carried),
        vni,
        length,
    };
    match protocol {
        protocol_number::TCP => {
            let (&[p0, p1, p2, p3, .., data_offset, flags], _) = payload.split::<14>().ok()?;
            payload.skip(usize::from(data_offset >> 4) * 4).ok()?;
            let ports = u32::from_be_bytes([p0, p1, p2, p3]);
            Some(sink.take(plain(ports, flags, false, None, None), None))
        }
        protocol_number::UDP => {
            let (&[p0, p1, p2, p3, l0, l1, _, _], payload) = payload.split::<8>().ok()?;
            let payload = match u16::from_be_bytes([l0, l1]) {
                length @ 8.. => payload.limit(u32::from(length) - 8),
                _ => return None,
            };
            let ports = u32::from_be_bytes([p0, p1, p2, p3]);
            let carried = match application::carried([(ports >> 16) as u16, ports as u16], None) {
                Some(Layer::Vxlan) => {
                    let (&[flags, _, _, _, v0, v1, v2, _], inside) = payload.split::<8>().ok()?;
                    if flags & 0x08 == 0 {
                        return None;
                    }
                    let vni = Some(u32::from_be_bytes([0, v0, v1, v2]));
                    let plain = plain(ports, 0, true, Some(Layer::Vxlan), vni);
                    return Some(sink.take(plain, Some(Inside(inside))));
                }
                Some(layer) => application::name(layer, payload)?,
                None => None,
            };
            Some(sink.take(plain(ports, 0, true, carried, None), None))
        }
        _ => None,
    }
}

/// IPv4 (RFC 791 §3.1): addresses, protocol, payload.
#[inline(always)]
fn v4(rest: Rest<'_>) -> Option<([u32; 2], u8, Rest<'_>)> {
    let (header, after) = rest.split::<20>().ok()?;
    let [vihl, _, l0, l1, _, _, f0, f1, _, protocol, _, _, addresses @ ..] = *header;
    let total_length = u32::from(u16::from_be_bytes([l0, l1]));
    let is_fragment = u16::from_be_bytes([f0, f1]) & 0x3fff != 0;
    if vihl != 0x45 || is_fragment || total_length < 20 {
        return None;
    }
    let addresses = u64::from_be_bytes(addresses);
    let addresses = [(addresses >> 32) as u32, addresses as u32];
    Some((addresses, protocol, after.limit(total_length - 20)))
}

/// IPv6 (RFC 8200 §3): addresses, next header, payload.
#[inline(always)]
fn v6(rest: Rest<'_>) -> Option<([u128; 2], u8, Rest<'_>)> {
    let (header, after) = rest.split::<40>().ok()?;
    let (&[version, _, _, _, l0, l1, next, _], addresses) = header.split_first_chunk::<8>()?;
    let (source, destination) =
        (addresses.split_first_chunk::<16>()?.0, addresses.split_last_chunk::<16>()?.1);
    let length = u32::from(u16::from_be_bytes([l0, l1]));
    if version >> 4 != 6 || length == 0 {
        return None;
    }
    let addresses = [source, destination].map(|address| u128::from_be_bytes(*address));
    Some((addresses, next, after.limit(length)))
}

/// VLAN tags of a plain piece at most.
const MOST_TAGS: usize = 2;

/// The paths of plain pieces, by VLAN tags, IP version and transport.
static PATHS: [LayersPath; 4 * (MOST_TAGS + 1)] = {
    let mut paths = [LayersPath::new(); 4 * (MOST_TAGS + 1)];
    let mut place = 0;
    while place < paths.len() {
        let path = &mut paths[place];
        path.push(Layer::Ethernet);
        let mut tags = place / 4;
        while tags > 0 {
            path.push(Layer::Dot1Q);
            tags -= 1;
        }
        path.push(if place & 2 == 0 { Layer::Ipv4 } else { Layer::Ipv6 });
        path.push(if place & 1 == 0 { Layer::Tcp } else { Layer::Udp });
        place += 1;
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

    /// All pieces of a plain frame, of which this is the length.
    struct All(u32, Vec<Plain>);

    impl Sink for All {
        fn take(&mut self, plain: Plain, inside: Option<Inside<'_>>) -> bool {
            self.1.push(plain);
            inside.is_none_or(|inside| inside.plain(self.0, self))
        }
    }

    /// That both readers say the same of a frame, if it is plain; whether it is.
    fn agree(frame: &Frame<'_>, header_size: u32) -> bool {
        let mut all = All(frame.length, Vec::new());
        if !plain(frame, header_size, &mut all) {
            return false;
        }
        let (pieces, all) = (parsed(frame, header_size), all.1);
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
            let id = (plain.vlans.into(), plain.vni.unwrap_or_default().into());
            assert_eq!(key(piece), (plain.macs, plain.addresses, id));
            let ports = piece.ports.unwrap();
            assert_eq!(
                (ports.protocol, [ports.source, ports.destination], piece.tcp_flags, piece.vni),
                (plain.path.transport(), plain.ports, plain.tcp_flags, plain.vni)
            );
            assert_eq!(piece.layers, plain.path.layers());
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

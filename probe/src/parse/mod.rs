//! Bytes in, pieces out: what a frame says about who talks to whom.
//!
//! Pure and total: any bytes parse, or are skipped with a reason.
//!
//! Names and rules are those of Skydive's `LayersPath`; where it gives up (stacked MPLS labels,
//! ERSPAN I and III, IPv6 mobility and any routing header, cut TCP options), we read on.

mod application;
mod fragment;
mod icmp;
mod ip;
mod link;
mod plain;
mod rest;
mod start;
#[cfg(test)]
mod testing;
mod transport;
mod tunnel;
mod walk;

use std::net::IpAddr;

use sonde_proto::record::{Icmp, Layer, LayersPath, Mac, Transport};
use sonde_proto::report::Skip;

pub(crate) use self::fragment::{Datagram, DatagramKey, Fragment, fragment, parse_datagram};
pub(crate) use self::plain::{Addresses, Inside, Plain, PlainPath, Sink, plain};
use self::rest::Rest;
use self::walk::Next;
use crate::source::Frame;

/// Pieces a frame is cut into at most. A tunnel inside the last of them is not opened: its bytes
/// count for that piece.
pub const MAX_PIECES: usize = 8;

/// Appends the pieces of `frame`, outermost first, and returns how many there are: one at least,
/// [`MAX_PIECES`] at most.
///
/// At most `header_size` bytes are looked at; lengths are those of the wire all the same. A frame
/// is skipped only when it is shorter than its link-layer header or of an unknown link type.
/// Allocates nothing if `pieces` has room for [`MAX_PIECES`] more, and takes time linear in the
/// bytes looked at.
#[inline]
pub fn parse(
    frame: &Frame<'_>,
    options: impl Into<ParseOptions>,
    pieces: &mut Vec<Piece>,
) -> Result<usize, Skip> {
    walk(frame, options.into(), pieces, |_| Next::End)
}

/// Walks along a frame; `fragments` says how it goes on behind a fragment header.
#[inline]
fn walk<'a>(
    frame: &Frame<'a>,
    options: ParseOptions,
    pieces: &mut Vec<Piece>,
    mut fragments: impl FnMut(fragment::Header<'a>) -> Next<'a>,
) -> Result<usize, Skip> {
    let ParseOptions { header_size, mpls_udp_port } = options;
    let outermost = pieces.len();
    let mut start = start::start(frame.link, Rest::new(frame.bytes, frame.length, header_size))?;
    let mut length = frame.length;
    for depth in 0..MAX_PIECES {
        let piece = pieces.push_mut(Piece::new(depth as u8, length));
        let inner = piece.read(start, mpls_udp_port, &mut fragments);
        if depth > 0 && piece.layers.as_slice().is_empty() {
            // What the tunnel carries cannot be read: only the tunnel's own piece counts.
            let cut = piece.truncated;
            pieces.pop();
            if let Some(tunnel) = pieces.last_mut() {
                tunnel.truncated |= cut;
            }
            break;
        }
        let Some(inner) = inner else { break };
        piece.too_deep = depth + 1 == MAX_PIECES;
        start = inner.start();
        length = frame.length.max(inner.rest.end()).saturating_sub(inner.offset);
    }
    if let Some([outer, inner @ ..]) = pieces.get_mut(outermost..) {
        let key = &mut outer.key;
        key.addresses = key.addresses.or_else(|| inner.iter().find_map(|p| p.key.addresses));
        key.ports = key.ports.or_else(|| inner.iter().find_map(|p| p.key.ports));
    }
    Ok(pieces.len() - outermost)
}

/// How frames are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseOptions {
    /// Bytes of a frame that are looked at.
    pub header_size: u32,
    /// UDP port that carries MPLS, whatever else it may be known for.
    pub mpls_udp_port: Option<u16>,
}

impl From<u32> for ParseOptions {
    /// Looks at that many bytes.
    fn from(header_size: u32) -> Self {
        Self { header_size, mpls_udp_port: None }
    }
}

/// The part of a frame that makes one flow. A frame has one; each tunnel header (VXLAN, Geneve,
/// GRE, MPLS) starts another, whose flow is the child of the one before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    /// Layers of this piece, outermost first, up to and with the tunnel header that ends it.
    pub layers: LayersPath,
    /// Tunnels around this piece; 0 for the outermost, which every frame has exactly once.
    pub depth: u8,
    /// Ethernet addresses and VLAN tags.
    pub link: Option<Link>,
    /// IP addresses.
    pub network: Option<Network>,
    /// Whether an IP header stands behind another one of this piece: the addresses are those of
    /// one of them, what follows belongs to the innermost.
    pub ip_in_ip: bool,
    /// Ports; those of TCP if there are several, which takes a tunnel of one piece (GTP-U).
    pub ports: Option<Ports>,
    /// What enters the flow key.
    pub key: KeyParts,
    /// VNI, when the piece ends in VXLAN or Geneve: it takes the ports' place in the key.
    pub vni: Option<u32>,
    /// ICMP type, code and identifier, when the addresses are of its IP version.
    pub icmp: Option<Icmp>,
    /// Whether an ICMP message asks or answers, for the round trip time.
    pub echo: Option<Echo>,
    /// TCP flags (RFC 9293 §3.1), 0 without TCP.
    pub tcp_flags: u8,
    /// TCP sequence number, 0 without TCP.
    pub tcp_sequence: u32,
    /// Bytes of TCP payload on the wire, as the IP header counts them.
    pub tcp_payload: u32,
    /// TTL or hop limit of the IP header that `network` is from, 0 without IP.
    pub ttl: u8,
    /// Fragments that the datagram in this piece came in, but for the last one.
    pub fragments: u16,
    /// Fragments of the datagram that were refused.
    pub fragment_errors: u16,
    /// What the last layer carries, when it is one that captures may ask for.
    pub message: Option<Message>,
    /// Bytes that count for the flow in L2 key mode: `wire_length`; without Ethernet, the total
    /// length of the IPv4 header or the payload length of the IPv6 header.
    pub length: u32,
    /// Wire length of the frame less all headers up to and with the tunnel header before the
    /// piece. Counts for the flow in L3 key mode.
    pub wire_length: u32,
    /// Whether the captured bytes ended before the headers did.
    pub truncated: bool,
    /// Whether a tunnel in it was not opened, because it is the last of [`MAX_PIECES`].
    pub too_deep: bool,
}

/// What of a piece enters its flow's key. It need not be what the flow shows: Skydive keys the
/// outermost piece of a frame by the first IP and the first transport header in all of the frame,
/// so that an outer GRE flow is keyed by the connection inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyParts {
    /// IP addresses, source first: those of the first IP header of an outermost piece, or inside
    /// it if it has none; else those of [`Piece::network`].
    pub addresses: Option<[IpAddr; 2]>,
    /// Ports: the first of the piece, or inside an outermost piece if it has none.
    pub ports: Option<Ports>,
    /// ICMP type, code and identifier as they are digested, whatever the IP version.
    pub icmp: Option<u32>,
}

/// Ethernet addresses and VLAN tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Source address.
    pub source: Mac,
    /// Destination address.
    pub destination: Mac,
    /// VLAN ids combined, the outermost in the low 12 bits; 0 without tags.
    pub id: i64,
}

/// IP addresses, both of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// VNI or GRE key of the innermost tunnel header in this piece, else 0.
    pub id: i64,
}

/// Ports of TCP, UDP or SCTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Which protocol.
    pub protocol: Transport,
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
}

/// A message of DNS, DHCPv4 or VRRP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Whose it is.
    pub layer: Layer,
    /// Where it begins in the frame.
    pub start: u32,
    /// Where those of its bytes end that were captured.
    pub end: u32,
}

/// The two halves of an ICMP echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// Echo request.
    Request,
    /// Echo reply.
    Reply,
}

/// TCP flags as they stand in the header.
pub mod tcp_flags {
    /// No more data.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset.
    pub const RST: u8 = 0x04;
    /// The acknowledgement is valid.
    pub const ACK: u8 = 0x10;
}

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
    use proptest::prelude::*;

    use super::testing::{ethernet, frame, hex, ipv4, ipv6, only, pieces, tcp, udp};
    use super::*;
    use crate::source::LinkType;

    #[test]
    fn a_syn_fills_a_piece() {
        let bytes = hex("9246c12100ae 469bb0e670fb 0800
             4500003c 00004000 40060000 c0a80002 c0a80001
             8d0c0d05 00000001 00000000 a002 7210 0000 0000
             020405b4 0402080a 00000000 00000000 01030307");
        let piece = only(&bytes);
        assert_eq!(piece.layers.to_string(), "Ethernet/IPv4/TCP");
        let ports = Some(Ports { protocol: Transport::Tcp, source: 36108, destination: 3333 });
        let expected = Piece {
            layers: piece.layers,
            depth: 0,
            link: Some(Link {
                source: [0x46, 0x9b, 0xb0, 0xe6, 0x70, 0xfb],
                destination: [0x92, 0x46, 0xc1, 0x21, 0x00, 0xae],
                id: 0,
            }),
            network: Some(Network {
                source: "192.168.0.2".parse().unwrap(),
                destination: "192.168.0.1".parse().unwrap(),
                id: 0,
            }),
            ip_in_ip: false,
            ports,
            key: KeyParts {
                addresses: Some(["192.168.0.2".parse().unwrap(), "192.168.0.1".parse().unwrap()]),
                ports,
                icmp: None,
            },
            vni: None,
            icmp: None,
            echo: None,
            tcp_flags: tcp_flags::SYN,
            tcp_sequence: 1,
            tcp_payload: 0,
            ttl: 64,
            fragments: 0,
            fragment_errors: 0,
            message: None,
            length: 74,
            wire_length: 74,
            truncated: false,
            too_deep: false,
        };
        assert_eq!(piece, expected);
    }

    #[test]
    fn lengths_are_of_the_wire() {
        let bytes = ethernet(0x0800, &ipv4(6, &tcp()));
        let mut pieces = Vec::new();
        let cut = Frame { length: 1514, ..frame(LinkType::Ethernet, &bytes) };
        assert_eq!(parse(&cut, 34, &mut pieces), Ok(1));
        assert_eq!(parse(&cut, 38, &mut pieces), Ok(1));
        let without = &pieces[0];
        assert_eq!(without.layers.to_string(), "Ethernet/IPv4");
        assert_eq!((without.ports, without.length, without.truncated), (None, 1514, true));
        let with = &pieces[1];
        assert_eq!(with.layers.to_string(), "Ethernet/IPv4/TCP");
        assert_eq!(with.ports.unwrap().source, 1000);
        assert!(with.truncated);
    }

    #[test]
    fn frames_are_skipped_for_two_reasons() {
        let mut pieces = Vec::new();
        let runt = frame(LinkType::Ethernet, &[0; 13]);
        assert_eq!(parse(&runt, 256, &mut pieces), Err(Skip::Runt));
        let unknown = frame(LinkType::Unknown(147), &[0; 100]);
        assert_eq!(parse(&unknown, 256, &mut pieces), Err(Skip::LinkType));
        assert!(pieces.is_empty());
        assert_eq!(only(&[0; 14]).layers.to_string(), "Ethernet");
    }

    fn link_type() -> impl Strategy<Value = LinkType> {
        prop_oneof![
            Just(LinkType::Ethernet),
            Just(LinkType::Raw),
            Just(LinkType::Sll),
            Just(LinkType::Sll2),
            Just(LinkType::Null),
            Just(LinkType::Loop),
            Just(LinkType::Ppp),
            Just(LinkType::Hdlc),
            Just(LinkType::FrameRelay),
            Just(LinkType::Ieee80211),
            Just(LinkType::Radiotap),
            Just(LinkType::Fddi),
            Just(LinkType::Ipoib),
            Just(LinkType::Ipnet),
            Just(LinkType::Nflog),
        ]
    }

    /// A frame with many headers, to be damaged.
    fn deep() -> Vec<u8> {
        let inner = ethernet(0x86dd, &ipv6(17, &udp(53, 53, &[0; 40])));
        let vxlan = [hex("0800000000000a00"), inner].concat();
        let gre = [hex("2000 6558 00000007"), ethernet(0x0800, &ipv4(17, &udp(1, 4789, &vxlan)))];
        ethernet(0x8100, &[hex("0005 0800"), ipv4(47, &gre.concat())].concat())
    }

    fn check(frame: &Frame<'_>, header_size: u32) -> Result<(), TestCaseError> {
        let mut pieces = Vec::with_capacity(1 + MAX_PIECES);
        let capacity = pieces.capacity();
        pieces.push(Piece::new(7, 0));
        let Ok(count) = parse(frame, header_size, &mut pieces) else {
            prop_assert_eq!(pieces.len(), 1);
            return Ok(());
        };
        prop_assert!((1..=MAX_PIECES).contains(&count));
        prop_assert_eq!(pieces.len(), 1 + count);
        prop_assert_eq!(pieces.capacity(), capacity);
        let pieces = &pieces[1..];
        prop_assert_eq!(pieces[0].wire_length, frame.length);
        for (depth, piece) in pieces.iter().enumerate() {
            prop_assert_eq!(usize::from(piece.depth), depth);
            prop_assert!(piece.network.is_some() || piece.icmp.is_none());
            prop_assert!(piece.ports.is_some() || piece.tcp_flags == 0);
            prop_assert!(piece.link.is_none() || piece.length == piece.wire_length);
            if let Some(Message { layer, start, end }) = piece.message {
                prop_assert_eq!(piece.layers.as_slice().last(), Some(&layer));
                prop_assert!(frame.length - piece.wire_length < start);
                prop_assert!(start <= end && end as usize <= frame.bytes.len());
            }
        }
        for pair in pieces.windows(2) {
            prop_assert!(pair[0].wire_length > pair[1].wire_length);
            prop_assert!(!pair[1].layers.as_slice().is_empty());
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_skip(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            link in link_type(),
            more in 0..2000u32,
            header_size in prop_oneof![Just(256u32), 0..300u32],
        ) {
            let whole = frame(link, &bytes);
            check(&Frame { length: whole.length + more, ..whole }, header_size)?;
        }

        #[test]
        fn damaged_tunnels_parse(
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            cut in any::<prop::sample::Index>(),
            link in link_type(),
        ) {
            let mut bytes = deep();
            for (at, value) in damage {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let whole = frame(link, &bytes);
            check(&whole, u32::MAX)?;
            let kept = &bytes[..cut.index(bytes.len())];
            check(&Frame { bytes: kept, ..whole }, u32::MAX)?;
            check(&frame(link, kept), u32::MAX)?;
        }

        #[test]
        fn etherparse_agrees(
            addresses in any::<([u8; 6], [u8; 6], [u8; 16], [u8; 16])>(),
            ports in any::<(u16, u16)>(),
            is_ipv6 in any::<bool>(),
            is_tcp in any::<bool>(),
            tag in proptest::option::of(0..4096u16),
            payload in proptest::collection::vec(any::<u8>(), 0..50),
        ) {
            let (source, destination, from, to) = addresses;
            let link = PacketBuilder::ethernet2(source, destination);
            let first = |address: [u8; 16]| [address[0], address[1], address[2], address[3]];
            let id = tag.map(|tag| tag.try_into().unwrap());
            let ip = match (id, is_ipv6) {
                (None, false) => link.ipv4(first(from), first(to), 64),
                (None, true) => link.ipv6(from, to, 64),
                (Some(id), false) => link.single_vlan(id).ipv4(first(from), first(to), 64),
                (Some(id), true) => link.single_vlan(id).ipv6(from, to, 64),
            };
            let mut bytes = Vec::new();
            if is_tcp {
                ip.tcp(ports.0, ports.1, 1, 1).syn().write(&mut bytes, &payload).unwrap();
            } else {
                ip.udp(ports.0, ports.1).write(&mut bytes, &payload).unwrap();
            }
            let sliced = SlicedPacket::from_ethernet(&bytes).unwrap();
            let piece = pieces(LinkType::Ethernet, &bytes)[0];
            let (from, to): (IpAddr, IpAddr) = match sliced.net.unwrap() {
                NetSlice::Ipv4(ip) => (
                    ip.header().source_addr().into(),
                    ip.header().destination_addr().into(),
                ),
                NetSlice::Ipv6(ip) => (
                    ip.header().source_addr().into(),
                    ip.header().destination_addr().into(),
                ),
                NetSlice::Arp(_) => panic!("no ARP was built"),
            };
            let network = piece.network.unwrap();
            prop_assert_eq!((network.source, network.destination), (from, to));
            let ports = match sliced.transport.unwrap() {
                TransportSlice::Tcp(tcp) => (Transport::Tcp, tcp.source_port(), tcp.destination_port()),
                TransportSlice::Udp(udp) => (Transport::Udp, udp.source_port(), udp.destination_port()),
                other => panic!("no {other:?} was built"),
            };
            let ours = piece.ports.unwrap();
            prop_assert_eq!((ours.protocol, ours.source, ours.destination), ports);
            let link = piece.link.unwrap();
            prop_assert_eq!((link.source, link.destination), (source, destination));
            prop_assert_eq!(link.id, i64::from(tag.unwrap_or(0)));
            prop_assert_eq!(piece.tcp_flags, if is_tcp { tcp_flags::SYN } else { 0 });
            prop_assert_eq!(piece.length as usize, bytes.len());
            prop_assert!(!piece.truncated);
        }
    }
}

//! The data plane's BPF machine against libpcap's own, on filters and packets made at random.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

use std::net::IpAddr;

use etherparse::{PacketBuilder, SingleVlanHeader, VlanHeader};
use pcap::{Capture, Linktype};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use sonde_control_plane::bpf::{self, BpfError};
use sonde_control_plane::mirror;
use sonde_probe::filter::Filter;
use sonde_probe::source::{Frame, LinkType};
use sonde_proto::time::Timestamp;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_machine_agrees_with_libpcap(
        filter in expression(),
        frames in prop::collection::vec(frame(), 1..12),
    ) {
        let program = bpf::compile(&filter);
        let handle = Capture::dead(Linktype::ETHERNET).unwrap();
        let theirs = handle.compile(&filter, true);
        // libpcap's own machine knows loops and what Linux says of a packet; ours does not, and
        // says so before a frame comes.
        if let Err(BpfError::Loop | BpfError::Metadata) = program {
            prop_assert!(filter.contains("protochain") || filter.contains("bound"), "{}", filter);
            return Ok(());
        }
        // It refuses what can never be true (`tcp and udp`).
        prop_assert_eq!(program.is_ok(), theirs.is_ok(), "{}", filter);
        let (Ok(program), Ok(theirs)) = (program, theirs) else { return Ok(()) };
        let ours = Filter::new(&program).unwrap();
        for bytes in &frames {
            prop_assert_eq!(admits(&ours, bytes), theirs.filter(bytes), "{} on {:02x?}", filter, bytes);
        }
    }
}

fn admits(filter: &Filter, bytes: &[u8]) -> bool {
    let (length, at, link) = (bytes.len() as u32, Timestamp::default(), LinkType::Ethernet);
    filter.admits(&Frame { bytes, length, at, link })
}

/// Whatever a capture's own filter says of VLAN tags and the like.
#[test]
fn what_is_mirrored_is_not_mirrored_again() {
    const ERSPAN: [u8; 4] = [0, 0, 0x88, 0xbe];
    const BRIDGED: [u8; 4] = [0, 0, 0x65, 0x58];
    let packet = |from: &str, to: &str, protocol: u8, start: [u8; 4]| {
        let link = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let link = link.vlan(VlanHeader::Single(SingleVlanHeader::default()));
        let ip = match from.contains(':') {
            true => link.ipv6(address(from), address(to), 64),
            false => link.ipv4(address(from), address(to), 64),
        };
        let mut bytes = Vec::new();
        ip.write(&mut bytes, protocol.into(), &[&start[..], &[0; 60]].concat()).unwrap();
        bytes
    };
    let fragment = |from, to, protocol| {
        let mut packet = packet(from, to, 44, [protocol, 0, 0, 1]);
        packet[18 + 40 + 8..][..4].copy_from_slice(&ERSPAN);
        packet
    };
    let targets = [("192.0.2.1", "192.0.2.2", 1, 3), ("2001:db8::1", "2001:db8::2", 58, 1)];
    for (target, other, icmp, unreachable) in targets {
        let answer = packet(target, other, icmp, [unreachable, 0, 0, 0]);
        let mut ours = vec![
            packet(other, target, 47, ERSPAN),
            packet(other, target, 47, BRIDGED),
            packet(target, other, 47, ERSPAN),
            answer,
        ];
        if target.contains(':') {
            ours.push(fragment(target, other, 47));
        }
        let theirs = [
            packet(target, other, 47, BRIDGED),
            packet(other, target, 17, ERSPAN),
            packet(other, target, icmp, [unreachable, 0, 0, 0]),
        ];
        for expression in ["", "not vlan", "not (vlan 5)", "vlan or ip or ip6", "mpls", "pppoes"] {
            let wanted = bpf::compile(expression).unwrap();
            let alone = Filter::new(&wanted).unwrap();
            let filter = mirror::filter(&wanted, target.parse().unwrap()).unwrap();
            let filter = Filter::new(&filter).unwrap();
            for tags in [&[][..], &[Tag::Vlan]] {
                for packet in &ours {
                    let packet = retagged(packet, tags);
                    assert!(!admits(&filter, &packet), "{expression} {tags:?} {packet:02x?}");
                }
                for packet in &theirs {
                    let packet = retagged(packet, tags);
                    assert_eq!(admits(&filter, &packet), admits(&alone, &packet), "{packet:02x?}");
                }
            }
            let labelled = retagged(&theirs[0], &[Tag::Mpls]);
            assert_eq!(admits(&filter, &labelled), admits(&alone, &labelled));
        }
    }
}

/// The bytes of an IP address.
fn address<const N: usize>(text: &str) -> [u8; N] {
    let bytes = match text.parse().unwrap() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    bytes.try_into().unwrap()
}

/// Expressions of libpcap's language. Addresses and ports are few, so that many frames match.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        8 => primitive(),
        1 => arithmetic(),
        1 => (select(vec!["greater", "less"]), 14..120u32).prop_map(|(than, n)| format!("{than} {n}")),
    ];
    let deep = leaf.prop_recursive(4, 12, 2, |inner| {
        prop_oneof![
            (inner.clone(), select(vec!["and", "or"]), inner.clone())
                .prop_map(|(a, both, b)| format!("({a}) {both} ({b})")),
            inner.prop_map(|a| format!("not ({a})")),
        ]
    });
    // They move the offsets of all that follows, so they come first.
    let shift =
        select(vec!["", "", "", "vlan and ", "vlan 5 and ", "mpls and ", "vlan and mpls 7 and "]);
    (shift, deep).prop_map(|(shift, filter)| format!("{shift}({filter})"))
}

fn primitive() -> impl Strategy<Value = String> {
    let direction = select(vec!["", "src ", "dst ", "src or dst ", "src and dst "]);
    let host = select(vec!["10.0.0.1", "10.0.0.2", "10.0.1.1", "fd00::1", "fd00::2"]);
    let net = select(vec!["10.0.0.0/24", "10.0.0.0/31", "0.0.0.0/0", "fd00::/64", "fd00::/127"]);
    let protocol = select(vec!["", "tcp ", "udp ", "sctp "]);
    // Not `geneve`: `not geneve and ...` reads scratch words that were never stored; libpcap finds
    // what was on its stack, ours zeros.
    let name = select(vec![
        "ip",
        "ip6",
        "arp",
        "rarp",
        "tcp",
        "udp",
        "icmp",
        "icmp6",
        "sctp",
        "igmp",
        "vrrp",
        "ah",
        "esp",
        "ether proto 0x88cc",
        "ip proto 47",
        "ip6 proto 17",
        "ip protochain 6",
        "ip broadcast",
        "ip multicast",
        "ip6 multicast",
        "ether broadcast",
        "ether multicast",
        "ether host 02:00:00:00:00:01",
        "ether src 02:00:00:00:00:02",
        "llc",
        "stp",
        "pppoes",
        "iso",
        "inbound or outbound or ip",
    ]);
    prop_oneof![
        (direction.clone(), host).prop_map(|(d, h)| format!("{d}host {h}")),
        (direction.clone(), net).prop_map(|(d, n)| format!("{d}net {n}")),
        (protocol.clone(), direction.clone(), 0..6u16)
            .prop_map(|(p, d, n)| format!("{p}{d}port {n}")),
        (protocol, direction, 0..6u16, 0..6u16)
            .prop_map(|(p, d, a, b)| format!("{p}{d}portrange {a}-{b}")),
        name.prop_map(str::to_owned),
    ]
}

/// Comparisons of bytes of a header with a number.
fn arithmetic() -> impl Strategy<Value = String> {
    let header = select(vec!["ether", "ip", "ip6", "tcp", "udp", "icmp"]);
    let offset = prop_oneof![
        Just("0".to_owned()),
        (0..24u32).prop_map(|n| n.to_string()),
        Just("tcp[12] >> 2".into())
    ];
    let size = select(vec![1, 2, 4]);
    let function = select(vec!["&", "|", "+", "-", "*", "/", "%", "^", "<<", ">>"]);
    let relation = select(vec!["=", "!=", "<", ">", "<=", ">="]);
    let flags = select(vec![
        "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
        "tcp[13] & 2 = 2",
        "icmp[icmptype] = icmp-echo",
        "len > 60",
        "len - 14 < ip[2:2]",
    ]);
    prop_oneof![
        2 => (header, offset, size, function, 1..32u32, relation, 0..300u32).prop_map(
            |(header, offset, size, function, a, relation, b)| {
                format!("{header}[{offset}:{size}] {function} {a} {relation} {b}")
            },
        ),
        1 => flags.prop_map(str::to_owned),
    ]
}

/// Whole packets, packets damaged or cut, and any bytes.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let damage = prop::collection::vec((any::<Index>(), any::<u8>()), 0..3);
    let damaged = (packet(), damage, any::<Index>()).prop_map(|(mut bytes, damage, cut)| {
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len()));
        bytes
    });
    prop_oneof![
        6 => packet(),
        2 => damaged,
        1 => prop::collection::vec(any::<u8>(), 0..120),
    ]
}

fn packet() -> impl Strategy<Value = Vec<u8>> {
    let tags = prop::collection::vec(prop_oneof![Just(Tag::Vlan), Just(Tag::Mpls)], 0..3);
    let tags = prop_oneof![3 => Just(vec![]), 1 => tags];
    let ends = select(vec![(1, 2), (2, 1), (1, 1)]);
    (any::<bool>(), 0..4u8, ends, (0..6u16, 0..6u16), any::<u8>(), tags, 0..60usize).prop_map(
        |(is_ipv6, transport, (from, to), (source, destination), flags, tags, length)| {
            let link = PacketBuilder::ethernet2([2, 0, 0, 0, 0, from], [2, 0, 0, 0, 0, to]);
            let link = link.vlan(VlanHeader::Single(SingleVlanHeader::default()));
            let v4 = |n| [10, 0, 0, n];
            let v6 = |n| [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n];
            let ip = if is_ipv6 {
                link.ipv6(v6(from), v6(to), 64)
            } else {
                link.ipv4(v4(from), v4(to), 64)
            };
            let payload = vec![flags; length];
            let mut bytes = Vec::new();
            match transport {
                0 => ip.udp(source, destination).write(&mut bytes, &payload).unwrap(),
                1 => {
                    let mut header = etherparse::TcpHeader::new(source, destination, 1, 1);
                    (header.fin, header.syn) = (flags & 1 != 0, flags & 2 != 0);
                    ip.tcp_header(header).write(&mut bytes, &payload).unwrap();
                }
                2 => ip.icmpv4_echo_request(source, 1).write(&mut bytes, &payload).unwrap(),
                // etherparse wants to write extension headers itself.
                _ if matches!(flags, 0 | 43 | 44 | 51 | 60 | 135 | 139 | 140) => {
                    ip.write(&mut bytes, 89.into(), &payload).unwrap();
                }
                _ => ip.write(&mut bytes, flags.into(), &payload).unwrap(),
            }
            retagged(&bytes, &tags)
        },
    )
}

#[derive(Clone, Copy, Debug)]
enum Tag {
    Vlan,
    Mpls,
}

/// The frame, whose only VLAN tag is replaced by these.
fn retagged(frame: &[u8], tags: &[Tag]) -> Vec<u8> {
    let (mut kind, packet) = (frame[16..18].to_vec(), &frame[18..]);
    let mut rest = packet.to_vec();
    let mut is_bottom = 1;
    for tag in tags.iter().rev() {
        let header = match tag {
            Tag::Vlan => [&[0, 5], &kind[..]].concat(),
            Tag::Mpls => vec![0, 0, 0x70 | is_bottom, 64],
        };
        (kind, is_bottom) = match tag {
            Tag::Vlan => (vec![0x81, 0], 1),
            Tag::Mpls => (vec![0x88, 0x47], 0),
        };
        rest = [header, rest].concat();
    }
    [&frame[..12], &kind, &rest].concat()
}

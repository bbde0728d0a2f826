//! Made-up traffic is the same each time, and what its kinds promise.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use sonde_probe::parse::{Piece, parse};
use sonde_probe::source::pcap::PcapReader;
use sonde_probe::source::{Closed, Frame, LinkType, Source};
use sonde_probe::traffic::{Frames, Generator, Kind, Replay, SNAP, Spec, write_pcap};
use sonde_proto::record::{Layer, Transport};

/// Frames of which the shares are counted.
const PACKETS: u64 = 200_000;

#[test]
fn frames_are_the_same_on_any_machine() {
    let digests = Kind::ALL.map(|kind| digest_of(Spec { packets: 10_000, ..Spec::of(kind) }));
    assert_eq!(digests, [0x9722_24ba_960b_4d40, 0xc8c7_4f3f_4ac4_4c6f, 0x018b_424d_fa32_7ea2]);
}

#[test]
fn another_seed_gives_other_frames() {
    for kind in Kind::ALL {
        let spec = Spec { packets: 100, ..Spec::of(kind) };
        assert_ne!(digest_of(spec), digest_of(Spec { seed: 2, ..spec }), "{kind:?}");
    }
}

#[test]
fn every_frame_is_read_to_its_innermost_ports() {
    for kind in Kind::ALL {
        let mut last = None;
        each(Spec { packets: 100_000, ..Spec::of(kind) }, |frame, pieces| {
            assert_eq!(frame.link, LinkType::Ethernet);
            assert_eq!(frame.bytes.len(), SNAP.min(frame.length as usize));
            assert!(last < Some(frame.at), "time goes on");
            last = Some(frame.at);
            let inner = pieces.last().expect("one at least");
            assert!(inner.ports.is_some(), "{inner:?}");
            assert!(!inner.truncated || frame.length as usize > SNAP, "{inner:?}");
        });
    }
}

#[test]
fn mix_has_its_shares() {
    let (mut ipv6, mut vlan, mut vxlan, mut tcp, mut back) = (0, 0, 0, 0, 0);
    let (mut small, mut middle, mut large, mut cut) = (0, 0, 0, 0);
    each(Spec { packets: PACKETS, ..Spec::of(Kind::Mix) }, |_, pieces| {
        let inner = pieces.last().expect("one at least");
        ipv6 += u64::from(has(inner, Layer::Ipv6));
        vlan += u64::from(has(&pieces[0], Layer::Dot1Q));
        vxlan += u64::from(has(&pieces[0], Layer::Vxlan));
        let ports = inner.ports.expect("TCP or UDP");
        tcp += u64::from(ports.protocol == Transport::Tcp);
        cut += u64::from(inner.truncated);
        back += u64::from(ports.destination >= 0x8000);
        match inner.wire_length {
            1500 => large += 1,
            576 => middle += 1,
            length => {
                assert!((64..=98).contains(&length), "{length}");
                small += 1;
            }
        }
    });
    let share = |n: u64| n as f64 / PACKETS as f64;
    assert!((share(ipv6) - 0.15).abs() < 0.005, "{ipv6}");
    assert!((share(vlan) - 0.1).abs() < 0.005, "{vlan}");
    assert!((0.001..0.02).contains(&share(cut)), "TCP options inside VXLAN: {cut}");
    assert!((share(vxlan) - 0.1).abs() < 0.005, "{vxlan}");
    // The most popular flow alone has a twelfth of all frames, and one transport.
    assert!((share(tcp) - 0.8).abs() < 0.15, "{tcp}");
    assert!((share(back) - 0.45).abs() < 0.05, "{back}");
    // Segments that begin and end flows are small, and most of these flows are young.
    assert!((0.06..0.08).contains(&share(large)), "{large}");
    assert!((0.25..0.33).contains(&share(middle)), "{middle}");
    assert!((0.58..0.7).contains(&share(small)), "{small}");
}

#[test]
fn mix_has_its_flows() {
    let mut generator = Generator::new(Spec::of(Kind::Mix));
    while generator.next_frame().is_some() {}
    let flows = generator.flows();
    assert!((255_000..265_000).contains(&flows), "{flows}");
    let flows = distinct(Spec { packets: 500_000, ..Spec::of(Kind::Mix) });
    assert!((40_000..80_000).contains(&flows), "{flows}");
}

#[test]
fn every_packet_of_a_flood_is_a_flow() {
    let spec = Spec { packets: PACKETS, ..Spec::of(Kind::Flood) };
    assert_eq!(distinct(spec), PACKETS);
    each(Spec { packets: 1000, ..spec }, |frame, pieces| {
        assert_eq!((frame.length, pieces[0].tcp_flags, pieces[0].tcp_payload), (64, 2, 0));
    });
}

#[test]
fn elephants_are_few_and_large() {
    let spec = Spec { packets: PACKETS, ..Spec::of(Kind::Elephants) };
    assert_eq!(distinct(spec), 1000);
    let mut large = 0;
    each(spec, |frame, _| large += u64::from(frame.length == 1400));
    assert_eq!(large, PACKETS - 2000, "all but the handshakes");
}

#[test]
fn written_frames_are_read_back() {
    let spec = Spec { packets: 5000, ..Spec::of(Kind::Mix) };
    let mut file = Vec::new();
    assert_eq!(write_pcap(&mut Generator::new(spec), &mut file).unwrap(), 5000);
    let frames = Frames::of(&mut Generator::new(spec), usize::MAX);
    let mut made = frames.iter();
    let mut source = PcapReader::new(file.as_slice()).unwrap();
    let check = |read: Frame<'_>| {
        let made = made.next().expect("as many");
        assert_eq!((read.bytes, read.length, read.at), (made.bytes, made.length, made.at));
    };
    assert_eq!(play(&mut source, check), 5000);
}

#[test]
fn a_replay_gives_every_frame_once() {
    let spec = Spec { packets: 1000, ..Spec::of(Kind::Mix) };
    let (mut generator, mut all) = (Generator::new(spec), Generator::new(spec));
    let mut check = |played: Frame<'_>| {
        let made = all.next_frame().expect("as many");
        assert_eq!((played.bytes, played.at), (made.bytes, made.at));
    };
    let mut source = Replay::new(Arc::new(Frames::of(&mut generator, 600)));
    assert_eq!(play(&mut source, &mut check), 600);
    assert_eq!(source.renew(&mut generator, 600), 400);
    assert_eq!(play(&mut source, &mut check), 400);
    assert_eq!(source.renew(&mut generator, 600), 0);
    assert_eq!(play(&mut source, &mut check), 0);
    assert!(all.next_frame().is_none());
}

/// Plays a source to its end; how many frames there were.
fn play(source: &mut impl Source, mut check: impl FnMut(Frame<'_>)) -> usize {
    let mut taken = 0;
    loop {
        match source.burst(&mut check) {
            Ok(burst) => taken += burst,
            Err(closed) => {
                assert_eq!(closed, Closed::End);
                return taken;
            }
        }
    }
}

/// Innermost pairs of ends, whoever comes first.
fn distinct(spec: Spec) -> u64 {
    let mut flows: HashSet<(Transport, [(IpAddr, u16); 2])> = HashSet::new();
    let mut generator = Generator::new(spec);
    let mut pieces = Vec::new();
    while let Some(frame) = generator.next_frame() {
        pieces.clear();
        parse(&frame, u32::MAX, &mut pieces).expect("all frames parse");
        let inner = pieces.last().expect("one at least");
        let (network, ports) = (inner.network.expect("IP"), inner.ports.expect("ports"));
        let mut ends = [(network.source, ports.source), (network.destination, ports.destination)];
        ends.sort_unstable();
        flows.insert((ports.protocol, ends));
    }
    let begun = generator.flows();
    assert_eq!(flows.len() as u64, begun);
    begun
}

fn each(spec: Spec, mut look: impl FnMut(&Frame<'_>, &[Piece])) {
    let mut generator = Generator::new(spec);
    let mut pieces = Vec::new();
    while let Some(frame) = generator.next_frame() {
        pieces.clear();
        parse(&frame, u32::MAX, &mut pieces).expect("all frames parse");
        look(&frame, &pieces);
    }
}

fn has(piece: &Piece, layer: Layer) -> bool {
    piece.layers.as_slice().contains(&layer)
}

/// FNV-1a over everything a frame is.
fn digest_of(spec: Spec) -> u64 {
    let mut generator = Generator::new(spec);
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            digest = (digest ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    };
    while let Some(frame) = generator.next_frame() {
        add(&frame.at.nanos().to_le_bytes());
        add(&frame.length.to_le_bytes());
        add(frame.bytes);
    }
    digest
}

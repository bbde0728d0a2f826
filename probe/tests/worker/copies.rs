//! Packets that are sent up whole.

use sonde_probe::worker::FlowConfig;
use sonde_proto::plan::{BpfInstruction, ExtraLayers, Options, Watch};
use sonde_proto::record::{EndReason, WatchId};
use sonde_proto::report::PacketWant;
use sonde_proto::ring::RingSize;

use crate::lab::{A, B, Lab, at, gre, timers, udp, vxlan, watch};

fn raw(id: u32, raw_packets: u32, header_size: u32) -> Watch {
    Watch { options: Options { raw_packets, header_size, ..Options::default() }, ..watch(id) }
}

fn layers(id: u32, extra_layers: ExtraLayers) -> Watch {
    // DHCP is longer than what is looked at by default.
    let options = Options { extra_layers, header_size: 512, ..Options::default() };
    Watch { options, ..watch(id) }
}

const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\0\0\x01\0\x01";

#[test]
fn the_first_packets_of_each_flow_are_copied() {
    let mut lab = Lab::new(vec![raw(1, 2, 256), watch(2)]);
    let frames: Vec<_> = (0..3u8).map(|n| udp((A, 1), (B, 2), &[n; 300])).collect();
    for (n, frame) in frames.iter().enumerate() {
        lab.play(n as f64, frame);
    }
    lab.play(3.0, &udp((B, 9), (A, 8), b"x"));
    let records = lab.finish(EndReason::Drained);
    let sent = |port: u16, watch: u32| {
        let of = |r: &&sonde_proto::record::FlowRecord| {
            r.transport.unwrap().a == port && r.watch == WatchId(watch)
        };
        *records.iter().find(of).unwrap()
    };
    assert_eq!([sent(1, 1), sent(9, 1), sent(1, 2)].map(|record| record.raw_packets), [2, 1, 0]);
    assert_eq!(lab.packets.len(), 3);
    for (n, (head, bytes)) in lab.packets.iter().take(2).enumerate() {
        assert_eq!((head.watch, head.flow), (WatchId(1), sent(1, 1).uuid));
        assert_eq!(head.want, PacketWant::Raw(n as u32));
        assert_eq!((head.at, head.link, head.length), (at(n as f64), 1, 342));
        assert_eq!(bytes, &frames[n][..256], "as far as the capture looks");
    }
    assert_eq!(lab.packets[2].0.want, PacketWant::Raw(0));
}

#[test]
fn a_piece_is_copied_from_its_first_header_on() {
    let inner = udp((B, 5), (A, 6), b"hello");
    let mut lab = Lab::new(vec![raw(1, 1, 256)]);
    let outer = vxlan(7, 4000, &inner);
    lab.play(0.0, &outer);
    lab.play(1.0, &gre(A, B, &inner[14..]));
    let seen: Vec<_> =
        lab.packets.iter().map(|(head, bytes)| (head.link, head.length, bytes.clone())).collect();
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[0], (1, outer.len() as u32, outer));
    assert_eq!(seen[1], (1, inner.len() as u32, inner.clone()));
    assert_eq!(seen[3], (101, inner.len() as u32 - 14, inner[14..].to_vec()));
}

#[test]
fn messages_are_copied_without_their_headers() {
    let mut lab = Lab::new(vec![layers(1, ExtraLayers::DNS), layers(2, ExtraLayers::DHCPV4)]);
    let boot = [&[1, 1, 6, 0][..], &[0; 232], b"\x63\x82\x53\x63\xff"].concat();
    for n in 0..2 {
        lab.play(f64::from(n), &udp((A, 4000), (B, 53), QUERY));
        lab.play(f64::from(n), &udp((A, 68), (B, 67), &boot));
    }
    let seen: Vec<_> = lab.packets.iter().map(|(h, b)| (h.watch.0, h.want, b.clone())).collect();
    let dns = (1, PacketWant::Layer(ExtraLayers::DNS), QUERY.to_vec());
    let dhcp = (2, PacketWant::Layer(ExtraLayers::DHCPV4), boot);
    assert_eq!(seen, [dns.clone(), dhcp, dns], "DHCP of the first packet only");
    assert!(lab.finish(EndReason::Drained).iter().all(|record| record.raw_packets == 0));
}

#[test]
fn every_frame_that_is_admitted_is_mirrored() {
    let options = Options { mirror: true, header_size: 64, sampling: 1000, ..Options::default() };
    let mirror = |id| Watch { options, ..watch(id) };
    let filter = [BpfInstruction { code: 6, jt: 0, jf: 0, k: 0 }].into();
    let mut lab = Lab::new(vec![watch(1), mirror(2), Watch { filter, ..mirror(3) }]);
    let long = udp((A, 1), (B, 2), &[7; 300]);
    let short = udp((B, 2), (A, 1), b"x");
    let frames = [&long[..], &short, &[1, 2, 3], &vxlan(7, 4000, &short)];
    for (n, frame) in frames.iter().enumerate() {
        lab.play(n as f64, frame);
    }
    assert_eq!(lab.packets.len(), 4, "whether they are sampled or make a flow or not");
    for (n, (head, bytes)) in lab.packets.iter().enumerate() {
        let expected = (WatchId(2), PacketWant::Mirror, at(n as f64), 1, frames[n].len() as u32);
        assert_eq!((head.watch, head.want, head.at, head.link, head.length), expected);
        assert_eq!(bytes, &frames[n][..frames[n].len().min(64)]);
    }
}

#[test]
fn packets_without_room_are_counted() {
    let size = RingSize { reports: 1, records: 8 };
    let mut lab = Lab::with(vec![raw(1, 9, 9000)], &FlowConfig::default(), size);
    // Two reports hold 256 KiB each, and nobody drains them.
    for n in 0..20_u16 {
        for _ in 0..5 {
            lab.tape.add(0.0, &udp((A, 1000 + n), (B, 2), &[0; 8000]));
        }
        lab.worker.turn().unwrap();
    }
    lab.take();
    lab.wait_until(2);
    let lost = lab.head.watches[0].copies_lost;
    assert_eq!(lab.packets.len() as u64 + lost, 100);
    assert!(lost > 0 && lab.packets.len() >= 60, "{lost}");
    lab.play(3.0, &udp((A, 1), (B, 2), &[0; 8000]));
    lab.wait_until(5);
    assert_eq!(lab.packets.last().unwrap().0.want, PacketWant::Raw(0), "there is room again");
    let records = lab.finish(EndReason::Drained);
    let sent: u32 = records.iter().map(|record| record.raw_packets).sum();
    assert_eq!(sent as usize, lab.packets.len());
}

#[test]
fn a_place_that_is_used_again_counts_from_zero() {
    let config = FlowConfig { max_flows: 1, ..timers(60, 600, 15) };
    let mut lab = Lab::with(vec![raw(1, 1, 256)], &config, RingSize::default());
    for port in 1..4 {
        lab.play(f64::from(port), &udp((A, port as u16), (B, 2), b"x"));
    }
    assert_eq!(lab.packets.len(), 3);
    assert!(lab.packets.iter().all(|(head, _)| head.want == PacketWant::Raw(0)));
}

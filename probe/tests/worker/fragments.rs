//! Fragments are put together for watches that ask for it.

use std::sync::Arc;

use etherparse::{IpFragOffset, Ipv4Header, Ipv6FragmentHeader, Ipv6Header, ip_number};
use proptest::prelude::*;
use sonde_proto::plan::{BpfInstruction, ExtraLayers, Options, Watch};
use sonde_proto::record::{EndReason, FlowRecord, IpMetric};
use sonde_proto::report::{PacketWant, Skip};

use crate::lab::{A, B, Lab, at, udp, vxlan, watch};

/// A watch that puts fragments together.
fn defragmenting(id: u32) -> Watch {
    Watch { options: Options { defragment: true, ..Options::default() }, ..watch(id) }
}

/// A UDP datagram from 1000 to 53, without IP header: `length` bytes, of eight at least.
fn datagram(length: usize) -> Vec<u8> {
    let frame = udp((A, 1000), (B, 53), &vec![0xff; length - 8]);
    frame[34..].to_vec()
}

/// The frame of a fragment from A to B: that part of `payload`.
fn fragment(id: u16, payload: &[u8], from: usize, to: usize) -> Vec<u8> {
    raw(id, from, to < payload.len(), &payload[from..to])
}

/// The frame of any fragment of UDP.
fn raw(id: u16, offset: usize, more: bool, bytes: &[u8]) -> Vec<u8> {
    let mut header =
        Ipv4Header::new(bytes.len() as u16, 64, ip_number::UDP, A.ip, B.ip).expect("it fits");
    header.identification = id;
    header.dont_fragment = false;
    header.more_fragments = more;
    header.fragment_offset = IpFragOffset::try_new(offset as u16 / 8).expect("it fits");
    let mut frame = [&B.mac[..], &A.mac, &[8, 0]].concat();
    header.write(&mut frame).expect("a Vec takes all");
    frame.extend_from_slice(bytes);
    frame
}

/// As [`fragment`], of IPv6.
fn fragment_v6(id: u32, payload: &[u8], from: usize, to: usize) -> Vec<u8> {
    let bytes = &payload[from..to];
    let mut frame = [&B.mac[..], &A.mac, &[0x86, 0xdd]].concat();
    let header = Ipv6Header {
        payload_length: bytes.len() as u16 + 8,
        next_header: ip_number::IPV6_FRAG,
        hop_limit: 64,
        source: [1; 16],
        destination: [2; 16],
        ..Ipv6Header::default()
    };
    header.write(&mut frame).expect("a Vec takes all");
    let offset = IpFragOffset::try_new(from as u16 / 8).expect("it fits");
    Ipv6FragmentHeader::new(ip_number::UDP, offset, to < payload.len(), id)
        .write(&mut frame)
        .expect("a Vec takes all");
    frame.extend_from_slice(bytes);
    frame
}

/// Packets and bytes of a flow.
fn counted(record: &FlowRecord) -> (String, u64, u64) {
    let metric = record.metric;
    (record.layers.to_string(), metric.ab_packets, metric.ab_bytes)
}

/// Fragments metered whole, held and lost.
fn fates(lab: &mut Lab) -> [u64; 3] {
    let skipped = lab.worker.books().skipped;
    [Skip::Fragment, Skip::FragmentHeld, Skip::FragmentLost].map(|skip| skipped[skip as usize])
}

#[test]
fn a_datagram_is_metered_with_its_last_fragment() {
    let mut lab = Lab::new(vec![defragmenting(1)]);
    let payload = datagram(2000);
    lab.play(0.0, &fragment(7, &payload, 0, 800));
    lab.play(0.1, &fragment(7, &payload, 800, 1600));
    assert_eq!(fates(&mut lab), [0, 2, 0]);
    lab.play(0.2, &fragment(7, &payload, 1600, 2000));
    assert_eq!(fates(&mut lab), [2, 0, 0]);
    assert_eq!(lab.worker.books().metered, 1);
    let records = lab.finish(EndReason::Drained);
    let [record] = records[..] else { panic!("one flow, not {records:?}") };
    // As in Skydive the bytes are those of the frame that completed it.
    assert_eq!(counted(&record), ("Ethernet/IPv4/Fragment/UDP".into(), 1, 434));
    assert_eq!(record.ip, Some(IpMetric { fragments: 2, errors: 0 }));
    assert_eq!((record.transport.expect("UDP").b, record.metric.start), (53, at(0.2)));
}

#[test]
fn order_and_copies_do_not_matter() {
    let mut lab = Lab::new(vec![defragmenting(1)]);
    let payload = datagram(64);
    for from in [48, 16, 16, 32, 48] {
        lab.play(0.0, &fragment(7, &payload, from, from + 16));
    }
    lab.play(0.1, &fragment(7, &payload, 0, 16));
    assert_eq!(fates(&mut lab), [5, 0, 0]);
    let records = lab.finish(EndReason::Drained);
    assert_eq!(records[0].ip, Some(IpMetric { fragments: 5, errors: 0 }));
    assert_eq!(records[0].metric.ab_packets, 1);
}

#[test]
fn ipv6_is_put_together_too() {
    let mut lab = Lab::new(vec![defragmenting(1)]);
    let payload = datagram(30);
    lab.play(0.0, &fragment_v6(0x1_0000, &payload, 16, 30));
    lab.play(0.1, &fragment_v6(0x1_0000, &payload, 0, 16));
    // Atomic: not part of anything (RFC 6946).
    lab.play(0.2, &fragment_v6(0x1_0000, &payload, 0, 30));
    let records = lab.finish(EndReason::Drained);
    let [record] = records[..] else { panic!("one flow, not {records:?}") };
    let bytes = fragment_v6(0, &payload, 0, 16).len() + fragment_v6(0, &payload, 0, 30).len();
    let path = "Ethernet/IPv6/IPv6Fragment/Fragment/UDP";
    assert_eq!(counted(&record), (path.into(), 2, bytes as u64));
    assert_eq!(record.ip, Some(IpMetric { fragments: 1, errors: 0 }));
}

#[test]
fn ipv6_without_fragments_has_no_metric_and_ipv4_has_zeros() {
    let mut lab = Lab::new(vec![defragmenting(1)]);
    lab.play(0.0, &fragment_v6(1, &datagram(30), 0, 30));
    lab.play(0.1, &vxlan(7, 5000, &udp((A, 1), (B, 2), b"")));
    let records = lab.finish(EndReason::Drained);
    let metrics: Vec<_> = records.iter().map(|record| record.ip).collect();
    // Of a chain the innermost flow tells.
    assert_eq!(metrics, [None, None, Some(IpMetric::default())]);
}

#[test]
fn a_tunnel_may_be_fragmented() {
    let inner = udp((B, 9), (A, 10), &[1; 500]);
    let outer = vxlan(7, 5000, &inner);
    let payload = &outer[34..];
    let mut lab = Lab::new(vec![defragmenting(1)]);
    lab.play(0.0, &fragment(7, payload, 400, payload.len()));
    lab.play(0.1, &fragment(7, payload, 0, 400));
    let records = lab.finish(EndReason::Drained);
    let flows: Vec<_> = records.iter().map(counted).collect();
    let expected = [
        ("Ethernet/IPv4/Fragment/UDP/VXLAN".to_owned(), 1, 434),
        ("Ethernet/IPv4/UDP".to_owned(), 1, inner.len() as u64),
    ];
    assert_eq!(flows, expected);
    assert_eq!(records[1].ip.expect("IPv4").fragments, 1);
}

#[test]
fn fragments_inside_a_tunnel_are_told_apart_by_it() {
    let payload = datagram(32);
    let mut lab = Lab::new(vec![defragmenting(1)]);
    lab.play(0.0, &vxlan(7, 5000, &fragment(1, &payload, 0, 16)));
    lab.play(0.1, &vxlan(8, 5000, &fragment(1, &payload, 16, 32)));
    assert_eq!(fates(&mut lab), [0, 2, 0]);
    lab.play(0.2, &vxlan(7, 5000, &fragment(1, &payload, 16, 32)));
    assert_eq!(fates(&mut lab), [1, 1, 0]);
    let records = lab.finish(EndReason::Drained);
    assert_eq!(records.len(), 2);
    assert_eq!(records[1].layers.to_string(), "Ethernet/IPv4/Fragment/UDP");
}

#[test]
fn what_is_never_complete_makes_no_flow() {
    let mut lab = Lab::new(vec![defragmenting(1)]);
    let payload = datagram(64);
    lab.play(0.0, &fragment(7, &payload, 0, 16));
    lab.play(1.0, &fragment(7, &payload, 32, 64));
    lab.wait_until(30);
    assert_eq!(fates(&mut lab), [0, 2, 0]);
    lab.wait_until(31);
    assert_eq!(fates(&mut lab), [0, 0, 2]);
    // Too late: it waits for a datagram that is gone.
    lab.play(31.0, &fragment(7, &payload, 16, 32));
    assert_eq!(fates(&mut lab), [0, 1, 2]);
    assert_eq!(lab.finish(EndReason::Drained).len(), 0);
    assert_eq!(fates(&mut lab), [0, 0, 3]);
}

#[test]
fn an_old_datagram_does_not_take_new_fragments() {
    let mut lab = Lab::new(vec![defragmenting(1)]);
    let payload = datagram(32);
    // In one burst, so that nobody looks for what is over in between.
    lab.tape.add(0.0, &fragment(7, &payload, 0, 16));
    lab.tape.add(31.0, &fragment(7, &payload, 16, 32));
    lab.turn();
    assert_eq!(fates(&mut lab), [0, 1, 1]);
}

#[test]
fn overlapping_fragments_spoil_the_datagram() {
    let payload = datagram(64);
    let cases = [
        // Over the end of another, over all of it, over its start.
        vec![fragment(7, &payload, 0, 32), fragment(7, &payload, 24, 48)],
        vec![fragment(7, &payload, 16, 32), fragment(7, &payload, 0, 48)],
        vec![fragment(7, &payload, 16, 32), fragment(7, &payload, 8, 24)],
        // Behind the end, two ends, an end before what came.
        vec![fragment(7, &payload, 32, 64), raw(7, 64, true, &[0; 16])],
        vec![fragment(7, &payload, 32, 64), raw(7, 72, false, &[0; 5])],
        vec![fragment(7, &payload, 32, 48), raw(7, 16, false, &[0; 8])],
    ];
    for (case, frames) in cases.iter().enumerate() {
        let mut lab = Lab::new(vec![defragmenting(1)]);
        for frame in frames {
            lab.play(0.0, frame);
        }
        assert_eq!(fates(&mut lab), [0, 0, 2], "case {case}");
        for from in [0, 16, 32, 48] {
            lab.play(1.0, &fragment(7, &payload, from, from + 16));
        }
        assert_eq!(fates(&mut lab), [0, 0, 6], "case {case}");
        assert_eq!(lab.finish(EndReason::Drained).len(), 0);
    }
}

#[test]
fn impossible_fragments_are_refused_and_counted() {
    let payload = datagram(32);
    let mut lab = Lab::new(vec![defragmenting(1)]);
    lab.play(0.0, &fragment(7, &payload, 0, 16));
    lab.play(0.1, &raw(7, 16, true, &[0; 9]));
    lab.play(0.2, &raw(7, 16, true, &[]));
    lab.play(0.3, &raw(7, 65_528, false, &[0; 8]));
    assert_eq!(fates(&mut lab), [0, 1, 3]);
    lab.play(0.4, &fragment(7, &payload, 16, 32));
    let records = lab.finish(EndReason::Drained);
    assert_eq!(records[0].ip, Some(IpMetric { fragments: 1, errors: 3 }));
}

#[test]
fn a_datagram_longer_than_is_kept_is_metered() {
    let mut lab = Lab::new(vec![defragmenting(1)]);
    let payload = datagram(65_000);
    for from in (0..65_000).step_by(1480) {
        lab.play(0.0, &fragment(7, &payload, from, 65_000.min(from + 1480)));
    }
    assert_eq!(lab.worker.books().metered, 1);
    assert_eq!(lab.worker.books().truncated, 0);
}

#[test]
fn memory_is_bounded() {
    let mut lab = Lab::new(vec![defragmenting(1)]);
    let payload = datagram(32);
    for id in 0..3000 {
        lab.tape.add(0.0, &fragment(id, &payload, 0, 16));
    }
    for _ in 0..50 {
        lab.turn();
    }
    let [whole, held, lost] = fates(&mut lab);
    assert_eq!((whole, held + lost), (0, 3000));
    assert!((900..=1024).contains(&held), "{held} are held");
    // The newest one is among those.
    lab.play(0.1, &fragment(2999, &payload, 16, 32));
    assert_eq!(fates(&mut lab)[0], 1);
}

#[test]
fn a_watch_does_not_inherit_datagrams_with_its_place() {
    let mut lab = Lab::new(vec![defragmenting(1)]);
    let payload = datagram(2000);
    lab.play(0.0, &fragment(7, &payload, 0, 1200));
    let nothing = Arc::new([BpfInstruction { code: 0x06, jt: 0, jf: 0, k: 0 }]);
    lab.plan(vec![Watch { filter: nothing, ..defragmenting(2) }]);
    lab.play(0.1, &fragment(7, &payload, 1200, 2000));
    assert_eq!(lab.finish(EndReason::Drained), []);
    let books = lab.head.books;
    assert_eq!((books.skipped[Skip::FragmentLost as usize], books.filtered), (1, 1));
}

#[test]
fn watches_that_do_not_ask_see_fragments() {
    let mut lab = Lab::new(vec![watch(1), defragmenting(2)]);
    let payload = datagram(32);
    lab.play(0.0, &fragment(7, &payload, 0, 16));
    lab.play(0.1, &fragment(7, &payload, 16, 32));
    // All frames are metered, for one of the watches at least: none is held.
    assert_eq!((lab.worker.books().metered, fates(&mut lab)), (2, [0, 0, 0]));
    let records = lab.finish(EndReason::Drained);
    let flows: Vec<_> = records.iter().map(|record| (record.watch.0, counted(record))).collect();
    let expected = [
        (1, ("Ethernet/IPv4/Fragment".to_owned(), 2, 100)),
        (2, ("Ethernet/IPv4/Fragment/UDP".to_owned(), 1, 50)),
    ];
    assert_eq!(flows, expected);
}

#[test]
fn a_filter_that_admits_one_fragment_admits_the_datagram() {
    // Port 53, in frames of A's that begin a datagram.
    let first = |k| {
        let load = |code, k| BpfInstruction { code, jt: 0, jf: 0, k };
        let is = |k, jt, jf| BpfInstruction { code: 0x15, jt, jf, k };
        Arc::from([load(0x28, 36), is(k, 0, 1), load(6, u32::MAX), load(6, 0)])
    };
    let payload = datagram(32);
    for (port, fates_expected, filtered) in [(53, [1, 0, 0], 0), (54, [0, 0, 0], 2)] {
        let mut lab = Lab::new(vec![Watch { filter: first(port), ..defragmenting(1) }]);
        lab.play(0.0, &fragment(7, &payload, 0, 16));
        lab.play(0.1, &fragment(7, &payload, 16, 32));
        assert_eq!(fates(&mut lab), fates_expected);
        let books = lab.worker.books();
        assert_eq!((books.metered, books.filtered), (1 - filtered / 2, filtered));
    }
}

#[test]
fn nothing_is_held_once_nobody_asks() {
    let mut lab = Lab::new(vec![defragmenting(1)]);
    let payload = datagram(32);
    lab.play(0.0, &fragment(7, &payload, 0, 16));
    lab.plan(vec![watch(1)]);
    assert_eq!(fates(&mut lab), [0, 0, 1]);
    lab.play(0.1, &fragment(7, &payload, 16, 32));
    let records = lab.finish(EndReason::Drained);
    assert_eq!(records[0].layers.to_string(), "Ethernet/IPv4/Fragment");
}

#[test]
fn of_a_datagram_the_last_frame_and_the_whole_message_are_copied() {
    let extra_layers = ExtraLayers::DNS;
    let options = Options { raw_packets: 5, extra_layers, defragment: true, ..Options::default() };
    let mut lab = Lab::new(vec![Watch { options, ..watch(1) }]);
    let message = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\0\0\x01\0\x01";
    let query = udp((A, 1000), (B, 53), message)[34..].to_vec();
    lab.play(0.0, &fragment(7, &query, 16, query.len()));
    let last = fragment(7, &query, 0, 16);
    lab.play(0.1, &last);
    lab.wait_until(2);
    let seen: Vec<_> =
        lab.packets.iter().map(|(head, bytes)| (head.want, bytes.as_slice())).collect();
    let dns = PacketWant::Layer(ExtraLayers::DNS);
    assert_eq!(seen, [(PacketWant::Raw(0), last.as_slice()), (dns, message)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_order_gives_the_datagram(
        order in Just((0..20usize).collect::<Vec<_>>()).prop_shuffle(),
        size in (1..60usize).prop_map(|units| 8 * units),
        short in 0..8usize,
    ) {
        let payload = datagram(20 * size - short);
        let mut lab = Lab::new(vec![defragmenting(1)]);
        for n in order {
            lab.play(0.0, &fragment(7, &payload, n * size, payload.len().min((n + 1) * size)));
        }
        prop_assert_eq!(fates(&mut lab), [19, 0, 0]);
        let records = lab.finish(EndReason::Drained);
        prop_assert_eq!(records[0].transport.expect("UDP").a, 1000);
    }

    #[test]
    fn the_books_close_on_any_fragments(
        fragments in proptest::collection::vec(
            (0..3u16, 0..8192usize, any::<bool>(), 0..200usize, 0..20u64, any::<bool>()),
            0..80,
        ),
    ) {
        let mut lab = Lab::new(vec![defragmenting(1), defragmenting(2)]);
        let mut second = 0;
        let count = fragments.len() as u64;
        for (id, place, more, length, pause, near) in fragments {
            second += pause;
            let offset = if near { place % 64 } else { place } * 8;
            // The lab checks the books after each turn.
            lab.play(second as f64, &raw(id, offset, more, &vec![0; length]));
        }
        lab.finish(EndReason::Drained);
        let books = lab.worker.books();
        prop_assert_eq!(books.unaccounted(), 0);
        prop_assert_eq!(fates(&mut lab)[1], 0);
        prop_assert_eq!(books.received, count);
    }
}

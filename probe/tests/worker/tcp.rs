//! What is known of TCP flows beyond counters.

use etherparse::{PacketBuilder, TcpHeader};
use sonde_proto::plan::{KeyMode, Options, Watch};
use sonde_proto::record::{EndReason, FlowRecord, TcpMetric};

use crate::lab::{A, ACK, B, End, FIN, Lab, RST, SYN, at, gre, tcp, udp, vxlan, watch};

/// A watch for TCP's signals.
fn signals() -> Watch {
    Watch { options: Options { tcp_metric: true, ..Options::default() }, ..watch(1) }
}

/// The only TCP flow of a lab.
fn metric(mut lab: Lab) -> TcpMetric {
    let records = lab.finish(EndReason::Drained);
    let mut known = records.iter().filter_map(|record| record.tcp);
    let metric = known.next().expect("a TCP flow");
    assert_eq!(known.next(), None);
    metric
}

/// A segment of 40000 to 80 or back, with this TTL.
fn with_ttl(from: End, to: End, flags: u8, ttl: u8) -> Vec<u8> {
    let (source, destination) = if from == A { (40000, 80) } else { (80, 40000) };
    let mut frame = tcp((from, source), (to, destination), flags);
    frame[22] = ttl;
    frame
}

#[test]
fn both_ends_signal() {
    let mut lab = Lab::new(vec![signals()]);
    lab.play(0.0, &with_ttl(A, B, SYN, 64));
    lab.play(0.1, &with_ttl(B, A, SYN | ACK, 57));
    lab.play(0.2, &with_ttl(A, B, ACK, 63));
    lab.play(0.3, &with_ttl(B, A, FIN | ACK, 57));
    lab.play(0.4, &with_ttl(A, B, FIN | ACK, 64));
    lab.play(0.5, &with_ttl(A, B, RST, 64));
    let TcpMetric { ab, ba } = metric(lab);
    assert_eq!((ab.syn, ab.syn_ttl), (Some(at(0.0)), 64));
    assert_eq!((ba.syn, ba.syn_ttl), (Some(at(0.1)), 57));
    assert_eq!((ab.fin, ba.fin), (Some(at(0.4)), Some(at(0.3))));
    assert_eq!((ab.rst, ba.rst), (Some(at(0.5)), None));
    assert_eq!((ab.packets, ab.saw_start), (0, false));
}

#[test]
fn a_syn_sent_again_says_nothing_of_the_other_end() {
    let mut lab = Lab::new(vec![signals()]);
    lab.play(0.0, &with_ttl(A, B, SYN, 64));
    lab.play(1.0, &with_ttl(A, B, SYN, 63));
    lab.play(2.0, &with_ttl(A, B, FIN, 64));
    lab.play(3.0, &with_ttl(A, B, FIN, 64));
    let TcpMetric { ab, ba } = metric(lab);
    assert_eq!((ab.syn, ab.syn_ttl), (Some(at(0.0)), 64));
    assert_eq!((ba.syn, ba.syn_ttl), (None, 0));
    // The last FIN counts.
    assert_eq!(ab.fin, Some(at(3.0)));
}

#[test]
fn of_several_flags_syn_counts_then_fin() {
    let mut lab = Lab::new(vec![signals()]);
    lab.play(0.0, &with_ttl(A, B, SYN | FIN | RST, 64));
    lab.play(1.0, &with_ttl(B, A, FIN | RST, 64));
    let TcpMetric { ab, ba } = metric(lab);
    assert_eq!((ab.syn, ab.fin, ab.rst), (Some(at(0.0)), None, None));
    assert_eq!((ba.syn, ba.fin, ba.rst), (None, Some(at(1.0)), None));
}

#[test]
fn ipv6_has_a_hop_limit() {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(A.mac, B.mac)
        .ipv6([1; 16], [2; 16], 33)
        .tcp_header(TcpHeader { syn: true, ..TcpHeader::new(40000, 80, 1, 1000) })
        .write(&mut frame, &[])
        .expect("a Vec takes all");
    let mut lab = Lab::new(vec![signals()]);
    lab.play(0.0, &frame);
    assert_eq!(metric(lab).ab.syn_ttl, 33);
}

#[test]
fn only_tcp_flows_of_watches_that_ask_have_a_metric() {
    let l3 = Options { key_mode: KeyMode::L3, tcp_metric: true, ..Options::default() };
    let mut lab = Lab::new(vec![watch(1), Watch { options: l3, ..watch(2) }]);
    lab.play(0.0, &with_ttl(A, B, SYN, 64));
    lab.play(0.1, &udp((A, 1), (B, 2), b""));
    let records = lab.finish(EndReason::Drained);
    let with: Vec<_> = records.iter().filter(|record| record.tcp.is_some()).collect();
    assert_eq!(with.len(), 1);
    assert_eq!((with[0].watch.0, with[0].layers.to_string().as_str()), (2, "Ethernet/IPv4/TCP"));
}

#[test]
fn inner_flows_have_a_metric_and_outer_ones_have_none() {
    let inner = with_ttl(A, B, SYN, 9);
    let mut lab = Lab::new(vec![signals()]);
    lab.play(0.0, &vxlan(7, 50000, &inner));
    lab.play(0.1, &gre(B, A, &inner[14..]));
    let records = lab.finish(EndReason::Drained);
    let ttl = |record: &FlowRecord| Some((record.layers.to_string(), record.tcp?.ab.syn_ttl));
    let known: Vec<_> = records.iter().filter_map(ttl).collect();
    assert_eq!(known, [("Ethernet/IPv4/TCP".to_owned(), 9), ("IPv4/TCP".to_owned(), 9)]);
}

#[test]
fn a_watch_may_begin_to_ask() {
    let mut lab = Lab::new(vec![watch(1)]);
    lab.play(0.0, &with_ttl(A, B, SYN, 64));
    lab.plan(vec![signals()]);
    // Nobody looked at the start of this flow: nothing is said of it.
    lab.play(1.0, &with_ttl(A, B, FIN, 64));
    lab.play(2.0, &tcp((A, 40001), (B, 80), SYN));
    assert_eq!(metric(lab).ab.syn, Some(at(2.0)));
}

#[test]
fn a_flow_knows_nothing_of_the_one_before_in_its_place() {
    let mut lab = Lab::new(vec![signals()]);
    lab.play(0.0, &with_ttl(A, B, FIN, 64));
    lab.wait_until(1000);
    lab.news();
    lab.play(1000.0, &with_ttl(A, B, SYN, 64));
    let metric = metric(lab);
    assert_eq!((metric.ab.syn, metric.ab.fin), (Some(at(1000.0)), None));
}

/// A watch that puts streams in order.
fn reassembling() -> Watch {
    Watch { options: Options { reassemble_tcp: true, ..Options::default() }, ..watch(1) }
}

/// A segment of A's or B's with that much payload, in a frame padded to Ethernet's least length.
fn segment(from: End, flags: u8, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let (to, source, destination) = if from == A { (B, 40000, 80) } else { (A, 80, 40000) };
    let header = TcpHeader {
        syn: flags & SYN != 0,
        fin: flags & FIN != 0,
        rst: flags & RST != 0,
        ack: flags & ACK != 0,
        ..TcpHeader::new(source, destination, sequence, 1000)
    };
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(from.mac, to.mac)
        .ipv4(from.ip, to.ip, 64)
        .tcp_header(header)
        .write(&mut frame, payload)
        .expect("a Vec takes all");
    frame.resize(frame.len().max(60), 0);
    frame
}

#[test]
fn streams_are_put_in_order() {
    let mut lab = Lab::new(vec![reassembling()]);
    let isn = u32::MAX;
    lab.play(0.0, &segment(A, SYN, isn, b""));
    lab.play(0.1, &segment(B, SYN | ACK, 7000, b""));
    lab.play(0.2, &segment(A, ACK, 0, b""));
    lab.play(0.3, &segment(A, ACK, 5, b"world"));
    lab.play(0.4, &segment(A, ACK, 0, b"hello"));
    lab.play(0.5, &segment(B, ACK, 7001, b"12345678"));
    lab.play(0.6, &segment(A, FIN | ACK, 10, b""));
    let TcpMetric { ab, ba } = metric(lab);
    assert_eq!((ab.packets, ab.bytes, ab.out_of_order), (4, 10, 1));
    assert_eq!((ab.saw_start, ab.saw_end, ab.skipped), (true, true, 0));
    assert_eq!((ba.packets, ba.bytes, ba.saw_start, ba.saw_end), (2, 8, true, false));
    // Nobody asked for the times.
    assert_eq!((ab.syn, ab.syn_ttl, ab.fin), (None, 0, None));
}

#[test]
fn what_is_missing_is_skipped_when_the_flow_ends() {
    let mut lab = Lab::new(vec![reassembling()]);
    lab.play(0.0, &segment(A, SYN, 0, b""));
    lab.play(0.1, &segment(A, ACK, 101, b"hello"));
    lab.ask_sweep();
    lab.turn();
    lab.turn();
    let sides: Vec<_> = lab.news().iter().map(|record| record.tcp.expect("TCP").ab).collect();
    assert_eq!((sides[0].packets, sides[0].skipped), (1, 0));
    let TcpMetric { ab, .. } = metric(lab);
    assert_eq!((ab.packets, ab.bytes), (2, 5));
    assert_eq!((ab.skipped, ab.skipped_bytes), (1, 100));
}

#[test]
fn payload_is_measured_by_the_ip_header() {
    let frame = segment(A, ACK, 1, &[0; 1000]);
    let options = Options { reassemble_tcp: true, header_size: 60, ..Options::default() };
    let mut lab = Lab::new(vec![Watch { options, ..watch(1) }]);
    lab.play(0.0, &frame);
    assert_eq!(metric(lab).ab.bytes, 1000);
}

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

//! Directions, bytes and round trips.

use sonde_proto::plan::KeyMode;
use sonde_proto::record::{EndReason, FinishType, FlowRecord, Metric};

use crate::lab::{A, ACK, B, End, FIN, Lab, RST, SYN, echo, tcp, watch_in};

fn one(key_mode: KeyMode, frames: &[(f64, Vec<u8>)]) -> FlowRecord {
    let mut lab = Lab::new(vec![watch_in(key_mode, 1)]);
    for (second, frame) in frames {
        lab.play(*second, frame);
    }
    let flows = lab.finish(EndReason::Drained);
    let [flow] = flows[..] else {
        panic!("one flow, not {flows:?}");
    };
    flow
}

fn packets(metric: &Metric) -> (u64, u64) {
    (metric.ab_packets, metric.ba_packets)
}

/// An Ethernet frame without IP: ARP, or anything else.
fn arp(from: End, to: End) -> Vec<u8> {
    let mut frame = [to.mac, from.mac].concat();
    frame.extend_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.resize(60, 0);
    frame
}

#[test]
fn packets_and_bytes_are_counted_by_who_sent_them() {
    let there = tcp((A, 1000), (B, 80), ACK);
    let back = tcp((B, 80), (A, 1000), ACK);
    let size = there.len() as u64;
    for mode in [KeyMode::L2, KeyMode::L3] {
        let frames = [&there, &back, &back].map(|f| (0.0, f.clone()));
        let flow = one(mode, &frames);
        assert_eq!(packets(&flow.metric), (1, 2));
        assert_eq!((flow.metric.ab_bytes, flow.metric.ba_bytes), (size, 2 * size));
    }
}

#[test]
fn without_ip_the_mac_addresses_tell_in_both_key_modes() {
    for mode in [KeyMode::L2, KeyMode::L3] {
        let flow = one(mode, &[(0.0, arp(B, A)), (0.0, arp(A, B))]);
        assert_eq!(packets(&flow.metric), (1, 1));
        assert_eq!(flow.metric.ab_bytes, 60);
    }
    let flow = one(KeyMode::L2, &[(0.0, arp(A, A)), (0.0, arp(A, A))]);
    assert_eq!(packets(&flow.metric), (0, 2));
}

#[test]
fn equal_mac_addresses_leave_it_to_ip() {
    let b = End { mac: A.mac, ..B };
    let frames = [tcp((A, 1000), (b, 80), ACK), tcp((b, 80), (A, 1000), ACK)];
    let flow = one(KeyMode::L2, &frames.map(|f| (0.0, f)));
    assert_eq!(packets(&flow.metric), (1, 1));
}

/// On a loopback interface Skydive counts by port, the first packet as B's.
#[test]
fn equal_addresses_leave_it_to_the_ports() {
    let there = (0.0, tcp((A, 1000), (A, 80), ACK));
    let back = (0.0, tcp((A, 80), (A, 1000), ACK));
    let flow = one(KeyMode::L2, &[there.clone(), back.clone(), back.clone()]);
    assert_eq!(packets(&flow.metric), (2, 1));
    let flow = one(KeyMode::L2, &[back.clone(), there, back]);
    assert_eq!(packets(&flow.metric), (0, 3));
    let ping = [(0.0, echo(A, A, false, 1)), (0.0, echo(A, A, true, 1))];
    assert_eq!(packets(&one(KeyMode::L2, &ping).metric), (2, 0));
}

#[test]
fn tcp_round_trip_is_that_of_the_last_pair() {
    for answer in [SYN | ACK, RST | ACK] {
        let flow = one(
            KeyMode::L2,
            &[
                (0.0, tcp((A, 1000), (B, 80), SYN)),
                (1.0, tcp((A, 1000), (B, 80), SYN)),
                // From the first of several SYNs.
                (1.25, tcp((B, 80), (A, 1000), answer)),
            ],
        );
        assert_eq!(flow.metric.rtt, 1_250_000_000);
    }
    let again = one(
        KeyMode::L2,
        &[
            (0.0, tcp((A, 1000), (B, 80), SYN)),
            (1.0, tcp((B, 80), (A, 1000), RST | ACK)),
            // A connection that reuses the ports is measured again.
            (2.0, tcp((A, 1000), (B, 80), SYN)),
            (5.0, tcp((B, 80), (A, 1000), SYN | ACK)),
        ],
    );
    assert_eq!(again.metric.rtt, 3_000_000_000);
    // An answer that nobody asked for is no question either.
    let answer = tcp((B, 80), (A, 1000), SYN | ACK);
    let late = [(0.0, answer.clone()), (1.0, answer)];
    assert_eq!(one(KeyMode::L2, &late).metric.rtt, 0);
}

#[test]
fn icmp_round_trip_is_that_of_the_last_pair() {
    let flow = one(
        KeyMode::L2,
        &[
            (0.0, echo(A, B, false, 9)),
            (0.5, echo(B, A, true, 9)),
            (1.0, echo(A, B, false, 9)),
            (2.0, echo(A, B, false, 9)),
            (2.125, echo(B, A, true, 9)),
            (3.0, echo(B, A, true, 9)),
        ],
    );
    assert_eq!(flow.metric.rtt, 1_125_000_000);
}

#[test]
fn what_the_first_packet_says_of_the_finish_stays() {
    let cases = [
        (FIN | ACK, FinishType::TcpFin),
        (RST, FinishType::TcpRst),
        (FIN | RST, FinishType::TcpRst),
    ];
    for (flags, finish) in cases {
        let frames = [
            (0.0, tcp((A, 1000), (B, 80), flags)),
            (0.0, tcp((B, 80), (A, 1000), FIN)),
            (0.0, tcp((B, 80), (A, 1000), RST)),
        ];
        assert_eq!(one(KeyMode::L2, &frames).finish, finish);
    }
}

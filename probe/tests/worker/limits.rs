//! What happens when the ring or the table is full: nothing is lost, or it is counted.

use std::ops::Range;

use sonde_probe::worker::FlowConfig;
use sonde_proto::record::{Cause, EndReason, FinishType, FlowRecord};
use sonde_proto::ring::RingSize;

use crate::lab::{A, ACK, B, Lab, RST, SYN, tcp, timers, vxlan, watch};

const SMALL: RingSize = RingSize { reports: 2, records: 4 };

fn packet(flow: u16) -> Vec<u8> {
    tcp((A, flow), (B, 80), ACK)
}

fn packets(records: &[FlowRecord]) -> u64 {
    let both = |flow: &FlowRecord| flow.metric.ab_packets + flow.metric.ba_packets;
    records.iter().map(both).sum()
}

/// Turns the worker without taking its reports.
fn turn_alone(lab: &mut Lab, turns: usize) {
    for _ in 0..turns {
        lab.worker.turn().expect("the tape never ends");
        assert_eq!(lab.worker.books().unaccounted(), 0);
    }
}

#[test]
fn flows_that_end_wait_for_a_full_ring() {
    let mut lab = Lab::with(vec![watch(1)], &timers(60, 10, 10), SMALL);
    for flow in 0..100 {
        lab.tape.add(0.0, &packet(flow));
    }
    turn_alone(&mut lab, 5);
    lab.tape.turn_to(30);
    turn_alone(&mut lab, 50);
    assert!(lab.worker.books().ring_full > 0);
    // The ring holds two reports, the worker one more.
    lab.take();
    assert!(lab.records.len() <= 8 && !lab.records.is_empty());

    for _ in 0..200 {
        lab.turn();
    }
    let records = lab.news();
    assert_eq!(records.len(), 100);
    assert!(records.iter().all(|flow| flow.cause == Cause::End(EndReason::Idle)));
    assert_eq!(packets(&records), 100);
    assert!(lab.finish(EndReason::Drained).is_empty());
    assert_eq!(lab.head.books.metered, 100);
}

#[test]
fn a_full_ring_at_the_end_is_waited_for() {
    let mut lab = Lab::with(vec![watch(1)], &FlowConfig::default(), SMALL);
    for flow in 0..100 {
        lab.play(0.0, &packet(flow));
    }
    lab.worker.end(EndReason::Drained);
    assert!(!lab.worker.drain());
    let flows = lab.finish(EndReason::Drained);
    assert_eq!((flows.len(), packets(&flows)), (100, 100));
    assert!(flows.iter().all(|flow| flow.finish == FinishType::NotFinished));
    assert_eq!(lab.head.books.metered, 100);
    assert_eq!(lab.head.watches[0].flows, 0);
    // Drained is drained.
    assert!(lab.worker.drain());
    lab.head = sonde_proto::report::Report::default();
    lab.take();
    assert_eq!(lab.head.plan, 0);
}

#[test]
fn flows_that_no_report_takes_are_given_up_and_counted() {
    let mut lab = Lab::with(vec![watch(1)], &FlowConfig::default(), SMALL);
    for flow in 0..100 {
        lab.play(0.0, &packet(flow));
    }
    lab.worker.end(EndReason::Drained);
    assert!(!lab.worker.drain());
    let Lab { worker, mut rings, .. } = lab;
    drop(worker);
    let mut ended = 0;
    let is_end = |record: &FlowRecord| matches!(record.cause, Cause::End(_));
    rings.drain(|_, _, report| ended += report.records().filter(is_end).count() as u64, |_, _| {});
    assert!((1..=8).contains(&ended), "two reports of four: {ended}");
    assert_eq!(rings.strain().given_up, 100 - ended);
}

#[test]
fn a_worker_that_drained_gave_nothing_up() {
    let mut lab = Lab::with(vec![watch(1)], &FlowConfig::default(), SMALL);
    for flow in 0..100 {
        lab.play(0.0, &packet(flow));
    }
    assert_eq!(lab.finish(EndReason::Drained).len(), 100);
    let Lab { worker, mut rings, .. } = lab;
    drop(worker);
    rings.drain(|_, _, _| {}, |_, _| {});
    assert_eq!(rings.strain().given_up, 0);
}

fn tiny(max_flows: usize) -> FlowConfig {
    FlowConfig { max_flows, ..FlowConfig::default() }
}

#[test]
fn a_full_table_evicts_and_reports_who_it_evicts() {
    let mut lab = Lab::with(vec![watch(1)], &tiny(16), RingSize::default());
    for round in 0..50 {
        // One flow is touched in each round; the others come once.
        lab.play(f64::from(round), &packet(0));
        for flow in 0..8 {
            lab.play(f64::from(round), &packet(1 + round as u16 * 8 + flow));
        }
    }
    assert_eq!(lab.worker.books().table_full, 0);
    let flows = lab.finish(EndReason::Drained);
    assert_eq!(packets(&flows), 450);
    let (evicted, kept): (Vec<FlowRecord>, Vec<FlowRecord>) =
        flows.iter().partition(|flow| flow.cause == Cause::End(EndReason::Evicted));
    assert_eq!(kept.len(), 16);
    assert!(evicted.iter().all(|flow: &FlowRecord| flow.finish == FinishType::Timeout));
    let busiest = flows.iter().map(|flow| flow.metric.ab_packets).max();
    assert!(busiest > Some(20), "the busy flow is rarely evicted: {busiest:?}");
}

#[test]
fn a_closed_connection_goes_first() {
    let mut lab = Lab::with(vec![watch(1)], &tiny(4), RingSize::default());
    for flow in [0, 1, 2, 3, 0, 1, 3] {
        lab.play(0.0, &tcp((A, flow), (B, 80), SYN));
    }
    lab.play(1.0, &tcp((B, 80), (A, 2), RST | ACK));
    lab.play(1.0, &packet(9));
    let flows = lab.finish(EndReason::Drained);
    let evicted = |flow: &&FlowRecord| flow.cause == Cause::End(EndReason::Evicted);
    let ports: Vec<_> =
        flows.iter().filter(evicted).filter_map(|flow| Some(flow.transport?.a)).collect();
    assert_eq!(ports, [2]);
}

#[test]
fn a_frame_is_refused_only_when_table_and_ring_are_full() {
    let mut lab = Lab::with(vec![watch(1)], &tiny(4), SMALL);
    for flow in 0..100 {
        lab.tape.add(0.0, &packet(flow));
    }
    turn_alone(&mut lab, 5);
    let books = lab.worker.books();
    assert_eq!(books.metered + books.table_full, 100);
    assert!(books.table_full > 0 && books.ring_full > 0);
    let metered = books.metered;
    let flows = lab.finish(EndReason::Drained);
    assert_eq!(packets(&flows), metered);
    assert_eq!(lab.head.watches[0].dropped, books.table_full);
    assert_eq!(lab.head.watches[0].packets, metered);
}

/// Begins flows of so many packets each, at a second.
fn crowd(lab: &mut Lab, second: u64, flows: Range<u16>, packets: usize) {
    lab.tape.turn_to(second);
    for flow in flows {
        for _ in 0..packets {
            lab.tape.add(second as f64, &packet(flow));
        }
    }
    for _ in 0..200 {
        lab.turn();
    }
}

fn evicted(lab: &mut Lab) -> u64 {
    lab.worker.books().ended[EndReason::Evicted as usize]
}

#[test]
fn a_table_that_is_nearly_full_sheds_flows_of_one_packet() {
    let mut lab = Lab::with(vec![watch(1)], &tiny(5000), RingSize::default());
    crowd(&mut lab, 0, 0..3000, 2);
    crowd(&mut lab, 0, 3000..4499, 1);
    assert_eq!(evicted(&mut lab), 0, "below nine tenths");
    crowd(&mut lab, 0, 4499..4500, 1);
    let flows = lab.news();
    assert!((1000..1200).contains(&flows.len()), "down to seven tenths: {}", flows.len());
    assert!(flows.iter().all(|flow| flow.cause == Cause::End(EndReason::Evicted)));
    assert_eq!(packets(&flows), flows.len() as u64);
}

#[test]
fn a_table_is_relieved_though_its_clock_was_set_back() {
    let mut lab = Lab::with(vec![watch(1)], &tiny(5000), RingSize::default());
    crowd(&mut lab, 3600, 0..4600, 2);
    assert_eq!(evicted(&mut lab), 0, "all of them are in use");
    crowd(&mut lab, 0, 4600..4700, 1);
    assert_eq!(evicted(&mut lab), 100);
}

#[test]
fn an_inner_flow_without_room_costs_the_outer_flow_nothing() {
    let mut lab = Lab::with(vec![watch(1)], &tiny(1), RingSize::default());
    let frame = vxlan(7, 50001, &packet(1));
    lab.play(0.0, &frame);
    lab.play(0.0, &frame);
    // With room for one flow, each piece evicts the other.
    let flows = lab.finish(EndReason::Drained);
    assert_eq!(flows.len(), 4);
    assert_eq!(lab.head.books.metered, 2);
    let inner = flows.iter().filter(|flow| flow.parent.is_some());
    assert_eq!(inner.count(), 2);
}

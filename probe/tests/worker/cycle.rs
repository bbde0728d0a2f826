//! Updates, silence, sweeps: when a flow is reported and when it ends.

use std::time::Duration;

use sonde_proto::record::{Cause, EndReason, FinishType, FlowRecord, Metric};
use sonde_proto::ring::RingSize;

use crate::lab::{A, ACK, B, FIN, Lab, at, tcp, timers, watch};

fn lab(update: u64, expire: u64, hold: u64) -> Lab {
    let config = timers(update, expire, hold);
    Lab::with(vec![watch(1)], &config, RingSize::default())
}

/// Packet `n` of a flow from A.
fn packet(flow: u16) -> Vec<u8> {
    tcp((A, 1000 + flow), (B, 80), ACK)
}

fn only(records: Vec<FlowRecord>) -> FlowRecord {
    let [record] = records[..] else {
        panic!("one record, not {records:?}");
    };
    record
}

#[test]
fn a_changed_flow_is_reported_at_its_tick_with_what_was_added() {
    let mut lab = lab(60, 600, 15);
    let size = packet(0).len() as u64;
    lab.play(10.0, &packet(0));
    lab.play(20.0, &packet(0));
    lab.wait_until(69);
    assert_eq!(lab.news(), []);
    lab.wait_until(71);
    let first = only(lab.news());
    let added = |packets, start, last| Metric {
        ab_packets: packets,
        ab_bytes: packets * size,
        start: at(start),
        last: at(last),
        ..Metric::default()
    };
    assert_eq!(first.cause, Cause::Update);
    assert_eq!(first.finish, FinishType::NotFinished);
    assert_eq!(first.metric, added(2, 10.0, 20.0));
    assert_eq!(first.last_update, Some(added(2, 10.0, 70.0)));

    lab.play(75.0, &packet(0));
    lab.wait_until(131);
    let second = only(lab.news());
    assert_eq!(second.uuid, first.uuid);
    assert_eq!(second.metric, added(3, 10.0, 75.0));
    assert_eq!(second.last_update, Some(added(1, 70.0, 130.0)));

    // Nothing changed: not reported, but the interval moves on.
    lab.wait_until(191);
    assert_eq!(lab.news(), []);
    lab.play(200.0, &packet(0));
    lab.ask_sweep();
    lab.turn();
    let swept = only(lab.news());
    assert_eq!(swept.cause, Cause::Sweep);
    assert_eq!(swept.metric.ab_packets, 4);
    assert_eq!(swept.last_update, Some(added(0, 130.0, 190.0)));
    // A sweep does not touch what the next update says.
    lab.wait_until(251);
    assert_eq!(only(lab.news()).last_update, Some(added(1, 190.0, 250.0)));
}

#[test]
fn ticks_passed_over_in_a_leap_are_made_up_for() {
    let mut lab = lab(60, 100_000, 15);
    lab.play(0.0, &packet(0));
    lab.wait_until(6_030);
    let update = only(lab.news()).last_update.expect("an update");
    assert_eq!((update.start, update.last), (at(0.0), at(60.0)));
    lab.play(6_040.0, &packet(0));
    lab.wait_until(6_061);
    let update = only(lab.news()).last_update.expect("an update");
    assert_eq!((update.start, update.last), (at(6_000.0), at(6_060.0)));
    assert_eq!(update.ab_packets, 1);
}

#[test]
fn a_silent_flow_ends_with_what_was_not_reported() {
    let mut lab = lab(60, 100, 15);
    lab.play(0.0, &packet(0));
    lab.wait_until(61);
    assert_eq!(only(lab.news()).cause, Cause::Update);
    lab.play(65.0, &packet(0));
    lab.wait_until(119);
    lab.play(119.0, &packet(1));
    lab.wait_until(121);
    lab.news();
    lab.wait_until(164);
    assert_eq!(lab.news(), []);
    lab.wait_until(167);
    let end = only(lab.news());
    assert_eq!(end.cause, Cause::End(EndReason::Idle));
    assert_eq!(end.finish, FinishType::Timeout);
    assert_eq!(end.metric.last, at(65.0));
    let added = end.last_update.expect("the last tick's");
    assert_eq!((added.start, added.last), (at(60.0), at(120.0)));
    assert_eq!(lab.head.watches[0].flows, 1);
}

#[test]
fn unreported_changes_fill_the_last_update_of_an_ending_flow() {
    let mut lab = lab(1_000, 100, 15);
    lab.play(0.0, &packet(0));
    lab.play(50.0, &packet(0));
    lab.wait_until(151);
    let end = only(lab.news());
    let added = end.last_update.expect("filled before the end");
    assert_eq!(added.ab_packets, 2);
    assert_eq!((added.start, added.last), (at(0.0), at(50.0)));
}

#[test]
fn a_flow_that_began_with_fin_ends_after_the_hold_time() {
    let mut lab = lab(60, 600, 15);
    lab.play(0.0, &tcp((A, 1), (B, 80), FIN | ACK));
    // A later FIN changes nothing.
    lab.play(0.0, &packet(0));
    lab.play(1.0, &tcp((B, 80), (A, 1000), FIN | ACK));
    lab.play(10.0, &tcp((B, 80), (A, 1), ACK));
    lab.wait_until(24);
    assert_eq!(lab.news(), []);
    lab.wait_until(26);
    let end = only(lab.news());
    assert_eq!(end.cause, Cause::End(EndReason::Finished));
    assert_eq!(end.finish, FinishType::TcpFin);
    assert_eq!((end.metric.ab_packets, end.metric.ba_packets), (1, 1));
    assert_eq!(lab.finish(EndReason::Drained).len(), 1);
}

/// The timers of a file are looked at after the burst that moved its clock.
#[test]
fn silence_within_a_burst_ends_a_flow_too() {
    let mut lab = lab(60, 100, 15);
    for second in [0.0, 100.0, 201.0] {
        lab.tape.add(second, &packet(0));
    }
    lab.turn();
    let flows = lab.finish(EndReason::Drained);
    let counts: Vec<_> =
        flows.iter().map(|flow| (flow.metric.start, flow.metric.ab_packets, flow.cause)).collect();
    assert_eq!(
        counts,
        [(at(0.0), 2, Cause::End(EndReason::Idle)), (at(201.0), 1, Cause::End(EndReason::Drained)),]
    );
}

#[test]
fn never_is_never() {
    let config = sonde_probe::worker::FlowConfig {
        timers: sonde_probe::flow::Timers::NEVER,
        ..timers(1, 1, 1)
    };
    let mut lab = Lab::with(vec![watch(1)], &config, RingSize::default());
    lab.play(0.0, &packet(0));
    lab.wait_until(1_000_000_000);
    lab.play(1_000_000_000.0, &packet(0));
    assert_eq!(lab.news(), []);
    assert_eq!(only(lab.finish(EndReason::Drained)).metric.ab_packets, 2);
}

#[test]
fn a_sweep_reports_what_was_touched_and_says_when_it_is_over() {
    let mut lab = lab(60, 600, 15);
    // More than a slice, and more than a report holds.
    for flow in 0..1_000 {
        lab.tape.add(0.0, &packet(flow));
    }
    for _ in 0..20 {
        lab.turn();
    }
    assert_eq!(lab.news(), []);
    let sweep = lab.ask_sweep();
    let mut turns = 0;
    while lab.head.sweep != sweep {
        lab.turn();
        turns += 1;
        assert!(turns < 100, "the sweep ends");
        // Traffic does not hold it up.
        lab.play(1.0, &packet(turns % 3));
    }
    let mut uuids: Vec<u64> = lab.news().iter().map(|flow| flow.uuid).collect();
    uuids.sort_unstable();
    uuids.dedup();
    assert_eq!(uuids.len(), 1_000);
    assert!(turns > 1, "cut in slices");

    // Only what changed since is reported by the next; nothing by the one after.
    lab.play(2.0, &packet(7));
    let sweep = lab.ask_sweep();
    lab.wait_until(3);
    assert_eq!(lab.head.sweep, sweep);
    assert!(lab.news().iter().any(|flow| flow.metric.ab_packets == 2));
    let sweep = lab.ask_sweep();
    lab.wait_until(4);
    assert_eq!(lab.head.sweep, sweep);
    assert_eq!(lab.news(), []);
}

#[test]
fn counters_are_reported_while_nothing_happens() {
    let mut lab = lab(60, 600, 15);
    let before = lab.head.at;
    lab.tape.turn_to(5);
    lab.turn();
    assert!(lab.head.at.since(before) >= Duration::from_secs(1));
    assert_eq!(lab.head.plan, 1);
}

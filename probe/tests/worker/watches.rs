//! Several watches on a point, and watches that come and go.

use std::sync::Arc;

use sonde_proto::plan::{BpfInstruction, KeyMode, Options, Watch};
use sonde_proto::record::{Cause, EndReason, FinishType, FlowRecord, WatchId};
use sonde_proto::report::{WatchReport, WatchState};

use crate::lab::{A, ACK, B, Lab, tcp, udp, vxlan, watch, watch_in};

fn bpf(code: u16, jt: u8, jf: u8, k: u32) -> BpfInstruction {
    BpfInstruction { code, jt, jf, k }
}

/// `udp`, in IPv4 over Ethernet.
fn udp_only() -> Arc<[BpfInstruction]> {
    Arc::new([
        bpf(0x30, 0, 0, 23),
        bpf(0x15, 0, 1, 17),
        bpf(0x06, 0, 0, 0xffff),
        bpf(0x06, 0, 0, 0),
    ])
}

fn of(lab: &Lab, id: u32) -> Option<WatchReport> {
    let watches = &lab.head.watches;
    watches.iter().find(|w| w.watch == WatchId(id)).copied()
}

fn by_watch(flows: &[FlowRecord], id: u32) -> Vec<&FlowRecord> {
    flows.iter().filter(|f| f.watch == WatchId(id)).collect()
}

#[test]
fn each_watch_has_its_own_flows() {
    let l3 = watch_in(KeyMode::L3, 2);
    let filtered = Watch {
        filter: udp_only(),
        options: Options { header_size: 64, ..Options::default() },
        ..watch(3)
    };
    let mut lab = Lab::new(vec![watch(1), l3, filtered]);
    let frames = [tcp((A, 1), (B, 80), ACK), tcp((B, 80), (A, 1), ACK), udp((A, 1), (B, 80), b"x")];
    let bytes: usize = frames.iter().map(Vec::len).sum();
    for frame in &frames {
        lab.play(0.0, frame);
    }
    let flows = lab.finish(EndReason::Drained);
    assert_eq!(by_watch(&flows, 1).len(), 2);
    assert_eq!(by_watch(&flows, 2).len(), 2);
    assert_eq!(by_watch(&flows, 3).len(), 1);
    let books = lab.head.books;
    assert_eq!((books.received, books.metered, books.filtered), (3, 3, 0));
    let counted = |id| of(&lab, id).map(|w| (w.packets, w.bytes));
    assert_eq!(counted(1), Some((3, bytes as u64)));
    assert_eq!(counted(2), Some((3, bytes as u64)));
    assert_eq!(counted(3), Some((1, frames[2].len() as u64)));
}

#[test]
fn a_frame_no_watch_wants_is_filtered_and_one_without_watch_unwatched() {
    let mut lab = Lab::new(vec![]);
    let frame = tcp((A, 1), (B, 80), ACK);
    lab.play(0.0, &frame);
    lab.plan(vec![Watch { filter: udp_only(), ..watch(1) }]);
    lab.play(0.0, &frame);
    // Shorter than an Ethernet header: no filter finds its protocol.
    lab.play(0.0, &[0; 6]);
    lab.plan(vec![watch(2)]);
    lab.play(0.0, &[0; 6]);
    lab.plan(vec![]);
    assert!(lab.finish(EndReason::Drained).is_empty());
    let books = lab.head.books;
    assert_eq!((books.received, books.unwatched, books.filtered), (4, 1, 2));
    assert_eq!(books.skipped.iter().sum::<u64>(), 1);
}

#[test]
fn a_filter_that_is_no_program_fails_its_watch_alone() {
    let broken = Watch { filter: Arc::new([bpf(0xffff, 0, 0, 0)]), ..watch(1) };
    let mut lab = Lab::new(vec![broken.clone(), watch(2)]);
    lab.play(0.0, &tcp((A, 1), (B, 80), ACK));
    let einval = WatchState::Failed(22);
    lab.wait_until(5);
    assert_eq!(of(&lab, 1).map(|w| w.state), Some(einval));
    assert_eq!(of(&lab, 2).map(|w| w.state), Some(WatchState::Active));
    assert_eq!(of(&lab, 2).map(|w| w.packets), Some(1));

    // Alone it watches nothing; mended it runs.
    lab.plan(vec![broken]);
    lab.play(6.0, &tcp((A, 1), (B, 80), ACK));
    assert_eq!(lab.worker.books().unwatched, 1);
    lab.plan(vec![watch(1)]);
    lab.play(7.0, &tcp((A, 1), (B, 80), ACK));
    lab.wait_until(10);
    assert_eq!(of(&lab, 1).map(|w| (w.state, w.packets)), Some((WatchState::Active, 1)));
}

#[test]
fn the_flows_of_a_watch_that_vanishes_end() {
    let mut lab = Lab::new(vec![watch(1), watch(2)]);
    for flow in 0..3_000 {
        lab.tape.add(0.0, &tcp((A, flow), (B, 80), ACK));
    }
    for _ in 0..60 {
        lab.turn();
    }
    lab.plan(vec![watch(2)]);
    lab.play(1.0, &tcp((A, 1), (B, 80), ACK));
    for _ in 0..10 {
        lab.turn();
    }
    // At once: the clock has not moved.
    let flows = lab.news();
    assert_eq!(flows.len(), 3_000);
    for flow in &flows {
        assert_eq!(flow.watch, WatchId(1));
        assert_eq!(flow.cause, Cause::End(EndReason::Stopped));
        assert_eq!(flow.finish, FinishType::Timeout);
        assert_eq!(flow.metric.ab_packets, 1);
    }
    lab.wait_until(5);
    assert_eq!(of(&lab, 1), None);
    assert_eq!(of(&lab, 2).map(|w| w.flows), Some(3_000));
    assert_eq!(lab.finish(EndReason::Drained).len(), 3_000);
}

#[test]
fn a_watch_without_flows_vanishes_at_once_and_its_place_is_used_again() {
    let mut lab = Lab::new(vec![]);
    for id in 0..1_000 {
        lab.plan(vec![watch(id)]);
    }
    lab.play(0.0, &tcp((A, 1), (B, 80), ACK));
    let flows = lab.finish(EndReason::Drained);
    assert_eq!(by_watch(&flows, 999).len(), 1);
    assert_eq!(lab.head.watches.len(), 1);
}

#[test]
fn more_watches_than_places_fail() {
    let mut lab = Lab::new((0..300).map(watch).collect());
    lab.play(0.0, &tcp((A, 1), (B, 80), ACK));
    lab.wait_until(2);
    let failed = lab.head.watches.iter().filter(|w| w.state != WatchState::Active);
    assert_eq!(failed.count(), 300 - 256);
    assert_eq!(lab.finish(EndReason::Drained).len(), 256);
}

#[test]
fn a_burst_is_metered_for_as_many_watches_as_there_can_be() {
    let mut lab = Lab::new((0..256).map(watch).collect());
    let inner = tcp((A, 1), (B, 80), ACK);
    for _ in 0..10 {
        lab.tape.add(0.0, &vxlan(7, 50000, &inner));
        lab.tape.add(0.0, &inner);
    }
    lab.turn();
    let flows = lab.finish(EndReason::Drained);
    assert_eq!(flows.len(), 3 * 256);
    assert!(flows.iter().all(|flow| flow.metric.ab_packets == 10));
    assert_eq!(lab.head.books.metered, 20);
}

#[test]
fn the_same_plan_again_changes_nothing() {
    let mut lab = Lab::new(vec![watch(1)]);
    lab.play(0.0, &tcp((A, 1), (B, 80), ACK));
    lab.plan(vec![watch(1)]);
    assert_eq!(lab.head.plan, 2);
    lab.play(0.0, &tcp((A, 1), (B, 80), ACK));
    let flows = lab.finish(EndReason::Drained);
    assert_eq!(flows.len(), 1);
    assert_eq!(flows[0].metric.ab_packets, 2);
}

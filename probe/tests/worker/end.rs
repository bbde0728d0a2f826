//! How flows end, and which are metered at all: goodbyes, active timeout, applications, sampling.

use std::collections::BTreeSet;
use std::time::Duration;

use sonde_probe::flow::{ApplicationTimeouts, Timers};
use sonde_probe::worker::FlowConfig;
use sonde_proto::plan::{KeyMode, Options, Watch};
use sonde_proto::record::{Cause, EndReason, FinishType, FlowRecord, Layer};
use sonde_proto::ring::RingSize;

use crate::lab::{A, ACK, B, End, FIN, Lab, RST, SYN, at, gre, tcp, timers, udp, watch, watch_in};

const CLIENT: (End, u16) = (A, 1000);
const SERVER: (End, u16) = (B, 80);

fn lab(config: &FlowConfig) -> Lab {
    Lab::with(vec![watch(1)], config, RingSize::default())
}

fn with(change: impl FnOnce(&mut Timers)) -> FlowConfig {
    let mut config = timers(60, 600, 15);
    change(&mut config.timers);
    config
}

fn only(records: Vec<FlowRecord>) -> FlowRecord {
    let [record] = records[..] else {
        panic!("one record, not {records:?}");
    };
    record
}

fn ended(lab: &Lab, reason: EndReason) -> u64 {
    lab.head.books.ended[reason as usize]
}

#[test]
fn fin_from_both_ends_or_rst_ends_a_flow_after_the_hold_time() {
    let fins = [tcp(CLIENT, SERVER, FIN | ACK), tcp(SERVER, CLIENT, FIN | ACK)];
    let rst = [tcp(SERVER, CLIENT, RST)];
    for (goodbye, finish) in
        [(fins.as_slice(), FinishType::TcpFin), (rst.as_slice(), FinishType::TcpRst)]
    {
        let mut lab = lab(&timers(60, 600, 15));
        lab.play(0.0, &tcp(CLIENT, SERVER, SYN));
        for frame in goodbye {
            lab.play(5.0, frame);
        }
        lab.wait_until(20);
        assert_eq!(lab.news(), []);
        // Long before its update tick.
        lab.wait_until(21);
        let end = only(lab.news());
        assert_eq!((end.cause, end.finish), (Cause::End(EndReason::Finished), finish));
        assert_eq!(ended(&lab, EndReason::Finished), 1);
        // The next packet begins another flow.
        lab.play(22.0, &tcp(CLIENT, SERVER, SYN));
        assert_eq!(only(lab.finish(EndReason::Drained)).metric.start, at(22.0));
    }
}

#[test]
fn fin_from_one_end_ends_nothing() {
    let mut lab = lab(&timers(60, 600, 15));
    lab.play(0.0, &tcp(CLIENT, SERVER, SYN));
    lab.play(1.0, &tcp(CLIENT, SERVER, FIN | ACK));
    lab.play(2.0, &tcp(CLIENT, SERVER, FIN | ACK));
    lab.wait_until(61);
    let update = only(lab.news());
    assert_eq!((update.cause, update.finish), (Cause::Update, FinishType::NotFinished));
}

/// What the first packet says is Skydive's; what later ones say is told by updates and sweeps, and
/// at the end.
#[test]
fn a_goodbye_is_told_by_updates_and_not_by_the_end_of_a_file() {
    let play = |config: &FlowConfig, first: u8| {
        let mut lab = lab(config);
        lab.play(0.0, &tcp(CLIENT, SERVER, first));
        lab.play(1.0, &tcp(SERVER, CLIENT, RST));
        lab
    };
    let with_ticks = timers(10, 600, 15);
    let mut lab = play(&with_ticks, SYN);
    lab.ask_sweep();
    lab.wait_until(2);
    assert_eq!(only(lab.news()).finish, FinishType::TcpRst);
    lab.wait_until(11);
    let update = only(lab.news());
    assert_eq!((update.cause, update.finish), (Cause::Update, FinishType::TcpRst));
    assert_eq!(only(lab.finish(EndReason::Drained)).finish, FinishType::TcpRst);

    let as_a_file = with(|timers| timers.update = Duration::MAX);
    let mut lab = play(&as_a_file, SYN);
    assert_eq!(only(lab.finish(EndReason::Drained)).finish, FinishType::NotFinished);
    let mut lab = play(&as_a_file, FIN | ACK);
    assert_eq!(only(lab.finish(EndReason::Drained)).finish, FinishType::TcpFin);
    let mut lab = play(&as_a_file, SYN);
    lab.wait_until(20);
    assert_eq!(only(lab.finish(EndReason::Drained)).finish, FinishType::TcpRst);
}

#[test]
fn a_flow_that_lasts_longer_than_the_active_timeout_starts_anew() {
    let mut lab = lab(&with(|timers| timers.active = Duration::from_secs(30)));
    for second in 0..=30 {
        lab.tape.add(f64::from(second), &tcp(CLIENT, SERVER, ACK));
    }
    // Within a burst, before any timer is looked at.
    lab.tape.add(30.5, &tcp(CLIENT, SERVER, ACK));
    lab.turn();
    let first = only(lab.news());
    assert_eq!((first.cause, first.finish), (Cause::End(EndReason::Active), FinishType::Timeout));
    assert_eq!((first.metric.ab_packets, first.metric.last), (31, at(30.0)));
    // By the timer; no packet is in two flows.
    lab.wait_until(61);
    let second = only(lab.news());
    assert_eq!((second.cause, second.metric.start), (first.cause, at(30.5)));
    assert_eq!(second.metric.ab_packets, 1);
    assert_ne!(second.uuid, first.uuid);
    assert_eq!(ended(&lab, EndReason::Active), 2);
    assert_eq!(lab.finish(EndReason::Drained).len(), 0);
}

#[test]
fn an_idle_flow_of_some_applications_ends_at_an_update_tick() {
    let arp = [&B.mac[..], &A.mac, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &[0; 20]].concat();
    let mut lab = lab(&timers(60, 600, 15));
    lab.play(0.0, &arp);
    lab.play(0.0, &tcp(CLIENT, SERVER, ACK));
    lab.wait_until(61);
    assert!(lab.news().iter().all(|record| record.cause == Cause::Update));
    lab.play(115.0, &arp);
    // It changed since the tick before.
    lab.wait_until(121);
    assert_eq!(only(lab.news()).cause, Cause::Update);
    lab.wait_until(181);
    let end = only(lab.news());
    assert_eq!(end.layers.to_string(), "Ethernet/ARP");
    assert_eq!((end.cause, end.finish), (Cause::End(EndReason::Idle), FinishType::Timeout));
    assert_eq!(lab.head.watches[0].flows, 1);
}

#[test]
fn application_timeouts_have_a_bounded_room() {
    let mut timeouts = ApplicationTimeouts::default();
    let second = Duration::from_secs(1);
    assert!(timeouts.set(Layer::Arp, second));
    assert_eq!(timeouts.of(Layer::Arp), Some(second));
    assert_eq!(timeouts.of(Layer::Tcp), None);
    let set = Layer::ALL.iter().filter(|layer| timeouts.set(**layer, second)).count();
    assert_eq!(set, ApplicationTimeouts::ROOM);
}

#[test]
fn reasons_add_up_to_the_flows_that_ended() {
    let config = FlowConfig { max_flows: 10, ..timers(60, 100, 15) };
    let mut lab = lab(&config);
    for port in 0..30 {
        lab.play(1.0, &udp((A, port), (B, 9), b"x"));
    }
    lab.wait_until(102);
    lab.play(103.0, &udp((A, 1), (B, 9), b"x"));
    lab.plan(vec![]);
    lab.wait_until(104);
    lab.plan(vec![watch(2)]);
    lab.play(105.0, &udp((A, 1), (B, 9), b"x"));
    lab.finish(EndReason::Drained);
    let expected = [10, 0, 0, 1, 1, 20];
    assert_eq!(lab.head.books.ended, expected, "{:?}", EndReason::ALL);
    let named = lab.head.books.named();
    assert!(named.contains(&("ended.evicted".into(), 20)), "{named:?}");
}

fn sampling(key_mode: KeyMode, sampling: u32) -> Watch {
    let watch = watch_in(key_mode, 1);
    Watch { options: Options { sampling, ..watch.options }, ..watch }
}

#[test]
fn one_in_n_flows_is_metered_whole_and_the_rest_is_counted() {
    for mode in [KeyMode::L2, KeyMode::L3] {
        let meter = |n| {
            let mut lab = Lab::new(vec![sampling(mode, n)]);
            for port in 0..1000 {
                lab.tape.add(0.0, &udp((A, port), (B, 9), b"x"));
                lab.tape.add(0.0, &udp((B, 9), (A, port), b"x"));
            }
            for _ in 0..40 {
                lab.turn();
            }
            let flows = lab.finish(EndReason::Drained);
            (flows, lab.head.books)
        };
        let (all, books) = meter(1);
        assert_eq!((all.len(), books.sampled_out), (1000, 0));
        let (some, books) = meter(8);
        assert!((75..=175).contains(&some.len()), "{} flows", some.len());
        assert!(some.iter().all(|flow| flow.metric.ab_packets == 1 && flow.metric.ba_packets == 1));
        assert_eq!(books.metered, 2 * some.len() as u64);
        assert_eq!(books.sampled_out, 2000 - books.metered);
        // The digest that clients see decides, so another lcore decides alike.
        let ids = |flows: &[FlowRecord], n| -> BTreeSet<u64> {
            flows.iter().map(|flow| flow.tracking_id).filter(|id| id % n == 0).collect()
        };
        assert_eq!(ids(&some, 1), ids(&all, 8));
    }
}

#[test]
fn a_frame_that_one_watch_samples_is_metered() {
    let mut lab = Lab::new(vec![sampling(KeyMode::L2, u32::MAX), watch(2)]);
    lab.play(0.0, &udp((A, 1), (B, 9), b"x"));
    let books = lab.worker.books();
    assert_eq!((books.metered, books.sampled_out), (1, 0));
    lab.plan(vec![sampling(KeyMode::L2, u32::MAX)]);
    lab.play(1.0, &udp((A, 1), (B, 9), b"x"));
    assert_eq!(lab.worker.books().sampled_out, 1);
}

/// Eight pieces: seven tunnels are opened, the eighth is counted.
#[test]
fn tunnels_too_deep_are_counted() {
    let packet = |frame: Vec<u8>| frame[14..].to_vec();
    let nested = |tunnels| {
        (0..tunnels).fold(packet(udp((A, 1), (B, 9), b"x")), |inner, _| packet(gre(A, B, &inner)))
    };
    for (tunnels, too_deep) in [(7, 0), (8, 1), (9, 1)] {
        let mut lab = Lab::new(vec![Watch {
            options: Options { header_size: 1024, ..Options::default() },
            ..watch(1)
        }]);
        let header = [&B.mac[..], &A.mac, &[8, 0]].concat();
        lab.play(0.0, &[header, nested(tunnels)].concat());
        let books = lab.worker.books();
        assert_eq!((books.metered, books.too_deep, books.truncated), (1, too_deep, 0), "{tunnels}");
    }
}

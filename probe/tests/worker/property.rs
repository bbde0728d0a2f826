//! Whatever comes: the books close, and the sum of the flows is the sum of the frames.

use proptest::prelude::*;
use sonde_probe::source::BURST;
use sonde_proto::plan::KeyMode;
use sonde_proto::record::{Cause, EndReason, FinishType, FlowRecord};
use sonde_proto::report::Books;
use sonde_proto::ring::RingSize;

use crate::lab::{A, B, Lab, echo, tcp, timers, udp, vxlan, watch_in};

/// A frame of few ends, so that flows meet; or any bytes.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let ends = prop_oneof![Just((A, B)), Just((B, A)), Just((A, A))];
    let ports = (0..4u16, 0..4u16);
    let plain =
        (ends, ports, any::<u8>(), 0..4u8).prop_map(
            |((from, to), ports, flags, kind)| match kind {
                0 => echo(from, to, flags & 1 == 1, ports.0),
                1 => udp((from, ports.0), (to, ports.1), b"payload"),
                _ => tcp((from, ports.0), (to, ports.1), flags),
            },
        );
    let tunnel = (plain.clone(), 0..3u32).prop_map(|(inner, vni)| vxlan(vni, 50000, &inner));
    let bytes = prop::collection::vec(any::<u8>(), 0..100);
    prop_oneof![4 => plain, 2 => tunnel, 1 => bytes]
}

fn frames() -> impl Strategy<Value = Vec<(f64, Vec<u8>)>> {
    let gap = prop_oneof![8 => 0.0..1.0f64, 1 => 0.0..100.0f64];
    prop::collection::vec((gap, frame()), 0..300).prop_map(|mut frames| {
        let mut now = 0.0;
        for (second, _) in &mut frames {
            now += *second;
            *second = now;
        }
        frames
    })
}

fn mode() -> impl Strategy<Value = KeyMode> {
    prop_oneof![Just(KeyMode::L2), Just(KeyMode::L3)]
}

fn outermost(flows: &[FlowRecord]) -> (u64, u64) {
    flows.iter().filter(|flow| flow.parent.is_none()).fold((0, 0), |(packets, bytes), flow| {
        let metric = &flow.metric;
        (packets + metric.ab_packets + metric.ba_packets, bytes + metric.ab_bytes + metric.ba_bytes)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_sum_of_the_flows_is_the_sum_of_the_frames(
        frames in frames(),
        key_mode in mode(),
        max_flows in prop_oneof![Just(3usize), Just(10), Just(1000)],
    ) {
        let mut config = timers(5, 20, 2);
        config.max_flows = max_flows;
        let size = RingSize { reports: 2, records: 8 };
        let watches = vec![watch_in(key_mode, 1)];
        let mut lab = Lab::with(watches, &config, size);
        for (n, (second, frame)) in frames.iter().enumerate() {
            lab.tape.add(*second, frame);
            if n % 3 == 0 {
                lab.ask_sweep();
                lab.turn();
            }
        }
        for _ in 0..10 {
            lab.turn();
        }
        let flows = lab.finish(EndReason::Drained);
        let books = lab.head.books;
        prop_assert_eq!(books.received, frames.len() as u64);
        prop_assert_eq!(books.unaccounted(), 0);
        let (packets, bytes) = outermost(&flows);
        prop_assert_eq!(packets, books.metered);
        let watch = lab.head.watches[0];
        prop_assert_eq!((watch.packets, watch.bytes), (packets, bytes));
        prop_assert_eq!(watch.flows, 0);
    }

    #[test]
    fn shards_and_bursts_do_not_matter(
        frames in frames(),
        key_mode in mode(),
        shards in prop_oneof![Just(2usize), Just(4)],
        burst in 1..=BURST,
    ) {
        prop_assert_eq!(meter(&frames, key_mode, 1, 1), meter(&frames, key_mode, shards, burst));
    }
}

/// All flows that end, in an order of their own, and the sum of the books, when the frames are
/// spread over so many shards and come in bursts of so many.
fn meter(
    frames: &[(f64, Vec<u8>)],
    key_mode: KeyMode,
    shards: usize,
    burst: usize,
) -> (Vec<String>, Books) {
    let (mut flows, mut books) = (Vec::new(), Books::default());
    for shard in 0..shards {
        let watches = vec![watch_in(key_mode, 1)];
        let mut lab = Lab::with(watches, &timers(5, 20, 2), RingSize::default());
        // Both directions meet in one shard, as with symmetric RSS.
        let of_shard = |frame: &&(f64, Vec<u8>)| {
            let sum: usize = frame.1.iter().skip(26).take(8).map(|byte| usize::from(*byte)).sum();
            sum % shards == shard
        };
        let frames: Vec<_> = frames.iter().filter(of_shard).collect();
        for frames in frames.chunks(burst) {
            for (second, frame) in frames {
                lab.tape.add(*second, frame);
            }
            lab.turn();
        }
        // When a flow is looked at decides why it ends, and which tick it saw last.
        let told = |flow: FlowRecord| FlowRecord {
            last_update: None,
            finish: FinishType::NotFinished,
            cause: Cause::Sweep,
            ..flow
        };
        let ended = lab.finish(EndReason::Drained).into_iter();
        flows.extend(ended.map(|flow| format!("{:?}", told(flow))));
        books.add(&lab.head.books);
    }
    flows.sort_unstable();
    // For the same reason flows are counted by how many ended, not by why.
    let mut ended = books.ended.map(|_| 0);
    ended[0] = books.ended.iter().sum();
    (flows, Books { ring_full: 0, ended, ..books })
}

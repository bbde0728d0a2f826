//! Whatever comes: the books close, and the sum of the flows is the sum of the frames.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sonde_proto::plan::KeyMode;
use sonde_proto::record::{EndReason, FlowRecord};
use sonde_proto::ring::RingSize;

use crate::lab::{A, B, Lab, echo, tcp, timers, udp, vxlan, watch, watch_in};

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

/// Packets and bytes by conversation and direction.
fn totals<'a>(flows: impl IntoIterator<Item = &'a FlowRecord>) -> BTreeMap<u64, [u64; 4]> {
    let mut totals = BTreeMap::new();
    for flow in flows {
        let metric = &flow.metric;
        let sum: &mut [u64; 4] = totals.entry(flow.tracking_id).or_default();
        sum[0] += metric.ab_packets + metric.ba_packets;
        sum[1] += metric.ab_bytes + metric.ba_bytes;
        sum[2] += u64::from(flow.parent.is_some());
        sum[3] += 1;
    }
    totals
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
    fn two_shards_count_what_one_counts(frames in frames()) {
        let count = |shards: usize| {
            let mut flows = Vec::new();
            for shard in 0..shards {
                let config = timers(100_000, 100_000, 100_000);
                let mut lab = Lab::with(vec![watch(1)], &config, RingSize::default());
                for (second, frame) in &frames {
                    // Both directions meet in one shard, as with symmetric RSS.
                    let sum: usize = frame.iter().skip(26).take(8).map(|b| usize::from(*b)).sum();
                    if sum % shards == shard {
                        lab.tape.add(*second, frame);
                    }
                }
                for _ in 0..10 {
                    lab.turn();
                }
                flows.extend(lab.finish(EndReason::Drained));
            }
            totals(&flows)
        };
        prop_assert_eq!(count(1), count(2));
    }
}

//! Plain frames are metered by a way of their own. Whatever comes, it leads where the other leads.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use sonde_probe::worker::FlowConfig;
use sonde_proto::plan::{BpfInstruction, KeyMode, Options, Watch};
use sonde_proto::record::EndReason;
use sonde_proto::report::{Books, WatchReport};
use sonde_proto::ring::RingSize;

use crate::lab::{End, Lab, timers, udp, watch};

/// A frame, when it comes, and how long it is said to be.
#[derive(Clone, Debug)]
struct Shot {
    second: f64,
    bytes: Vec<u8>,
    length: u32,
}

/// IP, with a length that is right or not.
fn ip() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let ports = prop_oneof![4 => 1..4u16, 1 => select(vec![53u16, 123, 4789, 5060, 6081, 50000])];
    let payload = prop_oneof![
        3 => Just(vec![0; 6]),
        1 => Just(vec![0; 48]),
        1 => prop::collection::vec(any::<u8>(), 0..60),
    ];
    let transport =
        (any::<bool>(), ports.clone(), ports, prop_oneof![3 => Just(0x10u8), 1 => any::<u8>()])
            .prop_flat_map(move |(is_udp, source, destination, flags)| {
                payload.clone().prop_map(move |payload| {
                    let mut bytes = [source.to_be_bytes(), destination.to_be_bytes()].concat();
                    if is_udp {
                        bytes.extend(((8 + payload.len()) as u16).to_be_bytes());
                        bytes.extend([0; 2]);
                    } else {
                        bytes.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 0, 9, 0, 0, 0, 0]);
                    }
                    (if is_udp { 17 } else { 6 }, [bytes, payload].concat())
                })
            });
    let said = prop_oneof![8 => Just(0i32), 1 => -30..30i32, 1 => Just(i32::MIN)];
    (any::<bool>(), 1..3u8, 1..3u8, transport, said).prop_map(
        |(is_ipv6, source, destination, (protocol, body), said)| {
            let header = if is_ipv6 { 0 } else { 20 };
            // The least there is stands for 0, as of segmentation offload.
            let length = (header + body.len() as i32).saturating_add(said).max(0) as u16;
            let [l0, l1] = length.to_be_bytes();
            let mut bytes = if is_ipv6 {
                let mut bytes = vec![0x60, 0, 0, 0, l0, l1, protocol, 64];
                bytes.extend([&[0xfd; 15][..], &[source], &[0xfd; 15], &[destination]].concat());
                bytes
            } else {
                let mut bytes = vec![0x45, 0, l0, l1, 0, 0, 0x40, 0, 64, protocol, 0, 0];
                bytes.extend([10, 0, 0, source, 10, 0, 0, destination]);
                bytes
            };
            bytes.extend(body);
            (if is_ipv6 { 0x86dd } else { 0x0800 }, bytes)
        },
    )
}

/// Ethernet, some VLAN tags, IP, padding.
fn ethernet() -> impl Strategy<Value = Vec<u8>> {
    let tags = prop::collection::vec((select(vec![0x8100u16, 0x88a8]), 0..3u16), 0..4);
    let padding = prop_oneof![3 => Just(0usize), 1 => 1..20usize];
    let tags = prop_oneof![3 => Just(Vec::new()), 1 => tags];
    (1..3u8, 1..3u8, tags, ip(), padding).prop_map(
        |(source, destination, tags, (kind, packet), padding)| {
            let mut bytes = [[destination; 6], [source; 6]].concat();
            for (kind, id) in tags {
                bytes.extend([kind.to_be_bytes(), id.to_be_bytes()].concat());
            }
            bytes.extend(kind.to_be_bytes());
            bytes.extend(packet);
            bytes.extend(vec![0; padding]);
            bytes
        },
    )
}

/// The same in VXLAN.
fn vxlan(inner: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (0..2u32, 0..2u16, prop_oneof![9 => Just(8u8), 1 => Just(0)], inner).prop_map(
        |(vni, port, flags, inner)| {
            let mut payload = vec![flags, 0, 0, 0];
            payload.extend((vni << 8).to_be_bytes());
            payload.extend(inner);
            let ends = |n| End { mac: [n; 6], ip: [10, 0, 0, n] };
            udp((ends(1), 50000 + port), (ends(2), 4789), &payload)
        },
    )
}

fn shots() -> impl Strategy<Value = Vec<Shot>> {
    let frame = prop_oneof![
        6 => ethernet(),
        3 => vxlan(ethernet()),
        1 => vxlan(vxlan(ethernet())),
    ];
    let damage = prop_oneof![
        4 => Just(Vec::new()),
        1 => prop::collection::vec((any::<Index>(), any::<u8>()), 1..3),
    ];
    let cut = prop_oneof![4 => Just(None), 1 => any::<Index>().prop_map(Some)];
    let more = prop_oneof![6 => Just(0i32), 1 => -20..2000i32];
    let gap = prop_oneof![12 => Just(0.0), 8 => 0.0..1.0f64, 1 => 0.0..40.0f64];
    let shot =
        (gap, frame, damage, cut, more).prop_map(|(second, mut bytes, damage, cut, more)| {
            for (at, value) in damage {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let length = (bytes.len() as u32).saturating_add_signed(more);
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            Shot { second, bytes, length }
        });
    prop::collection::vec(shot, 0..200).prop_map(|mut shots| {
        let mut now = 0.0;
        for shot in &mut shots {
            now += shot.second;
            shot.second = now;
        }
        shots
    })
}

/// Watches, all of which look at so many bytes. Number 4 wants more than counters: beside it
/// there is one way only, and it leaves traces.
fn watches() -> impl Strategy<Value = Vec<Watch>> {
    let instruction = |code, jt, jf, k| BpfInstruction { code, jt, jf, k };
    let datagrams: Arc<[_]> = Arc::new([
        instruction(0x30, 0, 0, 23),
        instruction(0x15, 0, 1, 17),
        instruction(0x06, 0, 0, 0xffff),
        instruction(0x06, 0, 0, 0),
    ]);
    let nothing: Arc<[_]> = Arc::new([instruction(0x06, 0, 0, 0)]);
    let broken: Arc<[_]> = Arc::new([instruction(0xffff, 0, 0, 0)]);
    let filter = prop_oneof![
        4 => Just(Arc::default()),
        3 => Just(datagrams),
        1 => Just(nothing),
        1 => Just(broken),
    ];
    let mode = select(vec![KeyMode::L2, KeyMode::L3]);
    let one = (1..5u32, filter, mode);
    let size = prop_oneof![2 => Just(256u32), 1 => 14..200u32];
    (prop::collection::vec(one, 1..4), size).prop_map(|(several, header_size)| {
        let mut watches: Vec<Watch> = Vec::new();
        for (id, filter, key_mode) in several {
            if watches.iter().all(|known| known.id.0 != id) {
                let follows = id == 4;
                let options = Options {
                    key_mode,
                    header_size,
                    tcp_metric: follows,
                    raw_packets: if follows { 2 } else { 0 },
                    ..Options::default()
                };
                watches.push(Watch { filter, options, ..watch(id) });
            }
        }
        watches
    })
}

/// All records in the order they were reported, and the books, when one plan is followed by another
/// half-way.
fn meter(
    shots: &[Shot],
    plans: &[Vec<Watch>; 2],
    config: &FlowConfig,
    turn_every: usize,
) -> (Vec<String>, Books, Vec<WatchReport>) {
    let [first, second] = plans;
    let mut lab = Lab::with(first.clone(), config, RingSize { reports: 2, records: 8 });
    for (n, shot) in shots.iter().enumerate() {
        if n == shots.len() / 2 {
            lab.plan(second.clone());
        }
        lab.tape.add_cut(shot.second, &shot.bytes, shot.length);
        if n % turn_every == 0 {
            if n % 2 == 0 {
                lab.ask_sweep();
            }
            lab.turn();
        }
    }
    for _ in 0..10 {
        lab.turn();
    }
    let watches = lab.head.watches.clone();
    lab.finish(EndReason::Drained);
    let records = lab.news().iter().map(|record| format!("{record:?}")).collect();
    (records, lab.head.books, watches)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn both_ways_lead_to_the_same_flows(
        shots in shots(),
        plans in [watches(), watches()],
        max_flows in select(vec![1usize, 3, 10, 1000]),
        active in select(vec![Duration::MAX, Duration::from_secs(10)]),
        turn_every in select(vec![1usize, 3, 64]),
    ) {
        let mut config = timers(5, 20, 2);
        config.max_flows = max_flows;
        config.timers.active = active;
        // No frame has that port, but to look for it takes the walk along all headers.
        let walked = plans.clone().map(|mut watches| {
            for watch in &mut watches {
                watch.options.mpls_udp_port = Some(61234);
            }
            watches
        });
        let plain = meter(&shots, &plans, &config, turn_every);
        let walked = meter(&shots, &walked, &config, turn_every);
        prop_assert_eq!(plain, walked);
    }
}

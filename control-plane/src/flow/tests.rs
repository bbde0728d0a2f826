//! What is written from a record against what its `Flow` serializes and encodes to.

use proptest::array::uniform6;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use sonde_proto::record::{
    Cause, FinishType, Icmp, IcmpKind, IpMetric, Layer, LayersPath, LinkEnds, Metric, NetworkEnds,
    TcpMetric, TcpSide, Transport, TransportEnds, WatchId,
};
use sonde_proto::time::Timestamp;

use super::small::Small;
use super::*;

/// Counters and times, with those that are left out or cut.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 1..300_u64, any::<u64>()]
}

fn time() -> impl Strategy<Value = Timestamp> {
    number().prop_map(Timestamp::from_nanos)
}

fn metric() -> impl Strategy<Value = Metric> {
    (number(), number(), number(), number(), time(), time(), number()).prop_map(
        |(ab_packets, ab_bytes, ba_packets, ba_bytes, start, last, rtt)| Metric {
            ab_packets,
            ab_bytes,
            ba_packets,
            ba_bytes,
            start,
            last,
            rtt,
        },
    )
}

fn layers() -> impl Strategy<Value = LayersPath> {
    vec(select(Layer::ALL), 0..=LayersPath::DEPTH).prop_map(|layers| {
        let mut path = LayersPath::new();
        layers.into_iter().for_each(|layer| assert!(path.push(layer)));
        path
    })
}

fn link() -> impl Strategy<Value = LinkEnds> {
    (uniform6(any::<u8>()), uniform6(any::<u8>()), any::<i64>()).prop_map(|(a, b, id)| LinkEnds {
        a,
        b,
        id,
    })
}

fn network() -> impl Strategy<Value = NetworkEnds> {
    (any::<std::net::IpAddr>(), any::<std::net::IpAddr>(), -1..3_i64)
        .prop_map(|(a, b, id)| NetworkEnds { a, b, id })
}

fn transport() -> impl Strategy<Value = TransportEnds> {
    let protocols = select(&[Transport::Tcp, Transport::Udp, Transport::Sctp][..]);
    (protocols, any::<u16>(), any::<u16>()).prop_map(|(protocol, a, b)| TransportEnds {
        protocol,
        a,
        b,
    })
}

fn icmp() -> impl Strategy<Value = Icmp> {
    let kinds = [IcmpKind::Unknown, IcmpKind::Echo, IcmpKind::PacketTooBig];
    (select(kinds.to_vec()), any::<u8>(), 0..3_u16).prop_map(|(kind, code, id)| Icmp {
        kind,
        code,
        id,
    })
}

fn tcp() -> impl Strategy<Value = TcpMetric> {
    (option::of(time()), any::<u8>(), number(), any::<bool>()).prop_map(
        |(syn, syn_ttl, packets, saw_start)| {
            let ab = TcpSide { syn, syn_ttl, packets, saw_start, ..TcpSide::default() };
            TcpMetric { ab, ba: TcpSide { fin: syn, bytes: packets, ..TcpSide::default() } }
        },
    )
}

pub(crate) fn record() -> impl Strategy<Value = FlowRecord> {
    let ends = (
        layers(),
        option::of(link()),
        option::of(network()),
        option::of(transport()),
        option::of(icmp()),
    );
    let finishes =
        [FinishType::NotFinished, FinishType::Timeout, FinishType::TcpFin, FinishType::TcpRst];
    let counts = (metric(), option::of(metric()), option::of(tcp()), number(), 0..2_u32);
    let digests = (any::<u64>(), 0..300_u64, any::<u64>(), option::of(any::<u64>()));
    (digests, ends, counts, select(finishes.to_vec())).prop_map(
        |(digests, (layers, link, network, transport, icmp), counts, finish)| FlowRecord {
            watch: WatchId(1),
            uuid: digests.0,
            tracking_id: digests.1,
            l3_tracking_id: digests.2,
            parent: digests.3,
            layers,
            link,
            network,
            transport,
            icmp,
            metric: counts.0,
            last_update: counts.1,
            tcp: counts.2,
            ip: (counts.3 > 0).then_some(IpMetric { fragments: counts.3, errors: 0 }),
            raw_packets: counts.4,
            finish,
            cause: Cause::Update,
        },
    )
}

/// Names as they are, and such as JSON and HTML have to be kept from.
pub(crate) fn names() -> impl Strategy<Value = FlowNames> {
    let name = || prop_oneof![Just(String::new()), "[a-z0-9-]{36}", any::<String>()];
    let known = || option::of(name().prop_map(Arc::from));
    let watched = (name(), name()).prop_map(|(capture_id, node_tid)| {
        Arc::new(Watched { capture_id, node_tid, ..Watched::default() })
    });
    (option::of(watched), known(), known(), known()).prop_map(
        |(watched, application, a_node_tid, b_node_tid)| FlowNames {
            watched,
            application,
            a_node_tid,
            b_node_tid,
        },
    )
}

fn text(small: Small) -> String {
    String::from_utf8(small.as_bytes().to_vec()).unwrap()
}

proptest! {
    #[test]
    fn a_record_is_written_as_its_flow(record in record(), names in names()) {
        let lazy = LazyFlow::new(record, names);
        let made = LazyFlow::from(lazy.flow());
        let written = |write: fn(&LazyFlow, &mut Vec<u8>), flow: &LazyFlow| {
            let mut out = Vec::new();
            write(flow, &mut out);
            out
        };
        let text = |flow| String::from_utf8(written(LazyFlow::write_json, flow)).unwrap();
        prop_assert_eq!(text(&lazy), text(&made));
        let binary = written(LazyFlow::write_protobuf, &lazy);
        prop_assert_eq!(&binary, &lazy.flow().encode_to_vec());
        prop_assert_eq!(&written(LazyFlow::write_protobuf, &made), &binary);
        prop_assert_eq!(lazy.times(), made.times());
        prop_assert_eq!(lazy.capture_id(), made.capture_id());
    }

    #[test]
    fn short_texts_are_as_fmt_writes_them(
        digest in any::<u64>(), shift in 0..64, mac in uniform6(any::<u8>()), ip: std::net::IpAddr
    ) {
        let digest = digest >> shift;
        prop_assert_eq!(text(Small::hex(digest)), format!("{digest:x}"));
        prop_assert_eq!(text(Small::mac(mac)), sonde_proto::flow::mac(mac));
        prop_assert_eq!(text(Small::ip(ip)), ip.to_string());
    }

    #[test]
    fn any_length_stands_before_its_message(len in prop_oneof![0..300_usize, 16_000..17_000_usize]) {
        let body = vec![7; len];
        let mut out = Vec::new();
        delimited(1, &mut out, |out| out.extend_from_slice(&body));
        let mut expected = vec![1 << 3 | 2];
        prost::encode_length_delimiter(len, &mut expected).unwrap();
        expected.extend_from_slice(&body);
        prop_assert_eq!(out, expected);
    }
}

#[test]
fn zero_and_the_longest_are_texts() {
    assert_eq!(text(Small::hex(0)), "0");
    assert_eq!(text(Small::hex(u64::MAX)), "ffffffffffffffff");
    let longest = std::net::IpAddr::from([0xffff_u16; 8]);
    assert_eq!(text(Small::ip(longest)), longest.to_string());
}

#[test]
fn a_flow_is_told_its_packets_once() {
    let packets = vec![sonde_proto::flow::RawPacket::default()];
    let flow = Arc::new(Flow { last_raw_packets: packets, ..Flow::default() });
    let told = LazyFlow::from(flow.clone());
    assert!(told.without_packets().flow().last_raw_packets.is_empty());
    assert!(Arc::ptr_eq(&told.flow(), &flow));
}

#[test]
fn a_flow_takes_what_the_docs_say() {
    assert!((500..=600).contains(&LazyFlow::SIZE), "{}", LazyFlow::SIZE);
}

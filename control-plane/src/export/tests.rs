pub(super) mod testing;

use std::net::UdpSocket;

use netflow_parser::NetflowParser;
use proptest::prelude::*;
use serde_json::Value;
use sonde_proto::capture::Capture;
use sonde_proto::entry::first::shows;
use sonde_proto::entry::key::kind;
use sonde_proto::entry::{First, FlowEntry, Key, Totals};
use sonde_proto::record::{Cause, EndReason, WatchId};
use sonde_proto::time::Timestamp;

use super::*;
use crate::flow::Told;
use crate::tests::world::{World, within};

/// A collector on loopback.
struct Collector {
    socket: UdpSocket,
    decoder: NetflowParser,
}

impl Collector {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, decoder: NetflowParser::default() }
    }

    fn target(&self) -> String {
        format!("localhost:{}", self.socket.local_addr().unwrap().port())
    }

    /// The next datagram that comes.
    async fn next(&mut self) -> Value {
        let mut bytes = [0; 1500];
        let length = within(|| self.socket.recv(&mut bytes).ok()).await;
        testing::decode(&mut self.decoder, &bytes[..length])
    }

    /// Packets and bytes from A and from B of the only flow of the next message.
    async fn counters(&mut self) -> [u64; 4] {
        let flows = testing::flows(&self.next().await);
        assert_eq!(flows.len(), 1, "{flows:?}");
        ["PacketDeltaCount", "OctetDeltaCount", "ReversePacketDeltaCount", "ReverseOctetDeltaCount"]
            .map(|name| flows[0][name].as_u64().unwrap())
    }
}

fn capture(target: &str, format: Format) -> Capture {
    Capture {
        gremlin_query: "G.V().Has('Name', 'eth0')".into(),
        target: target.into(),
        target_type: format.name().into(),
        ..Capture::default()
    }
}

/// Creates a capture, and waits until it is in the plan.
async fn create(world: &mut World, capture: Capture) -> String {
    let uuid = world.state.captures.create(capture, None).unwrap().uuid;
    world.plan(|plan| !plan.points.is_empty()).await;
    uuid
}

/// A flow of UDP over IPv4.
fn entry(flow: u64, totals: [[u64; 2]; 2], cause: Cause) -> FlowEntry {
    let kind = (kind::IPV4 | kind::UDP).into();
    let key = Key::new([0, 0x0a00_0001, 0, 0x0a00_0002, 0, 0, flow, kind]);
    let first = First { shows: shows::NETWORK, ..First::default() };
    let entry = FlowEntry::new(WatchId(1), key, first, Timestamp::from_millis(5), cause);
    FlowEntry { totals: Totals(totals), ..entry }
}

fn status(world: &World, uuid: &str) -> ExportStatus {
    world.state.captures.exports().status().remove(uuid).unwrap()
}

#[tokio::test]
async fn a_capture_tells_its_target_until_its_flows_have_ended() {
    let (mut world, mut collector) = (World::new(), Collector::new());
    let uuid = create(&mut world, capture(&collector.target(), Format::Ipfix)).await;
    world.meter(entry(1, [[3, 300], [1, 60]], Cause::Update)).await;
    assert_eq!(collector.counters().await, [3, 300, 1, 60]);
    world.meter(entry(1, [[4, 400], [1, 60]], Cause::Sweep)).await;
    world.meter(entry(1, [[5, 500], [2, 120]], Cause::Update)).await;
    assert_eq!(collector.counters().await, [2, 200, 1, 60]);
    let expected = ExportStatus {
        target: collector.target(),
        target_type: "ipfix".into(),
        address: collector.socket.local_addr().unwrap().to_string(),
        records: 2,
        datagrams: 2,
        ..ExportStatus::default()
    };
    assert_eq!(status(&world, &uuid), expected);

    assert!(world.state.captures.delete(&uuid).unwrap());
    assert!(world.state.captures.exports().status().is_empty());
    world.meter(entry(1, [[6, 600], [2, 120]], Cause::End(EndReason::Stopped))).await;
    assert_eq!(collector.counters().await, [1, 100, 0, 0]);
}

#[tokio::test]
async fn a_capture_without_a_target_tells_nobody() {
    let mut world = World::new();
    let capture = Capture { target_type: "local".into(), ..capture("127.0.0.1:9", Format::Ipfix) };
    create(&mut world, capture).await;
    assert!(world.state.captures.exports().status().is_empty());
}

#[tokio::test]
async fn an_exporter_to_which_nobody_tells_anything_ends_with_its_capture() {
    let (world, collector) = (World::new(), Collector::new());
    let mut capture = capture(&collector.target(), Format::Ipfix);
    capture.gremlin_query = "G.V().Has('Name', 'nobody')".into();
    let uuid = world.state.captures.create(capture, None).unwrap().uuid;
    let exporters = || world.state.captures.exports().0.stop.receiver_count();
    assert_eq!(exporters(), 1);
    assert!(world.state.captures.delete(&uuid).unwrap());
    within(|| (exporters() == 0).then_some(())).await;
}

#[tokio::test]
async fn flows_without_ipv4_are_counted() {
    let (mut world, mut collector) = (World::new(), Collector::new());
    let uuid = create(&mut world, capture(&collector.target(), Format::NetflowV5)).await;
    world.meter(crate::tests::world::record(7)).await;
    world.meter(entry(1, [[3, 300], [1, 60]], Cause::Update)).await;
    assert_eq!(collector.next().await["header"]["count"], 2);
    let status = status(&world, &uuid);
    assert_eq!((status.records, status.not_exportable, status.errors), (2, 1, 0));
}

#[tokio::test]
async fn what_is_left_goes_out_at_the_stop() {
    let (mut world, mut collector) = (World::new(), Collector::new());
    create(&mut world, capture(&collector.target(), Format::NetflowV5)).await;
    for flow in 0..100 {
        world.meter(entry(flow, [[3, 300], [1, 60]], Cause::End(EndReason::Drained))).await;
    }
    assert!(world.state.captures.exports().stop(Duration::from_secs(10)).await);
    let mut records = 0;
    while records < 200 {
        let told = collector.next().await;
        assert_eq!(told["header"]["flow_sequence"], records);
        records += told["header"]["count"].as_u64().unwrap();
    }
    assert!(collector.socket.recv(&mut [0; 1500]).is_err(), "more than there was");
}

#[tokio::test]
async fn a_capture_of_before_is_told_again() {
    let (directory, mut collector) = (tempfile::tempdir().unwrap(), Collector::new());
    let mut world = World::open(Some(directory.path())).unwrap();
    let uuid = create(&mut world, capture(&collector.target(), Format::Ipfix)).await;
    drop(world);
    let mut world = World::open(Some(directory.path())).unwrap();
    world.plan(|plan| !plan.points.is_empty()).await;
    world.meter(entry(1, [[3, 300], [1, 60]], Cause::Update)).await;
    let message = collector.next().await;
    assert_eq!(message["header"]["observation_domain_id"], domain(&uuid));
    assert_eq!(testing::flows(&message).len(), 1);
}

#[tokio::test]
async fn a_collector_that_is_gone_is_counted_and_may_come_back() {
    let (mut world, mut collector) = (World::new(), Collector::new());
    let address = collector.socket.local_addr().unwrap();
    let uuid = create(&mut world, capture(&address.to_string(), Format::Ipfix)).await;
    drop(std::mem::replace(&mut collector, Collector::new()));
    let mut packets = 0;
    let mut errors = 0;
    while errors < 2 {
        packets += 1;
        world.meter(entry(1, [[packets, 60], [0, 0]], Cause::Update)).await;
        let sent = packets;
        within(|| {
            let status = status(&world, &uuid);
            errors = status.errors;
            (status.datagrams + status.errors >= sent).then_some(())
        })
        .await;
    }
    collector.socket = UdpSocket::bind(address).unwrap();
    collector.socket.set_nonblocking(true).unwrap();
    world.meter(entry(1, [[packets + 1, 60], [0, 0]], Cause::Update)).await;
    // It has not seen the templates before.
    assert_eq!(collector.counters().await, [1, 0, 0, 0]);
}

#[tokio::test]
async fn a_name_without_an_address_is_an_error_and_holds_up_nobody() {
    let mut world = World::new();
    let uuid = create(&mut world, capture("nowhere.invalid:2055", Format::Ipfix)).await;
    world.meter(entry(1, [[3, 300], [1, 60]], Cause::Update)).await;
    let found = within(|| Some(status(&world, &uuid)).filter(|status| status.errors >= 2)).await;
    assert_eq!((found.address.as_str(), found.records), ("", 0));
}

#[tokio::test]
async fn records_that_are_lost_stay_counted() {
    let world = World::new();
    let exports = world.state.captures.exports();
    let export = Export {
        format: Format::Ipfix,
        target: "127.0.0.1:9".into(),
        sampling: 0,
        tcp_flags: false,
    };
    exports.start("a", &export);
    let given = testing::told(testing::record());
    // Its exporter has no turn before the next await.
    let outlet = exports.running()["a"].outlet.clone();
    (0..ROOM + 3).for_each(|_| outlet.put(&given.record, &given.names));
    assert_eq!((exports.status()["a"].dropped, exports.lost()), (3, 3));
    exports.keep(|_| false);
    assert_eq!(exports.lost(), 3);
    outlet.put(&given.record, &given.names);
    assert_eq!(exports.lost(), 4, "its flows end after its capture");
}

#[tokio::test]
async fn an_outlet_that_nobody_empties_loses_the_newest_and_counts() {
    let (outlet, mut told) = Outlet::new(2, Arc::default());
    let given = testing::told(testing::record());
    (0..5).for_each(|_| outlet.put(&given.record, &given.names));
    assert_eq!(outlet.lost(), 3);
    assert!(told.recv().await.is_some());
    outlet.put(&given.record, &given.names);
    assert_eq!(outlet.lost(), 3);
}

proptest! {
    #[test]
    fn any_record_is_told_so_that_others_understand(
        record in crate::flow::tests::record(),
        names in crate::flow::tests::names(),
        tcp_flags: bool,
    ) {
        let told = Told { record, names };
        let delta = testing::delta(&told);
        for format in Format::ALL {
            let export = Export { format, target: String::new(), sampling: 7, tcp_flags };
            let mut encoder = Encoder::new(&export, 1, testing::NOW);
            let mut out = Vec::new();
            encoder.put(&delta, testing::NOW, &mut out);
            encoder.flush(testing::NOW, &mut out);
            prop_assert_eq!(out.is_empty(), format == Format::NetflowV5 && {
                let silent = delta.ab.packets == 0 && delta.ba.packets == 0;
                silent || !encoder.carries(&told.record)
            });
            let mut decoder = NetflowParser::default();
            for datagram in &out {
                let message = testing::decode(&mut decoder, &datagram.bytes);
                if format == Format::Ipfix {
                    let flows = testing::flows(&message);
                    prop_assert_eq!(flows.len(), 1);
                    prop_assert_eq!(&flows[0]["FlowId"], told.record.uuid);
                    prop_assert_eq!(&flows[0]["OctetDeltaCount"], delta.ab.bytes);
                    prop_assert_eq!(&flows[0]["ReversePacketDeltaCount"], delta.ba.packets);
                }
            }
        }
    }
}

#[test]
fn a_domain_is_the_beginning_of_the_uuid_and_never_zero() {
    assert_eq!(domain("5f0fd5c8-67d1-4fa3-7d4b-9ac1f7a7a0d3"), 0x5f0f_d5c8);
    assert_eq!(domain("00000000-67d1-4fa3-7d4b-9ac1f7a7a0d3"), 1);
    assert_eq!(domain("nonsense"), 1);
}

//! Traffic between two network namespaces, watched on the wire between them.

use serde_json::json;

use crate::support::netns::Wire;
use crate::support::sonde::Sonde;
use crate::support::traffic::{Traffic, account_of};

#[test]
fn af_packet_sees_every_frame_between_two_hosts() {
    let wire = Wire::new();
    wire.middle.within(|| {
        let directory = tempfile::tempdir().unwrap();
        let mut sonde = Sonde::start("", directory.path(), Some(&wire.middle));
        sonde.wait("the interface is a node", |sonde| {
            sonde.query("G.V().Has('Name', 'left').Count()") == 1
        });
        let uuid = sonde.capture(json!({ "GremlinQuery": "G.V().Has('Name', 'left')" }));
        sonde.wait("the capture is active", |sonde| {
            sonde.query("G.V().Has('Captures.State', 'active').Count()") == 1
        });
        send_and_compare(&mut sonde, &wire);
        let flows = sonde.query("G.V().Has('Name', 'left').Flows()");
        let flows = flows.as_array().unwrap();
        assert!(!flows.is_empty() && flows.iter().all(|flow| flow["CaptureID"] == uuid));

        assert_eq!(sonde.delete(&format!("capture/{uuid}")), 200);
        sonde.wait("the capture has stopped", |sonde| {
            sonde.query("G.V().HasKey('Captures').Count()") == 0
        });
        assert_eq!(sonde.delete(&format!("capture/{uuid}")), 404);
        sonde.stop();
    });
}

#[test]
fn af_packet_meters_only_what_the_filter_admits() {
    let wire = Wire::new();
    wire.middle.within(|| {
        let directory = tempfile::tempdir().unwrap();
        let mut sonde = Sonde::start("", directory.path(), Some(&wire.middle));
        sonde.capture(json!({
            "GremlinQuery": "G.V().Has('Name', 'right')",
            "BPFFilter": "tcp port 1004",
        }));
        sonde.wait("the capture is active", |sonde| {
            sonde.query("G.V().Has('Captures.State', 'active').Count()") == 1
        });
        let traffic = Traffic::new(10);
        traffic.send(&wire.a, &wire.b);
        let frames = traffic.frames.len() as i64;
        sonde.wait("all frames are received", |sonde| sonde.counter("Received") >= frames);
        let flows = sonde.query("G.Flows()");
        let mut expected = traffic.account();
        expected.retain(|name, _| name.starts_with("TCP") && name.ends_with(":1004"));
        assert_eq!(expected.len(), 1);
        assert_eq!(account_of(flows.as_array().unwrap()), expected);
        assert_eq!(sonde.counter("Unaccounted"), 0);
        assert!(sonde.counter("Filtered") > 0);
        sonde.stop();
    });
}

#[cfg(feature = "dpdk")]
#[test]
fn dpdk_port_on_an_interface_sees_every_frame_between_two_hosts() {
    let wire = Wire::new();
    wire.middle.within(|| {
        let directory = tempfile::tempdir().unwrap();
        let config = "[dpdk]\n\
             port = [{ name = 'wire', device = 'net_af_packet0,iface=left', cpus = [0] }]\n\
             [startup_capture]\ngremlin = \"G.V().Has('Name', 'wire')\"\n";
        let mut sonde = Sonde::start(config, directory.path(), Some(&wire.middle));
        sonde.wait("the capture is active", |sonde| {
            sonde.query("G.V().Has('Captures.State', 'active').Count()") == 1
        });
        send_and_compare(&mut sonde, &wire);
        sonde.stop();
    });
}

/// What a port sends comes back to it on a ring.
#[cfg(feature = "dpdk")]
#[test]
fn dpdk_port_sends_what_is_injected() {
    let netns = crate::support::netns::Netns::new();
    netns.within(|| {
        let directory = tempfile::tempdir().unwrap();
        let config = "[dpdk]\nport = [{ name = 'ring', device = 'net_ring0', cpus = [0] }]\n\
             [startup_capture]\ngremlin = \"G.V().Has('Name', 'ring')\"\n";
        let mut sonde = Sonde::start(config, directory.path(), Some(&netns));
        sonde.wait("the capture is active", |sonde| {
            sonde.query("G.V().Has('Captures.State', 'active').Count()") == 1
        });
        let mut ping = json!({
            "Src": "G.V().Has('Name', 'ring')", "Type": "icmp4", "Count": 3, "Interval": 100,
            "SrcMAC": "02:00:00:00:00:01", "DstMAC": "02:00:00:00:00:02",
            "SrcIP": "10.0.0.1", "DstIP": "10.0.0.2",
        });
        assert_eq!(sonde.post("injectpacket", ping.to_string()).0, 201);
        sonde.wait("all packets came back", |sonde| sonde.counter("Received") >= 3);
        let flows = sonde.query("G.Flows().Has('Network.B', '10.0.0.2')");
        assert_eq!(flows[0]["Metric"]["ABPackets"], 3, "{flows}");
        assert_eq!(flows[0]["Metric"]["ABBytes"], 3 * (14 + 20 + 8 + 56), "{flows}");
        // One that the port cannot take is told on its node.
        ping["Payload"] = "x".repeat(3000).into();
        assert_eq!(sonde.post("injectpacket", ping.to_string()).0, 201);
        let error = "a frame of 3042 bytes, the port takes 1518";
        sonde.wait("the node shows why", |sonde| {
            let errors = "G.V().Has('Name', 'ring').Values('PacketInjections.Error')";
            sonde.query(errors).to_string().contains(error)
        });
        assert_eq!(sonde.counter("Unaccounted"), 0);
        sonde.stop();
    });
}

/// Sends traffic between the hosts; the flows must say exactly what was sent.
fn send_and_compare(sonde: &mut Sonde, wire: &Wire) {
    let traffic = Traffic::new(50);
    traffic.send(&wire.a, &wire.b);
    let frames = traffic.frames.len() as i64;
    sonde.wait("all frames are received", |sonde| sonde.counter("Received") >= frames);
    let flows = sonde.query("G.Flows()");
    assert_eq!(account_of(flows.as_array().unwrap()), traffic.account());
    assert_eq!(sonde.counter("Unaccounted"), 0);
}

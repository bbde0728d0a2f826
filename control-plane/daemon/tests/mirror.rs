//! Frames of a capture, mirrored to another host.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::json;

use crate::support::netns::Wire;
use crate::support::sonde::Sonde;
use crate::support::traffic::Traffic;

#[test]
fn what_a_capture_admits_arrives_in_erspan() {
    let wire = Wire::new();
    wire.middle.ip("address add 192.0.2.1/24 dev br0");
    wire.b.ip("address add 192.0.2.2/24 dev eth0");
    wire.middle.within(|| {
        let directory = tempfile::tempdir().unwrap();
        let mut sonde = Sonde::start("", directory.path(), Some(&wire.middle));
        // On the way to the target itself: what is mirrored must not be mirrored again.
        let uuid = sonde.capture(json!({
            "GremlinQuery": "G.V().Has('Name', 'right')",
            "BPFFilter": "udp",
            "HeaderSize": 64,
            "Target": "192.0.2.2",
            "TargetType": "erspanv1",
        }));
        sonde.wait("the capture is active", |sonde| {
            sonde.query("G.V().Has('Captures.State', 'active').Count()") == 1
        });
        let mut target = wire
            .b
            .command("python3")
            .args(["-u", "-c", RECEIVE])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(target.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");

        let traffic = Traffic::new(10);
        traffic.send(&wire.a, &wire.b);
        let hex =
            |frame: &[u8]| -> String { frame.iter().map(|byte| format!("{byte:02x}")).collect() };
        // UDP in IPv4 and in IPv6.
        let is_udp = |frame: &[u8]| frame[12..14] == [0x86, 0xdd] || frame[23] == 17;
        let frames = traffic.frames.iter().map(|(_, frame)| frame).filter(|frame| is_udp(frame));
        let mut expected: Vec<_> = frames.map(|frame| hex(&frame[..frame.len().min(64)])).collect();
        let mut arrived: Vec<_> =
            lines.by_ref().take(expected.len()).map(|line| line.unwrap()).collect();
        expected.sort();
        arrived.sort();
        assert_eq!(arrived, expected);

        let (_, status) = sonde.get("status");
        let mirror = &status["Mirrors"][&uuid];
        assert_eq!(
            *mirror,
            json!({ "Target": "192.0.2.2", "Sent": expected.len(), "Lost": 0 }),
            "none was mirrored again"
        );
        assert_eq!(sonde.counter("Unaccounted"), 0);
        assert_eq!(sonde.delete(&format!("capture/{uuid}")), 200);
        let (_, status) = sonde.get("status");
        assert_eq!(status["Mirrors"], json!({}));
        target.kill().unwrap();
        target.wait().unwrap();
        sonde.stop();
    });
}

/// Prints what GRE carries: behind 20 bytes of IP and 4 of GRE.
const RECEIVE: &str = "
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 47)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
print('ready')
while True:
    packet = s.recv(65535)
    assert packet[20:24] == bytes.fromhex('000088be'), packet.hex()
    print(packet[24:].hex())
";

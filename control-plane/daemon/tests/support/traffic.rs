//! Frames with a known account: conversations of which every packet and byte is on paper.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use etherparse::PacketBuilder;
use serde_json::Value;

use super::netns::Netns;

/// MAC addresses of the two ends.
const A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
const B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];

/// Frames in the order they are sent, each with the end that sends it.
pub(crate) struct Traffic {
    pub(crate) frames: Vec<(End, Vec<u8>)>,
}

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    A,
    B,
}

/// What is known of a conversation: packets and bytes from A, packets and bytes from B.
pub(crate) type Account = BTreeMap<String, [i64; 4]>;

impl Traffic {
    /// `conversations` each of UDP over IPv4, UDP over IPv6 and TCP over IPv4, with sizes and
    /// numbers of packets that differ, their frames interleaved.
    pub(crate) fn new(conversations: u16) -> Self {
        let mut frames = Vec::new();
        for round in 0..ROUNDS {
            for n in 0..conversations {
                if round > 2 + n % 5 {
                    continue;
                }
                for kind in [Kind::Udp4, Kind::Udp6, Kind::Tcp4] {
                    frames.push((End::A, kind.frame(End::A, n, 16 * round + n % 7)));
                    if (round + n) % 2 == 0 {
                        frames.push((End::B, kind.frame(End::B, n, 40 + round)));
                    }
                }
            }
        }
        Self { frames }
    }

    /// The account of every conversation, by what [`name`] calls its flow.
    pub(crate) fn account(&self) -> Account {
        let mut account = Account::new();
        for (end, frame) in &self.frames {
            let counters = account.entry(name_of(frame, *end)).or_default();
            let at = if *end == End::A { 0 } else { 2 };
            counters[at] += 1;
            counters[at + 1] += frame.len() as i64;
        }
        account
    }

    /// Writes the frames as a pcap file, one each millisecond.
    pub(crate) fn write_pcap(&self, path: &Path) {
        self.write_part(path, |_| true);
    }

    /// Writes the frames of the conversations that are `of_it`, at the times they have in the whole.
    pub(crate) fn write_part(&self, path: &Path, of_it: impl Fn(&str) -> bool) {
        let mut out = Vec::new();
        for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 1] {
            out.extend(word.to_le_bytes());
        }
        for (i, (end, frame)) in self.frames.iter().enumerate() {
            if !of_it(&name_of(frame, *end)) {
                continue;
            }
            let (seconds, micros) = (1_600_000_000 + i as u32 / 1000, i as u32 % 1000 * 1000);
            for word in [seconds, micros, frame.len() as u32, frame.len() as u32] {
                out.extend(word.to_le_bytes());
            }
            out.extend(frame);
        }
        std::fs::write(path, out).unwrap();
    }

    /// Sends the frames from the `eth0` of both ends, at a pace that no socket buffer minds.
    pub(crate) fn send(&self, a: &Netns, b: &Netns) {
        for (end, netns) in [(End::A, a), (End::B, b)] {
            let mut python = netns
                .command("python3")
                .args(["-c", SEND])
                .stdin(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let mut input = python.stdin.take().unwrap();
            for (_, frame) in self.frames.iter().filter(|(from, _)| *from == end) {
                let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
                writeln!(input, "{hex}").unwrap();
            }
            drop(input);
            assert!(python.wait().unwrap().success());
        }
    }
}

/// The account that flows give, without those that are not of this traffic.
pub(crate) fn account_of(flows: &[Value]) -> Account {
    let mut account = Account::new();
    for flow in flows {
        let link = &flow["Link"];
        if link["A"] != "02:00:00:00:00:0a" || link["B"] != "02:00:00:00:00:0b" {
            continue;
        }
        let name = format!(
            "{} {}:{}",
            flow["Transport"]["Protocol"].as_str().unwrap(),
            flow["Network"]["A"].as_str().unwrap(),
            flow["Transport"]["A"],
        );
        let counters = account.entry(name).or_default();
        for (sum, key) in counters.iter_mut().zip(["ABPackets", "ABBytes", "BAPackets", "BABytes"])
        {
            *sum += flow["Metric"][key].as_i64().unwrap();
        }
    }
    account
}

#[derive(Clone, Copy)]
enum Kind {
    Udp4,
    Udp6,
    Tcp4,
}

impl Kind {
    /// A frame of conversation `n`, from `end`, with a payload of that length.
    fn frame(self, end: End, n: u16, payload: u16) -> Vec<u8> {
        let (from, to) = if end == End::A { (A, B) } else { (B, A) };
        let (source, destination) = if end == End::A { (1000 + n, 9999) } else { (9999, 1000 + n) };
        let builder = PacketBuilder::ethernet2(from, to);
        let builder = match self {
            Self::Udp6 => builder.ipv6(address6(end, n), address6(end.other(), n), 64),
            _ => builder.ipv4(address4(end, n), address4(end.other(), n), 64),
        };
        let payload = vec![0x55; usize::from(payload)];
        let mut frame = Vec::new();
        match self {
            Self::Tcp4 => {
                builder.tcp(source, destination, 1, 1000).write(&mut frame, &payload).unwrap();
            }
            _ => builder.udp(source, destination).write(&mut frame, &payload).unwrap(),
        }
        frame
    }
}

impl End {
    fn other(self) -> Self {
        if self == Self::A { Self::B } else { Self::A }
    }
}

fn address4(end: End, n: u16) -> [u8; 4] {
    let [high, low] = n.to_be_bytes();
    [10, if end == End::A { 1 } else { 2 }, high, low]
}

fn address6(end: End, n: u16) -> [u8; 16] {
    let [high, low] = n.to_be_bytes();
    let last = if end == End::A { 1 } else { 2 };
    [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, high, low, 0, last]
}

/// Protocol, and address and port of the A end: names a conversation of this traffic.
fn name_of(frame: &[u8], from: End) -> String {
    let headers = etherparse::PacketHeaders::from_ethernet_slice(frame).unwrap();
    let (source, destination, protocol) = match headers.transport.unwrap() {
        etherparse::TransportHeader::Udp(h) => (h.source_port, h.destination_port, "UDP"),
        etherparse::TransportHeader::Tcp(h) => (h.source_port, h.destination_port, "TCP"),
        other => panic!("not of this traffic: {other:?}"),
    };
    let (source_ip, destination_ip) = match headers.net.unwrap() {
        etherparse::NetHeaders::Ipv4(h, _) => {
            (std::net::IpAddr::from(h.source), std::net::IpAddr::from(h.destination))
        }
        etherparse::NetHeaders::Ipv6(h, _) => {
            (std::net::IpAddr::from(h.source), std::net::IpAddr::from(h.destination))
        }
        other => panic!("not of this traffic: {other:?}"),
    };
    match from {
        End::A => format!("{protocol} {source_ip}:{source}"),
        End::B => format!("{protocol} {destination_ip}:{destination}"),
    }
}

const ROUNDS: u16 = 7;

const SEND: &str = "
import socket, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('eth0', 0))
for i, line in enumerate(sys.stdin):
    s.send(bytes.fromhex(line))
    if i % 50 == 49:
        time.sleep(0.002)
";

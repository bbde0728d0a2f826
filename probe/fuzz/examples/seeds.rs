//! Writes the seeds that the fuzzer starts from: `cargo run --example seeds` in this directory.

use std::fs;
use std::path::Path;

use etherparse::{PacketBuilder, TcpOptionElement, ip_number};

fn main() -> std::io::Result<()> {
    let frames = frames();
    for (n, (link, frame)) in frames.iter().enumerate() {
        let head = [&[*link][..], &[0, 0], &256_u16.to_le_bytes()].concat();
        write("parse", n, &[head, frame.clone()].concat())?;
    }
    write("shard", 0, &shard(&frames, 200))?;
    write("shard", 1, &shard(&frames, 3))?;
    // `tcp port 80`, compiled by libpcap for Ethernet.
    let program: [(u8, u8, u8, u32); 19] = [
        (40, 0, 0, 12),
        (21, 0, 6, 34525),
        (48, 0, 0, 20),
        (21, 0, 15, 6),
        (40, 0, 0, 54),
        (21, 12, 0, 80),
        (40, 0, 0, 56),
        (21, 10, 11, 80),
        (21, 0, 10, 2048),
        (48, 0, 0, 23),
        (21, 0, 8, 6),
        (40, 0, 0, 20),
        (69, 6, 0, 8191),
        (177, 0, 0, 14),
        (72, 0, 0, 14),
        (21, 2, 0, 80),
        (72, 0, 0, 16),
        (21, 0, 1, 80),
        (6, 0, 0, 0),
    ];
    let mut filter = vec![0, 0];
    for (code, jt, jf, k) in program {
        // Each instruction behind a byte that says there is one more.
        filter.extend([1, code, jt, jf]);
        filter.extend(k.to_le_bytes());
    }
    write("filter", 0, &[&filter[..], &[0], &frames[0].1].concat())?;
    write("pcap", 0, &pcap(&frames))?;
    let frame = &frames[0].1;
    let enhanced = |length: u32| {
        let fields = [0, 0, 1, length, length].map(u32::to_le_bytes).concat();
        block(6, &[&fields, frame.as_slice()].concat())
    };
    let interface = block(1, &[1, 0, 0, 0, 0, 0, 4, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
    let simple = block(3, &[&(frame.len() as u32).to_le_bytes(), frame.as_slice()].concat());
    write("pcapng", 0, &[interface, enhanced(frame.len() as u32), simple].concat())
}

/// Frames of many kinds, each with the number of its link type.
fn frames() -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    let ethernet = || PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let (a, b) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    let finished = |builder: etherparse::PacketBuilderStep<etherparse::TcpHeader>| {
        let mut bytes = Vec::new();
        builder.write(&mut bytes, b"payload").expect("a Vec takes all");
        bytes
    };
    let options = [TcpOptionElement::MaximumSegmentSize(1460), TcpOptionElement::WindowScale(7)];
    let syn = ethernet().ipv4(a, b, 64).tcp(1000, 80, 1, 1000).syn();
    frames.push((0, finished(syn.options(&options).expect("options that fit"))));
    frames.push((0, finished(ethernet().ipv4(b, a, 64).tcp(80, 1000, 1, 1000).syn().ack(2))));
    frames.push((0, finished(ethernet().ipv4(a, b, 64).tcp(1000, 80, 2, 1000).fin().ack(2))));
    let udp = |ports: (u16, u16), payload: &[u8]| {
        let mut bytes = Vec::new();
        let builder = ethernet().ipv6([0xfd; 16], [0xfe; 16], 64).udp(ports.0, ports.1);
        builder.write(&mut bytes, payload).expect("a Vec takes all");
        bytes
    };
    let inner = frames[0].1.clone();
    let dns = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03com\0\0\x01\0\x01";
    frames.push((0, udp((40000, 53), dns)));
    frames.push((0, udp((40000, 4789), &[b"\x08\0\0\0\0\0\x07\0", &inner[..]].concat())));
    frames.push((0, udp((40000, 6081), &[b"\0\0\x65\x58\0\0\x07\0", &inner[..]].concat())));
    frames.push((0, udp((40000, 2152), &[b"\x30\xff\0\x30\0\0\0\x01", &inner[14..]].concat())));
    let over_ip = |protocol, payload: &[u8]| {
        let mut bytes = Vec::new();
        let builder = ethernet().vlan(etherparse::VlanHeader::Single(Default::default()));
        let builder = builder.ipv4(a, b, 64);
        builder.write(&mut bytes, protocol, payload).expect("a Vec takes all");
        bytes
    };
    frames.push((0, over_ip(ip_number::GRE, &[b"\x20\0\x08\0\0\0\0\x07", &inner[14..]].concat())));
    frames.push((
        0,
        over_ip(
            ip_number::GRE,
            &[b"\x10\0\x88\xbe\0\0\0\x01\x10\0\0\x01\0\0\0\0", &inner[..]].concat(),
        ),
    ));
    frames.push((
        0,
        over_ip(ip_number::MPLS_IN_IP, &[b"\0\x01\0\x40\0\x02\x01\x40", &inner[14..]].concat()),
    ));
    frames.push((0, over_ip(ip_number::IPV4, &inner[14..])));
    frames.push((0, over_ip(ip_number::SCTP, b"\0\x01\0\x02\0\0\0\0\0\0\0\0\x01\0\0\x14\0\0\0\0")));
    let mut fragment = inner.clone();
    fragment[20] = 0x20;
    frames.push((0, fragment));
    let mut echo = Vec::new();
    let builder = ethernet().ipv4(a, b, 64).icmpv4_echo_request(7, 1);
    builder.write(&mut echo, b"ping").expect("a Vec takes all");
    frames.push((0, echo));
    // The same packet behind the headers of other link types.
    let headers: [&[u8]; 14] = [
        b"",
        b"\0\0\0\x01\0\x06\x02\0\0\0\0\x01\0\0\x08\0",
        b"\x08\0\0\0\0\0\0\x02\0\x01\0\x06\x02\0\0\0\0\x01\0\0",
        b"\x02\0\0\0",
        b"\0\0\0\x02",
        b"\xff\x03\0\x21",
        b"\x0f\0\x08\0",
        b"\x18\x41\x03\xcc",
        b"\x08\x01\0\0ABCDEFGHIJKLMNOPQR\0\0\xaa\xaa\x03\0\0\0\x08\0",
        b"\0\0\x08\0\0\0\0\0\x88\x01\0\0ABCDEFGHIJKLMNOPQR\0\0\0\0\xaa\xaa\x03\0\0\0\x08\0",
        b"\x50ABCDEFGHIJKL\xaa\xaa\x03\0\0\0\x08\0",
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJKLMN\x08\0\0\0",
        b"ABCDEFGHIJKLMNOPQRSTUVWX",
        b"\x02\0\0\0\x05\0\x0a\0\0\0\0\0\x40\0\x09\0",
    ];
    for (n, header) in headers.iter().enumerate() {
        frames.push((n as u8 + 1, [header, &inner[14..]].concat()));
    }
    frames
}

/// A bench of so many flows, and every frame on it a few times.
fn shard(frames: &[(u8, Vec<u8>)], max_flows: u8) -> Vec<u8> {
    let mut bytes = vec![max_flows, 4, 16, 60, 30, 20, 0, 0, 255, 0];
    for (n, (link, frame)) in frames.iter().enumerate() {
        let kept = &frame[..frame.len().min(255)];
        // Times, gap in milliseconds, link type, bytes beyond, length.
        bytes.extend([3, 100, n as u8, *link, 0, 0, kept.len() as u8]);
        bytes.extend(kept);
        bytes.push(if n % 4 == 0 { 0xff } else { 0xfe });
    }
    bytes
}

/// A little-endian capture file of the frames, whatever their link type.
fn pcap(frames: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut file = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65535, 1].map(u32::to_le_bytes).concat();
    for (_, frame) in frames.iter().take(8) {
        let length = frame.len() as u32;
        file.extend([1, 2, length, length].map(u32::to_le_bytes).concat());
        file.extend(frame);
    }
    file
}

/// A block as the target `pcapng` takes it: type, length in one byte, body.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let kept = &body[..body.len().min(255)];
    [&kind.to_le_bytes(), &[kept.len() as u8][..], kept].concat()
}

fn write(target: &str, n: usize, bytes: &[u8]) -> std::io::Result<()> {
    assert!(bytes.len() < 16 * 1024, "{target} {n}");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    fs::create_dir_all(&directory)?;
    fs::write(directory.join(n.to_string()), bytes)
}

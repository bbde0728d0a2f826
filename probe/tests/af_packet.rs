//! Kernel interfaces, seen through AF_PACKET.

mod netns;

use std::fs;
use std::path::Path;
use std::time::Duration;

use etherparse::PacketBuilder;
use netns::{Pair, index, ip, netns, send};
use sonde_probe::source::af_packet::{AfPacket, AfPacketConfig, OpenError};
use sonde_probe::source::{BURST, Closed, LinkType, Source};

/// Opens the only queue of a namespace's interface.
fn open(namespace: &str, interface: &str, config: &AfPacketConfig) -> AfPacket {
    let mut queues =
        AfPacket::open(index(namespace, interface), Some(&netns(namespace)), 1, config)
            .expect("the interface can be opened");
    assert_eq!(queues.len(), 1);
    queues.remove(0)
}

/// Takes frames until none comes for a while: bytes, and length on the wire.
fn take(source: &mut AfPacket) -> Result<Vec<(Vec<u8>, u32)>, Closed> {
    take_as(LinkType::Ethernet, source)
}

fn take_as(link: LinkType, source: &mut AfPacket) -> Result<Vec<(Vec<u8>, u32)>, Closed> {
    let (mut seen, mut empty) = (Vec::new(), 0);
    while empty < 10 {
        let now = source.now();
        let taken = source.burst(|frame| {
            assert_eq!(frame.link, link);
            let age = now.nanos().abs_diff(frame.at.nanos());
            assert!(age < 60_000_000_000, "the frame is {age} ns away from the clock");
            seen.push((frame.bytes.to_vec(), frame.length));
        })?;
        assert!(taken <= BURST);
        empty += 1;
        if taken > 0 {
            empty = 0;
        } else {
            source.idle(empty, Duration::from_millis(30));
        }
    }
    Ok(seen)
}

/// A frame of `length` bytes with `tag` (VLAN tags and EtherType) after the addresses.
fn frame(tag: &[u8], length: usize, fill: u8) -> Vec<u8> {
    let mut frame = [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], tag].concat();
    frame.resize(length, fill);
    frame
}

const PLAIN: &[u8] = &[0x88, 0xb5];
const VLAN: &[u8] = &[0x81, 0x00, 0x60, 0x2a, 0x88, 0xb5];
const QINQ: &[u8] = &[0x88, 0xa8, 0x00, 0x64, 0x81, 0x00, 0x00, 0xc8, 0x88, 0xb5];

#[test]
fn frames_sent_are_frames_seen() {
    let pair = Pair::new();
    let home = fs::read_link("/proc/thread-self/ns/net").unwrap();
    let mut sent: Vec<_> =
        (0..300).map(|i| frame([PLAIN, VLAN, QINQ][i % 3], 60 + 5 * (i % 280), i as u8)).collect();
    sent.push(frame(PLAIN, 14, 0));
    // So small a ring that it goes round several times.
    let config = AfPacketConfig { block_size: 16 * 1024, blocks: 64, ..AfPacketConfig::default() };
    let mut right = open(&pair.right, "end", &config);
    let mut left = open(&pair.left, "end", &config);
    assert_eq!(fs::read_link("/proc/thread-self/ns/net").unwrap(), home);
    for _ in 0..3 {
        send(&pair.left, "end", &sent);
        let expected: Vec<_> = sent.iter().map(|f| (f.clone(), f.len() as u32)).collect();
        assert_eq!(take(&mut right).unwrap(), expected, "frames that arrive");
        assert_eq!(take(&mut left).unwrap(), expected, "frames that leave");
    }
    assert_eq!(right.lost().missed, 0);
    assert_eq!(right.lost().errors, 0);
}

#[test]
fn a_cut_frame_keeps_its_length() {
    let pair = Pair::new();
    let config = AfPacketConfig { snap: 100, ..AfPacketConfig::default() };
    let mut right = open(&pair.right, "end", &config);
    let sent = [frame(PLAIN, 1000, 7), frame(VLAN, 1000, 7)];
    send(&pair.left, "end", &sent);
    // The tag comes on top of what is captured.
    let expected = [(sent[0][..100].to_vec(), 1000), (sent[1][..104].to_vec(), 1000)];
    assert_eq!(take(&mut right).unwrap(), expected);
}

#[test]
fn a_full_ring_counts_what_it_loses() {
    let pair = Pair::new();
    let config = AfPacketConfig { block_size: 4096, blocks: 2, ..AfPacketConfig::default() };
    let mut right = open(&pair.right, "end", &config);
    send(&pair.left, "end", &vec![frame(PLAIN, 1000, 7); 50]);
    let seen = take(&mut right).unwrap().len() as u64;
    let lost = right.lost().missed;
    assert!(lost > 0);
    assert_eq!(seen + lost, 50);
    assert_eq!(right.lost().missed, lost, "counted once");
    // Nothing is wrong with the ring afterwards.
    send(&pair.left, "end", &[frame(PLAIN, 1000, 8)]);
    assert_eq!(take(&mut right).unwrap().len(), 1);
}

#[test]
fn fanout_keeps_both_directions_of_a_flow_together() {
    let pair = Pair::new();
    let config = AfPacketConfig::default();
    let index = index(&pair.right, "end");
    let mut queues = AfPacket::open(index, Some(&netns(&pair.right)), 3, &config).unwrap();
    assert_eq!(queues.len(), 3);
    let udp = |from: (u8, u16), to: (u8, u16)| {
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, from.0], [2, 0, 0, 0, 0, to.0])
            .ipv4([10, 0, 0, from.0], [10, 0, 0, to.0], 64)
            .udp(from.1, to.1);
        let mut frame = Vec::new();
        builder.write(&mut frame, b"a payload of more than nothing").unwrap();
        frame
    };
    let flows = 64;
    let there: Vec<_> = (0..flows).map(|i| udp((1, 1000 + i), (2, 53))).collect();
    let back: Vec<_> = (0..flows).map(|i| udp((2, 53), (1, 1000 + i))).collect();
    send(&pair.left, "end", &there);
    send(&pair.right, "end", &back);
    let seen: Vec<_> = queues.iter_mut().map(|queue| take(queue).unwrap()).collect();
    assert_eq!(seen.iter().map(Vec::len).sum::<usize>(), 2 * usize::from(flows));
    assert!(seen.iter().filter(|queue| !queue.is_empty()).count() > 1);
    for (there, back) in there.iter().zip(&back) {
        let queue = seen.iter().find(|queue| queue.iter().any(|(f, _)| f == there)).unwrap();
        assert!(queue.iter().any(|(f, _)| f == back));
    }
}

#[test]
fn loopback_frames_are_seen_once() {
    let pair = Pair::new();
    ip(&["-n", &pair.left, "link", "set", "lo", "up"]);
    let mut lo = open(&pair.left, "lo", &AfPacketConfig::default());
    let script = "import socket\n\
        r = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); r.bind(('127.0.0.1', 9))\n\
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
        [s.sendto(bytes([i]) * 20000, ('127.0.0.1', 9)) for i in range(5)]";
    ip(&["netns", "exec", &pair.left, "python3", "-c", script]);
    let seen = take(&mut lo).unwrap();
    let fill: Vec<_> = seen.iter().map(|(bytes, _)| bytes[42]).collect();
    assert_eq!(fill, [0, 1, 2, 3, 4]);
    assert!(seen.iter().all(|(bytes, length)| bytes.len() == 2048 && *length == 20_042));
}

#[test]
fn a_tun_gives_ip_packets() {
    let pair = Pair::new();
    ip(&["-n", &pair.left, "tuntap", "add", "mode", "tun", "name", "tun"]);
    ip(&["-n", &pair.left, "link", "set", "tun", "up"]);
    let mut tun = open(&pair.left, "tun", &AfPacketConfig::default());
    let mut packet = Vec::new();
    let builder = PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).udp(1, 2);
    builder.write(&mut packet, b"payload").unwrap();
    // IFF_TUN | IFF_NO_PI: what is written arrives at the host as an IP packet.
    let script = "import fcntl, os, struct, sys\n\
        f = os.open('/dev/net/tun', os.O_RDWR)\n\
        fcntl.ioctl(f, 0x400454ca, struct.pack('16sH22x', b'tun', 0x1001))\n\
        os.write(f, bytes.fromhex(sys.argv[1]))";
    let hex: String = packet.iter().map(|byte| format!("{byte:02x}")).collect();
    ip(&["netns", "exec", &pair.left, "python3", "-c", script, &hex]);
    let length = packet.len() as u32;
    assert_eq!(take_as(LinkType::Raw, &mut tun), Ok(vec![(packet, length)]));
}

#[test]
fn an_interface_may_rest_but_not_vanish() {
    let pair = Pair::new();
    let mut right = open(&pair.right, "end", &AfPacketConfig::default());
    let sent = [frame(PLAIN, 60, 1)];
    for _ in 0..2 {
        ip(&["-n", &pair.right, "link", "set", "end", "down"]);
        assert_eq!(take(&mut right), Ok(vec![]));
        ip(&["-n", &pair.right, "link", "set", "end", "up"]);
        send(&pair.left, "end", &sent);
        assert_eq!(take(&mut right).unwrap().len(), 1);
    }
    send(&pair.left, "end", &sent);
    ip(&["-n", &pair.right, "link", "del", "end"]);
    let mut seen = 0;
    let closed = loop {
        match right.burst(|_| seen += 1) {
            Ok(0) => right.idle(1, Duration::from_millis(500)),
            Ok(_) => {}
            Err(closed) => break closed,
        }
    };
    assert_eq!((seen, closed), (1, Closed::Gone(libc::ENETDOWN)));
    assert_eq!(right.burst(|_| ()), Err(closed));
}

#[test]
fn an_interface_that_is_down_may_vanish() {
    let pair = Pair::new();
    let mut right = open(&pair.right, "end", &AfPacketConfig::default());
    ip(&["-n", &pair.right, "link", "set", "end", "down"]);
    assert_eq!(take(&mut right), Ok(vec![]));
    ip(&["-n", &pair.right, "link", "del", "end"]);
    assert_eq!(take(&mut right), Err(Closed::Gone(libc::ENETDOWN)));
}

#[test]
fn an_interface_that_is_down_can_be_opened() {
    let pair = Pair::new();
    ip(&["-n", &pair.right, "link", "set", "end", "down"]);
    let mut right = open(&pair.right, "end", &AfPacketConfig::default());
    assert_eq!(take(&mut right), Ok(vec![]));
    ip(&["-n", &pair.right, "link", "set", "end", "up"]);
    send(&pair.left, "end", &[frame(PLAIN, 60, 1)]);
    assert_eq!(take(&mut right).unwrap().len(), 1);
}

#[test]
fn what_cannot_be_opened_says_why() {
    let pair = Pair::new();
    let netns = netns(&pair.left);
    let fails = |index, netns: &Path, config: AfPacketConfig| {
        AfPacket::open(index, Some(netns), 1, &config).map(|_| ()).unwrap_err()
    };
    let error = |call, errno| OpenError { call, errno };
    let config = AfPacketConfig::default();
    assert_eq!(fails(0, &netns, config), error("bind", libc::ENODEV));
    assert_eq!(fails(4_000_000, &netns, config), error("bind", libc::ENODEV));
    assert_eq!(fails(u32::MAX, &netns, config), error("bind", libc::ENODEV));
    assert_eq!(fails(1, "/nonexistent".as_ref(), config), error("open", libc::ENOENT));
    assert_eq!(fails(1, "/dev/null".as_ref(), config), error("setns", libc::EINVAL));
    let odd = AfPacketConfig { block_size: 1000, ..config };
    assert_eq!(fails(1, &netns, odd), error("PACKET_RX_RING", libc::EINVAL));
    let printed = error("bind", libc::ENODEV).to_string();
    assert_eq!(printed, "bind: No such device (os error 19)");
}

//! Mirrored frames, as their target gets them. Needs CAP_NET_RAW; `scripts/test` sees to that.

use std::io::Read as _;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use nix::libc;
use socket2::{Domain, Protocol, Socket, Type};
use sonde_control_plane::mirror::Mirror;
use sonde_proto::record::WatchId;
use sonde_proto::report::{PacketHead, PacketWant};
use sonde_proto::time::Timestamp;

/// An address of this host that nobody else uses.
const TARGET: Ipv4Addr = Ipv4Addr::new(127, 0, 47, 1);

#[test]
fn frames_arrive_or_are_counted() {
    let gre = Protocol::from(libc::IPPROTO_GRE);
    let mut target =
        Socket::new(Domain::IPV4, Type::from(libc::SOCK_RAW), Some(gre)).expect("CAP_NET_RAW");
    target.bind(&std::net::SocketAddr::from((TARGET, 0)).into()).unwrap();
    target.set_recv_buffer_size(1 << 20).unwrap();
    target.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let all_lost = Arc::<AtomicU64>::default();
    let mirror = Mirror::new(TARGET.into(), all_lost.clone());
    let put = |link, frame: Vec<u8>| {
        let (want, at, length) = (PacketWant::Mirror, Timestamp::default(), frame.len() as u32);
        mirror.put(&PacketHead::new(WatchId(1), 0, want, at, link, length), Bytes::from(frame));
    };
    put(1, vec![0; 60]);
    assert_eq!((mirror.sent(), mirror.lost()), (0, 1), "it is not open");
    mirror.open().unwrap();
    mirror.open().unwrap();
    // More than one system call takes.
    let frames: Vec<Vec<u8>> = (0..200_u8).map(|n| vec![n; 60 + usize::from(n)]).collect();
    for (n, frame) in frames.iter().enumerate() {
        if n == 100 {
            put(101, vec![0x45; 20]);
            // No IP packet is so long.
            put(1, vec![0; 70_000]);
        }
        put(1, frame.clone());
    }
    let mut packet = [0; 2048];
    for frame in &frames {
        let length = target.read(&mut packet).unwrap();
        // Version 4, 20 bytes of header, protocol GRE.
        assert_eq!((packet[0], packet[9]), (0x45, 47));
        assert_eq!(packet[20..24], [0, 0, 0x88, 0xbe], "ERSPAN type I");
        assert_eq!(&packet[24..length], frame);
    }
    // The last frame may be counted after it arrived.
    for _ in 0..1_000 {
        if mirror.sent() == 200 {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!((mirror.sent(), mirror.lost()), (200, 3));
    assert_eq!(all_lost.load(Ordering::Relaxed), 3);
}

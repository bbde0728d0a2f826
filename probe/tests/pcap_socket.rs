//! Captures written into sockets: what of them is metered, when, and what a client can do to others.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use sonde_probe::source::pcap_socket::{CLIENTS, PcapSocket, QUEUE, SNAP};
use sonde_probe::source::{Closed, LinkType, Source as _, wall_clock};

/// What was taken of a frame: its first bytes, its length on the wire, its time in nanoseconds.
type Taken = (Vec<u8>, u32, u64, LinkType);

fn open() -> PcapSocket {
    PcapSocket::open((Ipv4Addr::LOCALHOST, 0).into(), |_, _| {}).unwrap()
}

fn connect(socket: &PcapSocket) -> TcpStream {
    TcpStream::connect(socket.address()).unwrap()
}

/// Takes frames until there are as many, or it is `enough`; for ten seconds at most.
fn take(socket: &mut PcapSocket, enough: impl Fn(&mut PcapSocket, &[Taken]) -> bool) -> Vec<Taken> {
    let mut taken: Vec<Taken> = Vec::new();
    let start = wall_clock();
    // Frames may come one by one: how often is looked says nothing of how long.
    while wall_clock().since(start) < Duration::from_secs(10) {
        let frames = socket
            .burst(|frame| {
                let bytes = frame.bytes.to_vec();
                taken.push((bytes, frame.length, frame.at.nanos(), frame.link));
            })
            .unwrap();
        if enough(socket, &taken) {
            return taken;
        }
        if frames == 0 {
            socket.idle(1, Duration::from_millis(10));
        }
    }
    panic!("not within ten seconds; {} frames", taken.len());
}

fn frames(socket: &mut PcapSocket, count: usize) -> Vec<Taken> {
    take(socket, |_, taken| taken.len() >= count)
}

/// A capture of frames with these times in microseconds, each of these bytes.
fn pcap(frames: &[(u64, &[u8])]) -> Vec<u8> {
    let mut file: Vec<u8> =
        [0xa1b2_c3d4_u32, 4 << 16 | 2, 0, 0, 262_144, 1].map(u32::to_le_bytes).concat();
    for (micros, bytes) in frames {
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        let length = bytes.len() as u32;
        file.extend([seconds as u32, micros as u32, length, length].map(u32::to_le_bytes).concat());
        file.extend_from_slice(bytes);
    }
    file
}

/// The same frames as pcapng, in blocks of one frame each.
fn pcapng(frames: &[(u64, &[u8])]) -> Vec<u8> {
    let block = |kind: u32, body: Vec<u8>| {
        let padded = body.len().next_multiple_of(4);
        let length = (12 + padded as u32).to_le_bytes();
        [&kind.to_le_bytes()[..], &length, &body, &vec![0; padded - body.len()], &length].concat()
    };
    let section = [0x1a2b_3c4d_u32, 1, u32::MAX, u32::MAX].map(u32::to_le_bytes).concat();
    let interface = [1_u32, 0].map(u32::to_le_bytes).concat();
    let mut file = [block(0x0a0d_0d0a, section), block(1, interface)].concat();
    for (micros, bytes) in frames {
        let length = bytes.len() as u32;
        let fields = [0, (micros >> 32) as u32, *micros as u32, length, length];
        file.extend(block(6, [&fields.map(u32::to_le_bytes).concat()[..], bytes].concat()));
    }
    file
}

#[test]
fn frames_have_their_spacing_and_the_time_of_now() {
    let captured = [(1_000_000, &b"one"[..]), (1_000_250, b"two"), (1_200_000, b"three")];
    for file in [pcap(&captured), pcapng(&captured)] {
        let mut socket = open();
        let start = wall_clock();
        connect(&socket).write_all(&file).unwrap();
        let taken = frames(&mut socket, 3);
        let end = wall_clock();
        let first = taken[0].2;
        assert!(first >= start.nanos() && first <= end.nanos());
        let offsets: Vec<_> = taken.iter().map(|frame| (frame.2 - first) / 1_000).collect();
        // A machine that is very busy may make a frame late by more than is made up for.
        assert!(offsets[2] >= 200_000, "{offsets:?}");
        if end.since(start) < Duration::from_secs(1) {
            assert_eq!(offsets, [0, 250, 200_000]);
        }
        assert!(end.since(start) >= Duration::from_millis(199), "nothing comes before it is due");
        let texts: Vec<_> = taken.iter().map(|frame| frame.0.as_slice()).collect();
        assert_eq!(texts, [&b"one"[..], b"two", b"three"]);
        assert!(taken.iter().all(|frame| frame.3 == LinkType::Ethernet));
        assert_eq!(socket.lost().errors, 0);
    }
}

#[test]
fn a_long_frame_is_cut_and_keeps_its_length() {
    let mut socket = open();
    let long = vec![7; 3 * SNAP];
    connect(&socket).write_all(&pcap(&[(0, &long)])).unwrap();
    let taken = frames(&mut socket, 1);
    assert_eq!((taken[0].0.len(), taken[0].1), (SNAP, 3 * SNAP as u32));
}

#[test]
fn clients_come_one_after_another_and_no_frame_is_lost() {
    let mut socket = open();
    // Far more than wait at once, so that the clients are held back.
    let each = 5 * QUEUE;
    let address = socket.address();
    let clients = thread::spawn(move || {
        for client in 0..4_u8 {
            let bytes = [client; 60];
            let file = pcap(&vec![(0, &bytes[..]); each]);
            TcpStream::connect(address).unwrap().write_all(&file).unwrap();
        }
    });
    let taken = frames(&mut socket, 4 * each);
    clients.join().unwrap();
    for client in 0..4 {
        assert_eq!(taken.iter().filter(|frame| frame.0[0] == client).count(), each);
    }
}

#[test]
fn damage_ends_its_connection_alone_and_is_counted() {
    static TOLD: Mutex<Vec<(SocketAddr, Closed)>> = Mutex::new(Vec::new());
    let mut socket = PcapSocket::open((Ipv4Addr::LOCALHOST, 0).into(), |address, closed| {
        TOLD.lock().unwrap().push((address, closed));
    })
    .unwrap();
    let mut whole = connect(&socket);
    let good = pcap(&[(0, b"good")]);
    whole.write_all(&good).unwrap();
    frames(&mut socket, 1);

    let mut cut = pcap(&[(0, b"before"), (0, b"within")]);
    cut.truncate(cut.len() - 3);
    let mut long = pcap(&[(0, b"before")]);
    long.extend([0, 0, u32::MAX, u32::MAX].map(u32::to_le_bytes).concat());
    let cases: [(&[u8], usize, &str); 4] = [
        (&cut, 1, "byte 46: file ends within a record, expected 3 more bytes"),
        (&long, 1, "byte 46: record of 4294967295 bytes, expected at most 262144"),
        (b"GET / HTTP/1.1\r\n\r\n", 0, "byte 0: malformed block, expected the magic number"),
        (b"\xd4", 0, "byte 0: file ends within a record, expected 23 more bytes"),
    ];
    for (n, (file, before, what)) in (1..).zip(cases) {
        // Told of once a second; all are counted.
        thread::sleep(Duration::from_millis(1_050));
        let mut client = connect(&socket);
        client.write_all(file).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let taken = take(&mut socket, |socket, _| socket.lost().errors == n);
        assert_eq!(taken.len(), before, "{what}");
        let told = TOLD.lock().unwrap().pop().unwrap();
        assert_eq!(told.0, socket.address());
        assert!(told.1.to_string().starts_with(what), "{}", told.1);
        // Whether the rest was read or not, the connection is at its end.
        assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
    }
    whole.write_all(&good[24..]).unwrap();
    assert_eq!(frames(&mut socket, 1)[0].0, b"good");
    drop(connect(&socket));
    drop(whole);
    thread::sleep(Duration::from_millis(50));
    take(&mut socket, |_, _| true);
    assert_eq!(socket.lost().errors, 4, "who says nothing, or ends well, did nothing wrong");
}

#[test]
fn silent_clients_cost_nobody_anything() {
    let mut socket = open();
    let mut silent: Vec<_> = (1..CLIENTS).map(|_| connect(&socket)).collect();
    let half = pcap(&[(0, b"half a frame")]);
    for client in &mut silent {
        client.write_all(&half[..30]).unwrap();
    }
    connect(&socket).write_all(&pcap(&[(0, b"first")])).unwrap();
    assert_eq!(frames(&mut socket, 1)[0].0, b"first");
    connect(&socket).write_all(&pcap(&[(0, b"second")])).unwrap();
    assert_eq!(frames(&mut socket, 1)[0].0, b"second");

    // All places are taken: the next client waits until one goes.
    silent.push(connect(&socket));
    thread::sleep(Duration::from_millis(50));
    take(&mut socket, |_, _| true);
    connect(&socket).write_all(&pcap(&[(0, b"third")])).unwrap();
    silent.clear();
    assert_eq!(frames(&mut socket, 1)[0].0, b"third");
}

#[test]
fn the_port_is_free_again_and_its_clients_are_sent_away() {
    let mut socket = open();
    let address = socket.address();
    assert!(TcpListener::bind(address).is_err());
    let mut client = connect(&socket);
    // The second frame is due in ten seconds, far beyond the end of the socket.
    client.write_all(&pcap(&[(0, b"now"), (3_600_000_000, b"in an hour")])).unwrap();
    frames(&mut socket, 1);
    drop(socket);
    drop(TcpListener::bind(address).unwrap());
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let sent_away = client.read(&mut [0]);
    assert!(!matches!(&sent_away, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock));
}

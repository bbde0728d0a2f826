//! Capture files of every variant, whole and damaged, written here byte by byte.

use std::io::{self, Cursor, Read};

use proptest::prelude::*;
use sonde_probe::source::pcap::{OpenError, PcapFile, PcapReader};
use sonde_probe::source::{BURST, Closed, Damage, LinkType, Source};

/// A frame as it was lent: bytes, wire length, nanoseconds, link type.
type Seen = (Vec<u8>, u32, u64, LinkType);

fn read_all<R: Read>(reader: &mut PcapReader<R>) -> (Vec<Seen>, Closed) {
    let mut seen = Vec::new();
    loop {
        let before = seen.len();
        match reader.burst(|f| seen.push((f.bytes.to_vec(), f.length, f.at.nanos(), f.link))) {
            Ok(n) => {
                assert_eq!(seen.len() - before, n);
                assert!((1..=BURST).contains(&n));
            }
            Err(closed) => {
                assert_eq!(seen.len(), before);
                assert_eq!(
                    reader.burst(|_| unreachable!()),
                    Err(closed),
                    "closed stays closed"
                );
                return (seen, closed);
            }
        }
    }
}

fn read_bytes(bytes: &[u8]) -> (Vec<Seen>, Closed) {
    match PcapReader::new(Trickle(bytes)) {
        Ok(mut reader) => read_all(&mut reader),
        Err(closed) => (Vec::new(), closed),
    }
}

/// Gives a few bytes at a time, as a pipe may.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let n = self.0.len().min(to.len()).min(7);
        to[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

/// Writes numbers in one byte order.
#[derive(Clone, Copy, Debug)]
struct Writer {
    big: bool,
}

const ORDERS: [Writer; 2] = [Writer { big: false }, Writer { big: true }];

impl Writer {
    fn u16(self, n: u16) -> Vec<u8> {
        if self.big {
            n.to_be_bytes().into()
        } else {
            n.to_le_bytes().into()
        }
    }

    fn u32(self, numbers: &[u32]) -> Vec<u8> {
        numbers
            .iter()
            .flat_map(|n| {
                if self.big {
                    n.to_be_bytes()
                } else {
                    n.to_le_bytes()
                }
            })
            .collect()
    }

    fn header(self, magic: u32, version: (u16, u16), link: u32) -> Vec<u8> {
        [
            self.u32(&[magic]),
            self.u16(version.0),
            self.u16(version.1),
            self.u32(&[0, 0, 128, link]),
        ]
        .concat()
    }

    fn record(self, seconds: u32, fraction: u32, length: u32, bytes: &[u8]) -> Vec<u8> {
        let captured = bytes.len() as u32;
        [
            self.u32(&[seconds, fraction, captured, length]),
            bytes.to_vec(),
        ]
        .concat()
    }

    fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
        let length = self.u32(&[12 + (body.len() + padding.len()) as u32]);
        [&self.u32(&[kind]), &length, body, &padding, &length].concat()
    }

    fn section(self) -> Vec<u8> {
        let version = [self.u16(1), self.u16(0)].concat();
        self.block(
            0x0a0d_0d0a,
            &[self.u32(&[0x1a2b_3c4d]), version, vec![0xff; 8]].concat(),
        )
    }

    fn interface(self, link: u16, snap: u32, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = [self.u16(link), self.u16(0), self.u32(&[snap])].concat();
        for (code, value) in options {
            body.extend([self.u16(*code), self.u16(value.len() as u16)].concat());
            body.extend_from_slice(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        self.block(1, &body)
    }

    fn enhanced(self, interface: u32, units: u64, length: u32, bytes: &[u8]) -> Vec<u8> {
        let fields = [
            interface,
            (units >> 32) as u32,
            units as u32,
            bytes.len() as u32,
            length,
        ];
        self.block(6, &[&self.u32(&fields), bytes].concat())
    }
}

const MICRO: u32 = 0xa1b2_c3d4;
const NANO: u32 = 0xa1b2_3c4d;
const KUZNETZOV: u32 = 0xa1b2_cd34;
const V2_4: (u16, u16) = (2, 4);
const LE: Writer = Writer { big: false };

fn malformed(offset: u64, expected: &'static str) -> Closed {
    let damage = Damage::Malformed { expected };
    Closed::Damaged { offset, damage }
}

fn cut(offset: u64, missing: u32) -> Closed {
    let damage = Damage::Cut { missing };
    Closed::Damaged { offset, damage }
}

fn too_long(offset: u64, length: u32, max: u32) -> Closed {
    let damage = Damage::TooLong { length, max };
    Closed::Damaged { offset, damage }
}

#[test]
fn pcap_in_both_orders_and_precisions() {
    for order in ORDERS {
        for (magic, nanos) in [(MICRO, 7_000_005_000), (NANO, 7_000_000_005)] {
            let file = [
                order.header(magic, V2_4, 1),
                order.record(7, 5, 1500, b"hello"),
                order.record(6, 0, 0, b""),
                // Damaged writers give a wire length below the captured one.
                order.record(u32::MAX, u32::MAX, 1, b"abc"),
            ]
            .concat();
            let (seen, closed) = read_bytes(&file);
            assert_eq!(closed, Closed::End);
            assert_eq!(
                seen[0],
                (b"hello".to_vec(), 1500, nanos, LinkType::Ethernet)
            );
            assert_eq!(seen[1], (vec![], 0, 6_000_000_000, LinkType::Ethernet));
            assert_eq!((seen[2].0.as_slice(), seen[2].1), (b"abc".as_slice(), 3));
            assert_eq!(seen.len(), 3);
        }
    }
}

#[test]
fn pcap_with_kuznetzovs_longer_record_header() {
    for order in ORDERS {
        let record = [order.u32(&[1, 2, 3, 60, 9, 9]), b"abc".to_vec()].concat();
        let file = [order.header(KUZNETZOV, V2_4, 1), record.clone(), record].concat();
        let (seen, closed) = read_bytes(&file);
        assert_eq!(closed, Closed::End);
        assert_eq!(
            seen,
            vec![(b"abc".to_vec(), 60, 1_000_002_000, LinkType::Ethernet); 2]
        );
    }
}

#[test]
fn pcap_before_2_4_has_its_lengths_the_other_way() {
    for version in [(2, 2), (2, 3), (543, 0)] {
        let record = [LE.u32(&[1, 0, 60, 3]), b"abc".to_vec()].concat();
        let file = [LE.header(MICRO, version, 1), record].concat();
        let (seen, closed) = read_bytes(&file);
        assert_eq!(
            (closed, seen[0].1),
            (Closed::End, 60),
            "version {version:?}"
        );
        assert_eq!(seen[0].0, b"abc");
    }
}

#[test]
fn link_types() {
    let expected = [
        (0, LinkType::Null),
        (1, LinkType::Ethernet),
        (12, LinkType::Raw),
        (14, LinkType::Raw),
        (101, LinkType::Raw),
        (108, LinkType::Loop),
        (113, LinkType::Sll),
        (228, LinkType::Raw),
        (229, LinkType::Raw),
        (276, LinkType::Sll2),
        (127, LinkType::Unknown(127)),
        (0x0300_0000, LinkType::Unknown(u16::MAX)),
        // The uppermost bits tell of an FCS.
        (0x3400_0001, LinkType::Ethernet),
    ];
    for (number, link) in expected {
        let file = [LE.header(MICRO, V2_4, number), LE.record(0, 0, 1, b"a")].concat();
        assert_eq!(read_bytes(&file).0[0].3, link, "LINKTYPE {number:#x}");
    }
}

#[test]
fn what_is_no_capture_is_refused() {
    assert_eq!(read_bytes(b""), (vec![], cut(0, 24)));
    assert_eq!(read_bytes(b"\xd4\xc3"), (vec![], cut(0, 22)));
    let header = LE.header(MICRO, V2_4, 1);
    assert_eq!(read_bytes(&header[..20]), (vec![], cut(0, 4)));
    let closed = malformed(0, "the magic number of pcap or pcapng");
    assert_eq!(
        read_bytes(b"\x1f\x8b\x08\x00 gzip of something"),
        (vec![], closed)
    );
    let closed = malformed(0, "pcap version 2.0 to 2.4");
    assert_eq!(read_bytes(&LE.header(MICRO, (1, 4), 1)), (vec![], closed));
    let missing = PcapFile::open("/nonexistent/file.pcap".as_ref());
    assert!(matches!(missing, Err(OpenError::Open(e)) if e.kind() == io::ErrorKind::NotFound));
    assert!(matches!(
        PcapFile::open("/dev/null".as_ref()),
        Err(OpenError::Unreadable(closed)) if closed == cut(0, 24)
    ));
}

#[test]
fn damaged_pcap_gives_the_frames_before() {
    let good = [LE.header(MICRO, V2_4, 1), LE.record(1, 0, 4, b"four")].concat();
    let at = good.len() as u64;
    let next = LE.record(2, 0, 9, b"nine byte");
    for kept in 1..next.len() {
        let (seen, closed) = read_bytes(&[&good, &next[..kept]].concat());
        let missing = if kept < 16 {
            16 - kept
        } else {
            next.len() - kept
        };
        assert_eq!(
            (seen.len(), closed),
            (1, cut(at, missing as u32)),
            "cut after {kept}"
        );
    }
    let lie = LE.u32(&[2, 0, 262_145, 262_145]);
    let (seen, closed) = read_bytes(&[good.clone(), lie].concat());
    assert_eq!((seen.len(), closed), (1, too_long(at, 262_145, 262_144)));
    let longest = LE.record(2, 0, 300_000, &vec![7; 262_144]);
    let mut reader = PcapReader::new(Cursor::new([good, longest].concat())).unwrap();
    let (seen, closed) = read_all(&mut reader);
    assert_eq!(
        (seen[1].0.len(), seen[1].1, closed),
        (262_144, 300_000, Closed::End)
    );
    assert_eq!(reader.bytes_read(), at + 16 + 262_144);
}

#[test]
fn pcapng_with_sections_of_both_orders_and_all_packet_blocks() {
    let mut file = Vec::new();
    for order in ORDERS {
        let old = [
            order.u16(1),
            order.u16(0xffff),
            order.u32(&[0, 5_000_000, 3, 64]),
            b"old".to_vec(),
        ];
        file.extend(order.section());
        file.extend(order.block(0x0bad_cafe, &[1; 600]));
        file.extend(order.interface(1, 6, &[(2, b"eth0"), (0, b"")]));
        file.extend(order.interface(101, 0, &[]));
        file.extend(order.enhanced(0, 3_000_001, 1500, b"enhanced"));
        file.extend(order.block(5, &[0; 12]));
        file.extend(order.block(3, &[order.u32(&[9]), b"simple\0\0".to_vec()].concat()));
        file.extend(order.block(2, &old.concat()));
    }
    let (seen, closed) = read_bytes(&file);
    assert_eq!(closed, Closed::End);
    assert_eq!(seen.len(), 6);
    for (i, seen) in seen.chunks(3).enumerate() {
        let newest = [3_000_001_000, 5_000_000_000][i];
        assert_eq!(
            seen[0],
            (
                b"enhanced".to_vec(),
                1500,
                3_000_001_000,
                LinkType::Ethernet
            )
        );
        // Six bytes are the interface's snap length; the time is the newest before it.
        assert_eq!(seen[1], (b"simple".to_vec(), 9, newest, LinkType::Ethernet));
        assert_eq!(seen[2], (b"old".to_vec(), 64, 5_000_000_000, LinkType::Raw));
    }
}

#[test]
fn pcapng_clocks() {
    let frame_at = |resolution: Option<u8>, offset: i64, units: u64| {
        let (resolution, offset) = (resolution.map(|r| [r]), offset.to_le_bytes());
        let mut options: Vec<(u16, &[u8])> = vec![(14, &offset)];
        options.extend(resolution.iter().map(|r| (9, r.as_slice())));
        let interface = LE.interface(1, 0, &options);
        let file = [LE.section(), interface, LE.enhanced(0, units, 1, b"a")].concat();
        let (seen, closed) = read_bytes(&file);
        assert_eq!(closed, Closed::End);
        seen[0].2
    };
    assert_eq!(frame_at(None, 0, 1), 1_000);
    assert_eq!(frame_at(Some(0), 0, 3), 3_000_000_000);
    assert_eq!(
        frame_at(Some(9), 0, 1_700_000_000_123_456_789),
        1_700_000_000_123_456_789
    );
    assert_eq!(frame_at(Some(12), 0, 5_999), 5);
    assert_eq!(frame_at(Some(28), 0, u64::MAX), 1);
    assert_eq!(frame_at(Some(29), 0, u64::MAX), 0);
    assert_eq!(frame_at(Some(127), 0, u64::MAX), 0);
    assert_eq!(frame_at(Some(0x80 | 10), 0, 1536), 1_500_000_000);
    assert_eq!(frame_at(Some(0x80 | 32), 0, 1 << 31), 500_000_000);
    assert_eq!(frame_at(Some(0xff), 0, u64::MAX), 0);
    assert_eq!(frame_at(Some(0), 0, u64::MAX), u64::MAX);
    assert_eq!(frame_at(None, 100, 1), 100_000_001_000);
    assert_eq!(frame_at(None, -1, 3_000_000), 2_000_000_000);
    assert_eq!(frame_at(None, i64::MIN, 3_000_000), 0);
}

#[test]
fn damaged_pcapng_names_the_block() {
    let good = [
        LE.section(),
        LE.interface(1, 0, &[]),
        LE.enhanced(0, 1, 4, b"four"),
    ]
    .concat();
    let at = good.len() as u64;
    let damaged = |block: Vec<u8>| {
        let (seen, closed) = read_bytes(&[good.clone(), block].concat());
        assert_eq!(seen.len(), 1);
        closed
    };
    let lengths = "a block length that is a multiple of 4 and at least 12";
    assert_eq!(damaged(LE.u32(&[6, 8, 8])), malformed(at, lengths));
    assert_eq!(damaged(LE.u32(&[6, 33, 0])), malformed(at, lengths));
    assert_eq!(
        damaged(LE.enhanced(1, 1, 1, b"a")),
        malformed(at, "an interface described before")
    );
    assert_eq!(
        damaged(LE.block(6, &LE.u32(&[0, 0, 0, 5, 5, 0]))),
        malformed(at, "a frame that ends within its block")
    );
    assert_eq!(
        damaged(LE.block(6, &LE.u32(&[0, 0, 0, 262_145, 5, 0]))),
        too_long(at, 262_145, 262_144)
    );
    assert_eq!(
        damaged(LE.block(6, &LE.u32(&[0, 0]))),
        malformed(at, "a packet block with its fields")
    );
    assert_eq!(
        damaged(LE.u32(&[6, 16_777_220, 0])),
        too_long(at, 16_777_220, 16_777_216)
    );
    assert_eq!(
        damaged(LE.block(1, &[])),
        malformed(at, "an interface of 20 bytes or more")
    );
    assert_eq!(
        damaged(LE.block(1, &LE.u32(&[1, 0, 0x00ff_0002]))),
        malformed(at, "an option that ends within its block")
    );
    assert_eq!(
        damaged(LE.interface(1, 0, &[(9, b"ab")])),
        malformed(at, "an if_tsresol of 1 byte")
    );
    for kind in [6, 0x0bad_cafe] {
        let mut block = LE.enhanced(0, 1, 4, b"four");
        block[..4].copy_from_slice(&LE.u32(&[kind]));
        for kept in 1..block.len() {
            let missing = if kept < 12 {
                12 - kept
            } else {
                block.len() - kept
            };
            let closed = damaged(block[..kept].to_vec());
            assert_eq!(
                closed,
                cut(at, missing as u32),
                "type {kind} cut after {kept}"
            );
        }
        *block.last_mut().unwrap() ^= 1;
        let expected = "the block's length repeated at its end";
        assert_eq!(damaged(block), malformed(at, expected));
    }
    let mut section = LE.section();
    section[12] = 2;
    assert_eq!(damaged(section), malformed(at, "pcapng version 1.0"));
}

#[test]
fn a_failing_read_keeps_its_errno() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(5))
        }
    }
    let file = [LE.header(MICRO, V2_4, 1), LE.record(1, 0, 4, b"four")].concat();
    let offset = file.len() as u64;
    let (seen, closed) = read_all(&mut PcapReader::new(Cursor::new(file).chain(Broken)).unwrap());
    let damage = Damage::Read(5);
    assert_eq!(
        (seen.len(), closed),
        (1, Closed::Damaged { offset, damage })
    );
}

#[test]
fn the_clock_is_the_newest_frames() {
    let records = [(5, 1), (9, 1), (2, 1)].map(|(s, n)| LE.record(s, n, 1, b"a"));
    let file = [LE.header(NANO, V2_4, 1), records.concat()].concat();
    let mut reader = PcapReader::new(Cursor::new(file)).unwrap();
    assert_eq!(reader.now().nanos(), 0);
    assert_eq!(reader.burst(|_| ()), Ok(3));
    assert_eq!(reader.now().nanos(), 9_000_000_001);
}

proptest! {
    /// Any bytes behind any magic: no panic, an end, and never more frames than there is room for.
    #[test]
    fn any_bytes_are_read_to_an_end(
        magic in 0..8_usize,
        tail in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let mut file = match magic {
            0 => vec![],
            1 => LE.header(MICRO, V2_4, 1),
            2 => Writer { big: true }.header(NANO, (2, 3), 1),
            3 => LE.header(KUZNETZOV, V2_4, 1),
            4 => LE.section(),
            5 => [LE.section(), LE.interface(1, 0, &[])].concat(),
            6 => Writer { big: true }.section(),
            _ => LE.section()[..10].to_vec(),
        };
        file.extend(&tail);
        let (seen, closed) = read_bytes(&file);
        prop_assert!(seen.len() * 16 <= file.len());
        if let Closed::Damaged { offset, .. } = closed {
            prop_assert!(offset <= file.len() as u64);
        }
    }

    /// A good file with one byte changed: no panic, and the frames before it are all there.
    #[test]
    fn one_wrong_byte_harms_nothing_before_it(at in 0..400_usize, byte: u8, ng: bool) {
        let frame = b"0123456789";
        let (head, one) = if ng {
            ([LE.section(), LE.interface(1, 0, &[])].concat(), LE.enhanced(0, 1, 10, frame))
        } else {
            (LE.header(MICRO, V2_4, 1), LE.record(1, 1, 10, frame))
        };
        let mut file = [head.clone(), one.repeat(10)].concat();
        let at = at % file.len();
        file[at] = byte;
        let whole = at.saturating_sub(head.len()) / one.len();
        let (seen, _) = read_bytes(&file);
        prop_assert!(seen.len() >= whole);
        prop_assert!(seen[..whole].iter().all(|f| f.0 == frame));
    }
}

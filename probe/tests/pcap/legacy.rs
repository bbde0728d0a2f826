//! The pcap format, and what holds for both formats.

use std::io::{self, Cursor, Read};

use sonde_probe::source::pcap::{OpenError, PcapFile, PcapReader};
use sonde_probe::source::{Closed, Damage, LinkType, Source};

use crate::reading::{cut, malformed, read_all, read_bytes, too_long};
use crate::writer::{KUZNETZOV, LE, MICRO, NANO, ORDERS, V2_4};

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
            assert_eq!(seen[0], (b"hello".to_vec(), 1500, nanos, LinkType::Ethernet));
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
        assert_eq!(seen, vec![(b"abc".to_vec(), 60, 1_000_002_000, LinkType::Ethernet); 2]);
    }
}

#[test]
fn pcap_before_2_4_has_its_lengths_the_other_way() {
    for version in [(2, 2), (2, 3), (543, 0)] {
        let record = [LE.u32(&[1, 0, 60, 3]), b"abc".to_vec()].concat();
        let file = [LE.header(MICRO, version, 1), record].concat();
        let (seen, closed) = read_bytes(&file);
        assert_eq!((closed, seen[0].1), (Closed::End, 60), "version {version:?}");
        assert_eq!(seen[0].0, b"abc");
    }
}

#[test]
fn link_types() {
    let expected = [
        (0, LinkType::Null),
        (1, LinkType::Ethernet),
        (9, LinkType::Ppp),
        (10, LinkType::Fddi),
        (12, LinkType::Raw),
        (14, LinkType::Raw),
        (50, LinkType::Ppp),
        (101, LinkType::Raw),
        (104, LinkType::Hdlc),
        (105, LinkType::Ieee80211),
        (107, LinkType::FrameRelay),
        (108, LinkType::Loop),
        (113, LinkType::Sll),
        (127, LinkType::Radiotap),
        (226, LinkType::Ipnet),
        (228, LinkType::Raw),
        (229, LinkType::Raw),
        (239, LinkType::Nflog),
        (242, LinkType::Ipoib),
        (276, LinkType::Sll2),
        (147, LinkType::Unknown(147)),
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
fn unsupported_link_types_are_remembered() {
    let record = LE.record(0, 0, 1, b"a");
    for (number, unsupported) in [(147, &[147][..]), (1, &[])] {
        let file = [LE.header(MICRO, V2_4, number), record.repeat(3)].concat();
        let mut reader = PcapReader::new(Cursor::new(file)).unwrap();
        assert!(reader.unsupported().is_empty());
        read_all(&mut reader);
        assert_eq!(reader.unsupported(), unsupported);
    }
}

#[test]
fn what_is_no_capture_is_refused() {
    assert_eq!(read_bytes(b""), (vec![], cut(0, 24)));
    assert_eq!(read_bytes(b"\xd4\xc3"), (vec![], cut(0, 22)));
    let header = LE.header(MICRO, V2_4, 1);
    assert_eq!(read_bytes(&header[..20]), (vec![], cut(0, 4)));
    let closed = malformed(0, "the magic number of pcap or pcapng");
    assert_eq!(read_bytes(b"\x1f\x8b\x08\x00 gzip of something"), (vec![], closed));
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
        let missing = if kept < 16 { 16 - kept } else { next.len() - kept };
        assert_eq!((seen.len(), closed), (1, cut(at, missing as u32)), "cut after {kept}");
    }
    let lie = LE.u32(&[2, 0, 262_145, 262_145]);
    let (seen, closed) = read_bytes(&[good.clone(), lie].concat());
    assert_eq!((seen.len(), closed), (1, too_long(at, 262_145, 262_144)));
    let longest = LE.record(2, 0, 300_000, &vec![7; 262_144]);
    let mut reader = PcapReader::new(Cursor::new([good, longest].concat())).unwrap();
    let (seen, closed) = read_all(&mut reader);
    assert_eq!((seen[1].0.len(), seen[1].1, closed), (262_144, 300_000, Closed::End));
    assert_eq!(reader.bytes_read(), at + 16 + 262_144);
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
    assert_eq!((seen.len(), closed), (1, Closed::Damaged { offset, damage }));
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

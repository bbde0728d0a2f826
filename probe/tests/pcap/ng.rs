//! The pcapng format.

use sonde_probe::source::{Closed, LinkType};

use crate::reading::{cut, malformed, read_bytes, too_long};
use crate::writer::{LE, ORDERS};

#[test]
fn pcapng_with_sections_of_both_orders_and_all_packet_blocks() {
    let mut file = Vec::new();
    for order in ORDERS {
        let old =
            [order.u16(1), order.u16(0xffff), order.u32(&[0, 5_000_000, 3, 64]), b"old".to_vec()];
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
        assert_eq!(seen[0], (b"enhanced".to_vec(), 1500, 3_000_001_000, LinkType::Ethernet));
        // Six bytes are the interface's snap length; the time is the newest before it.
        assert_eq!(seen[1], (b"simple".to_vec(), 9, newest, LinkType::Ethernet));
        assert_eq!(seen[2], (b"old".to_vec(), 64, 5_000_000_000, LinkType::Raw));
    }
}

#[test]
fn the_trailer_of_a_section_header_does_not_matter() {
    let mut file = [LE.section(), LE.interface(1, 0, &[]), LE.enhanced(0, 1, 1, b"a")].concat();
    file[24] ^= 1;
    let (seen, closed) = read_bytes(&file);
    assert_eq!((seen.len(), closed), (1, Closed::End));
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
    assert_eq!(frame_at(Some(9), 0, 1_700_000_000_123_456_789), 1_700_000_000_123_456_789);
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
    let good = [LE.section(), LE.interface(1, 0, &[]), LE.enhanced(0, 1, 4, b"four")].concat();
    let at = good.len() as u64;
    let damaged = |block: Vec<u8>| {
        let (seen, closed) = read_bytes(&[good.clone(), block].concat());
        assert_eq!(seen.len(), 1);
        closed
    };
    let lengths = "a block length that is a multiple of 4 and at least 12";
    assert_eq!(damaged(LE.u32(&[6, 8, 8])), malformed(at, lengths));
    assert_eq!(damaged(LE.u32(&[6, 33, 0])), malformed(at, lengths));
    assert_eq!(damaged(LE.enhanced(1, 1, 1, b"a")), malformed(at, "an interface described before"));
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
    assert_eq!(damaged(LE.u32(&[6, 16_777_220, 0])), too_long(at, 16_777_220, 16_777_216));
    assert_eq!(damaged(LE.block(1, &[])), malformed(at, "an interface of 20 bytes or more"));
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
            let missing = if kept < 12 { 12 - kept } else { block.len() - kept };
            let closed = damaged(block[..kept].to_vec());
            assert_eq!(closed, cut(at, missing as u32), "type {kind} cut after {kept}");
        }
        *block.last_mut().unwrap() ^= 1;
        let expected = "the block's length repeated at its end";
        assert_eq!(damaged(block), malformed(at, expected));
    }
    let mut section = LE.section();
    section[12] = 2;
    assert_eq!(damaged(section), malformed(at, "pcapng version 1.0"));
}

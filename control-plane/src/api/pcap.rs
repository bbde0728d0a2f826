//! Packets as a capture file (Skydive API §2.2).

use sonde_proto::flow::RawPacket;

/// A classic pcap of the Ethernet packets, oldest first, times in microseconds; empty without
/// packets. Unlike Skydive's it tells how long each packet was on the wire.
pub(super) fn file(flows: &[(String, Vec<RawPacket>)]) -> Vec<u8> {
    let packets = flows.iter().flat_map(|(_, packets)| packets);
    let mut packets: Vec<_> = packets.filter(|packet| packet.link_type == ETHERNET).collect();
    if packets.is_empty() {
        return Vec::new();
    }
    packets.sort_by_key(|packet| (packet.timestamp, packet.nanoseconds));
    let mut file = Vec::new();
    // Magic, version 2.4, time zone and accuracy that nobody uses, then the two that matter.
    for number in [0xa1b2_c3d4, 0x0004_0002, 0, 0, SNAP_LENGTH, ETHERNET] {
        file.extend_from_slice(&u32::to_le_bytes(number));
    }
    for packet in packets {
        let captured = u32::try_from(packet.data.len()).unwrap_or(u32::MAX);
        let millis = u64::try_from(packet.timestamp).unwrap_or(0);
        // Seconds have 32 bits, until 2106.
        let seconds = u32::try_from(millis / 1000).unwrap_or(u32::MAX);
        let micros = (millis % 1000) as u32 * 1000 + packet.nanoseconds / 1000;
        for number in [seconds, micros, captured, packet.length.max(captured)] {
            file.extend_from_slice(&number.to_le_bytes());
        }
        file.extend_from_slice(&packet.data);
    }
    file
}

/// LINKTYPE of Ethernet.
const ETHERNET: u32 = 1;

/// Skydive's; `HeaderSize` is not larger.
const SNAP_LENGTH: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(timestamp: i64, link_type: u32, data: &'static [u8]) -> RawPacket {
        RawPacket {
            timestamp,
            nanoseconds: 456_789,
            index: 0,
            data: data.into(),
            link_type,
            length: 1514,
        }
    }

    #[test]
    fn ethernet_packets_in_the_order_of_time() {
        let flows = [
            ("a".to_owned(), vec![packet(2001, 1, b"late"), packet(0, 101, b"raw")]),
            ("b".to_owned(), vec![packet(1999, 1, b"early!")]),
        ];
        let expected = [
            "d4c3b2a1 0200 0400 00000000 00000000 00100000 01000000",
            "01000000 20400f00 06000000 ea050000 6561726c7921",
            "02000000 b0050000 04000000 ea050000 6c617465",
        ];
        let digits = expected.concat().replace(' ', "");
        let hex: String = file(&flows).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, digits);
        assert!(file(&[]).is_empty());
        assert!(file(&[("a".into(), vec![packet(0, 101, b"raw")])]).is_empty());
    }
}

//! What a kind of device makes of a packet: a frame.

use super::ring::Packet;
use crate::source::{Frame, LinkType};

/// What kind of device gives the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Device {
    Ethernet,
    /// Ethernet framing, each frame shown twice.
    Loopback,
    /// Anything else, by its ARPHRD number: frames are lent from the network header on.
    Other(u16),
}

impl Device {
    pub(super) fn from_arphrd(number: u16) -> Self {
        match number {
            libc::ARPHRD_ETHER => Self::Ethernet,
            libc::ARPHRD_LOOPBACK => Self::Loopback,
            other => Self::Other(other),
        }
    }

    /// The frame that `packet` is; `tagged` holds it when a VLAN tag has to be put back.
    pub(super) fn frame<'p>(self, packet: &Packet<'p>, tagged: &'p mut Vec<u8>) -> Frame<'p> {
        let frame = Frame {
            bytes: packet.bytes,
            length: packet.length.max(packet.bytes.len() as u32),
            at: packet.at,
            link: LinkType::Ethernet,
        };
        match (self, packet.vlan, packet.bytes.split_at_checked(MAC_ADDRESSES)) {
            (Self::Other(arphrd), ..) => {
                let header = packet.network.min(packet.bytes.len());
                Frame {
                    bytes: &packet.bytes[header..],
                    length: frame.length - header as u32,
                    link: match i32::from(packet.protocol) {
                        libc::ETH_P_IP | libc::ETH_P_IPV6 => LinkType::Raw,
                        _ => LinkType::Unknown(arphrd),
                    },
                    ..frame
                }
            }
            (_, Some(tag), Some((addresses, rest))) => {
                tagged.clear();
                for part in [addresses, &tag, rest] {
                    tagged.extend_from_slice(part);
                }
                Frame { bytes: tagged, length: frame.length + tag.len() as u32, ..frame }
            }
            _ => frame,
        }
    }
}

/// Bytes before the VLAN tag of an Ethernet frame.
const MAC_ADDRESSES: usize = 12;

#[cfg(test)]
mod tests {
    use sonde_proto::time::Timestamp;

    use super::*;

    const BYTES: &[u8] = b"ddddddssssss\x08\x00payload";

    fn packet(bytes: &[u8], vlan: Option<[u8; 4]>) -> Packet<'_> {
        Packet {
            bytes,
            length: 100,
            at: Timestamp::from_nanos(7),
            vlan,
            network: 14,
            protocol: 0x0800,
            outgoing: false,
        }
    }

    #[test]
    fn a_vlan_tag_is_put_back() {
        let mut tagged = Vec::new();
        let packet = packet(BYTES, Some([0x88, 0xa8, 0x20, 0x05]));
        let frame = Device::Ethernet.frame(&packet, &mut tagged);
        assert_eq!(frame.bytes, b"ddddddssssss\x88\xa8\x20\x05\x08\x00payload");
        assert_eq!((frame.length, frame.link), (104, LinkType::Ethernet));
    }

    #[test]
    fn a_tag_without_addresses_stays_away() {
        let mut tagged = Vec::new();
        let packet = packet(&BYTES[..11], Some([0x81, 0, 0, 5]));
        let frame = Device::Ethernet.frame(&packet, &mut tagged);
        assert_eq!((frame.bytes, frame.length), (&BYTES[..11], 100));
    }

    #[test]
    fn other_devices_give_ip() {
        let mut tagged = Vec::new();
        let tun = Device::from_arphrd(libc::ARPHRD_NONE);
        let mut packet = packet(BYTES, None);
        let frame = tun.frame(&packet, &mut tagged);
        assert_eq!((frame.bytes, frame.length), (b"payload".as_slice(), 86));
        assert_eq!(frame.link, LinkType::Raw);
        packet.protocol = 0x88cc;
        packet.network = usize::MAX;
        let frame = tun.frame(&packet, &mut tagged);
        assert_eq!((frame.bytes, frame.link), (b"".as_slice(), LinkType::Unknown(0xfffe)));
    }
}

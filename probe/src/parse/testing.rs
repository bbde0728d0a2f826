//! Frames for the tests beside.

use sonde_proto::time::Timestamp;

use super::{Piece, parse};
use crate::source::{Frame, LinkType};

/// The pieces of a frame whose wire length is that of its bytes.
pub(super) fn pieces(link: LinkType, bytes: &[u8]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    parse(&frame(link, bytes), u32::MAX, &mut pieces).expect("a frame that is not skipped");
    pieces
}

/// The only piece of an Ethernet frame.
pub(super) fn only(bytes: &[u8]) -> Piece {
    let pieces = pieces(LinkType::Ethernet, bytes);
    assert_eq!(pieces.len(), 1, "{pieces:?}");
    pieces[0]
}

/// The paths of the pieces of an Ethernet frame.
pub(super) fn paths(bytes: &[u8]) -> Vec<String> {
    pieces(LinkType::Ethernet, bytes).iter().map(|piece| piece.layers.to_string()).collect()
}

pub(super) fn frame(link: LinkType, bytes: &[u8]) -> Frame<'_> {
    Frame { bytes, length: bytes.len() as u32, at: Timestamp::default(), link }
}

/// Bytes from hex digits, spaces ignored.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).expect("a hex digit") as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// From 02::01 to 02::02.
pub(super) fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = hex("020000000002 020000000001");
    bytes.extend(kind.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// From 10.0.0.1 to 10.0.0.2.
pub(super) fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = hex("4500 0000 0001 0000 4000 0000 0a000001 0a000002");
    bytes[2..4].copy_from_slice(&(payload.len() as u16 + 20).to_be_bytes());
    bytes[9] = protocol;
    bytes.extend(payload);
    bytes
}

/// From fd00::1 to fd00::2.
pub(super) fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes =
        hex("60000000 0000 0040 fd000000000000000000000000000001 fd000000000000000000000000000002");
    bytes[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
    bytes[6] = next;
    bytes.extend(payload);
    bytes
}

pub(super) fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(source.to_be_bytes());
    bytes.extend(destination.to_be_bytes());
    bytes.extend((payload.len() as u16 + 8).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(payload);
    bytes
}

/// From port 1000 to port 80, flags SYN.
pub(super) fn tcp() -> Vec<u8> {
    hex("03e8 0050 00000001 00000000 5002 ffff 0000 0000")
}

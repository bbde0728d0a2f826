//! TCP, UDP and SCTP.

use sonde_proto::record::{Layer, Transport};

use super::Piece;
use super::rest::{Rest, Stop};
use super::walk::{Next, Step};

/// TCP (RFC 9293 §3.1). Ports are taken even if the capture cuts the header behind them.
#[inline(always)]
pub(super) fn tcp<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (&[s0, s1, d0, d1], after) = rest.split::<4>()?;
    piece.name(Layer::Tcp)?;
    let source = u16::from_be_bytes([s0, s1]);
    let destination = u16::from_be_bytes([d0, d1]);
    let taken = piece.set_ports(Transport::Tcp, source, destination);
    let (&[q0, q1, q2, q3, .., data_offset, flags], _) = after.split::<10>()?;
    let header_length = u32::from(data_offset >> 4) * 4;
    if taken {
        piece.tcp_flags = flags;
        piece.tcp_sequence = u32::from_be_bytes([q0, q1, q2, q3]);
        piece.tcp_payload = rest.len().saturating_sub(header_length);
    }
    rest.skip(header_length as usize)?;
    Ok(Next::End)
}

/// UDP (RFC 768), and what its payload is by the ports' numbers.
#[inline]
pub(super) fn udp<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (&[s0, s1, d0, d1], after) = rest.split::<4>()?;
    piece.name(Layer::Udp)?;
    let source = u16::from_be_bytes([s0, s1]);
    let destination = u16::from_be_bytes([d0, d1]);
    piece.set_ports(Transport::Udp, source, destination);
    let (&[l0, l1, _, _], payload) = after.split::<4>()?;
    match u16::from_be_bytes([l0, l1]) {
        // A jumbogram (RFC 2675 §4), or segmentation offload.
        0 => Ok(Next::Datagram([source, destination], payload)),
        length @ 8.. => {
            let payload = payload.limit(u32::from(length) - 8);
            Ok(Next::Datagram([source, destination], payload))
        }
        _ => Err(Stop::Unread),
    }
}

/// SCTP (RFC 9260 §3) and its chunks, up to the first with user data.
pub(super) fn sctp<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (&[s0, s1, d0, d1], after) = rest.split::<4>()?;
    piece.name(Layer::Sctp)?;
    let source = u16::from_be_bytes([s0, s1]);
    let destination = u16::from_be_bytes([d0, d1]);
    piece.set_ports(Transport::Sctp, source, destination);
    let mut chunks = after.skip(8)?;
    while chunks.len() > 0 {
        let (&[kind, _, l0, l1], _) = chunks.split::<4>()?;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        if length < 4 {
            return Err(Stop::Unread);
        }
        piece.name(chunk(kind))?;
        if kind == 0 {
            break;
        }
        // A chunk is padded to a multiple of 4; the last one may miss its padding.
        let padded = length.next_multiple_of(4);
        if padded >= chunks.len() as usize {
            break;
        }
        chunks = chunks.skip(padded)?;
    }
    Ok(Next::End)
}

fn chunk(kind: u8) -> Layer {
    match kind {
        0 => Layer::SctpData,
        1 => Layer::SctpInit,
        2 => Layer::SctpInitAck,
        3 => Layer::SctpSack,
        4 => Layer::SctpHeartbeat,
        5 => Layer::SctpHeartbeatAck,
        6 => Layer::SctpAbort,
        7 => Layer::SctpShutdown,
        8 => Layer::SctpShutdownAck,
        9 => Layer::SctpError,
        10 => Layer::SctpCookieEcho,
        11 => Layer::SctpCookieAck,
        14 => Layer::SctpShutdownComplete,
        _ => Layer::SctpUnknownChunk,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ethernet, frame, hex, ipv4, only, tcp, udp};
    use super::super::{parse, tcp_flags};
    use crate::source::{Frame, LinkType};

    #[test]
    fn ports_survive_cut_tcp_options() {
        let segment =
            hex("03e8 0050 00000001 00000000 8012 ffff 0000 0000 020405b4 0402 0101 01010101");
        let bytes = ethernet(0x0800, &ipv4(6, &segment));
        for (captured, flags) in [
            (bytes.len(), tcp_flags::SYN | tcp_flags::ACK),
            (54 + 4, tcp_flags::SYN | tcp_flags::ACK),
            (34 + 14, tcp_flags::SYN | tcp_flags::ACK),
            (34 + 13, 0),
            (34 + 4, 0),
        ] {
            let mut pieces = Vec::new();
            let cut = Frame { bytes: &bytes[..captured], ..frame(LinkType::Ethernet, &bytes) };
            assert_eq!(parse(&cut, 256, &mut pieces), Ok(1));
            let piece = pieces[0];
            assert_eq!(piece.layers.to_string(), "Ethernet/IPv4/TCP");
            let ports = piece.ports.unwrap();
            assert_eq!((ports.source, ports.destination), (1000, 80));
            assert_eq!(piece.tcp_flags, flags, "{captured} bytes");
            assert_eq!(piece.truncated, captured < bytes.len());
        }
    }

    #[test]
    fn udp_is_kept_within_its_length() {
        let mut datagram = udp(1, 2, b"");
        let read = |datagram: &[u8]| only(&ethernet(0x0800, &ipv4(17, datagram)));
        assert_eq!(read(&datagram).layers.to_string(), "Ethernet/IPv4/UDP");
        datagram[5] = 7;
        let short = read(&datagram);
        assert_eq!(short.layers.to_string(), "Ethernet/IPv4/UDP");
        assert_eq!(short.ports.unwrap().destination, 2);
        assert!(!short.truncated);
    }

    #[test]
    fn sctp_chunks_are_named_up_to_data() {
        let header = "0b59 0b59 00000000 00000000";
        let sack = "0300 0010 00000001 0000ffff 0000 0000";
        let cases = [
            ("0000 0010 00000001 00000000 00000000".to_owned(), "SCTP/SCTPData"),
            (format!("{sack} 0003 0005 00"), "SCTP/SCTPSack/SCTPData"),
            ("0100 0014".to_owned() + &"00".repeat(16), "SCTP/SCTPInit"),
            ("0b00 0004 0600 0004".to_owned(), "SCTP/SCTPCookieAck/SCTPAbort"),
            ("8000 0004".to_owned(), "SCTP/SCTPUnknownChunkType"),
            ("0100 0003".to_owned(), "SCTP"),
            (String::new(), "SCTP"),
        ];
        for (chunks, path) in cases {
            let packet = ipv4(132, &hex(&format!("{header}{chunks}")));
            let piece = only(&ethernet(0x0800, &packet));
            assert_eq!(piece.layers.to_string(), format!("Ethernet/IPv4/{path}"));
            assert_eq!(piece.ports.unwrap().destination, 2905);
        }
    }

    #[test]
    fn tcp_ports_are_taken_once() {
        let piece = only(&ethernet(0x0800, &ipv4(6, &tcp())));
        assert_eq!(piece.ports, piece.key.ports);
    }
}

//! TCP, UDP and SCTP.

use sonde_proto::record::{Layer, Transport};

use super::rest::{Rest, Stop};
use super::{Next, Piece, Step, application};

/// TCP (RFC 9293 §3.1). Ports are taken even if the capture cuts the header behind them.
#[inline]
pub(super) fn tcp<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (&[s0, s1, d0, d1], after) = rest.split::<4>()?;
    piece.name(Layer::Tcp)?;
    let source = u16::from_be_bytes([s0, s1]);
    let destination = u16::from_be_bytes([d0, d1]);
    let taken = piece.set_ports(Transport::Tcp, source, destination);
    let (&[.., data_offset, flags], _) = after.split::<10>()?;
    if taken {
        piece.tcp_flags = flags;
    }
    rest.skip(usize::from(data_offset >> 4) * 4)?;
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
        0 => application::udp(piece, source, destination, payload),
        length @ 8.. => {
            let payload = payload.limit(u32::from(length) - 8);
            application::udp(piece, source, destination, payload)
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

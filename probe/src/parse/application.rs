//! What UDP carries: told by the port, the destination's first, and named if the payload fits.

use sonde_proto::record::Layer;

use super::rest::{Rest, Stop};
use super::{Next, Piece, Step, tunnel};

/// Names the payload of UDP. A payload that does not fit its port's protocol has no name.
#[inline]
pub(super) fn udp<'a>(
    piece: &mut Piece,
    source: u16,
    destination: u16,
    payload: Rest<'a>,
) -> Step<'a> {
    match decoder(destination).or_else(|| decoder(source)) {
        Some(layer) => named(piece, layer, payload),
        None => Ok(Next::End),
    }
}

#[inline]
fn decoder(port: u16) -> Option<Layer> {
    Some(match port {
        53 => Layer::Dns,
        67 | 68 => Layer::Dhcpv4,
        123 => Layer::Ntp,
        546 | 547 => Layer::Dhcpv6,
        2152 => Layer::GtpV1U,
        3784 => Layer::Bfd,
        4789 | 8472 => Layer::Vxlan,
        5060 => Layer::Sip,
        6081 => Layer::Geneve,
        6343 => Layer::SFlow,
        _ => return None,
    })
}

fn named<'a>(piece: &mut Piece, layer: Layer, payload: Rest<'a>) -> Step<'a> {
    let fits = match layer {
        Layer::Vxlan => return tunnel::vxlan(piece, payload),
        Layer::Geneve => return tunnel::geneve(piece, payload),
        Layer::GtpV1U => return tunnel::gtp(piece, payload),
        Layer::Dns => dns(payload)?,
        Layer::Dhcpv4 => dhcpv4(payload)?,
        Layer::Dhcpv6 => dhcpv6(payload)?,
        Layer::Ntp => payload.skip(48).map(|_| true)?,
        Layer::Bfd => bfd(payload)?,
        Layer::SFlow => sflow(payload)?,
        Layer::Sip => sip(payload),
        _ => false,
    };
    if fits {
        piece.name(layer)?;
    }
    Ok(Next::End)
}

/// DNS (RFC 1035 §4.1): a question takes 5 bytes at least, a record 11, and the payload must have
/// room for as many as the header says.
fn dns(payload: Rest<'_>) -> Result<bool, Stop> {
    let (&[_, _, _, _, q0, q1, a0, a1, n0, n1, r0, r1], body) = payload.split::<12>()?;
    let count = |high, low| u32::from(u16::from_be_bytes([high, low]));
    let questions = count(q0, q1);
    let records = count(a0, a1) + count(n0, n1) + count(r0, r1);
    if 5 * questions + 11 * records > body.len() {
        return Ok(false);
    }
    Ok(questions == 0 || name(body))
}

/// Whether the bytes start with a DNS name, as far as they were captured.
fn name(body: Rest<'_>) -> bool {
    let mut bytes = body.bytes();
    // A name has 255 bytes at most, so 127 labels and the root.
    for _ in 0..128 {
        let Some((&length, after)) = bytes.split_first() else {
            return (body.bytes().len() as u32) < body.len();
        };
        match length {
            0 => return true,
            1..=63 => bytes = after.get(usize::from(length)..).unwrap_or_default(),
            // A pointer ends the name; the other two kinds were never defined.
            _ => return length >= 0xc0,
        }
    }
    false
}

/// DHCPv4 (RFC 2131 §2): 236 bytes of BOOTP, then the magic cookie.
fn dhcpv4(payload: Rest<'_>) -> Result<bool, Stop> {
    let (&cookie, _) = payload.skip(236)?.split::<4>()?;
    Ok(cookie == [0x63, 0x82, 0x53, 0x63])
}

/// DHCPv6 (RFC 8415 §8, §9): type and transaction; relays have two addresses instead.
fn dhcpv6(payload: Rest<'_>) -> Result<bool, Stop> {
    let (&[kind, ..], _) = payload.split::<4>()?;
    let header = if matches!(kind, 12 | 13) { 34 } else { 4 };
    payload.skip(header)?;
    Ok(kind != 0)
}

/// BFD (RFC 5880 §4.1, §6.8.6): version 1, its own length, a multiplier and a discriminator.
fn bfd(payload: Rest<'_>) -> Result<bool, Stop> {
    let (&[version, _, multiplier, length, discriminator @ ..], _) = payload.split::<8>()?;
    payload.skip(24)?;
    let length = u32::from(length);
    Ok(version >> 5 == 1
        && multiplier != 0
        && (24..=payload.len()).contains(&length)
        && discriminator != [0; 4])
}

/// sFlow version 5: the agent's address is of version 4 or 6.
fn sflow(payload: Rest<'_>) -> Result<bool, Stop> {
    let (&[v0, v1, v2, v3, a0, a1, a2, a3], body) = payload.split::<8>()?;
    let address = match u32::from_be_bytes([a0, a1, a2, a3]) {
        1 => 4,
        2 => 16,
        _ => return Ok(false),
    };
    body.skip(address + 16)?;
    Ok(u32::from_be_bytes([v0, v1, v2, v3]) == 5)
}

/// SIP (RFC 3261 §7): the first line of a request ends in the version, that of a response starts
/// with it.
fn sip(payload: Rest<'_>) -> bool {
    const VERSION: &[u8] = b"SIP/2.0";
    let line = payload
        .bytes()
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    line.starts_with(VERSION) || line.trim_ascii_end().ends_with(VERSION)
}

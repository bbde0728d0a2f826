//! What UDP carries: told by the port, the destination's first, and named if the payload fits.

use sonde_proto::record::Layer;

use super::rest::{Rest, Stop};
use super::walk::{Next, Step};
use super::{Piece, tunnel};

/// Names the payload of UDP. A payload that does not fit its port's protocol has no name.
#[inline]
pub(super) fn udp<'a>(
    piece: &mut Piece,
    [source, destination]: [u16; 2],
    payload: Rest<'a>,
    mpls_port: Option<u16>,
) -> Step<'a> {
    match carried([source, destination], mpls_port) {
        Some(layer) => named(piece, layer, payload),
        None => Ok(Next::End),
    }
}

/// What ports, source first, say that UDP carries.
#[inline]
pub(super) fn carried([source, destination]: [u16; 2], mpls_port: Option<u16>) -> Option<Layer> {
    decoder(destination, mpls_port).or_else(|| decoder(source, mpls_port))
}

/// The name of a payload that `layer` should be: none if it does not fit. `None` when it cannot be
/// told without a walk along the headers.
pub(super) fn name(layer: Layer, payload: Rest<'_>) -> Option<Option<Layer>> {
    let fits = match layer {
        Layer::Vxlan | Layer::Geneve | Layer::GtpV1U | Layer::Mpls => return None,
        _ => fits(layer, payload).ok()?,
    };
    Some(fits.then_some(layer))
}

#[inline]
fn decoder(port: u16, mpls_port: Option<u16>) -> Option<Layer> {
    Some(match port {
        _ if mpls_port == Some(port) => Layer::Mpls,
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
    match layer {
        Layer::Vxlan => return tunnel::vxlan(piece, payload),
        Layer::Geneve => return tunnel::geneve(piece, payload),
        Layer::GtpV1U => return tunnel::gtp(piece, payload),
        Layer::Mpls => return tunnel::mpls(piece, payload),
        _ if !fits(layer, payload)? => {}
        Layer::Dns | Layer::Dhcpv4 => piece.carry(layer, payload)?,
        _ => piece.name(layer)?,
    }
    Ok(Next::End)
}

/// Whether a payload has the form of a protocol that is no tunnel.
fn fits(layer: Layer, payload: Rest<'_>) -> Result<bool, Stop> {
    match layer {
        Layer::Dns => dns(payload),
        Layer::Dhcpv4 => dhcpv4(payload),
        Layer::Dhcpv6 => dhcpv6(payload),
        Layer::Ntp => payload.skip(48).map(|_| true),
        Layer::Bfd => bfd(payload),
        Layer::SFlow => sflow(payload),
        Layer::Sip => Ok(sip(payload)),
        _ => Ok(false),
    }
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
    Ok(questions == 0 || is_name(body))
}

/// Whether the bytes start with a DNS name, as far as they were captured.
fn is_name(body: Rest<'_>) -> bool {
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

/// DHCPv6 (RFC 8415 §8, §9): type and transaction; relays have two addresses instead. IANA knows
/// the types 1 to 36.
fn dhcpv6(payload: Rest<'_>) -> Result<bool, Stop> {
    let (&[kind, ..], _) = payload.split::<4>()?;
    let header = if matches!(kind, 12 | 13) { 34 } else { 4 };
    payload.skip(header)?;
    Ok(matches!(kind, 1..=36))
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
    let line = payload.bytes().split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.starts_with(VERSION) || line.trim_ascii_end().ends_with(VERSION)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ethernet, frame, hex, ipv4, only, tcp, udp};
    use super::super::{ParseOptions, parse};
    use crate::source::{Frame, LinkType};

    fn last_layer(source: u16, destination: u16, payload: &[u8]) -> String {
        let piece = only(&ethernet(0x0800, &ipv4(17, &udp(source, destination, payload))));
        let path = piece.layers.to_string();
        path.rsplit('/').next().unwrap().to_owned()
    }

    const QUERY: &str = "1234 0100 0001 0000 0000 0000 03777777 076578616d706c65 00 0001 0001";

    #[test]
    fn payloads_are_named_by_port() {
        let dhcp = [vec![1, 1, 6, 0], vec![0; 232], hex("63825363 350101 ff")].concat();
        let bfd = hex("20c0 0318 00000001 00000000 000f4240 000f4240 00000000");
        let sflow = [hex("00000005 00000001"), vec![0; 20]].concat();
        let cases = [
            (53, hex(QUERY), "DNS"),
            (123, vec![0; 48], "NTP"),
            (67, dhcp.clone(), "DHCPv4"),
            (547, hex("01 000001 0001 0000"), "DHCPv6"),
            (3784, bfd, "BFD"),
            (6343, sflow, "SFlow"),
            (5060, b"OPTIONS sip:a@b SIP/2.0\r\n\r\n".to_vec(), "SIP"),
            (5060, b"SIP/2.0 200 OK\r\n".to_vec(), "SIP"),
        ];
        for (port, payload, name) in cases {
            assert_eq!(last_layer(40000, port, &payload), name);
            assert_eq!(last_layer(port, 40000, &payload), name);
            // Without the protocol's form the port says nothing.
            assert_eq!(last_layer(40000, port, &[0xff; 7]), "UDP");
        }
        assert_eq!(last_layer(68, 67, &dhcp[..239]), "UDP");
    }

    #[test]
    fn the_destination_comes_first() {
        assert_eq!(last_layer(53, 123, &hex(QUERY)), "UDP");
        assert_eq!(last_layer(123, 53, &hex(QUERY)), "DNS");
    }

    #[test]
    fn dns_must_hold_what_it_counts() {
        let with = |counts: &str| hex(&QUERY.replace("0001 0000 0000 0000", counts));
        assert_eq!(last_layer(1, 53, &with("0000 0000 0000 0000")), "DNS");
        assert_eq!(last_layer(1, 53, &with("0001 0002 0000 0000")), "UDP");
        assert_eq!(last_layer(1, 53, &with("ffff ffff ffff ffff")), "UDP");
        assert_eq!(last_layer(1, 53, &hex(&QUERY.replace("03777777", "83777777"))), "UDP");
    }

    #[test]
    fn a_cut_answer_is_still_dns() {
        let answer = [hex(&QUERY.replace("0001 0000", "0001 0020")), vec![0; 400]].concat();
        let bytes = ethernet(0x0800, &ipv4(17, &udp(53, 1, &answer)));
        let cut = Frame { bytes: &bytes[..60], ..frame(LinkType::Ethernet, &bytes) };
        let mut pieces = Vec::new();
        assert_eq!(parse(&cut, 256, &mut pieces), Ok(1));
        assert_eq!(pieces[0].layers.to_string(), "Ethernet/IPv4/UDP/DNS");
    }
    #[test]
    fn a_udp_port_may_carry_mpls() {
        let label = hex("00012140");
        let mpls = [label.clone(), ipv4(6, &tcp())].concat();
        let read = |payload: &[u8], source, destination, port| {
            let bytes = ethernet(0x0800, &ipv4(17, &udp(source, destination, payload)));
            let options = ParseOptions { header_size: 256, mpls_udp_port: port };
            let mut pieces = Vec::new();
            parse(&frame(LinkType::Ethernet, &bytes), options, &mut pieces).unwrap();
            let paths: Vec<_> = pieces.iter().map(|piece| piece.layers.to_string()).collect();
            paths.join(" ")
        };
        let opened = "Ethernet/IPv4/UDP/MPLS IPv4/TCP";
        for (source, destination) in [(1000, 51234), (51234, 1000), (53, 51234)] {
            assert_eq!(read(&mpls, source, destination, Some(51234)), opened);
        }
        // The destination decides first, and nothing is known of the port without the option.
        assert_eq!(read(&hex(QUERY), 51234, 53, Some(51234)), "Ethernet/IPv4/UDP/DNS");
        assert_eq!(read(&mpls, 1000, 51234, None), "Ethernet/IPv4/UDP");
        // The option takes the place of what the port is known for.
        assert_eq!(read(&mpls, 1000, 53, Some(53)), opened);
        assert_eq!(read(&label[..3], 1000, 51234, Some(51234)), "Ethernet/IPv4/UDP");
    }
}

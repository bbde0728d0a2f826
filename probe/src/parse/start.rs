//! How a frame starts: the link-layer headers of capture files, up to what tells the next protocol.

use sonde_proto::report::Skip;

use super::link;
use super::rest::Rest;
use super::walk::{Next, Step};
use crate::source::LinkType;

/// Bytes of link-layer headers, by the LINKTYPE that is named like them.
mod header {
    /// IEEE 802.3 §3.1.
    pub(super) const ETHERNET: usize = 14;
    pub(super) const LINUX_SLL: usize = 16;
    pub(super) const LINUX_SLL2: usize = 20;
    /// NULL and LOOP.
    pub(super) const LOOPBACK: usize = 4;
    /// Address, control, EtherType.
    pub(super) const C_HDLC: usize = 4;
    /// Frame control and two addresses (ISO 9314-2).
    pub(super) const FDDI: usize = 13;
    /// Frame control to sequence control, with three addresses (IEEE 802.11 §9.3.2).
    pub(super) const IEEE802_11: usize = 24;
    /// A global routing header, then EtherType and two bytes (RFC 4391 §6).
    pub(super) const IPOIB: usize = 44;
    pub(super) const IPNET: usize = 24;
    /// Family, version, resource.
    pub(super) const NFLOG: usize = 4;
}

/// How a frame of this link type starts; skipped when it is shorter than its link-layer header.
#[inline]
pub(super) fn start(link: LinkType, frame: Rest<'_>) -> Result<Next<'_>, Skip> {
    match link {
        LinkType::Ethernet => {
            frame.skip(header::ETHERNET).map_err(|_| Skip::Runt)?;
            Ok(Next::Ethernet(frame))
        }
        LinkType::Unknown(_) => Err(Skip::LinkType),
        _ => other(link, frame).map_err(|_| Skip::Runt),
    }
}

fn other(link: LinkType, frame: Rest<'_>) -> Step<'_> {
    Ok(match link {
        LinkType::Ethernet => Next::Ethernet(frame),
        LinkType::Raw => Next::Ip(frame),
        LinkType::Sll => {
            let (header, rest) = frame.split::<{ header::LINUX_SLL }>()?;
            Next::Cooked(u16::from_be_bytes([header[14], header[15]]), rest)
        }
        LinkType::Sll2 => {
            let (header, rest) = frame.split::<{ header::LINUX_SLL2 }>()?;
            Next::Cooked(u16::from_be_bytes([header[0], header[1]]), rest)
        }
        LinkType::Null | LinkType::Loop => {
            frame.skip(header::LOOPBACK)?;
            Next::Loopback(frame)
        }
        LinkType::Ppp if !is_hdlc(frame) => Next::Ppp(frame),
        LinkType::Ppp | LinkType::Hdlc => {
            let (&[_, _, t0, t1], rest) = frame.split::<{ header::C_HDLC }>()?;
            numbered([t0, t1], rest)
        }
        LinkType::FrameRelay => frame_relay(frame)?,
        LinkType::Ieee80211 => ieee80211(frame)?,
        LinkType::Radiotap => {
            let (&[_, _, l0, l1], _) = frame.split::<4>()?;
            ieee80211(frame.skip(u16::from_le_bytes([l0, l1]).into())?)?
        }
        LinkType::Fddi => {
            let (&[control, ..], rest) = frame.split::<{ header::FDDI }>()?;
            let is_llc = control & 0x70 == 0x50;
            if is_llc { Next::Llc(rest) } else { Next::End }
        }
        LinkType::Ipoib => {
            let (&[.., t0, t1, _, _], rest) = frame.split::<{ header::IPOIB }>()?;
            numbered([t0, t1], rest)
        }
        LinkType::Ipnet => Next::Ip(frame.skip(header::IPNET)?),
        LinkType::Nflog => nflog(frame)?,
        LinkType::Unknown(_) => Next::End,
    })
}

/// What an EtherType announces. Other protocol numbers are no lengths here.
fn numbered(kind: [u8; 2], rest: Rest<'_>) -> Next<'_> {
    match u16::from_be_bytes(kind) {
        kind @ link::FIRST_ETHER_TYPE.. => Next::EtherType(kind, rest),
        _ => Next::End,
    }
}

/// Whether a frame on a serial line is Cisco's HDLC: its address is unicast or broadcast. PPP's is
/// 0xff, or left out.
fn is_hdlc(frame: Rest<'_>) -> bool {
    matches!(frame.bytes(), [0x0f | 0x8f, ..])
}

/// Frame Relay: an address of two to four bytes, the last one odd (Q.922 §3.2), then RFC 2427's
/// control byte and protocol id, or Cisco's EtherType.
fn frame_relay(frame: Rest<'_>) -> Step<'_> {
    let (_, mut rest) = frame.split::<1>()?;
    for _ in 0..3 {
        let (&[address], after) = rest.split::<1>()?;
        rest = after;
        if address & 1 == 1 {
            break;
        }
    }
    let (&[control, protocol], after) = rest.split::<2>()?;
    if control != 0x03 {
        return Ok(numbered([control, protocol], after));
    }
    let (protocol, after) = if protocol == 0 {
        // A pad byte stands before it, so that what follows is aligned.
        let (&[protocol], after) = after.split::<1>()?;
        (protocol, after)
    } else {
        (protocol, after)
    };
    Ok(match protocol {
        0x80 => Next::Snap(after),
        0x8e | 0xcc => Next::Ip(after),
        _ => Next::End,
    })
}

/// IEEE 802.11 §9.2: only plain data frames are read on.
fn ieee80211(frame: Rest<'_>) -> Step<'_> {
    let (&[kind, flags, ..], mut rest) = frame.split::<{ header::IEEE802_11 }>()?;
    let is_data = kind & 0x0c == 0x08;
    let is_empty = kind & 0x40 != 0;
    let is_encrypted = flags & 0x40 != 0;
    if !is_data || is_empty || is_encrypted {
        return Ok(Next::End);
    }
    let has_four_addresses = flags & 0x03 == 0x03;
    if has_four_addresses {
        rest = rest.skip(6)?;
    }
    let has_quality = kind & 0x80 != 0;
    if has_quality {
        let (&[quality, _], after) = rest.split::<2>()?;
        let is_aggregate = quality & 0x80 != 0;
        if is_aggregate {
            return Ok(Next::End);
        }
        let has_ht_control = flags & 0x80 != 0;
        rest = if has_ht_control { after.skip(4)? } else { after };
    }
    Ok(Next::Llc(rest))
}

/// Linux netfilter log: attributes of length and type, in the byte order of the host, which is
/// taken to be little-endian; one of them is the packet.
fn nflog(frame: Rest<'_>) -> Step<'_> {
    const PAYLOAD: u16 = 9;
    let (_, mut rest) = frame.split::<{ header::NFLOG }>()?;
    loop {
        let Ok((&[l0, l1, t0, t1], value)) = rest.split::<4>() else {
            return Ok(Next::End);
        };
        let length = u16::from_le_bytes([l0, l1]);
        if length < 4 {
            return Ok(Next::End);
        }
        if u16::from_le_bytes([t0, t1]) == PAYLOAD {
            return Ok(Next::Ip(value.limit(u32::from(length) - 4)));
        }
        let Ok(next) = rest.skip(usize::from(length).next_multiple_of(4)) else {
            return Ok(Next::End);
        };
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::super::testing::{frame, hex, ipv4, ipv6, pieces, tcp};
    use super::*;

    /// The path of a frame of this header and a TCP segment over IPv4.
    fn path(link: LinkType, header: &str) -> String {
        let bytes = [hex(header), ipv4(6, &tcp())].concat();
        let pieces = pieces(link, &bytes);
        assert_eq!(pieces.len(), 1, "{link:?} {header}");
        assert_eq!(pieces[0].link, None);
        assert_eq!(pieces[0].wire_length as usize, bytes.len());
        if pieces[0].network.is_some() {
            // Without Ethernet the IP header's total length counts.
            assert_eq!(pieces[0].length, 40);
        }
        pieces[0].layers.to_string()
    }

    #[test]
    fn serial_lines_carry_ip() {
        let cases = [
            (LinkType::Ppp, "ff03 0021", "PPP/IPv4/TCP"),
            (LinkType::Ppp, "0021", "PPP/IPv4/TCP"),
            (LinkType::Ppp, "21", "PPP/IPv4/TCP"),
            (LinkType::Ppp, "ff03 c021", "PPP"),
            (LinkType::Ppp, "0f00 0800", "IPv4/TCP"),
            (LinkType::Hdlc, "8f00 0800", "IPv4/TCP"),
            (LinkType::Hdlc, "8f00 8035", ""),
            (LinkType::Hdlc, "8f00 0002", ""),
            (LinkType::FrameRelay, "1841 0800", "IPv4/TCP"),
            (LinkType::FrameRelay, "1841 03cc", "IPv4/TCP"),
            (LinkType::FrameRelay, "1840 4001 0300 80 000000 0800", "SNAP/IPv4/TCP"),
            (LinkType::FrameRelay, "1841 0308", ""),
        ];
        for (link, header, expected) in cases {
            assert_eq!(path(link, header), expected, "{link:?} {header}");
        }
        let bytes = [hex("0057"), ipv6(6, &tcp())].concat();
        assert_eq!(pieces(LinkType::Ppp, &bytes)[0].layers.to_string(), "PPP/IPv6/TCP");
    }

    #[test]
    fn networks_carry_ip() {
        let llc = "aaaa03 000000 0800";
        let wifi = |control: &str, more: &str| {
            format!("{control} 0000 {} 0000 {more} {llc}", "020000000001".repeat(3))
        };
        let tap = |frame: &str| format!("0000 0a00 00000000 1000 {frame}");
        let snap = "LLC/SNAP/IPv4/TCP";
        let cases = [
            (LinkType::Fddi, format!("50 020000000001 020000000002 {llc}"), snap),
            (LinkType::Fddi, format!("41 020000000001 020000000002 {llc}"), ""),
            (LinkType::Ipoib, format!("{} 0800 0000", "00".repeat(40)), "IPv4/TCP"),
            (LinkType::Ipnet, "00".repeat(24), "IPv4/TCP"),
            (LinkType::Ieee80211, wifi("0801", ""), snap),
            (LinkType::Ieee80211, wifi("8801", "0000"), snap),
            (LinkType::Ieee80211, wifi("8881", "0000 00000000"), snap),
            (LinkType::Ieee80211, wifi("0803", "020000000004"), snap),
            (LinkType::Radiotap, tap(&wifi("0802", "")), snap),
            // A beacon, an empty frame, an encrypted one, several in one.
            (LinkType::Ieee80211, wifi("8000", ""), ""),
            (LinkType::Ieee80211, wifi("4801", ""), ""),
            (LinkType::Ieee80211, wifi("0841", ""), ""),
            (LinkType::Ieee80211, wifi("8801", "8000"), ""),
            (LinkType::Nflog, "0200 0000 0500 0a00 00000000 2c00 0900".into(), "IPv4/TCP"),
            (LinkType::Nflog, "0200 0000 0300 0a00".into(), ""),
            (LinkType::Nflog, "0200 0000 ff00 0a00".into(), ""),
        ];
        for (link, header, expected) in cases {
            assert_eq!(path(link, &header), expected, "{link:?} {header}");
        }
    }

    #[test]
    fn frames_shorter_than_their_header_are_runts() {
        let shortest = [
            (LinkType::Sll, 16),
            (LinkType::Sll2, 20),
            (LinkType::Null, 4),
            (LinkType::Loop, 4),
            (LinkType::Hdlc, 4),
            (LinkType::FrameRelay, 6),
            (LinkType::Ieee80211, 24),
            (LinkType::Radiotap, 24),
            (LinkType::Fddi, 13),
            (LinkType::Ipoib, 44),
            (LinkType::Ipnet, 24),
            (LinkType::Nflog, 4),
        ];
        for (link, length) in shortest {
            let bytes = [0; 44];
            let mut pieces = Vec::new();
            let whole = frame(link, &bytes[..length]);
            assert!(parse(&whole, u32::MAX, &mut pieces).is_ok(), "{link:?}");
            let short = frame(link, &bytes[..length - 1]);
            assert_eq!(parse(&short, u32::MAX, &mut pieces), Err(Skip::Runt), "{link:?}");
        }
    }
}

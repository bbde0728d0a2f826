//! Tunnel headers. VXLAN, Geneve, GRE and MPLS end their piece; what they carry starts the next.

use sonde_proto::record::Layer;

use super::Piece;
use super::rest::{Rest, Stop};
use super::walk::{Entry, Inner, Next, Step};

/// Protocol numbers of GRE and Geneve: EtherTypes, and a few more.
mod payload {
    pub(super) const IPV4: u16 = 0x0800;
    pub(super) const IPV6: u16 = 0x86dd;
    /// Ethernet (RFC 1701).
    pub(super) const BRIDGED: u16 = 0x6558;
    /// ERSPAN type I and II (draft-foschiano-erspan-03).
    pub(super) const ERSPAN: u16 = 0x88be;
    /// ERSPAN type III.
    pub(super) const ERSPAN_III: u16 = 0x22eb;
    pub(super) const PPP: u16 = 0x880b;
    pub(super) const MPLS: u16 = 0x8847;
    pub(super) const MPLS_MULTICAST: u16 = 0x8848;
}

/// Presence bits in the first two bytes of GRE (RFC 2784, 2890, 2637).
mod gre_flag {
    pub(super) const CHECKSUM: u16 = 0x8000;
    pub(super) const ROUTING: u16 = 0x4000;
    pub(super) const KEY: u16 = 0x2000;
    pub(super) const SEQUENCE: u16 = 0x1000;
    /// Only in version 1 (PPTP).
    pub(super) const ACKNOWLEDGEMENT: u16 = 0x0080;
    pub(super) const VERSION: u16 = 0x0007;
}

/// VXLAN (RFC 7348 §5): flags, of which I must be set, and a network identifier.
pub(super) fn vxlan<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (&[flags, _, _, _, v0, v1, v2, _], rest) = rest.split::<8>()?;
    if flags & 0x08 == 0 {
        return Err(Stop::Unread);
    }
    piece.name(Layer::Vxlan)?;
    set_vni(piece, u32::from_be_bytes([0, v0, v1, v2]));
    inner(Entry::Ethernet, rest)
}

/// Geneve (RFC 8926 §3.4): version 0, options in units of 4 bytes, an EtherType, an identifier.
pub(super) fn geneve<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (&[options, _, p0, p1, v0, v1, v2, _], rest) = rest.split::<8>()?;
    if options >> 6 != 0 {
        return Err(Stop::Unread);
    }
    piece.name(Layer::Geneve)?;
    set_vni(piece, u32::from_be_bytes([0, v0, v1, v2]));
    let rest = rest.skip(4 * usize::from(options & 0x3f))?;
    match u16::from_be_bytes([p0, p1]) {
        payload::BRIDGED => inner(Entry::Ethernet, rest),
        payload::IPV4 | payload::IPV6 => inner(Entry::Ip, rest),
        _ => Ok(Next::End),
    }
}

/// GRE (RFC 2784) with key and sequence number (RFC 2890), NVGRE (RFC 7637), PPTP's version 1
/// (RFC 2637), ERSPAN.
pub(super) fn gre<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (&[f0, f1, p0, p1], mut rest) = rest.split::<4>()?;
    let flags = u16::from_be_bytes([f0, f1]);
    let is_pptp = flags & gre_flag::VERSION == 1;
    if flags & gre_flag::VERSION > 1 {
        return Err(Stop::Unread);
    }
    piece.name(Layer::Gre)?;
    if flags & gre_flag::ROUTING != 0 {
        // Source routes (RFC 1701) were withdrawn; nobody can say what follows.
        return Ok(Next::End);
    }
    if flags & gre_flag::CHECKSUM != 0 {
        rest = rest.skip(4)?;
    }
    if flags & gre_flag::KEY != 0 {
        let (&key, after) = rest.split::<4>()?;
        let key = u32::from_be_bytes(key);
        // The upper half of PPTP's key is the length of the payload, the lower the call.
        piece.set_tunnel_id(if is_pptp { key & 0xffff } else { key });
        rest = after;
    }
    let is_sequenced = flags & gre_flag::SEQUENCE != 0;
    if is_sequenced {
        rest = rest.skip(4)?;
    }
    if is_pptp && flags & gre_flag::ACKNOWLEDGEMENT != 0 {
        rest = rest.skip(4)?;
    }
    match u16::from_be_bytes([p0, p1]) {
        payload::IPV4 | payload::IPV6 => inner(Entry::Ip, rest),
        payload::BRIDGED => inner(Entry::Ethernet, rest),
        payload::PPP => inner(Entry::Ppp, rest),
        payload::MPLS | payload::MPLS_MULTICAST => mpls(piece, rest),
        // Type I has no header of its own, and no sequence number in GRE.
        payload::ERSPAN if !is_sequenced => inner(Entry::Ethernet, rest),
        payload::ERSPAN => erspan(8, rest),
        payload::ERSPAN_III => {
            // The last bit of the header announces 8 bytes more.
            let (&[.., last], _) = rest.split::<12>()?;
            erspan(if last & 1 == 1 { 20 } else { 12 }, rest)
        }
        _ => Ok(Next::End),
    }
}

/// The mirrored frame behind an ERSPAN header. As in Skydive the header counts for its length.
fn erspan(header: usize, rest: Rest<'_>) -> Step<'_> {
    Ok(Next::Inner(Inner {
        entry: Entry::Ethernet,
        rest: rest.skip(header)?,
        offset: rest.offset(),
    }))
}

/// A stack of MPLS labels (RFC 3032 §2.1), each a layer of its own, all of one piece.
pub(super) fn mpls<'a>(piece: &mut Piece, mut rest: Rest<'a>) -> Step<'a> {
    loop {
        let (&[_, _, low, _], after) = rest.split::<4>()?;
        piece.name(Layer::Mpls)?;
        rest = after;
        let is_bottom = low & 1 == 1;
        if is_bottom {
            return mpls_payload(rest);
        }
    }
}

/// Nothing says what a label carries: IP if it starts like IP, else Ethernet, behind a control word
/// (RFC 4385 §3) if only then the EtherType is a known one.
fn mpls_payload(rest: Rest<'_>) -> Step<'_> {
    let (&[first], _) = rest.split::<1>()?;
    if is_ip(rest) {
        return inner(Entry::Ip, rest);
    }
    if first >> 4 == 0 && !is_ethernet(rest) {
        let framed = rest.skip(4)?;
        if is_ethernet(framed) {
            return inner(Entry::Ethernet, framed);
        }
    }
    inner(Entry::Ethernet, rest)
}

/// Whether the bytes start with an IP header whose length fits. A MAC address may start alike.
fn is_ip(rest: Rest<'_>) -> bool {
    let Ok((&[first, _, t0, t1, p0, p1], _)) = rest.split::<6>() else {
        return false;
    };
    let fits = |length: u32| (20..=rest.len()).contains(&length);
    match first {
        0x45..=0x4f => fits(u32::from(u16::from_be_bytes([t0, t1]))),
        0x60..=0x6f => fits(40 + u32::from(u16::from_be_bytes([p0, p1]))),
        _ => false,
    }
}

/// Whether the bytes look like an Ethernet frame: a usual EtherType, or a length that fits.
fn is_ethernet(rest: Rest<'_>) -> bool {
    let Ok((&[.., t0, t1], payload)) = rest.split::<14>() else {
        return false;
    };
    match u16::from_be_bytes([t0, t1]) {
        0x0800 | 0x0806 | 0x8100 | 0x86dd | 0x8847 | 0x8848 | 0x8863 | 0x8864 | 0x88a8 => true,
        kind => kind < 0x0600 && u32::from(kind) <= payload.len() && kind > 2,
    }
}

/// GTP-U (3GPP TS 29.281 §5.1). No piece of its own: the path goes on with what it carries.
pub(super) fn gtp<'a>(piece: &mut Piece, rest: Rest<'a>) -> Step<'a> {
    let (&[flags, kind, l0, l1, _, _, _, _], mut rest) = rest.split::<8>()?;
    let is_gtp = flags >> 4 == 0b0011;
    if !is_gtp {
        return Err(Stop::Unread);
    }
    rest = rest.limit(u32::from(u16::from_be_bytes([l0, l1])));
    let has_options = flags & 0x07 != 0;
    if has_options {
        let (&[_, _, _, mut extension], after) = rest.split::<4>()?;
        rest = after;
        if flags & 0x04 == 0 {
            extension = 0;
        }
        while extension != 0 {
            // Length in units of 4 bytes, this byte and the type of the next included.
            let (&[units], _) = rest.split::<1>()?;
            let length = 4 * usize::from(units);
            if length == 0 {
                return Err(Stop::Unread);
            }
            let after = rest.skip(length - 1)?;
            let (&[next], after) = after.split::<1>()?;
            extension = next;
            rest = after;
        }
    }
    piece.name(Layer::GtpV1U)?;
    /// A user's packet (§7.1).
    const G_PDU: u8 = 255;
    if kind == G_PDU { Ok(Next::Ip(rest)) } else { Ok(Next::End) }
}

fn inner(entry: Entry, rest: Rest<'_>) -> Step<'_> {
    Ok(Next::Inner(Inner::new(entry, rest)))
}

fn set_vni(piece: &mut Piece, vni: u32) {
    piece.vni = Some(vni);
    piece.set_tunnel_id(vni);
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::super::testing::{ethernet, frame, hex, ipv4, ipv6, only, paths, pieces, tcp, udp};
    use sonde_proto::record::Transport;

    use super::super::{MAX_PIECES, parse};
    use crate::source::{Frame, LinkType};

    fn over_ipv4(protocol: u8, header: &str, inner: &[u8]) -> Vec<u8> {
        ethernet(0x0800, &ipv4(protocol, &[hex(header), inner.to_vec()].concat()))
    }

    fn over_udp(port: u16, header: &str, inner: &[u8]) -> Vec<u8> {
        let payload = [hex(header), inner.to_vec()].concat();
        ethernet(0x0800, &ipv4(17, &udp(40000, port, &payload)))
    }

    fn inner_frame() -> Vec<u8> {
        ethernet(0x86dd, &ipv6(6, &tcp()))
    }

    #[test]
    fn vxlan_starts_a_child() {
        for port in [4789, 8472] {
            let bytes = over_udp(port, "08000000 00000a00", &inner_frame());
            let pieces = pieces(LinkType::Ethernet, &bytes);
            let [outer, inner] = pieces[..] else {
                panic!("expected two pieces, {pieces:?}");
            };
            assert_eq!(outer.layers.to_string(), "Ethernet/IPv4/UDP/VXLAN");
            assert_eq!((outer.vni, outer.network.unwrap().id), (Some(10), 10));
            assert_eq!(outer.ports.unwrap().destination, port);
            assert_eq!(outer.length as usize, bytes.len());
            assert_eq!(inner.layers.to_string(), "Ethernet/IPv6/TCP");
            assert_eq!((inner.vni, inner.network.unwrap().id), (None, 0));
            assert_eq!(inner.ports.unwrap().destination, 80);
            assert_eq!((inner.depth, inner.length), (1, 74));
        }
    }

    #[test]
    fn geneve_says_what_it_carries() {
        let options = "02 00 6558 00138900 0102030405060708";
        let bytes = over_udp(6081, options, &inner_frame());
        assert_eq!(paths(&bytes), ["Ethernet/IPv4/UDP/Geneve", "Ethernet/IPv6/TCP"]);
        assert_eq!(pieces(LinkType::Ethernet, &bytes)[0].vni, Some(5001));
        let bytes = over_udp(6081, "00 00 0800 00138900", &ipv4(6, &tcp()));
        assert_eq!(paths(&bytes), ["Ethernet/IPv4/UDP/Geneve", "IPv4/TCP"]);
        let bytes = over_udp(6081, "00 00 1234 00138900", &[0; 40]);
        assert_eq!(paths(&bytes), ["Ethernet/IPv4/UDP/Geneve"]);
    }

    #[test]
    fn gre_has_optional_fields() {
        let packet = ipv4(6, &tcp());
        for (header, key) in [
            ("0000 0800", 0),
            ("2000 0800 00000007", 7),
            ("8000 0800 00000000", 0),
            ("b000 0800 00000000 00000007 00000001", 7),
            ("3081 0800 00280007 00000001 00000002", 7),
        ] {
            let pieces = pieces(LinkType::Ethernet, &over_ipv4(47, header, &packet));
            assert_eq!(pieces.len(), 2, "{header}");
            let (outer, inner) = (pieces[0], pieces[1]);
            assert_eq!(outer.layers.to_string(), "Ethernet/IPv4/GRE");
            assert_eq!(outer.network.unwrap().id, key);
            // Keyed by the connection inside, of which the flow does not tell.
            assert_eq!((outer.ports, outer.key.ports), (None, inner.ports));
            assert_eq!(inner.layers.to_string(), "IPv4/TCP");
            assert_eq!((inner.link, inner.length), (None, 40));
        }
    }

    #[test]
    fn gre_carries_many_things() {
        let ip = ipv4(6, &tcp());
        let gre_in_gre = ipv4(47, &[hex("0000 0800"), ip.clone()].concat());
        let frame = ethernet(0x0800, &ip);
        let cases: [(&str, &[u8], &[&str]); 10] = [
            ("0000 0800", &gre_in_gre, &["Ethernet/IPv4/GRE", "IPv4/GRE", "IPv4/TCP"]),
            ("0000 86dd", &ipv6(6, &tcp()), &["Ethernet/IPv4/GRE", "IPv6/TCP"]),
            ("2000 6558 00012301", &frame, &["Ethernet/IPv4/GRE", "Ethernet/IPv4/TCP"]),
            ("0000 88be", &frame, &["Ethernet/IPv4/GRE", "Ethernet/IPv4/TCP"]),
            (
                "1000 88be 00000001 10000001 00000000",
                &frame,
                &["Ethernet/IPv4/GRE", "Ethernet/IPv4/TCP"],
            ),
            (
                "1000 22eb 00000001 20000001 00000000 00000001 0000000000000000",
                &frame,
                &["Ethernet/IPv4/GRE", "Ethernet/IPv4/TCP"],
            ),
            ("3001 880b 00280001 00000001 ff03 0021", &ip, &["Ethernet/IPv4/GRE", "PPP/IPv4/TCP"]),
            ("0000 8847 00010140", &ip, &["Ethernet/IPv4/GRE/MPLS", "IPv4/TCP"]),
            ("0000 2001", &[0; 40], &["Ethernet/IPv4/GRE"]),
            ("0002 0800", &ip, &["Ethernet/IPv4"]),
        ];
        for (header, inner, expected) in cases {
            assert_eq!(paths(&over_ipv4(47, header, inner)), expected, "{header}");
        }
    }

    #[test]
    fn an_erspan_header_counts_for_the_inner_piece() {
        let bytes = over_ipv4(47, "1000 88be 00000001 10000001 00000000", &inner_frame());
        let pieces = pieces(LinkType::Ethernet, &bytes);
        assert_eq!(pieces[1].length as usize, inner_frame().len() + 8);
    }

    #[test]
    fn labels_are_stacked() {
        let ip = ipv4(6, &tcp());
        let bytes = ethernet(0x8847, &[hex("00010040 00020140"), ip.clone()].concat());
        assert_eq!(paths(&bytes), ["Ethernet/MPLS/MPLS", "IPv4/TCP"]);
        let outer = pieces(LinkType::Ethernet, &bytes)[0];
        // Keyed by the packet inside, of which the flow does not tell.
        assert_eq!((outer.network, outer.ports), (None, None));
        assert_eq!(outer.key.ports.unwrap().destination, 80);
        let addresses = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
        assert_eq!(outer.key.addresses, Some(addresses));
        let in_ip = over_ipv4(137, "00010140", &ip);
        assert_eq!(paths(&in_ip), ["Ethernet/IPv4/MPLS", "IPv4/TCP"]);
        let mut frame = ethernet(0x0800, &ip);
        for (address, control_word) in [(0x02, ""), (0x02, "00000000"), (0x4c, "")] {
            frame[0] = address;
            let inner = [hex("00010140"), hex(control_word), frame.clone()].concat();
            let bytes = ethernet(0x8847, &inner);
            assert_eq!(paths(&bytes), ["Ethernet/MPLS", "Ethernet/IPv4/TCP"]);
            assert_eq!(pieces(LinkType::Ethernet, &bytes)[1].length, 54);
        }
    }

    #[test]
    fn what_cannot_be_read_is_no_piece() {
        for bytes in [
            over_udp(4789, "08000000 00000a00", &[0; 13]),
            over_udp(4789, "08000000 00000a00", b""),
            over_udp(4789, "00000000 00000a00", &inner_frame()),
            over_ipv4(47, "0000 0800", b""),
            over_ipv4(47, "0000 0800", &[0x99; 40]),
        ] {
            let piece = only(&bytes);
            assert_eq!(piece.length as usize, bytes.len());
            assert!(!piece.truncated);
        }
        let whole = over_udp(4789, "08000000 00000a00", &inner_frame());
        let mut pieces = Vec::new();
        let cut = Frame { bytes: &whole[..55], ..frame(LinkType::Ethernet, &whole) };
        assert_eq!(parse(&cut, 256, &mut pieces), Ok(1));
        assert!(pieces[0].truncated);
    }

    #[test]
    fn depth_is_bounded() {
        let mut packet = ipv4(6, &tcp());
        for _ in 0..20 {
            packet = ipv4(47, &[hex("0000 0800"), packet].concat());
        }
        let pieces = pieces(LinkType::Ethernet, &ethernet(0x0800, &packet));
        assert_eq!(pieces.len(), MAX_PIECES);
        assert_eq!(pieces[MAX_PIECES - 1].layers.to_string(), "IPv4/GRE");
    }

    #[test]
    fn gtp_goes_on_in_its_piece() {
        let inner = ipv4(6, &tcp());
        let plain = over_udp(2152, &format!("30ff {:04x} 00000001", inner.len()), &inner);
        let extended = over_udp(
            2152,
            &format!("34ff {:04x} 00000001 0000 00 85 01 0001 00", inner.len() + 8),
            &inner,
        );
        for bytes in [plain, extended] {
            let piece = only(&bytes);
            assert_eq!(piece.layers.to_string(), "Ethernet/IPv4/UDP/GTPv1U/IPv4/TCP");
            assert_eq!(piece.key.ports.unwrap().destination, 2152);
            // As in Skydive the user's TCP is shown, between the ends of the tunnel.
            assert_eq!(piece.ports.unwrap().destination, 80);
            assert_eq!(piece.ports.unwrap().protocol, Transport::Tcp);
            let source: IpAddr = "10.0.0.1".parse().unwrap();
            assert_eq!(piece.network.unwrap().source, source);
        }
        let echo = over_udp(2152, "3201 0004 00000000 00010000", b"");
        assert_eq!(paths(&echo), ["Ethernet/IPv4/UDP/GTPv1U"]);
    }
}

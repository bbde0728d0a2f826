//! Tunnel headers. VXLAN, Geneve, GRE and MPLS end their piece; what they carry starts the next.

use sonde_proto::record::Layer;

use super::rest::{Rest, Stop};
use super::{Entry, Inner, Next, Piece, Step};

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
        piece.set_tunnel_id(u32::from_be_bytes(key));
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

/// Nothing says what a label carries: IP if the first nibble is a version, else Ethernet, behind a
/// control word (RFC 4385 §3) if only then the EtherType is a known one.
fn mpls_payload(rest: Rest<'_>) -> Step<'_> {
    let (&[first], _) = rest.split::<1>()?;
    match first >> 4 {
        4 | 6 => inner(Entry::Ip, rest),
        0 if !is_ethernet(rest) => match rest.skip(4) {
            Ok(framed) if is_ethernet(framed) => inner(Entry::Ethernet, framed),
            _ => inner(Entry::Ethernet, rest),
        },
        _ => inner(Entry::Ethernet, rest),
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
    if kind == G_PDU {
        Ok(Next::Ip(rest))
    } else {
        Ok(Next::End)
    }
}

fn inner(entry: Entry, rest: Rest<'_>) -> Step<'_> {
    Ok(Next::Inner(Inner::new(entry, rest)))
}

fn set_vni(piece: &mut Piece, vni: u32) {
    piece.vni = Some(vni);
    piece.set_tunnel_id(vni);
}

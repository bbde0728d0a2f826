//! Fragments of IP datagrams, and datagrams that were put together from them.

use std::net::IpAddr;

use sonde_proto::record::Layer;
use sonde_proto::report::Skip;

use super::rest::Rest;
use super::walk::Next;
use super::{ParseOptions, Piece, walk};
use crate::source::Frame;

/// A fragment of an IPv4 (RFC 791 §3.2) or IPv6 (RFC 8200 §4.5) datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fragment<'a> {
    /// Which datagram it is of.
    pub(crate) datagram: DatagramKey,
    /// What the datagram carries, if this is its first fragment.
    pub(crate) protocol: u8,
    /// Where in the datagram it belongs, in bytes; a multiple of 8.
    pub(crate) offset: u32,
    /// Whether others follow.
    pub(crate) more: bool,
    /// Where in the frame its bytes begin.
    pub(crate) start: u32,
    /// Its bytes, as far as they were captured.
    pub(crate) bytes: &'a [u8],
    /// How many there are on the wire.
    pub(crate) length: u32,
}

/// What the fragments of a datagram have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct DatagramKey {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// Identification.
    pub(crate) id: u32,
    /// The protocol of IPv4, where it is part of the key; else 0.
    pub(crate) protocol: u8,
    /// VLAN tags and tunnel around the datagram: others use the same addresses.
    pub(crate) vlans: i64,
    pub(crate) tunnel: i64,
}

/// A datagram that was put together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datagram<'a> {
    /// What it carries.
    pub(crate) protocol: u8,
    /// Its first bytes, behind the IP header.
    pub(crate) bytes: &'a [u8],
    /// How many there are on the wire.
    pub(crate) length: u32,
}

/// A fragment header as it stands in a packet.
#[derive(Clone, Copy)]
pub(super) struct Header<'a> {
    /// IPv4's protocol, IPv6's next header.
    pub(super) protocol: u8,
    /// Identification.
    pub(super) id: u32,
    /// In bytes.
    pub(super) offset: u16,
    pub(super) more: bool,
    /// What follows the header.
    pub(super) rest: Rest<'a>,
}

/// The fragment in a frame, if there is one that can be put together: not inside another IP packet
/// of the same piece, as addresses are kept of one.
pub(crate) fn fragment<'a>(frame: &Frame<'a>, scratch: &mut Vec<Piece>) -> Option<Fragment<'a>> {
    let first = scratch.len();
    let mut found = None;
    let parsed = walk(frame, u32::MAX.into(), scratch, |header| {
        found = Some(header);
        Next::End
    });
    let pieces = scratch.get(first..).unwrap_or_default();
    let fragment = match (parsed, found, pieces) {
        (Ok(_), Some(header), [around @ .., piece]) => of(header, around.last(), piece),
        _ => None,
    };
    scratch.truncate(first);
    fragment
}

fn of<'a>(header: Header<'a>, around: Option<&Piece>, piece: &Piece) -> Option<Fragment<'a>> {
    let is_ip = |layer: &&Layer| matches!(layer, Layer::Ipv4 | Layer::Ipv6);
    if piece.layers.as_slice().iter().filter(is_ip).count() != 1 {
        return None;
    }
    let network = piece.network?;
    let is_ipv4 = network.source.is_ipv4();
    Some(Fragment {
        datagram: DatagramKey {
            source: network.source,
            destination: network.destination,
            id: header.id,
            protocol: if is_ipv4 { header.protocol } else { 0 },
            vlans: piece.link.map_or(0, |link| link.id),
            tunnel: around.and_then(|around| around.network).map_or(0, |network| network.id),
        },
        protocol: header.protocol,
        offset: header.offset.into(),
        more: header.more,
        start: header.rest.offset(),
        bytes: header.rest.bytes(),
        length: header.rest.len(),
    })
}

/// As [`super::parse`], for the frame that brought the last fragment of `datagram`: the path goes
/// on with what the datagram carries.
pub(crate) fn parse_datagram(
    frame: &Frame<'_>,
    datagram: &Datagram<'_>,
    options: ParseOptions,
    pieces: &mut Vec<Piece>,
) -> Result<usize, Skip> {
    let ParseOptions { header_size, .. } = options;
    let whole = ParseOptions { header_size: u32::MAX, ..options };
    let mut datagram = Some(datagram);
    walk(frame, whole, pieces, |header| match datagram.take() {
        Some(Datagram { protocol, bytes, length }) => {
            Next::Protocol(*protocol, header.rest.replaced(bytes, *length, header_size))
        }
        // A fragment inside the datagram.
        None => Next::End,
    })
}

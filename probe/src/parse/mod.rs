//! Bytes in, pieces out: what a frame says about who talks to whom.
//!
//! Pure and total: any bytes parse, or are skipped with a reason.
//!
//! Names and rules are those of Skydive's `LayersPath`; where it gives up (stacked MPLS labels,
//! ERSPAN I and III, IPv6 mobility and any routing header, cut TCP options), we read on.

mod application;
mod icmp;
mod ip;
mod link;
mod rest;
mod transport;
mod tunnel;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sonde_proto::record::{Icmp, Layer, LayersPath, Mac, Transport};
use sonde_proto::report::Skip;

use self::rest::{Rest, Stop};
use crate::source::Frame;

/// Pieces a frame is cut into at most. A tunnel inside the last of them is not opened: its bytes
/// count for that piece.
pub const MAX_PIECES: usize = 8;

/// Headers read in a piece at most, so that no frame takes unbounded work. Named layers are
/// bounded by [`LayersPath::DEPTH`] already; IPv6 headers without a name are not.
const MAX_HEADERS: usize = 32;

/// Appends the pieces of `frame`, outermost first, and returns how many there are: one at least,
/// [`MAX_PIECES`] at most.
///
/// At most `header_size` bytes are looked at; lengths are those of the wire all the same. A frame
/// is skipped only when it is shorter than its link-layer header or of an unknown link type.
#[inline]
pub fn parse(frame: &Frame<'_>, header_size: u32, pieces: &mut Vec<Piece>) -> Result<usize, Skip> {
    let outermost = pieces.len();
    let mut start = link::start(
        frame.link,
        Rest::new(frame.bytes, frame.length, header_size),
    )?;
    let mut offset = 0;
    for depth in 0..MAX_PIECES {
        let length = frame.length.saturating_sub(offset);
        let piece = pieces.push_mut(Piece::new(depth as u8, length));
        let inner = piece.read(start);
        if depth > 0 && piece.layers.as_slice().is_empty() {
            // What the tunnel carries cannot be read: only the tunnel's own piece counts.
            let cut = piece.truncated;
            pieces.pop();
            if let Some(tunnel) = pieces.last_mut() {
                tunnel.truncated |= cut;
            }
            break;
        }
        let Some(inner) = inner else { break };
        start = inner.start();
        offset = inner.offset;
    }
    if let Some([outer, inner @ ..]) = pieces.get_mut(outermost..)
        && outer.ports.is_none()
    {
        outer.key_ports = inner.iter().find_map(|piece| piece.ports);
    }
    Ok(pieces.len() - outermost)
}

/// The part of a frame that makes one flow. A frame has one; each tunnel header (VXLAN, Geneve,
/// GRE, MPLS) starts another, whose flow is the child of the one before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    /// Layers of this piece, outermost first, up to and with the tunnel header that ends it.
    pub layers: LayersPath,
    /// Tunnels around this piece; 0 for the outermost, which every frame has exactly once.
    pub depth: u8,
    /// Ethernet addresses and VLAN tags.
    pub link: Option<Link>,
    /// IP addresses.
    pub network: Option<Network>,
    /// Ports.
    pub ports: Option<Ports>,
    /// Ports that enter the flow key: `ports`, but in an outermost piece without any those of the
    /// first piece that has some. So Skydive keys an outer GRE flow by the connection inside.
    pub key_ports: Option<Ports>,
    /// VNI, when the piece ends in VXLAN or Geneve: it takes the ports' place in the key.
    pub vni: Option<u32>,
    /// ICMP type, code and identifier.
    pub icmp: Option<Icmp>,
    /// Whether an ICMP message asks or answers, for the round trip time.
    pub echo: Option<Echo>,
    /// TCP flags (RFC 9293 §3.1), 0 without TCP.
    pub tcp_flags: u8,
    /// Bytes that count for the flow in L2 key mode: `wire_length`; without Ethernet, the total
    /// length of the IPv4 header or the payload length of the IPv6 header.
    pub length: u32,
    /// Wire length of the frame less all headers up to and with the tunnel header before the
    /// piece. Counts for the flow in L3 key mode.
    pub wire_length: u32,
    /// Whether the captured bytes ended before the headers did.
    pub truncated: bool,
}

impl Piece {
    fn new(depth: u8, wire_length: u32) -> Self {
        Self {
            layers: LayersPath::new(),
            depth,
            link: None,
            network: None,
            ports: None,
            key_ports: None,
            vni: None,
            icmp: None,
            echo: None,
            tcp_flags: 0,
            length: wire_length,
            wire_length,
            truncated: false,
        }
    }

    /// Reads headers until the piece ends; what a tunnel header leads to, if one ended it.
    #[inline]
    fn read<'a>(&mut self, start: Next<'a>) -> Option<Inner<'a>> {
        let mut next = start;
        for _ in 0..MAX_HEADERS {
            let step = match next {
                Next::Ethernet(rest) => link::ethernet(self, rest),
                Next::EtherType(kind, rest) => link::ether_type(self, kind, rest),
                Next::Cooked(kind, rest) => link::cooked(self, kind, rest),
                Next::Loopback(rest) => link::loopback(self, rest),
                Next::Ppp(rest) => link::ppp(self, rest),
                Next::Ip(rest) => ip::any(self, rest),
                Next::Protocol(protocol, rest) => ip::protocol(self, protocol, rest),
                Next::Inner(inner) => return Some(inner),
                Next::End => return None,
            };
            match step {
                Ok(step) => next = step,
                Err(stop) => {
                    self.truncated = stop == Stop::Cut;
                    return None;
                }
            }
        }
        None
    }

    /// Adds a layer; refused when the path is full.
    #[inline]
    fn name(&mut self, layer: Layer) -> Result<(), Stop> {
        if self.layers.push(layer) {
            Ok(())
        } else {
            Err(Stop::Unread)
        }
    }

    /// Takes IPv4 addresses: those of the first IPv4 header, even inside IPv6.
    #[inline]
    fn set_ipv4(&mut self, source: [u8; 4], destination: [u8; 4], total_length: u32) {
        if let Some(Network {
            source: IpAddr::V4(_),
            ..
        }) = self.network
        {
            return;
        }
        self.network = Some(Network {
            source: IpAddr::V4(Ipv4Addr::from(source)),
            destination: IpAddr::V4(Ipv4Addr::from(destination)),
            id: 0,
        });
        if self.link.is_none() {
            self.length = total_length;
        }
    }

    /// Takes IPv6 addresses, unless there is an IP header already.
    #[inline]
    fn set_ipv6(&mut self, source: [u8; 16], destination: [u8; 16], payload_length: u32) {
        if self.network.is_some() {
            return;
        }
        self.network = Some(Network {
            source: IpAddr::V6(Ipv6Addr::from(source)),
            destination: IpAddr::V6(Ipv6Addr::from(destination)),
            id: 0,
        });
        if self.link.is_none() {
            self.length = payload_length;
        }
    }

    /// Takes ports, unless there was a transport header already (GTP-U); whether it took them.
    #[inline]
    fn set_ports(&mut self, protocol: Transport, source: u16, destination: u16) -> bool {
        if self.ports.is_some() {
            return false;
        }
        self.ports = Some(Ports {
            protocol,
            source,
            destination,
        });
        self.key_ports = self.ports;
        true
    }

    /// Sets the id that the tunnel header ending this piece gives to the network layer.
    fn set_tunnel_id(&mut self, id: u32) {
        if let Some(network) = &mut self.network {
            network.id = i64::from(id);
        }
    }
}

/// Which header comes next, and the bytes it starts with.
#[derive(Clone, Copy)]
enum Next<'a> {
    /// Ethernet addresses.
    Ethernet(Rest<'a>),
    /// What an EtherType (or, below 0x600, an 802.3 length) says.
    EtherType(u16, Rest<'a>),
    /// What follows a Linux cooked header, by its protocol field.
    Cooked(u16, Rest<'a>),
    /// A BSD loopback header.
    Loopback(Rest<'a>),
    /// A PPP protocol number.
    Ppp(Rest<'a>),
    /// An IP header of the version its first nibble says.
    Ip(Rest<'a>),
    /// What an IP protocol number says.
    Protocol(u8, Rest<'a>),
    /// A tunnel header ended the piece.
    Inner(Inner<'a>),
    /// Nothing more to name.
    End,
}

/// What reading a header leads to.
type Step<'a> = Result<Next<'a>, Stop>;

/// The piece a tunnel header leads to.
#[derive(Clone, Copy)]
struct Inner<'a> {
    /// What it starts with.
    entry: Entry,
    /// Its bytes.
    rest: Rest<'a>,
    /// Bytes of the frame before it.
    offset: u32,
}

/// What a tunnel carries.
#[derive(Clone, Copy)]
enum Entry {
    Ethernet,
    Ip,
    Ppp,
}

impl<'a> Inner<'a> {
    fn new(entry: Entry, rest: Rest<'a>) -> Self {
        Self {
            entry,
            rest,
            offset: rest.offset(),
        }
    }

    fn start(&self) -> Next<'a> {
        match self.entry {
            Entry::Ethernet => Next::Ethernet(self.rest),
            Entry::Ip => Next::Ip(self.rest),
            Entry::Ppp => Next::Ppp(self.rest),
        }
    }
}

/// Ethernet addresses and VLAN tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Source address.
    pub source: Mac,
    /// Destination address.
    pub destination: Mac,
    /// VLAN ids combined, the outermost in the low 12 bits; 0 without tags.
    pub id: i64,
}

/// IP addresses, both of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// VNI or GRE key of the innermost tunnel header in this piece, else 0.
    pub id: i64,
}

/// Ports of TCP, UDP or SCTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Which protocol.
    pub protocol: Transport,
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
}

/// The two halves of an ICMP echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// Echo request.
    Request,
    /// Echo reply.
    Reply,
}

/// TCP flags as they stand in the header.
pub mod tcp_flags {
    /// No more data.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset.
    pub const RST: u8 = 0x04;
    /// The acknowledgement is valid.
    pub const ACK: u8 = 0x10;
}

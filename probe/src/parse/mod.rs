//! Bytes in, pieces out: what a frame says about who talks to whom.
//!
//! Pure and total: any bytes parse, or are skipped with a reason.

use std::net::IpAddr;

use sonde_proto::record::{Icmp, LayersPath, Mac, Transport};

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
    /// VNI, when the piece ends in VXLAN or Geneve: it takes the ports' place in the key.
    pub vni: Option<u32>,
    /// ICMP type, code and identifier.
    pub icmp: Option<Icmp>,
    /// Whether an ICMP message asks or answers, for the round trip time.
    pub echo: Option<Echo>,
    /// TCP flags (RFC 9293 §3.1), 0 without TCP.
    pub tcp_flags: u8,
    /// Bytes that count for the flow: wire length of the frame less all headers up to and with
    /// the tunnel header before the piece; without Ethernet, the length the IP header gives.
    pub length: u32,
    /// Whether the captured bytes ended before the headers did.
    pub truncated: bool,
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

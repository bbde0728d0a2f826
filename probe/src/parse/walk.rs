//! The walk along the headers of a piece.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sonde_proto::record::{Layer, LayersPath, Transport};

use super::fragment::Header;
use super::rest::{Rest, Stop};
use super::{KeyParts, Message, Network, Piece, Ports, application, ip, link};

/// Headers read in a piece at most, so that no frame takes unbounded work. Named layers are
/// bounded by [`LayersPath::DEPTH`] already; IPv6 headers without a name are not.
const MAX_HEADERS: usize = 32;

impl Piece {
    pub(crate) fn new(depth: u8, wire_length: u32) -> Self {
        Self {
            layers: LayersPath::new(),
            depth,
            link: None,
            network: None,
            ip_in_ip: false,
            ports: None,
            key: KeyParts::default(),
            vni: None,
            icmp: None,
            echo: None,
            tcp_flags: 0,
            tcp_sequence: 0,
            tcp_payload: 0,
            ttl: 0,
            fragments: 0,
            fragment_errors: 0,
            message: None,
            length: wire_length,
            wire_length,
            truncated: false,
            too_deep: false,
        }
    }

    /// Reads headers until the piece ends; what a tunnel header leads to, if one ended it.
    /// `fragments` says how it goes on behind a fragment header.
    #[inline]
    pub(super) fn read<'a>(
        &mut self,
        start: Next<'a>,
        mpls_udp_port: Option<u16>,
        mut fragments: impl FnMut(Header<'a>) -> Next<'a>,
    ) -> Option<Inner<'a>> {
        let mut next = start;
        for _ in 0..MAX_HEADERS {
            let step = match next {
                Next::Ethernet(rest) => link::ethernet(self, rest),
                Next::EtherType(kind, rest) => link::ether_type(self, kind, rest),
                Next::Cooked(kind, rest) => link::cooked(self, kind, rest),
                Next::Loopback(rest) => link::loopback(self, rest),
                Next::Ppp(rest) => link::ppp(self, rest),
                Next::Llc(rest) => link::llc(self, rest),
                Next::Snap(rest) => link::snap(self, rest),
                Next::Ip(rest) => ip::any(self, rest),
                Next::Protocol(protocol, rest) => ip::protocol(self, protocol, rest),
                Next::Fragment(header) => Ok(fragments(header)),
                Next::Datagram(ports, rest) => application::udp(self, ports, rest, mpls_udp_port),
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
    pub(super) fn name(&mut self, layer: Layer) -> Result<(), Stop> {
        if self.layers.push(layer) { Ok(()) } else { Err(Stop::Unread) }
    }

    /// Adds the last layer, and takes the message it carries.
    pub(super) fn carry(&mut self, layer: Layer, rest: Rest<'_>) -> Result<(), Stop> {
        self.name(layer)?;
        let start = rest.offset();
        self.message = Some(Message { layer, start, end: start + rest.bytes().len() as u32 });
        Ok(())
    }

    /// Takes IPv4 addresses: those of the first IPv4 header, even inside IPv6.
    #[inline]
    pub(super) fn set_ipv4(
        &mut self,
        source: [u8; 4],
        destination: [u8; 4],
        total_length: u32,
        ttl: u8,
    ) {
        if let Some(network) = &self.network {
            self.ip_in_ip = true;
            if network.source.is_ipv4() {
                return;
            }
        }
        self.ttl = ttl;
        let source = IpAddr::V4(Ipv4Addr::from(source));
        let destination = IpAddr::V4(Ipv4Addr::from(destination));
        self.network = Some(Network { source, destination, id: 0 });
        // The outermost piece stays keyed by its first IP header.
        if self.depth > 0 || self.key.addresses.is_none() {
            self.key.addresses = Some([source, destination]);
        }
        if self.link.is_none() {
            self.length = total_length;
        }
    }

    /// Takes IPv6 addresses, unless there is an IP header already.
    #[inline]
    pub(super) fn set_ipv6(
        &mut self,
        source: [u8; 16],
        destination: [u8; 16],
        payload_length: u32,
        hop_limit: u8,
    ) {
        if self.network.is_some() {
            self.ip_in_ip = true;
            return;
        }
        self.ttl = hop_limit;
        let source = IpAddr::V6(Ipv6Addr::from(source));
        let destination = IpAddr::V6(Ipv6Addr::from(destination));
        self.network = Some(Network { source, destination, id: 0 });
        self.key.addresses = Some([source, destination]);
        if self.link.is_none() {
            self.length = payload_length;
        }
    }

    /// Takes ports. Of several transport headers (GTP-U) the first one enters the key, and the
    /// first of TCP is shown if there is one. Whether these are shown.
    #[inline]
    pub(super) fn set_ports(&mut self, protocol: Transport, source: u16, destination: u16) -> bool {
        let ports = Ports { protocol, source, destination };
        self.key.ports = self.key.ports.or(Some(ports));
        let shown = match &self.ports {
            None => true,
            Some(known) => protocol == Transport::Tcp && known.protocol != Transport::Tcp,
        };
        if shown {
            self.ports = Some(ports);
        }
        shown
    }

    /// Sets the id that the tunnel header ending this piece gives to the network layer.
    pub(super) fn set_tunnel_id(&mut self, id: u32) {
        if let Some(network) = &mut self.network {
            network.id = i64::from(id);
        }
    }
}

/// Which header comes next, and the bytes it starts with.
#[derive(Clone, Copy)]
pub(super) enum Next<'a> {
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
    /// 802.2 access points.
    Llc(Rest<'a>),
    /// A SNAP header.
    Snap(Rest<'a>),
    /// An IP header of the version its first nibble says.
    Ip(Rest<'a>),
    /// What an IP protocol number says.
    Protocol(u8, Rest<'a>),
    /// A fragment header.
    Fragment(Header<'a>),
    /// What the source and destination port of UDP say.
    Datagram([u16; 2], Rest<'a>),
    /// A tunnel header ended the piece.
    Inner(Inner<'a>),
    /// Nothing more to name.
    End,
}

/// What reading a header leads to.
pub(super) type Step<'a> = Result<Next<'a>, Stop>;

/// The piece a tunnel header leads to.
#[derive(Clone, Copy)]
pub(super) struct Inner<'a> {
    /// What it starts with.
    pub(super) entry: Entry,
    /// Its bytes.
    pub(super) rest: Rest<'a>,
    /// Bytes of the frame before it.
    pub(super) offset: u32,
}

/// What a tunnel carries.
#[derive(Clone, Copy)]
pub(super) enum Entry {
    Ethernet,
    Ip,
    Ppp,
}

impl<'a> Inner<'a> {
    /// What follows the tunnel header at once.
    pub(super) fn new(entry: Entry, rest: Rest<'a>) -> Self {
        Self { entry, rest, offset: rest.offset() }
    }

    /// How its piece starts.
    pub(super) fn start(&self) -> Next<'a> {
        match self.entry {
            Entry::Ethernet => Next::Ethernet(self.rest),
            Entry::Ip => Next::Ip(self.rest),
            Entry::Ppp => Next::Ppp(self.rest),
        }
    }
}

//! The key of a flow: exactly what Skydive's digests are fed, so that flows merge as Skydive's.

use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ahash::RandomState;
use sonde_proto::plan::KeyMode;
use sonde_proto::record::{IcmpKind, Mac, Transport};

use crate::parse::Piece;

/// What makes two pieces one flow. The ends are in an order that both directions share; one
/// decision orders all layers. Fills a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Key {
    lo_ip: u128,
    hi_ip: u128,
    /// `UUID` of the outer flow, 0 without one.
    pub(crate) parent: u64,
    /// Part of the key only when `kind` says so; of the first packet otherwise.
    lo_mac: Mac,
    hi_mac: Mac,
    /// Both ports, or the VNI.
    ports: u32,
    icmp: u32,
    /// Destination port beside a VNI.
    vni_port: u16,
    /// Place of the watch in the shard.
    pub(crate) watch: u8,
    kind: u8,
}

/// A piece's key, and what the piece says about its direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keyed {
    pub(crate) key: Key,
    /// Whether the source is the `hi` end.
    pub(crate) swap: bool,
    pub(crate) direction: Direction,
}

/// How the direction of a packet in its flow is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The addresses differ: from A if its source is A.
    Ends,
    /// The addresses are equal: from A if A's port is above this source port (Skydive's rule).
    Ports(u16),
    /// Cannot be told: always from A.
    Ab,
    /// Cannot be told: always from B (Skydive's rule without network layer).
    Ba,
}

/// What stands for the transport layer in a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selector {
    None,
    Ports { kind: u64, lo: u16, hi: u16 },
    Vni { vni: u32, port: u16 },
}

impl Keyed {
    /// The key of a piece seen by the watch at place `watch`. The parent is left to the caller.
    #[inline]
    pub(crate) fn of(piece: &Piece, mode: KeyMode, watch: u8) -> Self {
        let mut kind = 0;
        let (mut source_ip, mut destination_ip) = (0, 0);
        if let Some(network) = &piece.network {
            kind |= match network.source {
                IpAddr::V4(_) => IPV4,
                IpAddr::V6(_) => IPV6,
            };
            source_ip = number(network.source);
            destination_ip = number(network.destination);
        }
        let (mut source_mac, mut destination_mac) = ([0; 6], [0; 6]);
        if let Some(link) = &piece.link {
            source_mac = link.source;
            destination_mac = link.destination;
            if mode == KeyMode::L2 || piece.network.is_none() {
                kind |= MACS;
            }
        }
        let (mut source_port, mut destination_port) = (0, 0);
        if let Some(ports) = &piece.key_ports {
            kind |= match (piece.vni, ports.protocol) {
                (Some(_), _) => VNI,
                (None, Transport::Tcp) => TCP,
                (None, Transport::Udp) => UDP,
                (None, Transport::Sctp) => SCTP,
            };
            source_port = ports.source;
            destination_port = ports.destination;
        }
        let icmp = piece.icmp.map_or(0, |icmp| {
            kind |= ICMP;
            let echo6 = kind & IP == IPV6 && icmp.kind == IcmpKind::Echo;
            let code = if echo6 { 0 } else { icmp.code };
            (icmp.kind as u32) << 24 | u32::from(code) << 16 | u32::from(icmp.id)
        });
        if piece.ip_in_ip && kind & (TRANSPORT | ICMP) != 0 {
            kind |= NESTED;
        }

        let by_port = match &piece.ports {
            Some(ports) => Direction::Ports(ports.source),
            // Only an inner piece has ports: they order the key, but are not this flow's.
            None => Direction::Ab,
        };
        let by_mac = kind & MACS != 0 && source_mac != destination_mac;
        let by_ip = kind & IP != 0 && source_ip != destination_ip;
        let (swap, direction) = if by_mac {
            (source_mac > destination_mac, Direction::Ends)
        } else if by_ip {
            (source_ip > destination_ip, Direction::Ends)
        } else if kind & IP == 0 {
            let known = piece.link.is_some();
            (false, if known { Direction::Ba } else { Direction::Ab })
        } else if let Some(vni) = piece.vni.filter(|_| kind & TRANSPORT == VNI) {
            // Skydive compares four bytes with two.
            let swap = vni.to_be_bytes().as_slice() > destination_port.to_be_bytes().as_slice();
            (swap, by_port)
        } else if kind & TRANSPORT != 0 {
            (source_port > destination_port, by_port)
        } else {
            (false, Direction::Ab)
        };

        let (lo_ip, hi_ip) = ordered(swap, source_ip, destination_ip);
        let (lo_mac, hi_mac) = ordered(swap, source_mac, destination_mac);
        let (ports, vni_port) = match piece.vni {
            Some(vni) if kind & TRANSPORT == VNI => (vni, destination_port),
            _ => {
                let (lo, hi) = ordered(swap, source_port, destination_port);
                (u32::from(lo) << 16 | u32::from(hi), 0)
            }
        };
        Self {
            key: Key {
                lo_ip,
                hi_ip,
                parent: 0,
                lo_mac,
                hi_mac,
                ports,
                icmp,
                vni_port,
                watch,
                kind,
            },
            swap,
            direction,
        }
    }
}

impl Key {
    /// Whether both are keys of one flow.
    #[inline]
    pub(crate) fn matches(&self, other: &Self) -> bool {
        self.lo_ip == other.lo_ip
            && self.hi_ip == other.hi_ip
            && self.parent == other.parent
            && self.ports == other.ports
            && self.icmp == other.icmp
            && self.vni_port == other.vni_port
            && self.watch == other.watch
            && self.kind == other.kind
            && self.macs() == other.macs()
    }

    /// A hash of the key but for its parent, of which `parent` is the hash: a chain's hashes are
    /// known before its flows are.
    #[inline]
    pub(crate) fn hash(&self, state: &RandomState, parent: u64) -> u64 {
        let mut hasher = state.build_hasher();
        hasher.write_u128(self.lo_ip);
        hasher.write_u128(self.hi_ip);
        if let Some((lo, hi)) = self.macs() {
            hasher.write_u128(u128::from(six(lo)) << 64 | u128::from(six(hi)));
        }
        hasher.write_u64(u64::from(self.ports) << 32 | u64::from(self.icmp));
        let small = u32::from(self.vni_port) << 16 | u32::from(self.watch) << 8;
        hasher.write_u32(small | u32::from(self.kind));
        hasher.write_u64(parent);
        hasher.finish()
    }

    /// IP version and both addresses as numbers.
    pub(crate) fn addresses(&self) -> Option<(u8, u128, u128)> {
        match self.kind & IP {
            IPV4 => Some((4, self.lo_ip, self.hi_ip)),
            IPV6 => Some((6, self.lo_ip, self.hi_ip)),
            _ => None,
        }
    }

    /// Both IP addresses.
    pub(crate) fn ips(&self) -> Option<(IpAddr, IpAddr)> {
        let text = |version, bits: u128| -> IpAddr {
            if version == 4 {
                Ipv4Addr::from_bits(bits as u32).into()
            } else {
                Ipv6Addr::from_bits(bits).into()
            }
        };
        let (version, lo, hi) = self.addresses()?;
        Some((text(version, lo), text(version, hi)))
    }

    /// What stands for the transport layer.
    pub(crate) fn selector(&self) -> Selector {
        let kind = match self.kind & TRANSPORT {
            TCP => 4,
            UDP => 5,
            SCTP => 6,
            VNI => {
                return Selector::Vni { vni: self.ports, port: self.vni_port };
            }
            _ => return Selector::None,
        };
        Selector::Ports { kind, lo: (self.ports >> 16) as u16, hi: self.ports as u16 }
    }

    /// The transport protocol.
    pub(crate) fn transport(&self) -> Option<Transport> {
        match self.kind & TRANSPORT {
            TCP => Some(Transport::Tcp),
            UDP | VNI => Some(Transport::Udp),
            SCTP => Some(Transport::Sctp),
            _ => None,
        }
    }

    /// ICMP type, code and identifier as they enter the digest.
    pub(crate) fn icmp(&self) -> Option<u32> {
        (self.kind & ICMP != 0).then_some(self.icmp)
    }

    /// The MAC addresses, when they are part of the key.
    #[inline]
    pub(crate) fn macs(&self) -> Option<(Mac, Mac)> {
        (self.kind & MACS != 0).then_some((self.lo_mac, self.hi_mac))
    }

    /// The MAC addresses of the first packet, zeros without Ethernet.
    pub(crate) fn first_macs(&self) -> (Mac, Mac) {
        (self.lo_mac, self.hi_mac)
    }
}

/// `(lo, hi)` of a source and a destination.
#[inline]
pub(crate) fn ordered<T>(swap: bool, source: T, destination: T) -> (T, T) {
    if swap { (destination, source) } else { (source, destination) }
}

#[inline]
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[inline]
fn six([a, b, c, d, e, f]: Mac) -> u64 {
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

// `Key::kind`: which layers take part.
const IP: u8 = 0b0000_0011;
const IPV4: u8 = 1;
const IPV6: u8 = 2;
const TRANSPORT: u8 = 0b0001_1100;
const TCP: u8 = 1 << 2;
const UDP: u8 = 2 << 2;
const SCTP: u8 = 3 << 2;
const VNI: u8 = 4 << 2;
const ICMP: u8 = 1 << 5;
const MACS: u8 = 1 << 6;
/// Ports or ICMP stand behind a second IP header. Skydive's digests do not say so; without it a
/// tunnel of IP in IP would be one flow with a bare connection of the same ends and ports.
const NESTED: u8 = 1 << 7;

//! The key of a flow: exactly what Skydive's digests are fed, so that flows merge as Skydive's.

use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ahash::RandomState;
use sonde_proto::plan::KeyMode;
use sonde_proto::record::{Mac, Transport};

use crate::parse::{Addresses, Piece, Plain};

/// What makes two pieces one flow. The ends are in an order that both directions share; one
/// decision orders all layers. Fills a cache line, and is compared as such.
///
/// ```text
/// 0, 1  lo IP address      5  lo MAC address, 16 bits of the hi one
/// 2, 3  hi IP address      6  32 bits of the hi MAC address, both ports or the VNI
/// 4     outer flow         7  ICMP, port beside the VNI, watch, kind
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Key([u64; 8]);

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
    /// The addresses are equal: from A if A's port is above the source port (Skydive's rule).
    Ports,
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

/// What a key is made of: the layers that a piece has, source first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    /// MAC addresses, as numbers.
    pub(crate) macs: Option<[u64; 2]>,
    pub(crate) addresses: Addresses,
    pub(crate) transport: Option<Transport>,
    pub(crate) ports: [u16; 2],
    /// Takes the ports' place.
    pub(crate) vni: Option<u32>,
    /// As it is digested.
    pub(crate) icmp: Option<u32>,
    /// An IP header stands behind another one.
    pub(crate) nested: bool,
    /// The ports are those of the piece itself, not of one inside.
    pub(crate) own_ports: bool,
}

impl Keyed {
    /// The key of a plain piece seen by the watch at place `watch`.
    #[inline(always)]
    pub(crate) fn plain(plain: &Plain, mode: KeyMode, watch: u8) -> Self {
        let parts = Parts {
            macs: Some(plain.macs),
            addresses: plain.addresses,
            transport: Some(plain.path.transport()),
            ports: plain.ports,
            vni: plain.vni,
            icmp: None,
            nested: false,
            own_ports: true,
        };
        Self::of(&parts, mode, watch)
    }

    /// The key of a piece seen by the watch at place `watch`. The parent is left to the caller.
    #[inline(always)]
    pub(crate) fn of(parts: &Parts, mode: KeyMode, watch: u8) -> Self {
        let (mut kind, [source_ip, destination_ip]) = match parts.addresses {
            Addresses::None => (0, [0; 2]),
            Addresses::V4([source, destination]) => (IPV4, [source.into(), destination.into()]),
            Addresses::V6(addresses) => (IPV6, addresses),
        };
        let [source_mac, destination_mac] = parts.macs.unwrap_or_default();
        if parts.macs.is_some() && (mode == KeyMode::L2 || kind & IP == 0) {
            kind |= MACS;
        }
        let [source_port, destination_port] = parts.ports;
        kind |= match (parts.vni, parts.transport) {
            (_, None) => 0,
            (Some(_), _) => VNI,
            (None, Some(Transport::Tcp)) => TCP,
            (None, Some(Transport::Udp)) => UDP,
            (None, Some(Transport::Sctp)) => SCTP,
        };
        if parts.icmp.is_some() {
            kind |= ICMP;
        }
        if parts.nested && kind & (TRANSPORT | ICMP) != 0 {
            kind |= NESTED;
        }
        let vni = parts.vni.filter(|_| kind & TRANSPORT == VNI);

        let by_port = if parts.own_ports { Direction::Ports } else { Direction::Ab };
        let by_mac = kind & MACS != 0 && source_mac != destination_mac;
        let by_ip = kind & IP != 0 && source_ip != destination_ip;
        let (swap, direction) = if by_mac {
            (source_mac > destination_mac, Direction::Ends)
        } else if by_ip {
            (source_ip > destination_ip, Direction::Ends)
        } else if kind & IP == 0 {
            let known = parts.macs.is_some();
            (false, if known { Direction::Ba } else { Direction::Ab })
        } else if let Some(vni) = vni {
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
        let (ports, vni_port) = match vni {
            Some(vni) => (vni, destination_port),
            None => {
                let (lo, hi) = ordered(swap, source_port, destination_port);
                (u32::from(lo) << 16 | u32::from(hi), 0)
            }
        };
        let icmp = u64::from(parts.icmp.unwrap_or_default());
        Self {
            key: Key([
                (lo_ip >> 64) as u64,
                lo_ip as u64,
                (hi_ip >> 64) as u64,
                hi_ip as u64,
                0,
                lo_mac << 16 | hi_mac >> 32,
                hi_mac << 32 | u64::from(ports),
                icmp << 32 | u64::from(vni_port) << 16 | u64::from(watch) << 8 | u64::from(kind),
            ]),
            swap,
            direction,
        }
    }
}

impl From<&Piece> for Parts {
    fn from(piece: &Piece) -> Self {
        Self {
            macs: piece.link.map(|link| [link.source, link.destination].map(six)),
            addresses: match piece.key.addresses {
                None => Addresses::None,
                Some([IpAddr::V4(source), IpAddr::V4(destination)]) => {
                    Addresses::V4([source, destination].map(Ipv4Addr::to_bits))
                }
                // Both are of one version: mixed ones would be mapped into the larger.
                Some(addresses) => Addresses::V6(addresses.map(|address| match address {
                    IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
                    IpAddr::V6(address) => address.to_bits(),
                })),
            },
            transport: piece.key.ports.map(|ports| ports.protocol),
            ports: piece.key.ports.map_or([0; 2], |ports| [ports.source, ports.destination]),
            vni: piece.vni,
            icmp: piece.key.icmp,
            nested: piece.ip_in_ip,
            own_ports: piece.ports.is_some(),
        }
    }
}

impl Key {
    /// The key of nothing: no other matches it.
    pub(crate) const NONE: Self = Self([u64::MAX; 8]);

    /// Whether this is the key of `other`'s flow inside `parent`: all is compared, but for MAC
    /// addresses that are no part of it.
    #[inline(always)]
    pub(crate) fn matches(&self, other: &Self, parent: u64) -> bool {
        let Self([a0, a1, a2, a3, a4, a5, a6, a7]) = *self;
        let Self([b0, b1, b2, b3, _, b5, b6, b7]) = *other;
        let (macs, rest) = self.mac_masks();
        let addresses = (a0 ^ b0) | (a1 ^ b1) | (a2 ^ b2) | (a3 ^ b3);
        addresses | (a4 ^ parent) | (a7 ^ b7) | (a5 ^ b5) & macs | (a6 ^ b6) & rest == 0
    }

    /// A hash of the key but for its parent, of which `parent` is the hash: a chain's hashes are
    /// known before its flows are. The secret of `state` is in that hash, so that it can be mixed
    /// in without a round of its own.
    #[inline(always)]
    pub(crate) fn hash(&self, state: &RandomState, parent: u64) -> u64 {
        let Self([lo0, lo1, hi0, hi1, _, macs, rest, last]) = *self;
        let pair = |high, low| u128::from(high) << 64 | u128::from(low);
        let mut hasher = state.build_hasher();
        if self.kind() & IP == IPV6 {
            hasher.write_u128(pair(lo0, lo1));
            hasher.write_u128(pair(hi0, hi1));
            hasher.write_u128(pair(last, parent));
        } else {
            // Addresses of 32 bits.
            hasher.write_u128(pair(last, (lo1 << 32 | hi1) ^ parent));
        }
        let (mac_mask, mask) = self.mac_masks();
        hasher.write_u128(pair(macs & mac_mask, rest & mask));
        hasher.finish()
    }

    /// The same inside the flow of that `UUID`, 0 for none.
    pub(crate) fn with_parent(mut self, uuid: u64) -> Self {
        self.0[4] = uuid;
        self
    }

    /// `UUID` of the outer flow, 0 without one.
    pub(crate) fn parent(&self) -> u64 {
        self.0[4]
    }

    /// Place of the watch in the shard.
    #[inline]
    pub(crate) fn watch(&self) -> usize {
        usize::from((self.0[7] >> 8) as u8)
    }

    /// IP version and both addresses as numbers.
    pub(crate) fn addresses(&self) -> Option<(u8, u128, u128)> {
        let Self([lo0, lo1, hi0, hi1, ..]) = *self;
        let number = |high, low| u128::from(high) << 64 | u128::from(low);
        let version = match self.kind() & IP {
            IPV4 => 4,
            IPV6 => 6,
            _ => return None,
        };
        Some((version, number(lo0, lo1), number(hi0, hi1)))
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
        let ports = self.0[6] as u32;
        let kind = match self.kind() & TRANSPORT {
            TCP => 4,
            UDP => 5,
            SCTP => 6,
            VNI => {
                return Selector::Vni { vni: ports, port: (self.0[7] >> 16) as u16 };
            }
            _ => return Selector::None,
        };
        Selector::Ports { kind, lo: (ports >> 16) as u16, hi: ports as u16 }
    }

    /// ICMP type, code and identifier as they enter the digest.
    pub(crate) fn icmp(&self) -> Option<u32> {
        (self.kind() & ICMP != 0).then_some((self.0[7] >> 32) as u32)
    }

    /// The MAC addresses, when they are part of the key.
    pub(crate) fn macs(&self) -> Option<(Mac, Mac)> {
        (self.kind() & MACS != 0).then(|| self.first_macs())
    }

    /// The MAC addresses of the first packet, zeros without Ethernet.
    pub(crate) fn first_macs(&self) -> (Mac, Mac) {
        let [.., high, low, _] = self.0;
        let mac = |number: u64| {
            let [_, _, mac @ ..] = number.to_be_bytes();
            mac
        };
        (mac(high >> 16), mac((high & 0xffff) << 32 | low >> 32))
    }

    /// What of the words with MAC addresses takes part.
    #[inline(always)]
    fn mac_masks(&self) -> (u64, u64) {
        if self.kind() & MACS != 0 { (u64::MAX, u64::MAX) } else { (0, PORTS) }
    }

    #[inline]
    fn kind(&self) -> u8 {
        self.0[7] as u8
    }
}

/// `(lo, hi)` of a source and a destination.
#[inline]
pub(crate) fn ordered<T>(swap: bool, source: T, destination: T) -> (T, T) {
    if swap { (destination, source) } else { (source, destination) }
}

/// A MAC address as a number.
#[inline]
pub(crate) fn six([a, b, c, d, e, f]: Mac) -> u64 {
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

/// The ports in the seventh word.
const PORTS: u64 = 0xffff_ffff;

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

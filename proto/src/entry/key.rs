//! The key of a flow: exactly what Skydive's digests are fed, so that flows merge as Skydive's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::record::Mac;

/// What makes two pieces one flow. The ends are in an order that both directions share; one
/// decision orders all layers. Fills a cache line, and is compared as such.
///
/// ```text
/// 0, 1  lo IP address      5  lo MAC address, 16 bits of the hi one
/// 2, 3  hi IP address      6  32 bits of the hi MAC address, both ports or the VNI
/// 4     outer flow         7  ICMP, port beside the VNI, watch, kind
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Key([u64; 8]);

/// What stands for the transport layer in a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Selector {
    None,
    Ports { kind: u64, lo: u16, hi: u16 },
    Vni { vni: u32, port: u16 },
}

impl Key {
    /// A key of these words, the last of which says which layers take part.
    #[inline(always)]
    pub const fn new(words: [u64; 8]) -> Self {
        Self(words)
    }

    /// All that two keys of one flow share, for a hash of it: the words, but for the outer flow's
    /// and for MAC addresses that are no part of the key.
    #[inline(always)]
    pub fn words(&self) -> [u64; 7] {
        let Self([lo0, lo1, hi0, hi1, _, macs, rest, last]) = *self;
        let (mac_mask, mask) = self.mac_masks();
        [lo0, lo1, hi0, hi1, macs & mac_mask, rest & mask, last]
    }

    /// Whether the addresses are of IPv6.
    #[inline(always)]
    pub fn is_ipv6(&self) -> bool {
        self.kind() & kind::IP == kind::IPV6
    }

    /// The key of nothing: no other matches it.
    pub const NONE: Self = Self([u64::MAX; 8]);

    /// Whether this is the key of `other`'s flow inside `parent`: all is compared, but for MAC
    /// addresses that are no part of it.
    #[inline(always)]
    pub fn matches(&self, other: &Self, parent: u64) -> bool {
        let Self([a0, a1, a2, a3, a4, a5, a6, a7]) = *self;
        let Self([b0, b1, b2, b3, _, b5, b6, b7]) = *other;
        let (macs, rest) = self.mac_masks();
        let addresses = (a0 ^ b0) | (a1 ^ b1) | (a2 ^ b2) | (a3 ^ b3);
        addresses | (a4 ^ parent) | (a7 ^ b7) | (a5 ^ b5) & macs | (a6 ^ b6) & rest == 0
    }

    /// The same inside the flow of that `UUID`, 0 for none.
    pub fn with_parent(mut self, uuid: u64) -> Self {
        self.0[4] = uuid;
        self
    }

    /// `UUID` of the outer flow, 0 without one.
    pub fn parent(&self) -> u64 {
        self.0[4]
    }

    /// Place of the watch in the shard.
    #[inline]
    pub fn watch(&self) -> usize {
        usize::from((self.0[7] >> 8) as u8)
    }

    /// IP version and both addresses as numbers.
    pub(super) fn addresses(&self) -> Option<(u8, u128, u128)> {
        let Self([lo0, lo1, hi0, hi1, ..]) = *self;
        let number = |high, low| u128::from(high) << 64 | u128::from(low);
        let version = match self.kind() & kind::IP {
            kind::IPV4 => 4,
            kind::IPV6 => 6,
            _ => return None,
        };
        Some((version, number(lo0, lo1), number(hi0, hi1)))
    }

    /// Both IP addresses.
    pub fn ips(&self) -> Option<(IpAddr, IpAddr)> {
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
    pub(super) fn selector(&self) -> Selector {
        let ports = self.0[6] as u32;
        let kind = match self.kind() & kind::TRANSPORT {
            kind::TCP => 4,
            kind::UDP => 5,
            kind::SCTP => 6,
            kind::VNI => {
                return Selector::Vni { vni: ports, port: (self.0[7] >> 16) as u16 };
            }
            _ => return Selector::None,
        };
        Selector::Ports { kind, lo: (ports >> 16) as u16, hi: ports as u16 }
    }

    /// ICMP type, code and identifier as they enter the digest.
    pub fn icmp(&self) -> Option<u32> {
        (self.kind() & kind::ICMP != 0).then_some((self.0[7] >> 32) as u32)
    }

    /// The MAC addresses, when they are part of the key.
    pub fn macs(&self) -> Option<(Mac, Mac)> {
        (self.kind() & kind::MACS != 0).then(|| self.first_macs())
    }

    /// The MAC addresses of the first packet, zeros without Ethernet.
    pub fn first_macs(&self) -> (Mac, Mac) {
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
        if self.kind() & kind::MACS != 0 { (u64::MAX, u64::MAX) } else { (0, PORTS) }
    }

    #[inline]
    fn kind(&self) -> u8 {
        self.0[7] as u8
    }
}

/// `(lo, hi)` of a source and a destination.
#[inline]
pub fn ordered<T>(swap: bool, source: T, destination: T) -> (T, T) {
    if swap { (destination, source) } else { (source, destination) }
}

/// The ports in the seventh word.
const PORTS: u64 = 0xffff_ffff;

/// The lowest byte of the last word: which layers take part.
pub mod kind {
    /// IP version.
    pub const IP: u8 = 0b0000_0011;
    /// IPv4.
    pub const IPV4: u8 = 1;
    /// IPv6.
    pub const IPV6: u8 = 2;
    /// Transport layer.
    pub const TRANSPORT: u8 = 0b0001_1100;
    /// TCP.
    pub const TCP: u8 = 1 << 2;
    /// UDP.
    pub const UDP: u8 = 2 << 2;
    /// SCTP.
    pub const SCTP: u8 = 3 << 2;
    /// A VNI, and the port beside it, in the place of ports.
    pub const VNI: u8 = 4 << 2;
    /// ICMP.
    pub const ICMP: u8 = 1 << 5;
    /// MAC addresses.
    pub const MACS: u8 = 1 << 6;
    /// Ports or ICMP stand behind a second IP header. Skydive's digests do not say so; without it a
    /// tunnel of IP in IP would be one flow with a bare connection of the same ends and ports.
    pub const NESTED: u8 = 1 << 7;
}

//! What a flow keeps of its first packet, beyond its key.

use std::net::Ipv4Addr;

use super::key::{Key, ordered};
use crate::record::{
    FinishType, Icmp, IcmpKind, Layer, LayersPath, LinkEnds, NetworkEnds, Transport, TransportEnds,
};

/// The part of a record that never changes and that the key does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct First {
    /// Its layers, outermost first.
    pub layers: LayersPath,
    /// The protocol of its ports, if they are shown.
    pub transport: Option<Transport>,
    /// Its ICMP type; the identifier is in the key.
    pub icmp: Option<IcmpKind>,
    /// Its ICMP code.
    pub icmp_code: u8,
    /// What else is shown of it, of [`shows`].
    pub shows: u8,
    /// Its destination port.
    pub port: u16,
    /// Its VLAN ids combined as Skydive does, the low and the high half.
    pub vlans: [u32; 2],
    /// A VNI or GRE key.
    pub network_id: u32,
    /// IPv4 addresses that are shown in place of the key's, source first.
    pub apart: [u32; 2],
}

impl First {
    /// How the flow is over whose first packet this is. Skydive looks at RST last.
    #[inline]
    pub fn finish(&self) -> FinishType {
        match self.shows {
            bits if bits & shows::RST != 0 => FinishType::TcpRst,
            bits if bits & shows::FIN != 0 => FinishType::TcpFin,
            _ => FinishType::NotFinished,
        }
    }

    /// The last layer of the path: Skydive's `Application`.
    pub fn application(&self) -> Option<Layer> {
        self.layers.as_slice().last().copied()
    }

    /// Ethernet ends of a flow with that key, whose first packet came from the `hi` end or not.
    pub(super) fn link(&self, key: &Key, swap: bool) -> Option<LinkEnds> {
        let (lo, hi) = key.first_macs();
        let (a, b) = ordered(swap, lo, hi);
        let [low, high] = self.vlans.map(i64::from);
        (self.shows & shows::LINK != 0).then_some(LinkEnds { a, b, id: high << 32 | low })
    }

    /// IP ends.
    pub(super) fn network(&self, key: &Key, swap: bool) -> Option<NetworkEnds> {
        let (a, b) = if self.shows & shows::APART != 0 {
            let [a, b] = self.apart.map(|bits| Ipv4Addr::from_bits(bits).into());
            (a, b)
        } else if self.shows & shows::NETWORK != 0 {
            let (lo, hi) = key.ips()?;
            ordered(swap, lo, hi)
        } else {
            return None;
        };
        Some(NetworkEnds { a, b, id: self.network_id.into() })
    }

    /// Ports, of which `a` is the source's.
    pub(super) fn transport(&self, a: u16) -> Option<TransportEnds> {
        self.transport.map(|protocol| TransportEnds { protocol, a, b: self.port })
    }

    /// ICMP; the identifier is in the key.
    pub(super) fn icmp(&self, key: &Key) -> Option<Icmp> {
        let id = key.icmp().unwrap_or_default() as u16;
        self.icmp.map(|kind| Icmp { kind, code: self.icmp_code, id })
    }
}

/// The bits of [`First::shows`].
pub mod shows {
    /// Ethernet.
    pub const LINK: u8 = 1;
    /// IP addresses: those of the key, unless [`APART`].
    pub const NETWORK: u8 = 1 << 1;
    /// The addresses shown are not those of the key (IPv4 in IPv6).
    pub const APART: u8 = 1 << 2;
    /// The packet carried FIN.
    pub const FIN: u8 = 1 << 3;
    /// The packet carried RST.
    pub const RST: u8 = 1 << 4;
}

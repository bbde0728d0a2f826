//! What a flow keeps of its first packet, beyond its key.

use std::net::{IpAddr, Ipv4Addr};

use sonde_proto::record::{
    FinishType, Icmp, IcmpKind, Layer, LayersPath, LinkEnds, NetworkEnds, Transport, TransportEnds,
};

use super::key::{Key, ordered};
use crate::parse::{Piece, PlainPath, tcp_flags};

/// The part of a record that never changes and that the key does not tell.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct First {
    pub(crate) layers: LayersPath,
    /// The protocol of the ports that are shown.
    transport: Option<Transport>,
    icmp: Option<IcmpKind>,
    icmp_code: u8,
    shows: u8,
    /// Destination port.
    port: u16,
    /// VLAN ids combined, the low and the high half.
    vlans: [u32; 2],
    /// A VNI or GRE key.
    network_id: u32,
    /// IPv4 addresses that are shown in place of the key's, source first.
    shown: [u32; 2],
}

impl First {
    /// What a plain packet leaves to its flow.
    pub(crate) fn plain(path: PlainPath, vlans: u32, port: u16, tcp: u8, vni: u32) -> Self {
        Self {
            layers: path.layers(),
            transport: Some(path.transport()),
            icmp: None,
            icmp_code: 0,
            shows: LINK | NETWORK | goodbye(tcp),
            port,
            vlans: [vlans, 0],
            network_id: vni,
            shown: [0; 2],
        }
    }

    /// How the flow is over whose first packet this is. Skydive looks at RST last.
    #[inline]
    pub(crate) fn finish(&self) -> FinishType {
        match self.shows {
            shows if shows & RST != 0 => FinishType::TcpRst,
            shows if shows & FIN != 0 => FinishType::TcpFin,
            _ => FinishType::NotFinished,
        }
    }

    /// The last layer of the path: Skydive's `Application`.
    pub(crate) fn application(&self) -> Option<Layer> {
        self.layers.as_slice().last().copied()
    }

    /// Ethernet ends of a flow with that key, whose first packet came from the `hi` end or not.
    pub(crate) fn link(&self, key: &Key, swap: bool) -> Option<LinkEnds> {
        let (lo, hi) = key.first_macs();
        let (a, b) = ordered(swap, lo, hi);
        let [low, high] = self.vlans.map(i64::from);
        (self.shows & LINK != 0).then_some(LinkEnds { a, b, id: high << 32 | low })
    }

    /// IP ends.
    pub(crate) fn network(&self, key: &Key, swap: bool) -> Option<NetworkEnds> {
        let (a, b) = if self.shows & APART != 0 {
            let [a, b] = self.shown.map(|bits| Ipv4Addr::from_bits(bits).into());
            (a, b)
        } else if self.shows & NETWORK != 0 {
            let (lo, hi) = key.ips()?;
            ordered(swap, lo, hi)
        } else {
            return None;
        };
        Some(NetworkEnds { a, b, id: self.network_id.into() })
    }

    /// Ports, of which `a` is the source's.
    pub(crate) fn transport(&self, a: u16) -> Option<TransportEnds> {
        self.transport.map(|protocol| TransportEnds { protocol, a, b: self.port })
    }

    /// ICMP; the identifier is in the key.
    pub(crate) fn icmp(&self, key: &Key) -> Option<Icmp> {
        let id = key.icmp().unwrap_or_default() as u16;
        self.icmp.map(|kind| Icmp { kind, code: self.icmp_code, id })
    }
}

impl From<&Piece> for First {
    fn from(piece: &Piece) -> Self {
        let mut shows = goodbye(piece.tcp_flags);
        let mut shown = [0; 2];
        if piece.link.is_some() {
            shows |= LINK;
        }
        if let Some(network) = &piece.network {
            shows |= NETWORK;
            if let (IpAddr::V4(source), IpAddr::V4(destination)) =
                (network.source, network.destination)
                && piece.key.addresses != Some([network.source, network.destination])
            {
                shows |= APART;
                shown = [source, destination].map(Ipv4Addr::to_bits);
            }
        }
        Self {
            layers: piece.layers,
            transport: piece.ports.map(|ports| ports.protocol),
            icmp: piece.icmp.map(|icmp| icmp.kind),
            icmp_code: piece.icmp.map_or(0, |icmp| icmp.code),
            shows,
            port: piece.ports.map_or(0, |ports| ports.destination),
            vlans: halves(piece.link.map_or(0, |link| link.id as u64)),
            network_id: piece
                .network
                .map_or(0, |network| network.id.try_into().unwrap_or(u32::MAX)),
            shown,
        }
    }
}

/// How a first packet with these TCP flags says goodbye.
#[inline]
fn goodbye(tcp: u8) -> u8 {
    let rst = if tcp & tcp_flags::RST != 0 { RST } else { 0 };
    let fin = if tcp & tcp_flags::FIN != 0 { FIN } else { 0 };
    rst | fin
}

#[inline]
fn halves(number: u64) -> [u32; 2] {
    [number as u32, (number >> 32) as u32]
}

// `First::shows`.
/// Ethernet.
const LINK: u8 = 1;
/// IP addresses: those of the key, unless [`APART`].
const NETWORK: u8 = 1 << 1;
/// The addresses shown are not those of the key (IPv4 in IPv6).
const APART: u8 = 1 << 2;
/// The first packet carried FIN.
const FIN: u8 = 1 << 3;
/// The first packet carried RST.
const RST: u8 = 1 << 4;

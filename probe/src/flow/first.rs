//! What a flow keeps of its first packet, beyond its key.

use std::net::{IpAddr, Ipv4Addr};

use sonde_proto::entry::First;
use sonde_proto::entry::first::shows::{APART, FIN, LINK, NETWORK, RST};

use crate::parse::{Piece, PlainPath, tcp_flags};

/// What a plain packet leaves to its flow.
#[inline(always)]
pub(crate) fn plain(path: PlainPath, vlans: u32, port: u16, tcp: u8, vni: u32) -> First {
    First {
        layers: path.layers(),
        transport: Some(path.transport()),
        shows: LINK | NETWORK | goodbye(tcp),
        port,
        vlans: [vlans, 0],
        network_id: vni,
        ..First::default()
    }
}

/// What any packet leaves to its flow.
pub(crate) fn any(piece: &Piece) -> First {
    let mut shows = goodbye(piece.tcp_flags);
    let mut apart = [0; 2];
    if piece.link.is_some() {
        shows |= LINK;
    }
    if let Some(network) = &piece.network {
        shows |= NETWORK;
        if let (IpAddr::V4(source), IpAddr::V4(destination)) = (network.source, network.destination)
            && piece.key.addresses != Some([network.source, network.destination])
        {
            shows |= APART;
            apart = [source, destination].map(Ipv4Addr::to_bits);
        }
    }
    First {
        layers: piece.layers,
        transport: piece.ports.map(|ports| ports.protocol),
        icmp: piece.icmp.map(|icmp| icmp.kind),
        icmp_code: piece.icmp.map_or(0, |icmp| icmp.code),
        shows,
        port: piece.ports.map_or(0, |ports| ports.destination),
        vlans: halves(piece.link.map_or(0, |link| link.id as u64)),
        network_id: piece.network.map_or(0, |network| network.id.try_into().unwrap_or(u32::MAX)),
        apart,
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

//! How a piece is keyed.

use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv4Addr};

use ahash::RandomState;
use sonde_proto::entry::key::kind::{
    ICMP, IP, IPV4, IPV6, MACS, NESTED, SCTP, TCP, TRANSPORT, UDP, VNI,
};
use sonde_proto::entry::{Key, ordered};
use sonde_proto::plan::KeyMode;
use sonde_proto::record::{Mac, Transport};

use crate::parse::{Addresses, Piece, Plain};

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
            key: Key::new([
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

/// A hash of a key but for its parent, of which `parent` is the hash: a chain's hashes are known
/// before its flows are. The secret of `state` is in that hash, so that it can be mixed in without
/// a round of its own.
#[inline(always)]
pub(crate) fn hash(key: &Key, state: &RandomState, parent: u64) -> u64 {
    let [lo0, lo1, hi0, hi1, macs, rest, last] = key.words();
    let pair = |high, low| u128::from(high) << 64 | u128::from(low);
    let mut hasher = state.build_hasher();
    if key.is_ipv6() {
        hasher.write_u128(pair(lo0, lo1));
        hasher.write_u128(pair(hi0, hi1));
        hasher.write_u128(pair(last, parent));
    } else {
        // Addresses of 32 bits.
        hasher.write_u128(pair(last, (lo1 << 32 | hi1) ^ parent));
    }
    hasher.write_u128(pair(macs, rest));
    hasher.finish()
}

/// A MAC address as a number.
#[inline]
pub(crate) fn six([a, b, c, d, e, f]: Mac) -> u64 {
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

#[cfg(test)]
mod tests {
    use sonde_proto::entry::Identity;
    use xxhash_rust::xxh64::xxh64;

    use super::*;
    use crate::parse::{KeyParts, Link, Network, Ports};

    fn piece(source: &str, destination: &str) -> Piece {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        Piece {
            link: Some(Link { source: [9; 6], destination: [1; 6], id: 0 }),
            network: Some(Network { source, destination, id: 0 }),
            key: KeyParts { addresses: Some([source, destination]), ..KeyParts::default() },
            ..Piece::new(0, 0)
        }
    }

    fn with_ports(piece: Piece, protocol: Transport, source: u16, destination: u16) -> Piece {
        let ports = Some(Ports { protocol, source, destination });
        Piece { ports, key: KeyParts { ports, ..piece.key }, ..piece }
    }

    fn with_icmp(piece: Piece, icmp: u32) -> Piece {
        Piece { key: KeyParts { icmp: Some(icmp), ..piece.key }, ..piece }
    }

    /// L3, L2 and table digests.
    fn digests(piece: &Piece, mode: KeyMode) -> [u64; 3] {
        of(&Keyed::of(&Parts::from(piece), mode, 7).key)
    }

    fn of(key: &Key) -> [u64; 3] {
        let identity = Identity::of(key);
        [identity.l3_tracking_id(), identity.tracking_id(), identity.table_key()]
    }

    /// XXH64 over bytes in hex; blanks do not count.
    fn xxh(hex: &str) -> u64 {
        let digits: Vec<u8> = hex.bytes().filter(|b| *b != b' ').collect();
        let bytes: Vec<u8> = digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        xxh64(&bytes, 0)
    }

    #[test]
    fn l3_feeds_ip_then_transport_then_icmp() {
        let v4 = piece("10.0.0.2", "10.0.0.1");
        let v6 = piece("2001:db8::1", "2001:db8::2");
        let ip4 = "0a000001 0a000002 0000000000000001";
        let ip6 = "20010db8000000000000000000000001 20010db8000000000000000000000002
            0000000000000002";
        let cases = [
            (with_ports(v4, Transport::Udp, 5, 1), ip4, "0001 0005 0000000000000005"),
            (with_ports(v6, Transport::Sctp, 1, 5), ip6, "0001 0005 0000000000000006"),
            (with_ports(v6, Transport::Tcp, 1, 5), ip6, "0001 0005 0000000000000004"),
            (
                Piece { vni: Some(7), ..with_ports(v4, Transport::Udp, 5, 4789) },
                ip4,
                "00000007 12b5 0000000000000000",
            ),
            (with_icmp(v4, 0x0203_0009), ip4, "02030009 0000000000000000"),
            (with_icmp(v6, 0x0301_0000), ip6, "03010000 0000000000000000"),
            (v4, ip4, ""),
        ];
        for (piece, ip, rest) in cases {
            let fed = format!("{ip}{rest}").replace('\n', "");
            assert_eq!(digests(&piece, KeyMode::L3), [xxh(&fed); 3], "{piece:?}");
        }
    }

    /// One decision orders all layers: that of the MAC addresses, if they are part of the key.
    #[test]
    fn l2_orders_all_layers_by_the_mac_addresses() {
        let both = with_ports(piece("10.0.0.1", "10.0.0.2"), Transport::Tcp, 1, 5);
        let l3 = "0a000002 0a000001 0000000000000001 0005 0001 0000000000000004";
        let macs = "010101010101 090909090909 0000000000000003";
        let l2 = xxh(&format!("{l3}{macs}"));
        assert_eq!(digests(&both, KeyMode::L2), [xxh(l3), l2, l2]);

        let no_ip = Piece { network: None, ports: None, key: KeyParts::default(), ..both };
        for mode in [KeyMode::L2, KeyMode::L3] {
            assert_eq!(digests(&no_ip, mode), [xxh(""), xxh(macs), xxh(macs)]);
        }
    }

    #[test]
    fn equal_addresses_leave_the_order_to_the_ports() {
        let same = Piece { link: None, ..piece("10.0.0.1", "10.0.0.1") };
        let ip = "0a000001 0a000001 0000000000000001";
        let tcp = with_ports(same, Transport::Tcp, 5, 1);
        let expected = xxh(&format!("{ip} 0001 0005 0000000000000004"));
        assert_eq!(digests(&tcp, KeyMode::L2), [expected; 3]);
        assert_eq!(digests(&same, KeyMode::L2), [xxh(ip); 3]);
    }

    #[test]
    fn the_outer_flow_is_fed_as_text() {
        let parts = Parts::from(&piece("10.0.0.1", "10.0.0.2"));
        let key = Keyed::of(&parts, KeyMode::L3, 0).key.with_parent(0xab);
        let ip = "0a000001 0a000002 0000000000000001";
        assert_eq!(of(&key), [xxh(ip), xxh(ip), xxh(&format!("{ip} 6162"))]);
    }
}

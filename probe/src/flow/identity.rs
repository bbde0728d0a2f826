//! Skydive's identities of a flow: a pure function of its key, its start and its node.

use sonde_proto::time::Timestamp;
use xxhash_rust::xxh64::xxh64;

use super::key::{Key, Selector};

/// What the digests of a key are taken of: each over what the one before was fed and more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    fed: [u8; LONGEST],
    /// Where IP, transport and ICMP end.
    l3: usize,
    /// Where the MAC addresses end, if they are part of the key.
    l2: usize,
    /// Where the outer flow ends.
    length: usize,
}

impl Identity {
    /// Takes a key apart, layer by layer; each pair of ends in the key's order, followed by the
    /// number of its kind.
    pub(crate) fn of(key: &Key) -> Self {
        let mut this = Self { fed: [0; LONGEST], l3: 0, l2: 0, length: 0 };
        if let Some((version, lo, hi)) = key.addresses() {
            // An IPv4 address is in the low 32 bits.
            let from = if version == 4 { 12 } else { 0 };
            this.feed(&lo.to_be_bytes()[from..]);
            this.feed(&hi.to_be_bytes()[from..]);
            this.feed(&if version == 4 { IPV4 } else { IPV6 }.to_be_bytes());
        }
        match key.selector() {
            Selector::None => {}
            Selector::Ports { kind, lo, hi } => {
                this.feed(&lo.to_be_bytes());
                this.feed(&hi.to_be_bytes());
                this.feed(&kind.to_be_bytes());
            }
            Selector::Vni { vni, port } => {
                this.feed(&vni.to_be_bytes());
                this.feed(&port.to_be_bytes());
                this.feed(&NO_KIND.to_be_bytes());
            }
        }
        if let Some(icmp) = key.icmp() {
            this.feed(&icmp.to_be_bytes());
            this.feed(&NO_KIND.to_be_bytes());
        }
        this.l3 = this.length;
        if let Some((lo, hi)) = key.macs() {
            this.feed(&lo);
            this.feed(&hi);
            this.feed(&MAC.to_be_bytes());
        }
        this.l2 = this.length;
        if key.parent() != 0 {
            let mut text = [0; 16];
            this.feed(hex(key.parent(), &mut text));
        }
        this
    }

    /// Skydive's `L3TrackingID`.
    pub(crate) fn l3_tracking_id(&self) -> u64 {
        xxh64(&self.fed[..self.l3], 0)
    }

    /// Skydive's `TrackingID`.
    pub(crate) fn tracking_id(&self) -> u64 {
        xxh64(&self.fed[..self.l2], 0)
    }

    /// The key of Skydive's flow table.
    fn table_key(&self) -> u64 {
        xxh64(&self.fed[..self.length], 0)
    }

    /// Skydive's `UUID` of a flow that began at `start`, seen at the node `tid`.
    pub(crate) fn uuid(&self, start: Timestamp, tid: &[u8]) -> u64 {
        let mut input = [0; 8 + TID_LENGTH];
        input[..8].copy_from_slice(&start.millis().to_be_bytes());
        let length = tid.len().min(TID_LENGTH);
        input[8..8 + length].copy_from_slice(&tid[..length]);
        xxh64(&input[..8 + length], self.table_key())
    }

    fn feed(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        self.fed[self.length..end].copy_from_slice(bytes);
        self.length = end;
    }
}

/// IPv6 addresses, a VNI with its port, ICMP, MAC addresses, the number of each kind, and a UUID.
const LONGEST: usize = (32 + 8) + (6 + 8) + (4 + 8) + (12 + 8) + 16;

/// Characters of a TID.
pub(crate) const TID_LENGTH: usize = 36;

// What gopacket numbers the kinds of ends.
const IPV4: u64 = 1;
const IPV6: u64 = 2;
const MAC: u64 = 3;
const NO_KIND: u64 = 0;

/// Lower-case hex without leading zeros.
fn hex(digest: u64, text: &mut [u8; 16]) -> &[u8] {
    let digits = (16 - digest.leading_zeros() as usize / 4).max(1);
    for (i, place) in text.iter_mut().take(digits).enumerate() {
        let nibble = digest >> (4 * (digits - 1 - i)) & 0xf;
        *place = b"0123456789abcdef"[nibble as usize];
    }
    &text[..digits]
}

#[cfg(test)]
mod tests {
    use super::super::key::{Keyed, Parts};
    use super::*;
    use crate::parse::{KeyParts, Link, Network, Piece, Ports};
    use sonde_proto::plan::KeyMode;
    use sonde_proto::record::Transport;

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

    #[test]
    fn hex_has_no_leading_zeros() {
        let mut text = [0; 16];
        for digest in [0, 1, 0xf, 0x10, 0x0123_4567_89ab_cdef, u64::MAX] {
            assert_eq!(hex(digest, &mut text), format!("{digest:x}").as_bytes());
        }
    }
}

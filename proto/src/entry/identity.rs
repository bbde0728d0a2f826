//! Skydive's identities of a flow: a pure function of its key, its start and its node.

use uuid::Uuid;
use uuid::fmt::Hyphenated;
use xxhash_rust::xxh64::xxh64;

use super::key::{Key, Selector};
use crate::time::Timestamp;

/// What the digests of a key are taken of: each over what the one before was fed and more.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
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
    pub fn of(key: &Key) -> Self {
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
    pub fn l3_tracking_id(&self) -> u64 {
        xxh64(&self.fed[..self.l3], 0)
    }

    /// Skydive's `TrackingID`.
    pub fn tracking_id(&self) -> u64 {
        xxh64(&self.fed[..self.l2], 0)
    }

    /// The key of Skydive's flow table.
    pub fn table_key(&self) -> u64 {
        xxh64(&self.fed[..self.length], 0)
    }

    /// Skydive's `UUID` of a flow that began at `start`, seen at the node of that TID.
    pub fn uuid(&self, start: Timestamp, tid: Option<Uuid>) -> u64 {
        let mut input = [0; 8 + Hyphenated::LENGTH];
        input[..8].copy_from_slice(&start.millis().to_be_bytes());
        let length = 8 + tid.map_or(0, |tid| tid.hyphenated().encode_lower(&mut input[8..]).len());
        xxh64(&input[..length], self.table_key())
    }

    fn feed(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        self.fed[self.length..end].copy_from_slice(bytes);
        self.length = end;
    }
}

/// IPv6 addresses, a VNI with its port, ICMP, MAC addresses, the number of each kind, and a UUID.
const LONGEST: usize = (32 + 8) + (6 + 8) + (4 + 8) + (12 + 8) + 16;

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
    use super::*;

    #[test]
    fn hex_has_no_leading_zeros() {
        let mut text = [0; 16];
        for digest in [0, 1, 0xf, 0x10, 0x0123_4567_89ab_cdef, u64::MAX] {
            assert_eq!(hex(digest, &mut text), format!("{digest:x}").as_bytes());
        }
    }
}

//! Skydive's identities of a flow: a pure function of its key, its start and its node.

use sonde_proto::time::Timestamp;
use xxhash_rust::xxh64::{Xxh64, xxh64};

use super::key::{Key, Selector};

/// Digests of a key, each over what the one before was fed and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Digests {
    /// IP, transport and ICMP: `L3TrackingID`.
    pub(crate) l3: u64,
    /// And the MAC addresses, when they are part of the key: `TrackingID`.
    pub(crate) l2: u64,
    /// And the outer flow: the seed of the `UUID`.
    pub(crate) table: u64,
}

impl Digests {
    /// Feeds a key to XXH64, layer by layer; each pair of ends in the key's order, followed by
    /// the number of its kind.
    pub(crate) fn of(key: &Key) -> Self {
        let mut hasher = Xxh64::new(0);
        if let Some((version, lo, hi)) = key.addresses() {
            // An IPv4 address is in the low 32 bits.
            let from = if version == 4 { 12 } else { 0 };
            hasher.update(&lo.to_be_bytes()[from..]);
            hasher.update(&hi.to_be_bytes()[from..]);
            hasher.update(&if version == 4 { IPV4 } else { IPV6 }.to_be_bytes());
        }
        match key.selector() {
            Selector::None => {}
            Selector::Ports { kind, lo, hi } => {
                hasher.update(&lo.to_be_bytes());
                hasher.update(&hi.to_be_bytes());
                hasher.update(&kind.to_be_bytes());
            }
            Selector::Vni { vni, port } => {
                hasher.update(&vni.to_be_bytes());
                hasher.update(&port.to_be_bytes());
                hasher.update(&NO_KIND.to_be_bytes());
            }
        }
        if let Some(icmp) = key.icmp() {
            hasher.update(&icmp.to_be_bytes());
            hasher.update(&NO_KIND.to_be_bytes());
        }
        let l3 = hasher.digest();
        if let Some((lo, hi)) = key.macs() {
            hasher.update(&lo);
            hasher.update(&hi);
            hasher.update(&MAC.to_be_bytes());
        }
        let l2 = hasher.digest();
        if key.parent != 0 {
            let mut text = [0; 16];
            hasher.update(hex(key.parent, &mut text));
        }
        Self {
            l3,
            l2,
            table: hasher.digest(),
        }
    }

    /// Skydive's `UUID` of a flow that began at `start`, seen at the node `tid`.
    pub(crate) fn uuid(&self, start: Timestamp, tid: &[u8]) -> u64 {
        let mut input = [0; 8 + TID_LENGTH];
        input[..8].copy_from_slice(&start.millis().to_be_bytes());
        let length = tid.len().min(TID_LENGTH);
        input[8..8 + length].copy_from_slice(&tid[..length]);
        xxh64(&input[..8 + length], self.table)
    }
}

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
    use super::*;

    #[test]
    fn hex_has_no_leading_zeros() {
        let mut text = [0; 16];
        for digest in [0, 1, 0xf, 0x10, 0x0123_4567_89ab_cdef, u64::MAX] {
            assert_eq!(hex(digest, &mut text), format!("{digest:x}").as_bytes());
        }
    }
}

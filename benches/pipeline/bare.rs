//! The bare loop: the least that anybody who counts flows has to do, to measure against.

use std::net::IpAddr;

use ahash::RandomState;
use hashbrown::HashMap;
use sonde_probe::source::Frame;

/// Packets by five-tuple, each direction for itself, in a table that grows as it must.
#[derive(Default)]
pub(crate) struct Bare {
    packets: HashMap<FiveTuple, u64, RandomState>,
}

/// The ends of the outermost IP header.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct FiveTuple {
    source: IpAddr,
    destination: IpAddr,
    source_port: u16,
    destination_port: u16,
    protocol: u8,
}

impl Bare {
    /// Counts a frame: Ethernet, one VLAN tag, IP without options, TCP or UDP ports.
    #[inline]
    pub(crate) fn count(&mut self, frame: &Frame<'_>) {
        if let Some(tuple) = five_tuple(frame.bytes) {
            *self.packets.entry(tuple).or_insert(0) += 1;
        }
    }

    pub(crate) fn flows(&self) -> usize {
        self.packets.len()
    }

    /// Bytes of its memory.
    pub(crate) fn bytes(&self) -> usize {
        self.packets.allocation_size()
    }
}

#[inline]
fn five_tuple(bytes: &[u8]) -> Option<FiveTuple> {
    let (mut kind, mut rest) = bytes.get(12..)?.split_first_chunk::<2>()?;
    if *kind == [0x81, 0] {
        (kind, rest) = rest.get(2..)?.split_first_chunk::<2>()?;
    }
    let (source, destination, protocol, rest) = match kind {
        [8, 0] => {
            let (header, rest) = rest.split_first_chunk::<20>()?;
            let [.., a, b, c, d, e, f, g, h] = *header;
            ([a, b, c, d].into(), [e, f, g, h].into(), header[9], rest)
        }
        [0x86, 0xdd] => {
            let (header, rest) = rest.split_first_chunk::<40>()?;
            let address = |at: usize| header[at..].first_chunk::<16>().copied().map(IpAddr::from);
            (address(8)?, address(24)?, header[6], rest)
        }
        _ => return None,
    };
    if protocol != 6 && protocol != 17 {
        return None;
    }
    let [a, b, c, d] = *rest.first_chunk()?;
    let (source_port, destination_port) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    Some(FiveTuple { source, destination, source_port, destination_port, protocol })
}

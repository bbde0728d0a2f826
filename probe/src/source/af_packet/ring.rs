//! The frames in the memory shared with the kernel (TPACKET_V3,
//! Documentation/networking/packet_mmap.rst).

use std::mem::offset_of;

use libc::{tpacket_block_desc, tpacket_hdr_v1, tpacket_hdr_variant1, tpacket3_hdr};
use sonde_proto::time::Timestamp;

use super::Blocks;

/// Blocks, frame by frame: each is given back to the kernel when the last of its frames was lent.
#[derive(Debug)]
pub(super) struct Ring {
    blocks: Blocks,
    left: Left,
    malformed: u64,
}

/// A frame as it lies in a block.
#[derive(Debug)]
pub(super) struct Packet<'a> {
    /// From the link-layer header on.
    pub(super) bytes: &'a [u8],
    /// Bytes on the wire, a stripped VLAN tag excepted.
    pub(super) length: u32,
    pub(super) at: Timestamp,
    /// The VLAN tag that was stripped: TPID and TCI in network byte order.
    pub(super) vlan: Option<[u8; 4]>,
    /// Where in `bytes` the network header is.
    pub(super) network: usize,
    /// EtherType.
    pub(super) protocol: u16,
    /// Whether this host sent it.
    pub(super) outgoing: bool,
}

/// What is left of the current block.
#[derive(Clone, Copy, Debug, Default)]
struct Left {
    frames: u32,
    /// Offset in the block of the next frame's header.
    next: usize,
}

impl Ring {
    pub(super) fn new(blocks: Blocks) -> Self {
        Self { blocks, left: Left::default(), malformed: 0 }
    }

    /// The next frame, `None` when the kernel has handed over no other.
    pub(super) fn next(&mut self) -> Option<Packet<'_>> {
        while self.left.frames == 0 {
            self.blocks.give_back();
            self.left = Left::of(self.blocks.current()?);
        }
        let Left { frames, next } = self.left;
        let block = self.blocks.current()?;
        let Some((packet, step)) = packet(block.get(next..).unwrap_or_default()) else {
            self.malformed += u64::from(frames);
            self.left.frames = 0;
            return None;
        };
        self.left = Left { frames: frames - 1, next: next.saturating_add(step) };
        Some(packet)
    }

    /// Gives a block whose last frame was lent back to the kernel.
    pub(super) fn settle(&mut self) {
        if self.left.frames == 0 {
            self.blocks.give_back();
        }
    }

    /// Frames that could not be read, because the block they were in is broken.
    pub(super) fn malformed(&self) -> u64 {
        self.malformed
    }
}

impl Left {
    /// All frames of a block.
    fn of(block: &[u8]) -> Self {
        const HEADER: usize = offset_of!(tpacket_block_desc, hdr);
        Self {
            frames: u32_at(block, HEADER + offset_of!(tpacket_hdr_v1, num_pkts)),
            next: u32_at(block, HEADER + offset_of!(tpacket_hdr_v1, offset_to_first_pkt)) as usize,
        }
    }
}

/// Reads the frame whose header `bytes` begins with. Returns it and the distance to the next.
fn packet(bytes: &[u8]) -> Option<(Packet<'_>, usize)> {
    if bytes.len() < ADDRESS + size_of::<libc::sockaddr_ll>() {
        return None;
    }
    let word = |at| u32_at(bytes, at);
    let half = |at| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
    let mac = usize::from(half(offset_of!(tpacket3_hdr, tp_mac)));
    let network = usize::from(half(offset_of!(tpacket3_hdr, tp_net)));
    let captured = word(offset_of!(tpacket3_hdr, tp_snaplen)) as usize;
    let status = word(offset_of!(tpacket3_hdr, tp_status));
    let seconds = u64::from(word(offset_of!(tpacket3_hdr, tp_sec)));
    let nanos = u64::from(word(offset_of!(tpacket3_hdr, tp_nsec)));
    let vlan = (status & libc::TP_STATUS_VLAN_VALID != 0).then(|| {
        const TAG: usize = offset_of!(tpacket3_hdr, hv1);
        let tpid = if status & libc::TP_STATUS_VLAN_TPID_VALID != 0 {
            half(TAG + offset_of!(tpacket_hdr_variant1, tp_vlan_tpid))
        } else {
            libc::ETH_P_8021Q as u16
        };
        let tci = word(TAG + offset_of!(tpacket_hdr_variant1, tp_vlan_tci)) as u16;
        let ([a, b], [c, d]) = (tpid.to_be_bytes(), tci.to_be_bytes());
        [a, b, c, d]
    });
    let packet = Packet {
        bytes: bytes.get(mac..)?.get(..captured)?,
        length: word(offset_of!(tpacket3_hdr, tp_len)),
        at: Timestamp::from_nanos(seconds * 1_000_000_000 + nanos),
        vlan,
        network: network.saturating_sub(mac),
        protocol: u16::from_be(half(ADDRESS + offset_of!(libc::sockaddr_ll, sll_protocol))),
        outgoing: bytes[ADDRESS + offset_of!(libc::sockaddr_ll, sll_pkttype)]
            == libc::PACKET_OUTGOING,
    };
    Some((packet, word(offset_of!(tpacket3_hdr, tp_next_offset)) as usize))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Where a frame's header is followed by its `sockaddr_ll`.
const ADDRESS: usize = size_of::<tpacket3_hdr>().next_multiple_of(16);

//! The memory shared with the kernel (TPACKET_V3, Documentation/networking/packet_mmap.rst).
#![expect(unsafe_code, reason = "the kernel writes this memory")]

use std::mem::offset_of;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{tpacket_block_desc, tpacket_hdr_v1, tpacket_hdr_variant1, tpacket3_hdr};
use sonde_proto::time::Timestamp;

use super::OpenError;

/// A ring of blocks. The kernel fills a block with frames and hands it over; it is handed back
/// when the last of them was lent.
#[derive(Debug)]
pub(super) struct Ring {
    memory: Memory,
    /// The block being read, or waited for.
    current: usize,
    /// What is left of the current block, when it is ours.
    left: Option<Left>,
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

#[derive(Clone, Copy, Debug)]
struct Left {
    frames: u32,
    /// Offset in the block of the next frame's header.
    next: usize,
}

impl Ring {
    /// Maps the ring that was set up on `socket`.
    pub(super) fn map(
        socket: BorrowedFd<'_>,
        block_size: usize,
        blocks: usize,
    ) -> Result<Self, OpenError> {
        Ok(Self {
            memory: Memory::map(socket, block_size, blocks)?,
            current: 0,
            left: None,
            malformed: 0,
        })
    }

    /// The next frame, `None` when the kernel has handed over no other.
    pub(super) fn next(&mut self) -> Option<Packet<'_>> {
        self.settle();
        let Left { frames, next } = match self.left {
            Some(left) => left,
            None => self.receive()?,
        };
        // SAFETY: something is left of the current block, so it is ours. It is handed back by
        // `settle`, which no frame of it outlives.
        let block = unsafe { self.memory.block(self.current) };
        let Some((packet, step)) = packet(block.get(next..).unwrap_or_default()) else {
            self.malformed += u64::from(frames);
            self.left = Some(Left { frames: 0, next });
            return None;
        };
        self.left = Some(Left { frames: frames - 1, next: next.saturating_add(step) });
        Some(packet)
    }

    /// Hands a block whose last frame was lent back to the kernel.
    pub(super) fn settle(&mut self) {
        if matches!(self.left, Some(Left { frames: 0, .. })) {
            let status = self.memory.status(self.current);
            status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
            self.left = None;
            self.current = (self.current + 1) % self.memory.blocks;
        }
    }

    /// Frames that could not be read, because the block they were in is broken.
    pub(super) fn malformed(&self) -> u64 {
        self.malformed
    }

    /// Takes the current block, when the kernel has handed it over with a frame in it.
    fn receive(&mut self) -> Option<Left> {
        loop {
            let status = self.memory.status(self.current).load(Ordering::Acquire);
            if status & libc::TP_STATUS_USER == 0 {
                return None;
            }
            // SAFETY: its status says that the block is ours, and the slice ends in this turn.
            let header = unsafe { self.memory.block(self.current) };
            let first = HEADER + offset_of!(tpacket_hdr_v1, offset_to_first_pkt);
            let left = Left {
                frames: u32_at(header, HEADER + offset_of!(tpacket_hdr_v1, num_pkts)),
                next: u32_at(header, first) as usize,
            };
            self.left = Some(left);
            if left.frames > 0 {
                return Some(left);
            }
            self.settle();
        }
    }
}

/// The mapping.
#[derive(Debug)]
struct Memory {
    base: NonNull<u8>,
    block_size: usize,
    blocks: usize,
}

// SAFETY: the mapping belongs to the process, not to the thread that made it, and this is its only
// owner.
unsafe impl Send for Memory {}

impl Memory {
    fn map(socket: BorrowedFd<'_>, block_size: usize, blocks: usize) -> Result<Self, OpenError> {
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                block_size * blocks,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                0,
            )
        };
        match NonNull::new(base) {
            Some(mapped) if base != libc::MAP_FAILED => {
                Ok(Self { base: mapped.cast(), block_size, blocks })
            }
            _ => Err(OpenError::last("mmap")),
        }
    }

    /// The word by which a block changes hands.
    fn status(&self, block: usize) -> &AtomicU32 {
        // SAFETY: callers count blocks modulo their number.
        let start = unsafe { self.start(block) };
        // SAFETY: a block is a page at least and begins with its header.
        let word = unsafe { start.add(HEADER + offset_of!(tpacket_hdr_v1, block_status)) };
        // SAFETY: the mapping lives as long as `self`, blocks begin on pages and the word is
        // aligned in them, and both sides access it atomically while they do not own the block.
        unsafe { AtomicU32::from_ptr(word.as_ptr().cast()) }
    }

    /// The bytes of a block.
    ///
    /// # Safety
    ///
    /// `block` is below `blocks`, and the kernel has handed it over; it is not handed back while
    /// the slice is in use.
    unsafe fn block(&self, block: usize) -> &[u8] {
        // SAFETY: the caller's promise.
        let start = unsafe { self.start(block) };
        // SAFETY: the block lies in the mapping, which lives as long as `self`, and nobody writes
        // it while it is ours.
        unsafe { slice::from_raw_parts(start.as_ptr(), self.block_size) }
    }

    /// # Safety
    ///
    /// `block` is below `blocks`.
    unsafe fn start(&self, block: usize) -> NonNull<u8> {
        // SAFETY: so the block lies in the mapping.
        unsafe { self.base.add(block * self.block_size) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map` with this length, and nothing borrows it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.block_size * self.blocks) };
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

/// Where a block's header holds its counters.
const HEADER: usize = offset_of!(tpacket_block_desc, hdr);

/// Where a frame's header is followed by its `sockaddr_ll`.
const ADDRESS: usize = size_of::<tpacket3_hdr>().next_multiple_of(16);

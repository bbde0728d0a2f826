//! The frames, in memory and in a file.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use etherparse::PacketBuilder;
use sonde_probe::source::{BURST, Closed, Frame, LinkType, Source, wall_clock};
use sonde_proto::report::Lost;
use sonde_proto::time::Timestamp;

/// Frames one after the other, again and again.
pub(crate) struct Memory {
    frames: Vec<[u8; LENGTH]>,
    next: usize,
    now: Timestamp,
}

impl Memory {
    pub(crate) fn new(flows: u32) -> Self {
        Self { frames: frames(flows).collect(), next: 0, now: wall_clock() }
    }
}

impl Source for Memory {
    fn burst(&mut self, mut meter: impl FnMut(Frame<'_>)) -> Result<usize, Closed> {
        self.now = wall_clock();
        for _ in 0..BURST {
            let bytes = &self.frames[self.next];
            self.next = (self.next + 1) % self.frames.len();
            meter(Frame { bytes, length: 64, at: self.now, link: LinkType::Ethernet });
        }
        Ok(BURST)
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    fn lost(&mut self) -> Lost {
        Lost::default()
    }

    fn idle(&mut self, _: u32, _: Duration) {}
}

/// Memory that does with each frame what `net_pcap` does: reads it and its header from a buffer as
/// large as an mbuf, and writes both to one of the buffers that the mempool's cache hands out in turn.
pub(crate) struct Copies {
    /// Buffers of [`MBUF`] bytes, one for each frame.
    stored: Vec<u8>,
    /// Buffers of [`MBUF`] bytes, [`CACHE`] of them.
    taken: Vec<u8>,
    next: usize,
    turn: usize,
    now: Timestamp,
}

impl Copies {
    pub(crate) fn new(flows: u32) -> Self {
        let mut stored = vec![0; flows as usize * MBUF];
        for (buffer, frame) in stored.chunks_exact_mut(MBUF).zip(frames(flows)) {
            buffer[0] = LENGTH as u8;
            buffer[DATA..DATA + LENGTH].copy_from_slice(&frame);
        }
        Self { stored, taken: vec![0; CACHE * MBUF], next: 0, turn: 0, now: wall_clock() }
    }
}

impl Source for Copies {
    fn burst(&mut self, mut meter: impl FnMut(Frame<'_>)) -> Result<usize, Closed> {
        self.now = wall_clock();
        let first = self.turn * BURST * MBUF;
        self.turn = (self.turn + 1) % (CACHE / BURST);
        let taken = &mut self.taken[first..first + BURST * MBUF];
        for buffer in taken.chunks_exact_mut(MBUF) {
            let stored = &self.stored[self.next..self.next + MBUF];
            self.next = (self.next + MBUF) % self.stored.len();
            buffer[0] = stored[0];
            buffer[DATA..DATA + LENGTH].copy_from_slice(&stored[DATA..DATA + LENGTH]);
        }
        for buffer in taken.chunks_exact(MBUF) {
            let bytes = &buffer[DATA..DATA + usize::from(buffer[0])];
            meter(Frame { bytes, length: 64, at: self.now, link: LinkType::Ethernet });
        }
        Ok(BURST)
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    fn lost(&mut self) -> Lost {
        Lost::default()
    }

    fn idle(&mut self, _: u32, _: Duration) {}
}

/// A frame of each TCP flow, in an order that no cache foresees.
fn frames(flows: u32) -> impl Iterator<Item = [u8; LENGTH]> {
    // A stride without a factor in common with any number of flows used here.
    (0..flows).map(move |n| (u64::from(n) * 49_999_991 % u64::from(flows)) as u32).map(|n| {
        let mut bytes = Vec::new();
        PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
            .ipv4(Ipv4Addr::from(0x0a00_0000 + n).octets(), [172, 16, 0, 1], 64)
            .tcp(1024 + (n % 60_000) as u16, 443, 1, 1000)
            .write(&mut bytes, &[0; 10])
            .expect("a vector takes it");
        bytes.try_into().expect("headers of 54 bytes and ten more")
    })
}

/// Writes the same frames to a file.
pub(crate) fn write_pcap(path: &Path, flows: u32) {
    let mut out = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        out.extend(word.to_le_bytes());
    }
    for frame in frames(flows) {
        for word in [0, 0, LENGTH as u32, LENGTH as u32] {
            out.extend(word.to_le_bytes());
        }
        out.extend(frame);
    }
    fs::write(path, out).expect("there is room for a file");
}

/// Bytes of a frame.
const LENGTH: usize = 64;

/// Bytes of an mbuf with its header and headroom, as DPDK's default data room makes them.
const MBUF: usize = 128 + 128 + 2048;

/// Where in an mbuf the frame begins.
const DATA: usize = 128 + 128;

/// Mbufs that a mempool's cache hands out again and again.
const CACHE: usize = 512;

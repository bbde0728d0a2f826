//! Reads capture files to their end, and names what can be wrong with them.

use std::io::{self, Read};

use sonde_probe::source::pcap::PcapReader;
use sonde_probe::source::{BURST, Closed, Damage, LinkType, Source};

/// A frame as it was lent: bytes, wire length, nanoseconds, link type.
pub(crate) type Seen = (Vec<u8>, u32, u64, LinkType);

pub(crate) fn read_all<R: Read>(reader: &mut PcapReader<R>) -> (Vec<Seen>, Closed) {
    let mut seen = Vec::new();
    loop {
        let before = seen.len();
        match reader.burst(|f| seen.push((f.bytes.to_vec(), f.length, f.at.nanos(), f.link))) {
            Ok(n) => {
                assert_eq!(seen.len() - before, n);
                assert!((1..=BURST).contains(&n));
            }
            Err(closed) => {
                assert_eq!(seen.len(), before);
                assert_eq!(reader.burst(|_| unreachable!()), Err(closed), "closed stays closed");
                return (seen, closed);
            }
        }
    }
}

pub(crate) fn read_bytes(bytes: &[u8]) -> (Vec<Seen>, Closed) {
    match PcapReader::new(Trickle(bytes)) {
        Ok(mut reader) => read_all(&mut reader),
        Err(closed) => (Vec::new(), closed),
    }
}

/// Gives a few bytes at a time, as a pipe may.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let n = self.0.len().min(to.len()).min(7);
        to[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

pub(crate) fn malformed(offset: u64, expected: &'static str) -> Closed {
    let damage = Damage::Malformed { expected };
    Closed::Damaged { offset, damage }
}

pub(crate) fn cut(offset: u64, missing: u32) -> Closed {
    let damage = Damage::Cut { missing };
    Closed::Damaged { offset, damage }
}

pub(crate) fn too_long(offset: u64, length: u32, max: u32) -> Closed {
    let damage = Damage::TooLong { length, max };
    Closed::Damaged { offset, damage }
}

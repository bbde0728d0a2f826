//! Traffic as a capture file (draft-ietf-opsawg-pcap, with nanoseconds, in little endian).

use std::io::{self, Write};

use super::{Generator, SNAP};
use crate::source::{Frame, LinkType};

/// Writes all frames that are left, and returns how many there were. `out` should be buffered.
pub fn write_pcap(generator: &mut Generator, mut out: impl Write) -> io::Result<u64> {
    out.write_all(&header())?;
    let mut written = 0;
    while let Some(Frame { bytes, length, at, .. }) = generator.next_frame() {
        let (seconds, nanos) = (at.nanos() / SECOND, at.nanos() % SECOND);
        let fields = [seconds as u32, nanos as u32, bytes.len() as u32, length];
        out.write_all(fields.map(u32::to_le_bytes).as_flattened())?;
        out.write_all(bytes)?;
        written += 1;
    }
    out.flush()?;
    Ok(written)
}

/// Magic number of nanoseconds, version 2.4, two fields that nobody uses, snap length, link type.
fn header() -> [u8; 24] {
    let words = [0xa1b2_3c4d, 4 << 16 | 2, 0, 0, SNAP as u32, LinkType::Ethernet.number().into()];
    let mut header = [0; 24];
    header.copy_from_slice(words.map(u32::to_le_bytes).as_flattened());
    header
}

const SECOND: u64 = 1_000_000_000;

//! Reads capture files to their end.

use std::io::Cursor;

use sonde_probe::source::pcap::PcapReader;
use sonde_probe::source::{BURST, Closed, Source};

/// Reads a capture to its end: bursts are never empty nor too long, no frame is longer than the
/// file, the damage lies within the file, and what is closed stays closed.
pub fn read(file: &[u8]) {
    let end = file.len() as u64;
    let closed = match PcapReader::new(Cursor::new(file)) {
        Ok(mut reader) => loop {
            let read = reader.burst(|frame| {
                assert!(frame.bytes.len() <= file.len());
                assert!(frame.length as usize >= frame.bytes.len());
            });
            assert!(reader.bytes_read() <= end);
            match read {
                Ok(taken) => assert!((1..=BURST).contains(&taken)),
                Err(closed) => {
                    assert_eq!(reader.burst(|_| panic!("a frame after the end")), Err(closed));
                    break closed;
                }
            }
        },
        Err(closed) => closed,
    };
    match closed {
        Closed::End => {}
        Closed::Damaged { offset, .. } => assert!(offset <= end),
        Closed::Gone(errno) => panic!("a file has no interface, errno {errno}"),
    }
}

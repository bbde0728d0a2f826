//! Any bytes of any link type parse into pieces or are skipped.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sonde_probe::parse::{MAX_PIECES, parse};
use sonde_probe_fuzz::Head;
use sonde_proto::time::Timestamp;

fuzz_target!(|input: (Head, u16, &[u8])| {
    let (head, header_size, bytes) = input;
    let frame = head.frame(bytes, Timestamp::default());
    let mut pieces = Vec::with_capacity(MAX_PIECES);
    let count = parse(&frame, u32::from(header_size), &mut pieces).unwrap_or(0);
    assert_eq!(count, pieces.len());
    assert_eq!(pieces.capacity(), MAX_PIECES);
    for pair in pieces.windows(2) {
        assert!(pair[0].wire_length > pair[1].wire_length);
    }
});

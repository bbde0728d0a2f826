//! Blocks of any type and content, but of the length they say, are read to an end.
#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use sonde_probe_fuzz::reading::read;

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let mut file =
        block(0x0a0d_0d0a, b"\x4d\x3c\x2b\x1a\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff");
    while !input.is_empty() {
        let Ok((kind, length)) = input.arbitrary::<(u32, u8)>() else { break };
        let length = input.len().min(length.into());
        file.extend(block(kind, input.bytes(length).unwrap_or_default()));
    }
    read(&file);
});

/// A little-endian block.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let padding = &[0; 3][..body.len().next_multiple_of(4) - body.len()];
    let length = (12 + body.len() + padding.len()) as u32;
    let [kind, length] = [kind, length].map(u32::to_le_bytes);
    [&kind, &length, body, padding, &length].concat()
}

//! Any bytes are read as a capture file to an end.
#![no_main]

libfuzzer_sys::fuzz_target!(|file: &[u8]| sonde_probe_fuzz::reading::read(file));

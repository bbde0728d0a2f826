//! Any program is refused or runs to its end on any frame.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sonde_probe::filter::{Filter, MAX_INSTRUCTIONS};
use sonde_probe::source::LinkType;
use sonde_probe_fuzz::Head;
use sonde_proto::plan::BpfInstruction;
use sonde_proto::time::Timestamp;

type Instructions = Vec<(u8, u8, u8, u32)>;

fuzz_target!(|input: (u16, Instructions, &[u8])| {
    let (more, instructions, bytes) = input;
    let instruction = |&(code, jt, jf, k): &_| BpfInstruction { code: u16::from(code), jt, jf, k };
    let mut program: Vec<_> = instructions.iter().map(instruction).collect();
    // Most programs end well, or the machine would seldom run.
    program.push(BpfInstruction { code: 6, jt: 0, jf: 0, k: 1 });
    match Filter::new(&program) {
        Ok(filter) => {
            let head = Head { link: LinkType::Ethernet, more };
            filter.admits(&head.frame(bytes, Timestamp::default()));
        }
        Err(error) => assert!(program.len() > MAX_INSTRUCTIONS || !error.to_string().is_empty()),
    }
});

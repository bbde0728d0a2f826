//! Whatever frames come, when, and however seldom the ring is drained: the books close, and the
//! flows of a watch sum up to the frames metered for it.
#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use sonde_probe_fuzz::bench::Bench;

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let Ok(setup) = input.arbitrary() else { return };
    let mut bench = Bench::new(setup);
    while !input.is_empty() {
        let Ok(step) = input.arbitrary() else { break };
        bench.take(step);
    }
    bench.finish();
});

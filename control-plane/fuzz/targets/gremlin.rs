//! Any text is refused with a place in it, or is a query that prints to itself and is answered.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sonde_control_plane::gremlin::{Limits, parse};
use sonde_control_plane_fuzz::{scene::Scene, text};

fuzz_target!(|bytes: &[u8]| {
    let text = text(bytes);
    // libpcap asks DNS for names that are no keywords.
    if text.to_ascii_uppercase().contains("BPF") {
        return;
    }
    let limits = Limits { visited: 10_000, results: 2_000, ..Limits::default() };
    match parse(&text, &limits) {
        Ok(query) => {
            let printed = query.to_string();
            assert_eq!(parse(&printed, &limits).as_ref(), Ok(&query), "{printed}");
            if let Ok(answer) = Scene::get().ask(&query, &limits) {
                serde_json::to_string(&answer).expect("every answer is JSON");
            }
        }
        Err(error) => {
            let place = error.position();
            assert!((1..=text.chars().count() + 1).contains(&place), "{error} in {text:?}");
        }
    }
});

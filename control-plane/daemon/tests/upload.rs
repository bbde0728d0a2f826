//! `POST /api/pcap`: a capture file in, flows to be queried.

use serde_json::Value;

use crate::support::sonde::{Sonde, run};
use crate::support::traffic::{Traffic, account_of};

#[test]
fn an_uploaded_file_gives_the_flows_that_read_gives() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("traffic.pcap");
    let traffic = Traffic::new(60);
    traffic.write_pcap(&file);
    let sonde = Sonde::start("", directory.path(), None);
    let upload = std::fs::read(&file).unwrap();
    for _ in 0..2 {
        // The same file again gives the same flows.
        assert_eq!(sonde.post("pcap", &upload), (202, String::new()));
        let mut flows = sonde.query("G.Flows()").as_array().unwrap().clone();
        assert_eq!(account_of(&flows), traffic.account());
        let output = run(&["read", file.to_str().unwrap(), "--output", "json"]);
        let mut read: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        for flows in [&mut flows, &mut read] {
            flows.sort_by_key(|flow| flow["UUID"].to_string());
        }
        assert!(flows == read, "{flows:?}\n{read:?}");
    }
    assert_eq!(sonde.counter("Metered"), 2 * traffic.frames.len() as i64);
    assert_eq!(sonde.counter("Unaccounted"), 0);
    sonde.stop();
}

#[test]
fn what_is_no_capture_is_refused_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("traffic.pcap");
    let traffic = Traffic::new(3);
    traffic.write_pcap(&file);
    let sonde = Sonde::start("[upload]\nmax_bytes = 100000", directory.path(), None);
    let (status, text) = sonde.post("pcap", "no capture at all, for sure");
    assert_eq!(status, 400);
    assert!(text.starts_with("not a valid capture file: byte 0: "), "{text}");
    let (status, text) = sonde.post("pcap", "");
    assert_eq!((status, text.contains("byte 0: file ends")), (400, true), "{text}");

    let upload = std::fs::read(&file).unwrap();
    let (status, text) = sonde.post("pcap", &upload[..upload.len() - 1]);
    assert_eq!(status, 400);
    assert!(text.contains("expected 1 more bytes"), "{text}");
    let flows = sonde.query("G.Flows()");
    assert!(!flows.as_array().unwrap().is_empty(), "what came before the damage is kept");

    let (status, text) = sonde.post("pcap", vec![0; 100_001]);
    assert_eq!((status, text.as_str()), (413, "request body: larger than 100000 bytes\n"));
    sonde.stop();
}

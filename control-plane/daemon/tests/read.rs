//! `sonde read`: files in, flows out.

use std::path::Path;

use serde_json::Value;

use crate::support::sonde::run;
use crate::support::traffic::{Traffic, account_of};

fn arguments<'a>(output: &'a str, file: &'a Path) -> [&'a str; 4] {
    ["read", "--output", output, file.to_str().unwrap()]
}

#[test]
fn flows_account_for_every_frame() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("traffic.pcap");
    let traffic = Traffic::new(40);
    traffic.write_pcap(&file);

    let output = run(&arguments("json", &file));
    assert!(output.status.success());
    let flows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(account_of(&flows), traffic.account());
    let summary = String::from_utf8(output.stderr).unwrap();
    assert!(summary.contains(&format!("received: {}\n", traffic.frames.len())), "{summary}");
    assert!(summary.contains("unaccounted: 0\n"), "{summary}");

    let lines = run(&arguments("ndjson", &file)).stdout;
    assert_eq!(lines.split(|byte| *byte == b'\n').count(), flows.len() + 1);
    assert!(run(&arguments("none", &file)).stdout.is_empty());
}

#[test]
fn made_up_traffic_is_read_back_whole() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mix.pcap");
    let path = file.to_str().unwrap();
    let written = run(&["traffic", "mix", "--packets", "3000", "--flows", "100", path]);
    assert!(written.status.success());
    let first = std::fs::read(&file).unwrap();

    let summary = String::from_utf8(run(&arguments("none", &file)).stderr).unwrap();
    for count in ["received: 3000\n", "metered: 3000\n", "unaccounted: 0\n"] {
        assert!(summary.contains(count), "{summary}");
    }
    run(&["traffic", "mix", "--packets", "3000", "--flows", "100", path]);
    assert_eq!(std::fs::read(&file).unwrap(), first);
}

#[test]
fn filter_and_key_mode_are_obeyed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("traffic.pcap");
    Traffic::new(10).write_pcap(&file);
    let file = file.to_str().unwrap();

    let tcp = run(&["read", "--output", "json", "--bpf", "tcp and port 1003", file]);
    let flows: Vec<Value> = serde_json::from_slice(&tcp.stdout).unwrap();
    assert_eq!(flows.len(), 1);
    assert_eq!(flows[0]["Transport"]["A"], 1003);

    let l3 = run(&["read", "--output", "json", "--layer-key-mode", "L3", file]);
    let flows: Vec<Value> = serde_json::from_slice(&l3.stdout).unwrap();
    assert_eq!(flows.len(), 30);
    assert!(flows.iter().all(|flow| flow["TrackingID"] == flow["L3TrackingID"]));
}

#[test]
fn options_reach_the_flows_and_the_summary_counts_ends() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("traffic.pcap");
    Traffic::new(40).write_pcap(&file);
    let file = file.to_str().unwrap();

    let output = run(&["read", "--output", "json", "--application-port", "tcp:1003=chat", file]);
    let flows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let chats: Vec<_> = flows.iter().filter(|flow| flow["Application"] == "CHAT").collect();
    assert_eq!(chats.len(), 1);
    assert_eq!(chats[0]["Transport"]["A"], 1003);
    let summary = String::from_utf8(output.stderr).unwrap();
    assert!(summary.contains(&format!("ended.drained: {}\n", flows.len())), "{summary}");

    let sampled = run(&["read", "--output", "json", "--sampling", "4", file]);
    let sampled: Vec<Value> = serde_json::from_slice(&sampled.stdout).unwrap();
    let chosen = |flow: &&Value| {
        let id = flow["TrackingID"].as_str().unwrap();
        u64::from_str_radix(id, 16).unwrap().is_multiple_of(4)
    };
    assert_eq!(sampled.len(), flows.iter().filter(chosen).count());
    assert!(sampled.iter().all(|flow| chosen(&flow)));
}

#[test]
fn damaged_file_ends_in_an_error_with_the_offset_after_its_flows() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cut.pcap");
    let traffic = Traffic::new(5);
    traffic.write_pcap(&file);
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 7]).unwrap();
    let last = traffic.frames.last().unwrap().1.len() + 16;

    let output = run(&arguments("json", &file));
    assert_eq!(output.status.code(), Some(1));
    let flows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let packets: i64 = account_of(&flows).values().map(|[ab, _, ba, _]| ab + ba).sum();
    assert_eq!(packets as usize, traffic.frames.len() - 1);
    let errors = String::from_utf8(output.stderr).unwrap();
    let offset = format!("byte {}", whole.len() - last);
    assert!(errors.contains(&offset), "expected '{offset}' in: {errors}");
    assert!(errors.contains("unaccounted: 0\n"), "{errors}");
}

#[test]
fn unsupported_link_type_is_named_and_its_frames_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bluetooth.pcap");
    let traffic = Traffic::new(1);
    traffic.write_pcap(&file);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[20] = 187;
    std::fs::write(&file, &bytes).unwrap();

    let output = run(&arguments("json", &file));
    assert!(output.status.success());
    let flows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(flows.len(), 0);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(errors.matches("LINKTYPE 187 is not supported").count(), 1, "{errors}");
    let skipped = format!("skipped.link_type: {}\n", traffic.frames.len());
    assert!(errors.contains(&skipped) && errors.contains("unaccounted: 0\n"), "{errors}");
}

#[test]
fn file_of_no_known_format_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("x");
    for bytes in [&b""[..], b"\xd4\xc3", b"not a capture at all, but a text"] {
        std::fs::write(&file, bytes).unwrap();
        let output = run(&arguments("json", &file));
        assert_eq!(output.status.code(), Some(1));
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains("byte 0") && errors.contains("expected"), "{errors}");
    }
    let output = run(&arguments("json", Path::new("/nonexistent")));
    assert_eq!(output.status.code(), Some(1));
}

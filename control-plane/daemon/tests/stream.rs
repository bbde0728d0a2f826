//! The flow stream: both encodings, and the founding page's own script.

#![cfg(feature = "dpdk")]

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::replay::replay;
use crate::support::sonde::{SONDE, Sonde};
use crate::support::traffic::{Traffic, account_of};

/// Flows are streamed once a second, so that nobody waits for a minute.
const SOON: &str = "[flow]\nupdate = 1\nbulk_delay = 1";

/// What `sonde flows watch` prints until every conversation was told.
fn watched(sonde: &Sonde, encoding: &str, flows: usize) -> Vec<Value> {
    let output = Command::new(SONDE)
        .args(["flows", "watch", "--encoding", encoding, "--count", &flows.to_string()])
        .args(["--analyzer", &sonde.address.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn both_encodings_say_what_was_sent() {
    let directory = tempfile::tempdir().unwrap();
    let traffic = Traffic::new(30);
    let sonde = replay(&traffic, directory.path(), SOON);
    let flows = traffic.account().len();
    let (json, protobuf) = std::thread::scope(|scope| {
        let json = scope.spawn(|| watched(&sonde, "json", flows));
        let protobuf = scope.spawn(|| watched(&sonde, "protobuf", flows));
        (json.join().unwrap(), protobuf.join().unwrap())
    });
    assert_eq!(account_of(&json), traffic.account());
    assert_eq!(account_of(&protobuf), traffic.account());
    let sorted = |mut flows: Vec<Value>| {
        flows.sort_by_key(|flow| flow["UUID"].to_string());
        flows
    };
    assert_eq!(sorted(json), sorted(protobuf));
    sonde.stop();
}

#[test]
fn flows_that_run_when_the_daemon_stops_are_delivered() {
    let directory = tempfile::tempdir().unwrap();
    let traffic = Traffic::new(20);
    let mut sonde = replay(&traffic, directory.path(), "");
    let frames = traffic.frames.len() as i64;
    sonde.wait("all frames are received", |sonde| sonde.counter("Received") >= frames);
    let flows = traffic.account().len();
    let told = std::thread::scope(|scope| {
        let address = sonde.address;
        let watcher = scope.spawn(move || {
            Command::new(SONDE)
                .args(["flows", "watch", "--count", &flows.to_string()])
                .args(["--analyzer", &address.to_string()])
                .output()
                .unwrap()
        });
        sonde.wait("the watcher is connected", |sonde| {
            sonde.get("status").1["Subscribers"].as_object().is_some_and(|all| !all.is_empty())
        });
        sonde.stop();
        watcher.join().unwrap()
    });
    let lines = String::from_utf8(told.stdout).unwrap();
    let told: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(account_of(&told), traffic.account());
}

/// The founding page's script, for Python 3, that stops when it has seen enough.
const SCRIPT: &str = r#"
import json, sys
from skydive.websocket.client import WSClient, WSClientDefaultProtocol

class WSLoggerProtocol(WSClientDefaultProtocol):
    def onMessage(self, payload, isBinary):
        msg = json.loads(payload)
        file = self.factory.kwargs["file"]
        for flow in msg["Obj"]:
            file.write(json.dumps(flow) + "\n")
            self.factory.kwargs["seen"].append(flow["UUID"])
        file.flush()
        if len(set(self.factory.kwargs["seen"])) >= int(sys.argv[3]):
            self.factory.client.loop.stop()

client = WSClient("MyHost", "ws://%s/ws/subscriber/flow" % sys.argv[1],
                  protocol=WSLoggerProtocol, file=open(sys.argv[2], "w"), seen=[])
client.connect()
client.start()
"#;

#[test]
fn founding_script_writes_the_flows_to_its_file() {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/target/python/bin/python");
    let directory = tempfile::tempdir().unwrap();
    let traffic = Traffic::new(15);
    let sonde = replay(&traffic, directory.path(), SOON);
    let file = directory.path().join("flows");
    let output = Command::new("timeout")
        .args(["30", python, "-c", SCRIPT, &sonde.address.to_string()])
        .arg(&file)
        .arg(traffic.account().len().to_string())
        .output()
        .unwrap();
    let told = std::fs::read_to_string(&file).unwrap_or_default();
    let flows: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(account_of(&flows), traffic.account(), "use scripts/test; {errors}");
    sonde.stop();
}

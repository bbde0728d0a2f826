//! A capture file through a DPDK port: `net_pcap`, capsule, lcore, shard, ring, REST.

#![cfg(feature = "dpdk")]

use std::path::Path;

use serde_json::Value;

use crate::support::sonde::{Sonde, run};
use crate::support::traffic::{Traffic, account_of};

/// A daemon that replays `traffic` on one port, captured from the start.
pub(crate) fn replay(traffic: &Traffic, directory: &Path, more: &str) -> Sonde {
    let file = directory.join("traffic.pcap");
    traffic.write_pcap(&file);
    let config = format!(
        "{more}\n[dpdk]\nport = [{{ name = 'replay', device = 'net_pcap0,rx_pcap={}', cpus = [0] }}]\n\
         [startup_capture]\ngremlin = \"G.V().Has('Name', 'replay')\"\n",
        file.display()
    );
    Sonde::start(&config, directory, None)
}

#[test]
fn every_frame_of_a_file_is_in_a_flow() {
    let directory = tempfile::tempdir().unwrap();
    let traffic = Traffic::new(60);
    let mut sonde = replay(&traffic, directory.path(), "");
    let frames = traffic.frames.len() as i64;
    sonde.wait("all frames are received", |sonde| sonde.counter("Received") >= frames);

    // The capture is there before the first frame: none is missed.
    let flows = sonde.query("G.Flows()");
    assert_eq!(account_of(flows.as_array().unwrap()), traffic.account());
    assert_eq!(sonde.counter("Metered"), frames);
    assert_eq!(sonde.counter("Unaccounted"), 0);

    let nodes = sonde.query("G.V().Has('Type', 'dpdkport')");
    let node = &nodes[0];
    assert_eq!(node["Metadata"]["Name"], "replay");
    let tid = node["Metadata"]["TID"].as_str().unwrap();
    assert!(flows.as_array().unwrap().iter().all(|flow| flow["NodeTID"] == tid));
    let of_node = sonde.query("G.V().Has('Type', 'dpdkport').Flows().Count()");
    assert_eq!(of_node, Value::from(flows.as_array().unwrap().len()));
    let (_, captures) = sonde.get("capture");
    let capture = captures.as_object().unwrap().values().next().unwrap();
    assert_eq!(capture["Count"], 1);
    sonde.stop();

    // Reading the file gives the same flows, but for the names of node and capture.
    let file = directory.path().join("traffic.pcap");
    let read = run(&["read", "--output", "json", file.to_str().unwrap()]);
    let read: Vec<Value> = serde_json::from_slice(&read.stdout).unwrap();
    assert_eq!(nameless(flows.as_array().unwrap()), nameless(&read));
}

/// Flows without what depends on the node and the capture, in order.
fn nameless(flows: &[Value]) -> Vec<String> {
    let mut flows: Vec<String> = flows
        .iter()
        .map(|flow| {
            let mut flow = flow.as_object().unwrap().clone();
            flow.retain(|key, _| {
                !["UUID", "NodeTID", "CaptureID", "ANodeTID", "BNodeTID"].contains(&key.as_str())
            });
            Value::Object(flow).to_string()
        })
        .collect();
    flows.sort();
    flows
}

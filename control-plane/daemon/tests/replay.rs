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
    start(&[&file], directory, more)
}

/// A daemon that replays each file on a queue of its own of one port.
fn start(files: &[&Path], directory: &Path, more: &str) -> Sonde {
    let queues: String = files.iter().map(|file| format!(",rx_pcap={}", file.display())).collect();
    let cpus: Vec<usize> = (0..files.len()).collect();
    let config = format!(
        "{more}\n[dpdk]\nport = [{{ name = 'replay', device = 'net_pcap0{queues}', cpus = {cpus:?} }}]\n\
         [startup_capture]\ngremlin = \"G.V().Has('Name', 'replay')\"\n",
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

/// Symmetric RSS keeps both directions of a flow in one queue; so do the files here.
#[test]
fn two_lcores_say_what_one_says() {
    if std::thread::available_parallelism().unwrap().get() < 2 {
        eprintln!("skipped: two lcores need two CPUs");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let traffic = Traffic::new(60);
    let frames = traffic.frames.len() as i64;
    let mut one = replay(&traffic, directory.path(), "");
    one.wait("all frames are received", |sonde| sonde.counter("Received") >= frames);
    let expected = one.query("G.Flows()");
    one.stop();

    let files = ["even.pcap", "odd.pcap"].map(|name| directory.path().join(name));
    let is_even = |name: &str| name.ends_with(['0', '2', '4', '6', '8']);
    traffic.write_part(&files[0], is_even);
    traffic.write_part(&files[1], |name| !is_even(name));
    let mut two = start(&[&files[0], &files[1]], directory.path(), "");
    two.wait("all frames are received", |sonde| sonde.counter("Received") >= frames);
    let flows = two.query("G.Flows()");
    assert_eq!(account_of(flows.as_array().unwrap()), traffic.account());
    assert_eq!(nameless(flows.as_array().unwrap()), nameless(expected.as_array().unwrap()));

    let (_, status) = two.get("status");
    let queues = status["Queues"].as_array().unwrap();
    let of_each = |key: &str| queues.iter().map(|queue| queue[key].clone()).collect::<Vec<_>>();
    assert_eq!(of_each("Queue"), [0, 1]);
    assert_eq!(of_each("CPU"), [0, 1]);
    let counted =
        |key: &str| queues.iter().map(|q| q["Frames"][key].as_i64().unwrap()).collect::<Vec<_>>();
    assert!(counted("Received").iter().all(|&received| received > 0));
    assert_eq!(counted("Received").iter().sum::<i64>(), frames);
    assert_eq!(counted("Metered"), counted("Received"));
    assert_eq!(counted("Unaccounted"), [0, 0]);
    assert_eq!(status["Totals"]["Received"], frames);
    assert_eq!(status["Totals"]["Unaccounted"], 0);

    let node = &two.query("G.V().Has('Type', 'dpdkport')")[0]["Metadata"];
    assert_eq!(node["Queues"], 2);
    assert_eq!(node["Lcores"], serde_json::json!([0, 1]));
    assert_eq!(node["RSS"], "unknown", "the files decide");
    two.stop();
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

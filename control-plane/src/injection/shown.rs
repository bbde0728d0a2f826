//! Writes on each node what it sends (Skydive API §10).

use std::collections::{BTreeMap, BTreeSet};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Map, Value};
use sonde_proto::graph::Node;
use sonde_proto::injection::PacketInjection;
use sonde_proto::time::Timestamp;

use super::frame::Frames;
use super::job::{Job, Supply};
use super::recipe::Transport;
use super::route::Ips;
use crate::graph::Graph;

/// The nodes that carry a `PacketInjections` member of ours.
#[derive(Debug, Default)]
pub(super) struct Shown(BTreeSet<String>);

impl Shown {
    /// Makes the nodes show what they send.
    pub(super) fn update<'a>(
        &mut self,
        graph: &mut Graph,
        jobs: impl Iterator<Item = (&'a PacketInjection, &'a Job)>,
        now: Timestamp,
    ) {
        let mut wanted: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (injection, job) in jobs {
            wanted.entry(job.sender.node.clone()).or_default().push(entry(injection, job));
        }
        for node in self.0.iter().filter(|node| !wanted.contains_key(*node)) {
            graph.update::<Node>(node, now, |metadata| drop(metadata.remove(KEY)));
        }
        self.0 = wanted.keys().cloned().collect();
        for (node, entries) in wanted {
            graph.update::<Node>(&node, now, |metadata| {
                metadata.insert(KEY.into(), entries.into());
            });
        }
    }
}

/// What is shown of a job.
fn entry(injection: &PacketInjection, job: &Job) -> Value {
    let mut entry = request(injection, &job.supply);
    entry.remove("Pcap");
    let mut put = |key: &str, value: Value| drop(entry.insert(key.into(), value));
    put("PacketCount", job.sent().into());
    match job.error() {
        None => put("State", "active".into()),
        Some(why) => {
            put("State", "error".into());
            put("Error", why.into());
        }
    }
    entry.into()
}

/// The injection with what it uses where it says nothing, as agents are asked for it.
pub(super) fn request(injection: &PacketInjection, supply: &Supply) -> Map<String, Value> {
    let mut entry = match serde_json::to_value(injection) {
        Ok(Value::Object(entry)) => entry,
        _ => Map::new(),
    };
    for left_out in ["Src", "Dst", "StartTime"] {
        entry.remove(left_out);
    }
    match supply {
        Supply::Made(frames) => {
            resolved(frames, &mut |key, value| drop(entry.insert(key.into(), value)));
        }
        // Its frames have their own; Skydive's are byte strings, no texts.
        Supply::File(_) => ["SrcMAC", "DstMAC"].iter().for_each(|key| drop(entry.remove(*key))),
    }
    entry.insert("ID".into(), injection.uuid.clone().into());
    entry
}

fn resolved(frames: &Frames, put: &mut impl FnMut(&str, Value)) {
    let (src, dst) = match frames.route.ips {
        Ips::V4(src, dst) => (src.to_string(), dst.to_string()),
        Ips::V6(src, dst) => (src.to_string(), dst.to_string()),
    };
    put("SrcIP", src.into());
    put("DstIP", dst.into());
    if let Some((src, dst)) = frames.route.macs {
        // Skydive's are byte strings.
        put("SrcMAC", BASE64_STANDARD.encode(src).into());
        put("DstMAC", BASE64_STANDARD.encode(dst).into());
    }
    put("TTL", frames.ttl.into());
    match frames.transport {
        Transport::Icmp => put("ICMPID", frames.id.into()),
        Transport::Tcp | Transport::Udp => {
            put("SrcPort", frames.id.into());
            put("DstPort", frames.dst_port.into());
        }
    }
}

/// Of a node's metadata.
pub(super) const KEY: &str = "PacketInjections";

//! Entries into records, records into flows, and flows into what travels to clients.

#![expect(clippy::expect_used, reason = "a bench that cannot go on fails here")]

mod harness;
#[path = "harness/records.rs"]
mod records;

use std::hint::black_box;

use prost::Message;
use sonde_proto::flow::{ApplicationPorts, Flow};
use sonde_proto::record::FlowRecord;

use crate::harness::Bench;

fn main() {
    let mut bench = Bench::from_arguments();
    let entries = records::entries(5000);
    let records: Vec<FlowRecord> = entries.iter().map(|entry| entry.record(None)).collect();
    let items = records.len() as u64;
    let names = ApplicationPorts::default();
    let flows: Vec<Flow> = records.iter().map(|record| names.flow(record)).collect();
    // As much as a message of the stream may hold, reused from flow to flow.
    let room = || Vec::with_capacity(1 << 16);

    bench.case(
        "record/entry",
        items,
        || (),
        |()| {
            for entry in &entries {
                black_box(entry.record(None));
            }
        },
    );
    bench.case(
        "record/flow",
        items,
        || (),
        |()| {
            for record in &records {
                black_box(names.flow(record));
            }
        },
    );
    bench.case("record/json", items, room, |out| {
        for flow in &flows {
            out.clear();
            serde_json::to_writer(&mut *out, flow).expect("a vector takes it");
            black_box(out.as_slice());
        }
    });
    bench.case("record/protobuf", items, room, |out| {
        for flow in &flows {
            out.clear();
            flow.encode(out).expect("a vector takes it");
            black_box(out.as_slice());
        }
    });
}

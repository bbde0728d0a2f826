//! Entries as a shard makes them, of the mix.

use std::sync::Arc;

use sonde_probe::flow::{Export, Shard, Timers};
use sonde_probe::traffic::{Generator, Kind, Spec};
use sonde_proto::entry::{Extra, FlowEntry};
use sonde_proto::plan::{Options, Watch};
use sonde_proto::record::{EndReason, WatchId};
use sonde_proto::report::PacketHead;

/// So many entries of flows that ended.
pub(crate) fn entries(count: usize) -> Vec<FlowEntry> {
    // Enough frames for as many flows: the popular ones take most.
    let spec = Spec { packets: 10 * count as u64, flows: count as u32, ..Spec::of(Kind::Mix) };
    let mut shard = Shard::new(spec.packets as usize, Timers::NEVER);
    let options = Options::default();
    shard.follow(&[Watch { id: WatchId(1), node_tid: None, filter: Arc::default(), options }]);
    let mut taker = Taker(Vec::new());
    let mut generator = Generator::new(spec);
    while let Some(frame) = generator.next_frame() {
        shard.meter(&frame, &mut taker);
    }
    shard.settle(&mut taker);
    while !shard.end(EndReason::Drained, &mut taker) {}
    taker.0.truncate(count);
    assert_eq!(taker.0.len(), count, "there are as many flows");
    taker.0
}

/// Keeps entries.
struct Taker(Vec<FlowEntry>);

impl Export for Taker {
    fn ready(&mut self) -> bool {
        true
    }

    fn export(&mut self, entry: FlowEntry) {
        self.0.push(entry);
    }

    fn extra(&mut self, _: Extra) -> Option<u16> {
        None
    }

    fn packet(&mut self, _: PacketHead, _: &[u8]) -> bool {
        true
    }
}

//! Steps on the raw packets of flows (Skydive API §3.7).

use std::collections::BTreeMap;
use std::sync::Arc;

use sonde_proto::flow::{Flow, RawPacket};

use super::error::Fault;
use super::state::{Machine, Stage, State, refused};
use super::step::Step;

/// Packets by the UUID of their flow. A flow without any is absent.
pub(super) type Packets<'a> = BTreeMap<&'a str, Vec<&'a RawPacket>>;

/// `RawPackets`: what the flows hold.
pub(super) fn of_flows<'a>(machine: &Machine<'a, '_>, flows: Vec<&'a Arc<Flow>>) -> State<'a> {
    let mut packets = Packets::new();
    for flow in machine.budget.meter(flows.into_iter()) {
        if !flow.last_raw_packets.is_empty() {
            packets.entry(&flow.uuid).or_default().extend(&flow.last_raw_packets);
        }
    }
    State::RawPackets(packets)
}

pub(super) fn on_packets<'a>(
    machine: &Machine<'a, '_>,
    packets: Packets<'a>,
    stage: &Stage<'a>,
) -> Result<State<'a>, Fault> {
    let Step::Bpf(filter) = stage.step else {
        return Err(refused(stage.step, "RawPacketsTraversalStep"));
    };
    let mut admitted = Packets::new();
    for (uuid, packets) in packets {
        let packets = machine.budget.meter(packets.into_iter());
        let packets: Vec<_> = packets.filter(|packet| filter.admits(packet)).collect();
        if !packets.is_empty() {
            admitted.insert(uuid, packets);
        }
    }
    Ok(State::RawPackets(admitted))
}

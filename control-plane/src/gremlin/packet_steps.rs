//! Steps on the raw packets of flows (Skydive API §3.7).

use std::collections::BTreeMap;

use sonde_proto::flow::RawPacket;

use super::error::Fault;
use super::state::{Machine, Stage, State, refused};
use super::step::Step;
use crate::flow::{Form, LazyFlow};

/// Packets by the UUID of their flow. A flow without any is absent.
pub(super) type Packets = BTreeMap<String, Vec<RawPacket>>;

/// `RawPackets`: what the flows hold.
pub(super) fn of_flows<'a>(machine: &Machine<'a, '_>, flows: &[LazyFlow]) -> State<'a> {
    let mut packets = Packets::new();
    for flow in machine.budget.meter(flows.iter()) {
        // No record holds any.
        if let Form::Flow(flow) = flow.form()
            && !flow.last_raw_packets.is_empty()
        {
            let known = packets.entry(flow.uuid.clone()).or_default();
            known.extend_from_slice(&flow.last_raw_packets);
        }
    }
    State::RawPackets(packets)
}

pub(super) fn on_packets<'a>(
    machine: &Machine<'a, '_>,
    packets: Packets,
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

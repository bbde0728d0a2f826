//! A record becomes a flow: its digests and addresses as text, and the names that only the
//! control plane knows.

use std::collections::HashMap;
use std::sync::Arc;

use sonde_proto::flow::{ApplicationPorts, Flow};
use sonde_proto::record::{FlowRecord, WatchId};

use super::Watched;

/// The TID of the node that has a MAC address, where the topology knows one.
pub type TidOfMac = Arc<dyn Fn(&[u8; 6]) -> Option<Arc<str>> + Send + Sync>;

/// Where the names come from.
#[derive(Clone)]
pub struct Names {
    /// Of nodes.
    pub tid_of_mac: TidOfMac,
    /// Of applications.
    pub application_ports: ApplicationPorts,
}

/// The flow of a record. A watch that nobody remembers leaves `CaptureID` and `NodeTID` empty.
pub(super) fn flow(
    record: &FlowRecord,
    watched: &HashMap<WatchId, Arc<Watched>>,
    names: &Names,
) -> Flow {
    let mut flow = names.application_ports.flow(record);
    if let Some(watched) = watched.get(&record.watch) {
        flow.capture_id.clone_from(&watched.capture_id);
        flow.node_tid.clone_from(&watched.node_tid);
    }
    if let Some(link) = &record.link {
        let tid = |mac| (names.tid_of_mac)(mac).map(|tid| tid.to_string());
        flow.a_node_tid = tid(&link.a).unwrap_or_default();
        flow.b_node_tid = tid(&link.b).unwrap_or_default();
    }
    flow
}

//! A record becomes a flow: its digests and addresses as text, and the names that only the
//! control plane knows.

use std::collections::HashMap;
use std::sync::Arc;

use sonde_proto::flow::Flow;
use sonde_proto::record::{FlowRecord, WatchId};

use super::{TidOfMac, Watched};

/// The flow of a record. A watch that nobody remembers leaves `CaptureID` and `NodeTID` empty.
pub(super) fn flow(
    record: &FlowRecord,
    watched: &HashMap<WatchId, Arc<Watched>>,
    tid_of_mac: &TidOfMac,
) -> Flow {
    let mut flow = Flow::from(record);
    if let Some(watched) = watched.get(&record.watch) {
        flow.capture_id.clone_from(&watched.capture_id);
        flow.node_tid.clone_from(&watched.node_tid);
    }
    if let Some(link) = &record.link {
        let tid = |mac| tid_of_mac(mac).map(|tid| tid.to_string());
        flow.a_node_tid = tid(&link.a).unwrap_or_default();
        flow.b_node_tid = tid(&link.b).unwrap_or_default();
    }
    flow
}

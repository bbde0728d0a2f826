//! The seam to the data plane: drains the rings into the flow store, and hands plans down.

use std::collections::HashMap;
use std::sync::Arc;

use sonde_proto::plan::Plan;
use sonde_proto::record::WatchId;

/// What the control plane knows of a watch that the data plane need not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// `UUID` of the capture.
    pub capture_id: String,
    /// ID of the node.
    pub node_id: String,
    /// TID of the node.
    pub node_tid: String,
}

/// The desired state of all captures: what the data plane gets, and what records mean.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// For the lcores. `revision` and `sweep` are filled in by ingest.
    pub plan: Plan,
    /// For the records that come back, every watch of the plan.
    pub watched: HashMap<WatchId, Arc<Watched>>,
}

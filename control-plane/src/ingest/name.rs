//! The names of a flow that only the control plane knows.

use std::sync::Arc;

use sonde_proto::flow::ApplicationPorts;
use sonde_proto::record::{FlowRecord, LinkEnds, Mac};

use crate::flow::{FlowNames, Watched};
use crate::live::Live;

/// The TID of the node that has a MAC address, where the topology knows one.
pub type TidOfMac = Arc<dyn Fn(&[u8; 6]) -> Option<Arc<str>> + Send + Sync>;

/// Where the names come from.
#[derive(Clone)]
pub struct Names {
    /// Of nodes.
    pub tid_of_mac: TidOfMac,
    /// Of applications.
    pub application_ports: Live<ApplicationPorts>,
}

impl Names {
    /// The names of a record's flow, of whose watch `watched` is known.
    pub(super) fn of(&self, record: &FlowRecord, watched: Option<Arc<Watched>>) -> FlowNames {
        let tid = |end: fn(&LinkEnds) -> &Mac| (self.tid_of_mac)(end(record.link.as_ref()?));
        let transport = record.transport.as_ref();
        FlowNames {
            watched,
            application: transport
                .and_then(|ends| self.application_ports.get().application(ends).cloned()),
            a_node_tid: tid(|link| &link.a),
            b_node_tid: tid(|link| &link.b),
        }
    }
}

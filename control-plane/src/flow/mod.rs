//! A flow on its way through the control plane: its record, and the names that only the control
//! plane knows. [`Flow`], which is all texts, is made when somebody asks for it.

mod headline;
mod json;
mod outlet;
mod protobuf;
mod small;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use prost::Message as _;
use serde::{Serialize, Serializer};
use sonde_proto::flow::{Flow, FlowMetric};
use sonde_proto::record::{FlowRecord, Layer};

pub(crate) use headline::Headline;
pub use outlet::{Outlet, Told};
pub(crate) use protobuf::{delimited, network_protocol, number};
pub(crate) use small::Small;

/// A flow that is made when it is asked for. Clones are the same flow.
///
/// A record takes [`LazyFlow::SIZE`] bytes in one piece, where a [`Flow`] takes about three times
/// that in a dozen pieces. Both encodings are written from the record itself, and queries read it.
#[derive(Clone, Debug, PartialEq)]
pub struct LazyFlow(Arc<Form>);

/// What a flow is made of.
#[derive(Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "nearly all are records")]
pub(crate) enum Form {
    /// Its record and its names.
    Record { record: FlowRecord, names: FlowNames },
    /// One that was made, with all that no record holds.
    Flow(Arc<Flow>),
}

/// What a record does not say of its flow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FlowNames {
    /// What its watch watches; `None` when nobody remembers.
    pub watched: Option<Arc<Watched>>,
    /// The application that its ports name.
    pub application: Option<Arc<str>>,
    /// TID of the node that has the A MAC address.
    pub a_node_tid: Option<Arc<str>>,
    /// TID of the node that has the B MAC address.
    pub b_node_tid: Option<Arc<str>>,
}

/// What the control plane knows of a watch that the data plane need not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// `UUID` of the capture.
    pub capture_id: String,
    /// ID of the node.
    pub node_id: String,
    /// TID of the node.
    pub node_tid: String,
    /// `IfIndex` of the node, 0 without one.
    pub if_index: u32,
    /// Where its records go besides the store and the subscribers, if the capture has a target.
    pub outlet: Option<Outlet>,
}

impl LazyFlow {
    /// Bytes that the flow of a record takes.
    pub const SIZE: usize = size_of::<Form>() + 2 * size_of::<usize>();

    /// The flow of a record.
    pub fn new(record: FlowRecord, names: FlowNames) -> Self {
        Self(Arc::new(Form::Record { record, names }))
    }

    /// The flow itself: made each time somebody asks, unless it was made already.
    pub fn flow(&self) -> Arc<Flow> {
        match &*self.0 {
            Form::Record { record, names } => Arc::new(names.flow(record)),
            Form::Flow(flow) => flow.clone(),
        }
    }

    /// What there is to read without making it.
    pub(crate) fn form(&self) -> &Form {
        &self.0
    }

    /// What queries read most of it; `None` when it is no record.
    pub(crate) fn headline(&self) -> Option<Headline> {
        match &*self.0 {
            Form::Record { record, names } => Some(Headline::of(record, names)),
            Form::Flow(_) => None,
        }
    }

    /// Reads a little of each part of a record that queries read, so that it is in the cache for who
    /// reads all of it. What it makes of that means nothing.
    pub(crate) fn glance(&self) -> u64 {
        let Form::Record { record, names } = &*self.0 else { return 0 };
        let parts = [
            record.link.is_some(),
            record.network.is_some(),
            record.transport.is_some(),
            record.last_update.is_some(),
            names.watched.is_some(),
            names.application.is_some(),
        ];
        let parts = parts.into_iter().map(u64::from).fold(0, std::ops::BitXor::bitxor);
        parts ^ self.owners() ^ record.uuid ^ record.tracking_id ^ record.metric.ab_bytes
    }

    /// How many have it, about.
    pub(crate) fn owners(&self) -> u64 {
        Arc::strong_count(&self.0) as u64
    }

    /// The flow after an update that told its raw packets: as in Skydive they are told once.
    #[must_use]
    pub fn without_packets(&self) -> Self {
        match &*self.0 {
            Form::Flow(flow) if !flow.last_raw_packets.is_empty() => {
                let flow = Flow { last_raw_packets: Vec::new(), ..Flow::clone(flow) };
                Arc::new(flow).into()
            }
            _ => self.clone(),
        }
    }

    /// The capture that metered it.
    pub fn capture_id(&self) -> &str {
        match &*self.0 {
            Form::Record { names, .. } => names.capture_id(),
            Form::Flow(flow) => &flow.capture_id,
        }
    }

    /// TID of the node where it was metered.
    pub(crate) fn node_tid(&self) -> &str {
        match &*self.0 {
            Form::Record { names, .. } => names.node_tid(),
            Form::Flow(flow) => &flow.node_tid,
        }
    }

    /// What was added by its last update, or all there is of one that had none yet.
    pub(crate) fn newest_metric(&self) -> Option<FlowMetric> {
        match &*self.0 {
            Form::Record { record, .. } => {
                Some(FlowMetric::from(record.last_update.as_ref().unwrap_or(&record.metric)))
            }
            Form::Flow(flow) => flow.last_update_metric.or(flow.metric),
        }
    }

    /// Milliseconds since the epoch of its first and of its last packet.
    pub(crate) fn times(&self) -> (i64, i64) {
        match &*self.0 {
            Form::Record { record, .. } => {
                (record.metric.start.millis(), record.metric.last.millis())
            }
            Form::Flow(flow) => (flow.start, flow.last),
        }
    }

    /// Roughly the memory it takes with its encodings, in bytes.
    pub(crate) fn weight(&self) -> usize {
        match &*self.0 {
            Form::Record { .. } => Self::SIZE + ENCODED,
            // JSON has about three times the bytes of Protobuf.
            Form::Flow(flow) => size_of::<Flow>() + 3 * flow.encoded_len(),
        }
    }

    /// Appends its JSON, as `Flow` serializes.
    pub(crate) fn write_json(&self, out: &mut Vec<u8>) {
        match &*self.0 {
            Form::Record { record, names } => json::write(record, names, out),
            Form::Flow(flow) => crate::json::append(out, &**flow),
        }
    }

    /// Appends its Protobuf form, without a length, as `Flow` encodes.
    pub(crate) fn write_protobuf(&self, out: &mut Vec<u8>) {
        match &*self.0 {
            Form::Record { record, names } => protobuf::write(record, names, out),
            Form::Flow(flow) => flow.encode_raw(out),
        }
    }
}

impl Serialize for LazyFlow {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        self.flow().serialize(out)
    }
}

impl From<Arc<Flow>> for LazyFlow {
    fn from(flow: Arc<Flow>) -> Self {
        Self(Arc::new(Form::Flow(flow)))
    }
}

impl FlowNames {
    /// The flow of a record.
    pub fn flow(&self, record: &FlowRecord) -> Flow {
        let text = |name: &Option<Arc<str>>| name.as_deref().unwrap_or_default().to_owned();
        let mut flow = Flow::from(record);
        if let Some(application) = &self.application {
            flow.application = application.as_ref().into();
        }
        flow.capture_id = self.capture_id().into();
        flow.node_tid = self.node_tid().into();
        flow.a_node_tid = text(&self.a_node_tid);
        flow.b_node_tid = text(&self.b_node_tid);
        flow
    }

    pub(crate) fn capture_id(&self) -> &str {
        capture_id(self.watched.as_deref())
    }

    pub(crate) fn node_tid(&self) -> &str {
        node_tid(self.watched.as_deref())
    }

    /// Where its records go besides, if its capture has a target.
    pub(crate) fn outlet(&self) -> Option<&Outlet> {
        self.watched.as_deref()?.outlet.as_ref()
    }

    /// As [`Flow::from`] names it, if its ports do not.
    pub(crate) fn application(&self, record: &FlowRecord) -> &str {
        application(self.application.as_deref(), record.layers.as_slice().last().copied())
    }
}

/// The capture of a watch; empty when nobody remembers.
fn capture_id(watched: Option<&Watched>) -> &str {
    watched.map_or("", |watched| &watched.capture_id)
}

/// TID of the node of a watch; empty when nobody remembers.
fn node_tid(watched: Option<&Watched>) -> &str {
    watched.map_or("", |watched| &watched.node_tid)
}

/// What the ports name, or else the innermost layer.
fn application(named: Option<&str>, innermost: Option<Layer>) -> &str {
    named.unwrap_or_else(|| innermost.map_or("", Layer::name))
}

/// Bytes of a flow in JSON and in Protobuf, about: 720 and 390 for TCP over IPv4.
const ENCODED: usize = 1_200;

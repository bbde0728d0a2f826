//! What queries filter and sort flows by most, in few bytes.

use std::net::IpAddr;
use std::sync::Arc;

use sonde_proto::record::{FlowRecord, Layer, Mac, Metric, TransportEnds};

use super::{FlowNames, Watched};

/// A part of a flow's record and names. Those of many flows lie side by side, where the records lie
/// anywhere in memory: a look at ten takes as long as a look at one record.
///
/// Members are called as those of the record, so that both are read in the same words.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Headline {
    pub(crate) uuid: u64,
    pub(crate) tracking_id: u64,
    pub(crate) link: Option<Ends<Mac>>,
    pub(crate) network: Option<Ends<IpAddr>>,
    pub(crate) transport: Option<TransportEnds>,
    pub(crate) metric: Metric,
    /// The innermost.
    layer: Option<Layer>,
    application: Option<Arc<str>>,
    watched: Option<Arc<Watched>>,
}

/// Addresses of both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends<T> {
    pub(crate) a: T,
    pub(crate) b: T,
}

impl Headline {
    pub(super) fn of(record: &FlowRecord, names: &FlowNames) -> Self {
        Self {
            uuid: record.uuid,
            tracking_id: record.tracking_id,
            link: record.link.map(|link| Ends { a: link.a, b: link.b }),
            network: record.network.map(|network| Ends { a: network.a, b: network.b }),
            transport: record.transport,
            metric: record.metric,
            layer: record.layers.as_slice().last().copied(),
            application: names.application.clone(),
            watched: names.watched.clone(),
        }
    }

    pub(crate) fn capture_id(&self) -> &str {
        super::capture_id(self.watched.as_deref())
    }

    pub(crate) fn node_tid(&self) -> &str {
        super::node_tid(self.watched.as_deref())
    }

    pub(crate) fn application(&self) -> &str {
        super::application(self.application.as_deref(), self.layer)
    }

    /// Milliseconds since the epoch of the first and of the last packet.
    pub(crate) fn times(&self) -> (i64, i64) {
        (self.metric.start.millis(), self.metric.last.millis())
    }
}

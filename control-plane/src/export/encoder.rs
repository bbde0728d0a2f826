//! What the formats have in common.

use sonde_proto::record::FlowRecord;
use sonde_proto::time::Timestamp;

use super::datagram::Datagram;
use super::delta::Delta;
use super::{Export, Format, ipfix, netflow};

/// Puts news of flows into datagrams.
#[derive(Debug)]
pub(super) enum Encoder {
    NetflowV5(netflow::Encoder),
    Ipfix(ipfix::Encoder),
}

impl Encoder {
    /// For an export from a sender that is called `domain`, from `boot` on.
    pub(super) fn new(export: &Export, domain: u32, boot: Timestamp) -> Self {
        let Export { format, sampling, tcp_flags, .. } = *export;
        match format {
            Format::NetflowV5 => Self::NetflowV5(netflow::Encoder::new(domain, sampling, boot)),
            Format::Ipfix => Self::Ipfix(ipfix::Encoder::new(domain, sampling, tcp_flags)),
        }
    }

    /// Whether the format has records for such a flow.
    pub(super) fn carries(&self, record: &FlowRecord) -> bool {
        match self {
            Self::NetflowV5(_) => netflow::Encoder::carries(record),
            Self::Ipfix(_) => true,
        }
    }

    /// Adds what is new of a flow; datagrams that fill up go to `out`.
    pub(super) fn put(&mut self, delta: &Delta<'_>, now: Timestamp, out: &mut Vec<Datagram>) {
        match self {
            Self::NetflowV5(encoder) => encoder.put(delta, now, out),
            Self::Ipfix(encoder) => encoder.put(delta, now, out),
        }
    }

    /// Finishes the datagram that is being filled.
    pub(super) fn flush(&mut self, now: Timestamp, out: &mut Vec<Datagram>) {
        match self {
            Self::NetflowV5(encoder) => encoder.flush(now, out),
            Self::Ipfix(encoder) => encoder.flush(now, out),
        }
    }

    /// The collector may be another one: tells it again what it has to know.
    pub(super) fn begin_again(&mut self) {
        match self {
            Self::NetflowV5(_) => {}
            Self::Ipfix(encoder) => encoder.begin_again(),
        }
    }

    /// Whether no datagram is being filled.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::NetflowV5(encoder) => encoder.is_empty(),
            Self::Ipfix(encoder) => encoder.is_empty(),
        }
    }
}

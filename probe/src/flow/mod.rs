//! Pieces in, flow records out: a shard of the flow table, owned by one lcore.
//!
//! Share nothing: all is reached through `&mut self`, all memory is reserved at the start, and
//! time is an argument. Records leave through an [`Export`], when it has room.

mod beside;
mod copies;
mod cycle;
mod datagrams;
mod entry;
mod extras;
mod identity;
mod key;
mod shard;
mod signals;
mod slab;
mod stream;
mod table;
mod watching;
mod wheel;

use std::time::Duration;

use sonde_proto::record::FlowRecord;
use sonde_proto::report::PacketHead;

pub use self::shard::Shard;

/// When a flow is reported and when it ends. [`Duration::MAX`] is never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Between two updates of a flow that goes on (IPFIX active timeout, Skydive
    /// `flow.update`). At least a second.
    pub update: Duration,
    /// Silence after which a flow is over (IPFIX idle timeout, Skydive `flow.expire`).
    pub expire: Duration,
    /// Silence after which a flow is over whose first packet carried FIN or RST.
    pub hold: Duration,
}

impl Default for Timers {
    /// Skydive's.
    fn default() -> Self {
        Self {
            update: Duration::from_secs(60),
            expire: Duration::from_secs(600),
            hold: Duration::from_secs(15),
        }
    }
}

impl Timers {
    /// Nothing is reported before it ends, and nothing ends before the source does.
    pub const NEVER: Self =
        Self { update: Duration::MAX, expire: Duration::MAX, hold: Duration::MAX };
}

/// Where records go.
pub trait Export {
    /// Whether a record can be taken now. `false` costs freshness only: the flow stays.
    fn ready(&mut self) -> bool;

    /// Takes a record; only called when ready.
    fn export(&mut self, record: FlowRecord);

    /// Takes a copy of a packet. `false`: there is no room now, and it is lost.
    fn packet(&mut self, head: PacketHead, bytes: &[u8]) -> bool;
}

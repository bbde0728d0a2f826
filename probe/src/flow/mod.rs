//! Frames in, entries of flows out: a shard of the flow table, owned by one lcore.
//!
//! Share nothing: all is reached through `&mut self`, all memory is reserved at the start, and
//! time is an argument. Entries leave through an [`Export`], when it has room.

mod beside;
mod copies;
mod cycle;
mod datagrams;
mod entry;
mod extras;
mod first;
mod key;
mod limit;
mod nanos;
mod settle;
mod shard;
mod signals;
mod slab;
mod staged;
mod stream;
mod table;
mod watching;
mod wheel;

use std::time::Duration;

use sonde_proto::entry::{Extra, FlowEntry};
use sonde_proto::record::Layer;
use sonde_proto::report::PacketHead;

pub use self::shard::Shard;

/// When a flow is reported and when it ends. [`Duration::MAX`] is never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Between two updates of a flow that goes on (Skydive `flow.update`). At least a second.
    pub update: Duration,
    /// Silence after which a flow is over (IPFIX idle timeout, Skydive `flow.expire`).
    pub expire: Duration,
    /// Silence after which a flow is over whose TCP ends said goodbye: RST, or FIN from both ends
    /// or with the first packet.
    pub hold: Duration,
    /// A flow that lasts longer is over, and its next packet begins another (IPFIX active timeout).
    pub active: Duration,
    /// Silence after which, at an update tick, flows of some applications are over.
    pub applications: ApplicationTimeouts,
}

impl Default for Timers {
    /// Skydive's.
    fn default() -> Self {
        Self {
            update: Duration::from_secs(60),
            expire: Duration::from_secs(600),
            hold: Duration::from_secs(15),
            active: Duration::MAX,
            applications: ApplicationTimeouts::default(),
        }
    }
}

impl Timers {
    /// Nothing is reported before it ends, and nothing ends before the source does.
    pub const NEVER: Self = Self {
        update: Duration::MAX,
        expire: Duration::MAX,
        hold: Duration::MAX,
        active: Duration::MAX,
        applications: ApplicationTimeouts::NONE,
    };
}

/// Timeouts by application, which is the last layer of a flow's path (Skydive
/// `flow.application_timeout`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApplicationTimeouts([Option<(Layer, Duration)>; Self::ROOM]);

impl ApplicationTimeouts {
    /// Applications there is room for.
    pub const ROOM: usize = 16;
    /// All applications are alike.
    pub const NONE: Self = Self([None; Self::ROOM]);

    /// Sets the timeout of an application; `false`, and no change, when there is no room.
    pub fn set(&mut self, layer: Layer, timeout: Duration) -> bool {
        let known = self.0.iter().position(|slot| slot.is_some_and(|(known, _)| known == layer));
        let place = known.or_else(|| self.0.iter().position(Option::is_none));
        let slot = place.and_then(|place| self.0.get_mut(place));
        slot.is_some_and(|slot| {
            *slot = Some((layer, timeout));
            true
        })
    }

    /// The timeout of an application, if it has one of its own.
    pub fn of(&self, layer: Layer) -> Option<Duration> {
        self.0.iter().flatten().find(|(known, _)| *known == layer).map(|(_, timeout)| *timeout)
    }
}

impl Default for ApplicationTimeouts {
    /// Skydive's: ARP and DNS, 10 s each.
    fn default() -> Self {
        let mut timeouts = Self::NONE;
        for layer in [Layer::Arp, Layer::Dns] {
            timeouts.set(layer, Duration::from_secs(10));
        }
        timeouts
    }
}

/// Where entries of flows go.
pub trait Export {
    /// Whether an entry can be taken now. `false` costs freshness only: the flow stays.
    fn ready(&mut self) -> bool;

    /// Takes an entry; only called when ready.
    fn export(&mut self, entry: FlowEntry);

    /// Takes what the capture of the next entry wants to know beyond counters; only called when
    /// ready. Its place, for the entry to tell.
    fn extra(&mut self, extra: Extra) -> Option<u16>;

    /// Takes a copy of a packet. `false`: there is no room now, and it is lost.
    fn packet(&mut self, head: PacketHead, bytes: &[u8]) -> bool;
}

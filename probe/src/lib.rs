//! The data plane of sonde: frames in, flow records out.
//!
//! A [`source`] lends bursts of frames to a [`worker`], which filters them, parses them and meters
//! them in the flow table it owns. Nothing here waits, and nothing here knows the control plane:
//! records leave through a [`sonde_proto::ring`].

mod defrag;
pub mod filter;
pub mod flow;
#[cfg(feature = "dpdk")]
pub mod lcore;
mod memory;
mod outbox;
pub mod parse;
pub mod source;
pub mod supervisor;
pub mod traffic;
pub mod worker;

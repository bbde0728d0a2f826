//! The FFI crate `capsule` 0.1.5 expects, for DPDK 22.11 and newer.
//!
//! The one on crates.io knows DPDK 19.11 only; this one takes its place through
//! `[patch.crates-io]`, and `capsule` compiles unmodified. [`bindings`] is generated, `compat` holds
//! all differences between the versions, `shim.c` the calls that DPDK inlines.

#![expect(unsafe_code, reason = "foreign functions")]

// "allow", for what bindgen writes changes with the version of DPDK.
#[allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unused_qualifications,
    clippy::all,
    clippy::multiple_unsafe_ops_per_block,
    clippy::undocumented_unsafe_blocks,
    reason = "generated"
)]
pub mod bindings {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}
mod compat;
mod kni;

pub use bindings::*;
pub use kni::*;
// These shadow what the globs above bring under the same name.
pub use compat::{
    is_pci, is_symmetric_key, node_of_cpu, numa_node_of_cpu, rte_eal_init, rte_eth_dev_configure,
    rte_eth_rx_mq_mode, rte_pktmbuf_pool_create, symmetric_key, symmetric_rss,
};

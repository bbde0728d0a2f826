//! Fills the graph with what is found on this host: the host itself, the links of its network
//! namespace, the DPDK ports. The names are Skydive's (API §8).
//!
//! Links are followed, not polled: the kernel tells of each change. Only counters are read on a
//! timer. A node may carry keys of others (`Captures`); discovery touches none but its own.

mod address;
mod device;
mod element;
mod follow;
mod host;
mod link;
mod mac;
mod metric;
mod namespace;
mod netlink;
pub mod port;

use std::time::Duration;

use sonde_proto::graph::Metadata;
use sonde_proto::time::Timestamp;
use tokio::task::JoinHandle;

pub use mac::{MacTable, MacTids};
pub use metric::InterfaceMetric;
pub use port::{PortNode, PortStats};

use crate::graph::SharedGraph;
use element::Author;
use namespace::Namespace;

/// What the daemon says about the host.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Host id: the name of the host node and the `Host` of everything found on it.
    pub id: String,
    /// More facts for the host node, from the configuration or of DPDK. They win over those found.
    pub metadata: Metadata,
    /// Tells the time of each change.
    pub clock: fn() -> Timestamp,
    /// Time between two looks at the counters of links; Skydive's is [`COUNTERS_EVERY`].
    pub counters_every: Duration,
}

/// Puts the host and its DPDK ports into the graph at once, then follows the links of the network
/// namespace of the calling thread until the task is aborted. Needs a tokio runtime.
///
/// A failure of netlink is logged; discovery starts over, and keeps the nodes that are still true.
pub fn start(graph: SharedGraph, host: HostConfig, ports: Vec<PortNode>) -> JoinHandle<()> {
    let author = Author::new(&host.id);
    let metadata = host::metadata(&host);
    let (parent, under) = {
        let mut graph = element::lock(&graph);
        let now = (host.clock)();
        let parent = host::add(&mut graph, &author, metadata, now);
        let under = port::add(&mut graph, &author, &parent, &ports, now);
        (parent, under)
    };
    let namespace = Namespace::new(graph.clone(), author, parent.clone(), under, host.clock);
    tokio::spawn(async move {
        tokio::join!(follow::follow(namespace, host.counters_every), async {
            let mut ticks = follow::ticks(host.counters_every);
            loop {
                ticks.tick().await;
                host::refresh(&graph, &parent, (host.clock)());
            }
        });
    })
}

/// Skydive's time between two looks at the counters.
pub const COUNTERS_EVERY: Duration = Duration::from_secs(30);

//! Fills the graph with what is found on this host: the host itself, its network namespaces, their
//! links, the DPDK ports. The names are Skydive's (API §8).
//!
//! ```text
//! census: which namespaces there are, one follower each
//!   follow: kernel -> netlink -> namespace (what was told) -> namespaces -> graph
//! ```
//!
//! Links are followed, not polled: the kernel tells of each change, and what changes within a tenth
//! of a second is written once. Only counters are read on a timer. A node may carry keys of others
//! (`Captures`); discovery touches none but its own.

mod address;
mod census;
mod device;
mod element;
mod ethtool;
mod follow;
mod followed;
mod host;
mod kind;
mod link;
mod mac;
mod metric;
mod named;
mod namespace;
mod namespaces;
mod neighbour;
mod netlink;
mod other_end;
pub mod port;
mod process;
mod route;
mod sockets;
mod table;
mod vhost_user;
mod virtualization;
mod wants;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sonde_proto::graph::Metadata;
use sonde_proto::time::Timestamp;
use tokio::task::JoinHandle;

pub use mac::{MacTable, MacTids};
pub use metric::InterfaceMetric;
pub use port::{PortNode, PortStats};

use crate::graph::SharedGraph;
use census::Census;
use element::Author;
use follow::{Entrance, Follower};
use namespace::Identity;
use namespaces::Namespaces;

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
    /// Directory of named network namespaces, [`NETNS_DIR`]; it may not be there yet.
    pub netns_dir: PathBuf,
    /// Whether network namespaces without a name are looked for, by the processes in them.
    pub processes: bool,
    /// Whether the sockets of processes are written on the nodes of their namespaces.
    pub sockets: bool,
}

/// Puts the host and its DPDK ports into the graph at once, then follows the links of the network
/// namespace of the calling thread, and of all namespaces with a name, until the task is aborted.
/// Needs a tokio runtime.
///
/// A failure of netlink is logged; discovery starts over, and keeps the nodes that are still true.
pub fn start(graph: SharedGraph, host: HostConfig, ports: Vec<PortNode>) -> JoinHandle<()> {
    let author = Author::new(&host.id);
    let metadata = host::metadata(&host);
    let (parent, ports) = {
        let mut graph = element::lock(&graph);
        let now = (host.clock)();
        let parent = host::add(&mut graph, &author, metadata, now);
        let ports = port::add(&mut graph, &author, &parent, &ports, now);
        (parent, ports)
    };
    let (inode, file) = named::own().unzip();
    let namespaces =
        Namespaces::new(graph.clone(), author, parent.clone(), ports.clone(), host.clock).share();
    let identity = Identity { owner: parent.clone(), name: None, file: file.map(Arc::new) };
    let key = namespaces.lock().add(identity);
    let follower = Follower::new(namespaces.clone(), key, Entrance::Here, host.counters_every);
    let census = Census {
        namespaces: namespaces.clone(),
        directory: host.netns_dir,
        processes: host.processes,
        counters_every: host.counters_every,
        own: inode,
    };
    tokio::spawn(async move {
        let sockets = async {
            if host.sockets {
                sockets::follow(namespaces).await;
            }
        };
        let vhost_user = vhost_user::follow(graph.clone(), ports, host.clock);
        tokio::join!(follower.follow(None), census.run(), sockets, vhost_user, async {
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

/// Where `ip netns` keeps the network namespaces that have a name.
pub const NETNS_DIR: &str = "/var/run/netns";

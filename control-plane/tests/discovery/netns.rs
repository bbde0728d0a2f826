//! A network namespace of a test's own, and what discovery finds there.

use std::fs::File;
use std::io::Write;
use std::process::Command;
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use sonde_control_plane::discovery::{self, HostConfig, PortNode};
use sonde_control_plane::graph::{Graph, SharedGraph};
use sonde_proto::graph::{Edge, Metadata, Node, uuid_v5};
use sonde_proto::time::Timestamp;

/// Removed when dropped, also by a panic.
pub(crate) struct Netns(String);

impl Netns {
    /// `test` tells apart the tests of this process.
    pub(crate) fn new(test: &str) -> Self {
        let netns = Self(format!("sonde-{test}-{}", std::process::id()));
        run(&["netns", "add", &netns.0]);
        netns
    }

    /// The name `ip` knows it by.
    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// Runs `ip` in the namespace.
    pub(crate) fn ip(&self, arguments: &str) {
        let mut words = vec!["-n", self.0.as_str()];
        words.extend(arguments.split(' '));
        run(&words);
    }

    /// Runs `ip` once for all lines of commands.
    pub(crate) fn ip_batch(&self, lines: &str) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(lines.as_bytes()).unwrap();
        let path = file.path().to_str().unwrap();
        run(&["-n", &self.0, "-batch", path]);
    }

    /// Runs `body` with a graph that discovery fills from the namespace. The thread that enters it
    /// ends with the test.
    pub(crate) fn discover(
        &self,
        ports: Vec<PortNode>,
        body: impl AsyncFnOnce(SharedGraph) + Send,
    ) {
        let file = File::open(format!("/run/netns/{}", self.0)).unwrap();
        let inside = || {
            setns(&file, CloneFlags::CLONE_NEWNET).unwrap();
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let graph = Arc::new(RwLock::new(Graph::new()));
                let discovery = discovery::start(graph.clone(), host(), ports);
                body(graph).await;
                assert!(!discovery.is_finished(), "discovery gave up");
                discovery.abort();
            });
        };
        thread::scope(|scope| {
            if let Err(panic) = scope.spawn(inside).join() {
                std::panic::resume_unwind(panic);
            }
        });
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let removed = Command::new("ip").args(["netns", "del", &self.0]).status();
        if !removed.is_ok_and(|status| status.success()) {
            eprintln!("cannot remove the network namespace {}", self.0);
        }
    }
}

/// Waits for what discovery promises within a second.
pub(crate) async fn within_a_second<T>(
    graph: &SharedGraph,
    what: &str,
    look: impl Fn(&Graph) -> Option<T>,
) -> T {
    let wait = async {
        loop {
            if let Some(found) = look(&graph.read().unwrap()) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(1), wait).await {
        Ok(found) => found,
        Err(_) => panic!("no {what} within a second: {:#?}", graph.read().unwrap()),
    }
}

pub(crate) fn node(graph: &Graph, name: &str) -> Option<Arc<Node>> {
    let mut nodes = graph.nodes();
    nodes.find(|node| node.text("Name") == name).cloned()
}

/// The edge between the nodes of these names.
pub(crate) fn edge(graph: &Graph, parent: &str, child: &str) -> Option<Arc<Edge>> {
    let (parent, child) = (node(graph, parent)?, node(graph, child)?);
    let mut edges = graph.edges();
    edges.find(|edge| edge.parent == parent.id && edge.child == child.id).cloned()
}

/// The TID of a link of the host.
pub(crate) fn tid(name: &str, kind: &str) -> String {
    uuid_v5(&[&host_tid(), name, kind]).to_string()
}

/// The TID of the host.
pub(crate) fn host_tid() -> String {
    uuid_v5(&["lab"]).to_string()
}

fn host() -> HostConfig {
    HostConfig {
        id: "lab".into(),
        metadata: Metadata::new(),
        clock: || Timestamp::from_millis(1_600_000_000_000),
        counters_every: Duration::from_millis(100),
    }
}

fn run(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "ip {arguments:?}: this test needs root and iproute2"
    );
}

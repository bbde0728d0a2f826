//! A network namespace of a test's own, and what discovery finds there.

use std::fs::File;
use std::io::Write;
use std::path::Path;
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

    /// The file that stands for it.
    pub(crate) fn path(&self) -> String {
        format!("/run/netns/{}", self.0)
    }

    /// Runs `bridge` in the namespace.
    pub(crate) fn bridge(&self, arguments: &str) {
        let mut words = vec!["-n", self.0.as_str()];
        words.extend(arguments.split(' '));
        run_command("bridge", &words);
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

    /// Runs `body` with a graph that discovery fills from the namespace, which has no others beside
    /// it.
    pub(crate) fn discover(
        &self,
        ports: Vec<PortNode>,
        body: impl AsyncFnOnce(SharedGraph) + Send,
    ) {
        self.discover_as(host(), ports, body);
    }

    /// As [`Self::discover`], with the namespaces that have their names in `netns_dir`.
    pub(crate) fn discover_in(&self, netns_dir: &Path, body: impl AsyncFnOnce(SharedGraph) + Send) {
        let host = HostConfig { netns_dir: netns_dir.to_owned(), ..host() };
        self.discover_as(host, Vec::new(), body);
    }

    /// As [`Self::discover`], on that host. The thread that enters the namespace ends with the
    /// test.
    pub(crate) fn discover_as(
        &self,
        host: HostConfig,
        ports: Vec<PortNode>,
        body: impl AsyncFnOnce(SharedGraph) + Send,
    ) {
        self.inside(|| {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let graph = Arc::new(RwLock::new(Graph::new()));
                let discovery = discovery::start(graph.clone(), host, ports);
                body(graph).await;
                assert!(!discovery.is_finished(), "discovery gave up");
                discovery.abort();
            });
        });
    }

    /// Runs `work` in the namespace, on a thread that ends with it.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(self.path()).unwrap();
        let inside = || {
            setns(&file, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
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
    within(Duration::from_secs(1), graph, what, look).await
}

/// Waits until `look` finds something.
pub(crate) async fn within<T>(
    limit: Duration,
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
    match tokio::time::timeout(limit, wait).await {
        Ok(found) => found,
        Err(_) => {
            let graph = graph.read().unwrap();
            let nodes: Vec<_> = graph.nodes().take(40).map(|node| &node.metadata).collect();
            panic!("no {what} within {limit:?}: {nodes:#?}")
        }
    }
}

pub(crate) fn node(graph: &Graph, name: &str) -> Option<Arc<Node>> {
    let mut nodes = graph.nodes();
    nodes.find(|node| node.text("Name") == name).cloned()
}

/// Finds out that there is no node of that name.
pub(crate) fn gone(name: &str) -> impl Fn(&Graph) -> Option<()> {
    move |graph| node(graph, name).is_none().then_some(())
}

/// The edge between the nodes of these names.
pub(crate) fn edge(graph: &Graph, parent: &str, child: &str) -> Option<Arc<Edge>> {
    let (parent, child) = (node(graph, parent)?, node(graph, child)?);
    let mut edges = graph.edges();
    edges.find(|edge| edge.parent == parent.id && edge.child == child.id).cloned()
}

/// The TID of a link of the host.
pub(crate) fn tid(name: &str, kind: &str) -> String {
    tid_in(&host_tid(), name, kind)
}

/// The TID of a link of the namespace of that TID.
pub(crate) fn tid_in(netns: &str, name: &str, kind: &str) -> String {
    uuid_v5(&[netns, name, kind]).to_string()
}

/// The TID of the host.
pub(crate) fn host_tid() -> String {
    uuid_v5(&["lab"]).to_string()
}

/// A host without named namespaces.
pub(crate) fn host() -> HostConfig {
    HostConfig {
        id: "lab".into(),
        metadata: Metadata::new(),
        clock: || Timestamp::from_millis(1_600_000_000_000),
        counters_every: Duration::from_millis(100),
        netns_dir: "/nowhere/netns".into(),
        processes: false,
        sockets: false,
    }
}

fn run(arguments: &[&str]) {
    run_command("ip", arguments);
}

pub(crate) fn run_command(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "{program} {arguments:?}: this test needs root and iproute2"
    );
}

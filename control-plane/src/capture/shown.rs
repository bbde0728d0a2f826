//! Writes on each node which captures run on it (Skydive API §9.5).

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::PoisonError;

use serde_json::Value;
use sonde_proto::capture::{Capture, CaptureOnNode, CaptureState};
use sonde_proto::graph::Node;
use sonde_proto::plan::Point;
use sonde_proto::record::WatchId;
use sonde_proto::report::{Lost, WatchState};
use sonde_proto::time::Timestamp;

use super::kind::Kind;
use super::running::{Pair, Run, Running};
use crate::graph::SharedGraph;
use crate::ingest::{QueueStatus, WatchTotals};

/// What nodes show under `Captures` that is ours.
#[derive(Debug, Default)]
pub(super) struct Shown(BTreeMap<Pair, CaptureOnNode>);

/// What the data plane says of the captures.
#[derive(Debug, Default)]
pub(super) struct Counted {
    watches: HashMap<WatchId, WatchTotals>,
    lost: HashMap<Point, Lost>,
}

impl Shown {
    /// Makes the nodes show what runs, and touches those only that show something else. Of a capture
    /// that the data plane has not taken up yet, a node goes on to show what it showed.
    pub(super) fn update<'a>(
        &mut self,
        running: &Running,
        capture: impl Fn(&str) -> Option<&'a Capture>,
        counted: &Counted,
        graph: &SharedGraph,
        now: Timestamp,
    ) {
        let mut entries = BTreeMap::new();
        for (pair, run) in running.pairs() {
            if let Some(capture) = capture(&pair.capture)
                && let Some(entry) =
                    counted.entry(capture, run).or_else(|| self.0.get(pair).cloned())
            {
                entries.insert(pair.clone(), entry);
            }
        }
        for (pair, refused) in running.refused() {
            if let Some(capture) = capture(&pair.capture) {
                let error = refused.why.to_string();
                let entry = CaptureOnNode {
                    state: CaptureState::Error,
                    error,
                    ..of(capture, refused.kind)
                };
                entries.insert(pair.clone(), entry);
            }
        }
        let mut wanted: BTreeMap<&str, Vec<&CaptureOnNode>> = BTreeMap::new();
        // A node where nothing is left shows nothing.
        wanted.extend(self.0.keys().map(|pair| (pair.node.as_str(), Vec::new())));
        for (pair, entry) in &entries {
            wanted.entry(&pair.node).or_default().push(entry);
        }
        let wanted = wanted.into_iter().map(|(node, entries)| {
            let shown = || serde_json::to_value(&entries).expect("no map, no key that is no text");
            (node.to_owned(), (!entries.is_empty()).then(shown))
        });
        write(graph, wanted, now);
        self.0 = entries;
    }

    /// Whether the node shows that frames are metered.
    pub(super) fn is_active(&self, pair: &Pair) -> bool {
        self.0.get(pair).is_some_and(|entry| entry.state == CaptureState::Active)
    }
}

impl Counted {
    /// Sums up what the lcores report.
    pub(super) fn new(watches: HashMap<WatchId, WatchTotals>, queues: &[QueueStatus]) -> Self {
        let mut lost: HashMap<Point, Lost> = HashMap::new();
        for queue in queues.iter().filter(|queue| queue.open) {
            lost.entry(queue.lcore.point.clone()).or_default().add(queue.books.lost);
        }
        Self { watches, lost }
    }

    /// Why the data plane cannot meter, if it cannot.
    pub(super) fn failure(&self, run: &Run) -> Option<io::Error> {
        match self.watches.get(&run.watch)?.state {
            WatchState::Active => None,
            WatchState::Failed(errno) => Some(io::Error::from_raw_os_error(errno)),
        }
    }

    /// What a node shows; nothing before the data plane has taken the capture up.
    fn entry(&self, capture: &Capture, run: &Run) -> Option<CaptureOnNode> {
        let totals = self.watches.get(&run.watch)?;
        let lost = self.lost.get(&run.point).copied().unwrap_or_default();
        let (state, error) = match self.failure(run) {
            None => (CaptureState::Active, String::new()),
            Some(error) => (CaptureState::Error, error.to_string()),
        };
        let pcap_socket = match run.point {
            // A port that another program has is not to be written into.
            Point::Socket(address) if state == CaptureState::Active => address.to_string(),
            _ => String::new(),
        };
        Some(CaptureOnNode {
            state,
            packets_received: totals.packets,
            packets_dropped: totals.dropped,
            packets_if_dropped: lost.missed + lost.no_mbuf + lost.errors,
            pcap_socket,
            error,
            ..of(capture, run.kind)
        })
    }
}

/// What an entry says of its capture.
fn of(capture: &Capture, kind: Kind) -> CaptureOnNode {
    CaptureOnNode {
        id: capture.uuid.clone(),
        name: capture.name.clone(),
        description: capture.description.clone(),
        bpf_filter: capture.bpf_filter.clone(),
        kind: kind.to_string(),
        ..CaptureOnNode::default()
    }
}

/// Sets or removes the member on those nodes where it is otherwise.
fn write(
    graph: &SharedGraph,
    nodes: impl Iterator<Item = (String, Option<Value>)>,
    now: Timestamp,
) {
    let changed: Vec<_> = {
        let graph = graph.read().unwrap_or_else(PoisonError::into_inner);
        nodes
            .filter(|(id, value)| {
                graph.node(id).is_some_and(|node| node.metadata.get(MEMBER) != value.as_ref())
            })
            .collect()
    };
    if changed.is_empty() {
        return;
    }
    let mut graph = graph.write().unwrap_or_else(PoisonError::into_inner);
    for (id, value) in changed {
        graph.update::<Node>(&id, now, |metadata| {
            match value {
                Some(value) => metadata.insert(MEMBER.to_owned(), value),
                None => metadata.remove(MEMBER),
            };
        });
    }
}

/// Where nodes carry it.
pub(super) const MEMBER: &str = "Captures";

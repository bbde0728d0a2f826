//! The topology: nodes and edges with revisions, an event for each change, and what was before.

use std::ops::Deref;
use std::sync::{Arc, RwLock};

use sonde_proto::graph::{Edge, Metadata};
use sonde_proto::time::Timestamp;
use tokio::sync::broadcast;

mod ages;
mod elements;
mod event;
mod history;
mod index;
mod kind;
mod memory;
mod numbered;
mod schema;
mod topology;

pub use elements::Elements;
pub use event::{Change, Event};
pub use history::{History, Past, RecallError, Revision, Span};
pub use kind::Kind;
pub use memory::{HistoryLimits, MemoryHistory};
pub use schema::SchemaError;
pub use topology::Topology;

/// The graph as the parts of the control plane share it. Sections are short and never await.
pub type SharedGraph = Arc<RwLock<Graph>>;

/// The topology as it changes, and who is told of it.
#[derive(Debug)]
pub struct Graph {
    topology: Arc<Topology>,
    events: broadcast::Sender<Event>,
    history: Option<Box<dyn History>>,
}

/// Why a change was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// A node of that ID is there already.
    #[error("Node ID conflict")]
    NodeConflict,
    /// An edge of that ID is there already.
    #[error("Edge ID conflict")]
    EdgeConflict,
    /// The edge's parent is not in the graph.
    #[error("Parent node not found")]
    ParentNotFound,
    /// The edge's child is not in the graph.
    #[error("Child node not found")]
    ChildNotFound,
}

impl Graph {
    /// An empty graph. A subscriber that lags `EVENTS` behind has to start over.
    pub fn new() -> Self {
        Self { topology: Arc::default(), events: broadcast::Sender::new(EVENTS), history: None }
    }

    /// An empty graph that keeps what was in `history`.
    pub fn with_history(history: impl History + 'static) -> Self {
        Self { history: Some(Box::new(history)), ..Self::new() }
    }

    /// The topology as it is now. It costs nothing, and changes of the graph cost hardly more while
    /// anybody holds it.
    pub fn snapshot(&self) -> Arc<Topology> {
        self.topology.clone()
    }

    /// The graph as it was in the span.
    pub fn recall(&self, span: Span) -> Result<Past, RecallError> {
        let history = self.history.as_ref().ok_or(RecallError::NoHistory)?;
        let nodes = self.nodes().cloned().map(Revision::Node);
        let edges = self.edges().cloned().map(Revision::Edge);
        let newest = nodes.chain(edges).filter(|revision| span.meets(revision.from(), i64::MAX));
        let mut past = Past { span, nodes: Vec::new(), edges: Vec::new() };
        for revision in history.recall(span)?.into_iter().chain(newest) {
            match revision {
                Revision::Node(node) => past.nodes.push(node),
                Revision::Edge(edge) => past.edges.push(edge),
            }
        }
        Ok(past)
    }

    /// Events of all changes from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Adds an element; its times and revision are filled where they are absent.
    pub fn add<K: Kind>(&mut self, mut new: K, now: Timestamp) -> Result<Arc<K>, GraphError> {
        new.fits(&self.topology)?;
        let element = new.element_mut();
        let created = *element.created_at.get_or_insert(now.millis());
        element.updated_at.get_or_insert(created);
        element.deleted_at = None;
        element.revision = element.revision.max(1);
        let new = Arc::new(new);
        let topology = self.edit();
        let age = K::all_mut(topology).put(new.clone());
        new.attach(age, topology);
        self.tell(Change::Added(new.clone()));
        Ok(new)
    }

    /// Lets `change` edit the metadata of the element of that ID; a real change is a new revision.
    /// The element as it is then, or `None` when there is none of that ID.
    pub fn update<K: Kind>(
        &mut self,
        id: &str,
        now: Timestamp,
        change: impl FnOnce(&mut Metadata),
    ) -> Option<Arc<K>> {
        let before = K::all(&self.topology).get(id)?.clone();
        let mut after = K::clone(&before);
        let element = after.element_mut();
        change(&mut element.metadata);
        element.updated_at = Some(now.millis());
        element.revision = element.revision.saturating_add(1);
        Some(self.revise(before, after, now))
    }

    /// Takes over what another, who knows the element better, says of its metadata. Only a greater
    /// revision than the one that is there is news. The element as it is then, or `None` when there
    /// is none of that ID.
    pub fn overtake<K: Kind>(&mut self, newer: K, now: Timestamp) -> Option<Arc<K>> {
        let newer = newer.element();
        let before = K::all(&self.topology).get(&newer.id)?.clone();
        if newer.revision <= before.element().revision {
            return Some(before);
        }
        let mut after = K::clone(&before);
        let element = after.element_mut();
        element.metadata = newer.metadata.clone();
        element.updated_at = newer.updated_at.or(Some(now.millis()));
        element.revision = newer.revision;
        Some(self.revise(before, after, now))
    }

    /// Deletes an element, and with a node every edge at it. Its last revision, or `None` when there
    /// is none of that ID.
    pub fn delete<K: Kind>(&mut self, id: &str, now: Timestamp) -> Option<Arc<K>> {
        for edge in K::edges_at(&self.topology, id) {
            self.delete::<Edge>(&edge, now);
        }
        let mut last = K::all(&self.topology).get(id)?.clone();
        let topology = self.edit();
        if let Some(age) = K::all(topology).age(id) {
            last.detach(age, topology);
        }
        K::all_mut(topology).remove(id);
        Arc::make_mut(&mut last).element_mut().deleted_at = Some(now.millis());
        self.keep(K::revision(last.clone()), now);
        self.tell(Change::Deleted(last.clone()));
        Some(last)
    }

    /// Puts `after` in the place of `before`, if its metadata is another. The element as it is then.
    fn revise<K: Kind>(&mut self, before: Arc<K>, after: K, now: Timestamp) -> Arc<K> {
        if before.element().metadata == after.element().metadata {
            return before;
        }
        self.keep(K::revision(before.clone()), now);
        let after = Arc::new(after);
        K::all_mut(self.edit()).put(after.clone());
        self.tell(Change::Updated { before, after: after.clone() });
        after
    }

    fn edit(&mut self) -> &mut Topology {
        Arc::make_mut(&mut self.topology)
    }

    fn keep(&mut self, revision: Revision, until: Timestamp) {
        if let Some(history) = &mut self.history {
            history.keep(revision, until);
        }
    }

    fn tell<K: Kind>(&self, change: Change<K>) {
        // Nobody listening is no error.
        let _ = self.events.send(K::event(change));
    }
}

impl Deref for Graph {
    type Target = Topology;

    fn deref(&self) -> &Topology {
        &self.topology
    }
}

impl Default for Graph {
    fn default() -> Self {
        Self::new()
    }
}

/// Node types that are kernel interfaces with frames to see.
pub(crate) const INTERFACES: [&str; 29] = [
    "internal",
    "veth",
    "tun",
    "bridge",
    "dummy",
    "gre",
    "bond",
    "can",
    "hsr",
    "ifb",
    "macvlan",
    "macvtap",
    "vlan",
    "vxlan",
    "gretap",
    "ip6gretap",
    "geneve",
    "ipoib",
    "vcan",
    "ipip",
    "ipvlan",
    "lowpan",
    "ip6tnl",
    "ip6gre",
    "sit",
    "device",
    "team",
    "vrf",
    "netkit",
];

/// Nodes and edges of a graph that clients may still add to.
pub(crate) const ELEMENTS: usize = 200_000;

/// Events a subscriber may lag behind.
const EVENTS: usize = 4096;

#[cfg(test)]
mod tests {
    use sonde_proto::graph::Node;

    use super::*;

    const BORN: Timestamp = Timestamp::from_millis(1000);
    const LATER: Timestamp = Timestamp::from_millis(2000);

    fn node(id: &str) -> Node {
        Node { id: id.into(), ..Node::default() }
    }

    fn edge(id: &str, parent: &str, child: &str) -> Edge {
        Edge { element: node(id), parent: parent.into(), child: child.into() }
    }

    fn triangle() -> Graph {
        let mut graph = Graph::new();
        for id in ["a", "b", "c"] {
            graph.add(node(id), BORN).unwrap();
        }
        for (id, parent, child) in [("ab", "a", "b"), ("bc", "b", "c"), ("cc", "c", "c")] {
            graph.add(edge(id, parent, child), BORN).unwrap();
        }
        graph
    }

    fn at(graph: &Graph, node: &str) -> Vec<String> {
        graph.edges_at(node).map(|edge| edge.id.clone()).collect()
    }

    #[test]
    fn a_new_element_is_revision_one() {
        let graph = triangle();
        let (node, edge) = (graph.node("a").unwrap(), graph.edge("ab").unwrap());
        let times = (Some(1000), Some(1000), None);
        assert_eq!((node.created_at, node.updated_at, node.deleted_at), times);
        assert_eq!((edge.created_at, edge.updated_at, edge.deleted_at), times);
        assert_eq!((node.revision, edge.revision), (1, 1));
    }

    #[test]
    fn only_a_real_change_is_a_revision_and_an_event() {
        let mut graph = triangle();
        let mut events = graph.subscribe();
        let mut set = |value: i64| {
            graph
                .update::<Node>("a", LATER, |metadata| {
                    metadata.insert("MTU".into(), value.into());
                })
                .unwrap()
        };
        assert_eq!(set(1500).revision, 2);
        let again = set(1500);
        assert_eq!((again.revision, again.updated_at), (2, Some(2000)));
        assert!(matches!(events.try_recv(), Ok(Event::Node(Change::Updated { .. }))));
        assert!(events.try_recv().is_err());
        assert!(graph.update::<Node>("x", LATER, |_| {}).is_none());
    }

    #[test]
    fn the_past_is_recalled() {
        let time = std::time::Duration::from_secs(60);
        let mut graph =
            Graph::with_history(MemoryHistory::new(HistoryLimits { time, bytes: 1 << 20 }));
        for id in ["a", "b"] {
            graph.add(node(id), BORN).unwrap();
        }
        graph.add(edge("ab", "a", "b"), BORN).unwrap();
        let change = |metadata: &mut Metadata| drop(metadata.insert("MTU".into(), 1.into()));
        graph.update::<Node>("a", LATER, change).unwrap();
        graph.update::<Edge>("ab", LATER, change).unwrap();
        graph.delete::<Node>("b", Timestamp::from_millis(3000)).unwrap();
        let recall = |from, to| {
            let past = graph.recall(Span { from, to }).unwrap();
            let nodes = past.nodes.iter().map(|node| (node.id.clone(), node.revision));
            let edges = past.edges.iter().map(|edge| (edge.id.clone(), edge.revision));
            let mut found: Vec<_> = nodes.chain(edges).collect();
            found.sort();
            found
        };
        let element = |id: &str, revision| (id.to_owned(), revision);
        assert_eq!(recall(999, 999), []);
        let first = [element("a", 1), element("ab", 1), element("b", 1)];
        assert_eq!(recall(1000, 1000), first);
        let second = [element("a", 2), element("ab", 2), element("b", 1)];
        assert_eq!(recall(2999, 2999), second);
        assert_eq!(recall(3000, 3000), [element("a", 2)]);
        let all =
            [element("a", 1), element("a", 2), element("ab", 1), element("ab", 2), element("b", 1)];
        assert_eq!(recall(0, 5000), all);
        assert_eq!(recall(2000, 5000), [element("a", 2), element("ab", 2), element("b", 1)]);
        let nothing = triangle().recall(Span { from: 0, to: 0 });
        assert_eq!(nothing.unwrap_err(), RecallError::NoHistory);
    }

    #[test]
    fn edges_go_with_their_nodes() {
        let mut graph = triangle();
        let mut events = graph.subscribe();
        let gone = graph.delete::<Node>("b", LATER).unwrap();
        assert_eq!(gone.deleted_at, Some(2000));
        assert!(at(&graph, "a").is_empty());
        assert_eq!(at(&graph, "c"), ["cc"]);
        for _ in 0..2 {
            assert!(matches!(events.try_recv(), Ok(Event::Edge(Change::Deleted(_)))));
        }
        assert!(matches!(events.try_recv(), Ok(Event::Node(Change::Deleted(_)))));
        assert!(graph.delete::<Node>("b", LATER).is_none());
    }

    #[test]
    fn a_loop_is_at_its_node_once() {
        let mut graph = triangle();
        assert_eq!(at(&graph, "c"), ["bc", "cc"]);
        graph.delete::<Edge>("cc", LATER).unwrap();
        assert_eq!(at(&graph, "c"), ["bc"]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut graph = triangle();
        let refused = graph.add(node("a"), LATER).unwrap_err();
        assert_eq!(refused, GraphError::NodeConflict);
        for (edge, why) in [
            (edge("ab", "a", "b"), GraphError::EdgeConflict),
            (edge("xa", "x", "a"), GraphError::ParentNotFound),
            (edge("ax", "a", "x"), GraphError::ChildNotFound),
        ] {
            assert_eq!(graph.add(edge, LATER).unwrap_err(), why);
        }
        assert_eq!(graph.edges().count(), 3);
    }
}

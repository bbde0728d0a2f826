//! The topology: nodes and edges with revisions, an event for each change, and what was before.

use std::ops::Deref;
use std::sync::{Arc, RwLock};

use sonde_proto::graph::{Edge, Metadata, Node};
use sonde_proto::time::Timestamp;
use tokio::sync::broadcast;

mod history;
mod memory;
mod topology;

pub use history::{History, Past, RecallError, Revision, Span};
pub use memory::{HistoryLimits, MemoryHistory};
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

/// A change, with the element as it is after it (before it, when it was deleted).
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Event {
    NodeAdded(Arc<Node>),
    NodeUpdated(Arc<Node>),
    NodeDeleted(Arc<Node>),
    EdgeAdded(Arc<Edge>),
    EdgeUpdated(Arc<Edge>),
    EdgeDeleted(Arc<Edge>),
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

    /// The topology as it is now. It costs nothing; the next change, while anybody holds it, costs
    /// a copy of the maps.
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

    /// Adds a node; its times and revision are filled where they are absent.
    pub fn add_node(&mut self, mut node: Node, now: Timestamp) -> Result<Arc<Node>, GraphError> {
        if self.nodes.contains_key(&node.id) {
            return Err(GraphError::NodeConflict);
        }
        let created = *node.created_at.get_or_insert(now.millis());
        node.updated_at.get_or_insert(created);
        node.revision = node.revision.max(1);
        let node = Arc::new(node);
        self.edit().nodes.insert(node.id.clone(), node.clone());
        self.tell(Event::NodeAdded(node.clone()));
        Ok(node)
    }

    /// Lets `change` edit the node's metadata; a real change is a new revision. The node as it is
    /// then, or `None` when there is none of that ID.
    pub fn update_node(
        &mut self,
        id: &str,
        now: Timestamp,
        change: impl FnOnce(&mut Metadata),
    ) -> Option<Arc<Node>> {
        let known = self.nodes.get(id)?;
        let mut metadata = known.metadata.clone();
        change(&mut metadata);
        if metadata == known.metadata {
            return Some(known.clone());
        }
        self.keep(Revision::Node(known.clone()), now);
        let slot = self.edit().nodes.get_mut(id)?;
        let node = Arc::make_mut(slot);
        node.metadata = metadata;
        node.updated_at = Some(now.millis());
        node.revision = node.revision.saturating_add(1);
        let node = slot.clone();
        self.tell(Event::NodeUpdated(node.clone()));
        Some(node)
    }

    /// Deletes a node and every edge at it.
    pub fn delete_node(&mut self, id: &str, now: Timestamp) -> Option<Arc<Node>> {
        for edge in self.adjacent.get(id).cloned().unwrap_or_default() {
            self.delete_edge(&edge, now);
        }
        self.nodes.get(id)?;
        let topology = self.edit();
        topology.adjacent.remove(id);
        let mut node = topology.nodes.remove(id)?;
        Arc::make_mut(&mut node).deleted_at = Some(now.millis());
        self.keep(Revision::Node(node.clone()), now);
        self.tell(Event::NodeDeleted(node.clone()));
        Some(node)
    }

    /// Adds an edge between two nodes of the graph.
    pub fn add_edge(&mut self, mut edge: Edge, now: Timestamp) -> Result<Arc<Edge>, GraphError> {
        if self.edges.contains_key(&edge.id) {
            return Err(GraphError::EdgeConflict);
        }
        if !self.nodes.contains_key(&edge.parent) {
            return Err(GraphError::ParentNotFound);
        }
        if !self.nodes.contains_key(&edge.child) {
            return Err(GraphError::ChildNotFound);
        }
        let created = *edge.created_at.get_or_insert(now.millis());
        edge.updated_at.get_or_insert(created);
        edge.revision = edge.revision.max(1);
        let edge = Arc::new(edge);
        let topology = self.edit();
        topology.edges.insert(edge.id.clone(), edge.clone());
        topology.adjacent.entry(edge.parent.clone()).or_default().push(edge.id.clone());
        if edge.parent != edge.child {
            topology.adjacent.entry(edge.child.clone()).or_default().push(edge.id.clone());
        }
        self.tell(Event::EdgeAdded(edge.clone()));
        Ok(edge)
    }

    /// Lets `change` edit the edge's metadata, as [`Self::update_node`] does.
    pub fn update_edge(
        &mut self,
        id: &str,
        now: Timestamp,
        change: impl FnOnce(&mut Metadata),
    ) -> Option<Arc<Edge>> {
        let known = self.edges.get(id)?;
        let mut metadata = known.metadata.clone();
        change(&mut metadata);
        if metadata == known.metadata {
            return Some(known.clone());
        }
        self.keep(Revision::Edge(known.clone()), now);
        let slot = self.edit().edges.get_mut(id)?;
        let edge = Arc::make_mut(slot);
        edge.metadata = metadata;
        edge.updated_at = Some(now.millis());
        edge.revision = edge.revision.saturating_add(1);
        let edge = slot.clone();
        self.tell(Event::EdgeUpdated(edge.clone()));
        Some(edge)
    }

    /// Deletes an edge.
    pub fn delete_edge(&mut self, id: &str, now: Timestamp) -> Option<Arc<Edge>> {
        self.edges.get(id)?;
        let topology = self.edit();
        let mut edge = topology.edges.remove(id)?;
        for end in [&edge.parent, &edge.child] {
            if let Some(ids) = topology.adjacent.get_mut(end) {
                ids.retain(|other| other != id);
            }
        }
        Arc::make_mut(&mut edge).deleted_at = Some(now.millis());
        self.keep(Revision::Edge(edge.clone()), now);
        self.tell(Event::EdgeDeleted(edge.clone()));
        Some(edge)
    }

    fn edit(&mut self) -> &mut Topology {
        Arc::make_mut(&mut self.topology)
    }

    fn keep(&mut self, revision: Revision, until: Timestamp) {
        if let Some(history) = &mut self.history {
            history.keep(revision, until);
        }
    }

    fn tell(&self, event: Event) {
        // Nobody listening is no error.
        let _ = self.events.send(event);
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

/// Events a subscriber may lag behind.
const EVENTS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const BORN: Timestamp = Timestamp::from_millis(1000);
    const LATER: Timestamp = Timestamp::from_millis(2000);

    fn node(id: &str) -> Node {
        Node { id: id.into(), ..Node::default() }
    }

    fn edge(id: &str, parent: &str, child: &str) -> Edge {
        Edge { id: id.into(), parent: parent.into(), child: child.into(), ..Edge::default() }
    }

    fn triangle() -> Graph {
        let mut graph = Graph::new();
        for id in ["a", "b", "c"] {
            graph.add_node(node(id), BORN).unwrap();
        }
        for (id, parent, child) in [("ab", "a", "b"), ("bc", "b", "c"), ("cc", "c", "c")] {
            graph.add_edge(edge(id, parent, child), BORN).unwrap();
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
                .update_node("a", LATER, |metadata| {
                    metadata.insert("MTU".into(), value.into());
                })
                .unwrap()
        };
        assert_eq!(set(1500).revision, 2);
        let again = set(1500);
        assert_eq!((again.revision, again.updated_at), (2, Some(2000)));
        assert!(matches!(events.try_recv(), Ok(Event::NodeUpdated(_))));
        assert!(events.try_recv().is_err());
        assert!(graph.update_node("x", LATER, |_| {}).is_none());
    }

    #[test]
    fn the_past_is_recalled() {
        let time = std::time::Duration::from_secs(60);
        let mut graph =
            Graph::with_history(MemoryHistory::new(HistoryLimits { time, bytes: 1 << 20 }));
        for id in ["a", "b"] {
            graph.add_node(node(id), BORN).unwrap();
        }
        graph.add_edge(edge("ab", "a", "b"), BORN).unwrap();
        let change = |metadata: &mut Metadata| drop(metadata.insert("MTU".into(), 1.into()));
        graph.update_node("a", LATER, change).unwrap();
        graph.update_edge("ab", LATER, change).unwrap();
        graph.delete_node("b", Timestamp::from_millis(3000)).unwrap();
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
        let gone = graph.delete_node("b", LATER).unwrap();
        assert_eq!(gone.deleted_at, Some(2000));
        assert!(at(&graph, "a").is_empty());
        assert_eq!(at(&graph, "c"), ["cc"]);
        for _ in 0..2 {
            assert!(matches!(events.try_recv(), Ok(Event::EdgeDeleted(_))));
        }
        assert!(matches!(events.try_recv(), Ok(Event::NodeDeleted(_))));
        assert!(graph.delete_node("b", LATER).is_none());
    }

    #[test]
    fn a_loop_is_at_its_node_once() {
        let mut graph = triangle();
        assert_eq!(at(&graph, "c"), ["bc", "cc"]);
        graph.delete_edge("cc", LATER).unwrap();
        assert_eq!(at(&graph, "c"), ["bc"]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut graph = triangle();
        let refused = graph.add_node(node("a"), LATER).unwrap_err();
        assert_eq!(refused, GraphError::NodeConflict);
        for (edge, why) in [
            (edge("ab", "a", "b"), GraphError::EdgeConflict),
            (edge("xa", "x", "a"), GraphError::ParentNotFound),
            (edge("ax", "a", "x"), GraphError::ChildNotFound),
        ] {
            assert_eq!(graph.add_edge(edge, LATER).unwrap_err(), why);
        }
        assert_eq!(graph.edges().count(), 3);
    }
}

//! The two kinds of element, as far as the graph tells them apart.

use std::fmt;
use std::sync::Arc;

use sonde_proto::graph::{Edge, Element, Node};

use super::elements::Elements;
use super::event::{Change, Event};
use super::schema::{self, SchemaError};
use super::{GraphError, Revision, Topology};

/// [`Node`] or [`Edge`].
pub trait Kind: Clone + fmt::Debug + Send + Sync + Sized + 'static {
    /// Paths into the metadata whose texts are looked up most.
    const INDEXED: &[&str];

    /// What both have.
    fn element(&self) -> &Element;

    /// What both have.
    fn element_mut(&mut self) -> &mut Element;

    /// All of the kind.
    fn all(topology: &Topology) -> &Elements<Self>;

    #[doc(hidden)]
    fn all_mut(topology: &mut Topology) -> &mut Elements<Self>;

    /// What it lacks to be told from others, and to have a place.
    fn identify(&self) -> Result<(), SchemaError>;

    /// What it lacks, if it comes from outside.
    fn check(&self) -> Result<(), SchemaError>;

    /// Whether the topology has a place for it.
    fn fits(&self, topology: &Topology) -> Result<(), GraphError>;

    /// IDs of the edges that go when this one goes.
    fn edges_at(topology: &Topology, id: &str) -> Vec<String>;

    /// Notes, where edges are looked up by node, that it came, and is of that age.
    fn attach(&self, age: u64, topology: &mut Topology);

    /// Notes that it will go.
    fn detach(&self, age: u64, topology: &mut Topology);

    /// The same, of any kind.
    fn revision(this: Arc<Self>) -> Revision;

    /// The same, of any kind.
    fn event(change: Change<Self>) -> Event;
}

impl Kind for Node {
    const INDEXED: &[&str] = &["Name", "Type", "TID", "MAC", "PeerIntfMAC", "Captures.ID"];

    fn element(&self) -> &Element {
        self
    }

    fn element_mut(&mut self) -> &mut Element {
        self
    }

    fn all(topology: &Topology) -> &Elements<Self> {
        &topology.nodes
    }

    fn all_mut(topology: &mut Topology) -> &mut Elements<Self> {
        &mut topology.nodes
    }

    fn identify(&self) -> Result<(), SchemaError> {
        schema::identify_node(self)
    }

    fn check(&self) -> Result<(), SchemaError> {
        schema::check_node(self)
    }

    fn fits(&self, topology: &Topology) -> Result<(), GraphError> {
        match topology.nodes.get(&self.id).is_some() {
            true => Err(GraphError::NodeConflict),
            false => Ok(()),
        }
    }

    fn edges_at(topology: &Topology, id: &str) -> Vec<String> {
        topology.edges_at(id).map(|edge| edge.id.clone()).collect()
    }

    fn attach(&self, _: u64, _: &mut Topology) {}

    fn detach(&self, age: u64, topology: &mut Topology) {
        topology.adjacent.remove(age);
    }

    fn revision(this: Arc<Self>) -> Revision {
        Revision::Node(this)
    }

    fn event(change: Change<Self>) -> Event {
        Event::Node(change)
    }
}

impl Kind for Edge {
    const INDEXED: &[&str] = &["RelationType"];

    fn element(&self) -> &Element {
        self
    }

    fn element_mut(&mut self) -> &mut Element {
        &mut self.element
    }

    fn all(topology: &Topology) -> &Elements<Self> {
        &topology.edges
    }

    fn all_mut(topology: &mut Topology) -> &mut Elements<Self> {
        &mut topology.edges
    }

    fn identify(&self) -> Result<(), SchemaError> {
        schema::identify_edge(self)
    }

    fn check(&self) -> Result<(), SchemaError> {
        schema::check_edge(self)
    }

    fn fits(&self, topology: &Topology) -> Result<(), GraphError> {
        if topology.edges.get(&self.id).is_some() {
            return Err(GraphError::EdgeConflict);
        }
        if topology.nodes.get(&self.parent).is_none() {
            return Err(GraphError::ParentNotFound);
        }
        if topology.nodes.get(&self.child).is_none() {
            return Err(GraphError::ChildNotFound);
        }
        Ok(())
    }

    fn edges_at(_: &Topology, _: &str) -> Vec<String> {
        Vec::new()
    }

    fn attach(&self, age: u64, topology: &mut Topology) {
        for (end, other) in ends(self, topology) {
            let mut edges = topology.adjacent.get(end).cloned().unwrap_or_default();
            edges.insert(age, other);
            topology.adjacent.insert(end, edges);
        }
    }

    fn detach(&self, age: u64, topology: &mut Topology) {
        for (end, _) in ends(self, topology) {
            if let Some(mut edges) = topology.adjacent.remove(end) {
                edges.remove(age);
                if edges.len() > 0 {
                    topology.adjacent.insert(end, edges);
                }
            }
        }
    }

    fn revision(this: Arc<Self>) -> Revision {
        Revision::Edge(this)
    }

    fn event(change: Change<Self>) -> Event {
        Event::Edge(change)
    }
}

/// The age of the node at each end of an edge, and of the node at the other.
fn ends(edge: &Edge, topology: &Topology) -> impl Iterator<Item = (u64, u64)> + use<> {
    let age = |id: &str| topology.nodes.age(id);
    let ends = age(&edge.parent).zip(age(&edge.child));
    ends.into_iter().flat_map(|(parent, child)| [(parent, child), (child, parent)])
}

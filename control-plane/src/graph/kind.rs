//! The two kinds of element, as far as the graph tells them apart.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use sonde_proto::graph::{Edge, Element, Node};

use super::event::{Change, Event};
use super::schema::{self, SchemaError};
use super::{GraphError, Revision, Topology};

/// [`Node`] or [`Edge`].
pub trait Kind: Clone + fmt::Debug + Send + Sync + Sized + 'static {
    /// What both have.
    fn element(&self) -> &Element;

    /// What both have.
    fn element_mut(&mut self) -> &mut Element;

    /// All of the kind, by ID.
    fn all(topology: &Topology) -> &HashMap<String, Arc<Self>>;

    #[doc(hidden)]
    fn all_mut(topology: &mut Topology) -> &mut HashMap<String, Arc<Self>>;

    /// What it lacks, if it comes from outside.
    fn check(&self) -> Result<(), SchemaError>;

    /// Whether the topology has a place for it.
    fn fits(&self, topology: &Topology) -> Result<(), GraphError>;

    /// IDs of the edges that go when this one goes.
    fn edges_at(topology: &Topology, id: &str) -> Vec<String>;

    /// Notes, where edges are looked up by node, that it came.
    fn attach(&self, topology: &mut Topology);

    /// Notes that it went.
    fn detach(&self, topology: &mut Topology);

    /// The same, of any kind.
    fn revision(this: Arc<Self>) -> Revision;

    /// The same, of any kind.
    fn event(change: Change<Self>) -> Event;
}

impl Kind for Node {
    fn element(&self) -> &Element {
        self
    }

    fn element_mut(&mut self) -> &mut Element {
        self
    }

    fn all(topology: &Topology) -> &HashMap<String, Arc<Self>> {
        &topology.nodes
    }

    fn all_mut(topology: &mut Topology) -> &mut HashMap<String, Arc<Self>> {
        &mut topology.nodes
    }

    fn check(&self) -> Result<(), SchemaError> {
        schema::check_node(self)
    }

    fn fits(&self, topology: &Topology) -> Result<(), GraphError> {
        match topology.nodes.contains_key(&self.id) {
            true => Err(GraphError::NodeConflict),
            false => Ok(()),
        }
    }

    fn edges_at(topology: &Topology, id: &str) -> Vec<String> {
        topology.adjacent.get(id).cloned().unwrap_or_default()
    }

    fn attach(&self, _: &mut Topology) {}

    fn detach(&self, topology: &mut Topology) {
        topology.adjacent.remove(&self.id);
    }

    fn revision(this: Arc<Self>) -> Revision {
        Revision::Node(this)
    }

    fn event(change: Change<Self>) -> Event {
        Event::Node(change)
    }
}

impl Kind for Edge {
    fn element(&self) -> &Element {
        self
    }

    fn element_mut(&mut self) -> &mut Element {
        &mut self.element
    }

    fn all(topology: &Topology) -> &HashMap<String, Arc<Self>> {
        &topology.edges
    }

    fn all_mut(topology: &mut Topology) -> &mut HashMap<String, Arc<Self>> {
        &mut topology.edges
    }

    fn check(&self) -> Result<(), SchemaError> {
        schema::check_edge(self)
    }

    fn fits(&self, topology: &Topology) -> Result<(), GraphError> {
        if topology.edges.contains_key(&self.id) {
            return Err(GraphError::EdgeConflict);
        }
        if !topology.nodes.contains_key(&self.parent) {
            return Err(GraphError::ParentNotFound);
        }
        if !topology.nodes.contains_key(&self.child) {
            return Err(GraphError::ChildNotFound);
        }
        Ok(())
    }

    fn edges_at(_: &Topology, _: &str) -> Vec<String> {
        Vec::new()
    }

    fn attach(&self, topology: &mut Topology) {
        topology.adjacent.entry(self.parent.clone()).or_default().push(self.id.clone());
        if self.parent != self.child {
            topology.adjacent.entry(self.child.clone()).or_default().push(self.id.clone());
        }
    }

    fn detach(&self, topology: &mut Topology) {
        for end in [&self.parent, &self.child] {
            if let Some(ids) = topology.adjacent.get_mut(end) {
                ids.retain(|other| *other != self.id);
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

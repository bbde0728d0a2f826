//! What a client adds to the topology (Skydive API §7.7): its messages become steps, which know
//! nothing of sockets, and steps are made under the lock of the graph, a few at a time.

use std::collections::HashSet;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sonde_proto::graph::{Edge, Node};
use sonde_proto::null::null_is_default;
use sonde_proto::time::Timestamp;

use super::operation::PartialUpdate;
use super::request::{Action, Of};
use crate::graph::{ELEMENTS, Graph, GraphError, Kind, SchemaError, Topology};

/// What becomes of a publisher's elements when it leaves (`X-Persistence-Policy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Persistence {
    /// They stay.
    #[default]
    Persistent,
    /// They are deleted.
    DeleteOnDisconnect,
}

/// A change of one element.
#[derive(Debug)]
pub(super) enum Step {
    Node(Deed<Node>),
    Edge(Deed<Edge>),
}

/// What is done to an element.
#[derive(Debug)]
pub(super) enum Deed<K> {
    Add(K),
    /// Only a greater revision than the one that is there.
    Update(K),
    UpdatePartially(PartialUpdate),
    /// Make it so, whatever is there.
    Put(K),
    Delete(String),
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("Obj: {0}")]
    Obj(#[from] serde_json::Error),
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error("'{0}' is not in the graph")]
    Unknown(String),
    #[error("{0}")]
    Operation(String),
    #[error("the graph has {ELEMENTS} nodes and edges already")]
    Full,
}

/// Reads the change that a message asks for, of elements that `origin` signs. An element is checked
/// even when it shall go, as Skydive does.
pub(super) fn step(of: Of, action: Action, obj: Value, origin: &str) -> Result<Step, Refusal> {
    Ok(match of {
        Of::Node => Step::Node(deed(action, obj, origin)?),
        Of::Edge => Step::Edge(deed(action, obj, origin)?),
    })
}

fn deed<K: Kind + DeserializeOwned>(
    action: Action,
    obj: Value,
    origin: &str,
) -> Result<Deed<K>, Refusal> {
    if action == Action::UpdatePartially {
        return Ok(Deed::UpdatePartially(serde_json::from_value(obj)?));
    }
    let mut one: K = serde_json::from_value(obj)?;
    one.check()?;
    Ok(match action {
        Action::Delete => Deed::Delete(one.element().id.clone()),
        Action::Add => {
            one.element_mut().origin = origin.to_owned();
            Deed::Add(one)
        }
        Action::Update | Action::UpdatePartially => Deed::Update(one),
    })
}

/// The steps that make the elements of `origin` those of `obj`; what is none is told to `refused`.
pub(super) fn replace(
    topology: &Topology,
    obj: Value,
    origin: &str,
    mut refused: impl FnMut(Refusal),
) -> Result<Vec<Step>, Refusal> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Whole {
        #[serde(deserialize_with = "null_is_default")]
        nodes: Vec<Node>,
        #[serde(deserialize_with = "null_is_default")]
        edges: Vec<Edge>,
    }

    let whole: Whole = serde_json::from_value(obj)?;
    let nodes = sound(whole.nodes, origin, &mut refused);
    let edges = sound(whole.edges, origin, &mut refused);
    let mut steps: Vec<Step> = deletes(topology, origin, &edges).map(Step::Edge).collect();
    steps.extend(deletes(topology, origin, &nodes).map(Step::Node));
    steps.extend(nodes.into_iter().map(|node| Step::Node(Deed::Put(node))));
    steps.extend(edges.into_iter().map(|edge| Step::Edge(Deed::Put(edge))));
    Ok(steps)
}

/// The steps that delete all elements of `origin`.
pub(super) fn withdraw(topology: &Topology, origin: &str) -> Vec<Step> {
    let edges = deletes::<Edge>(topology, origin, &[]).map(Step::Edge);
    edges.chain(deletes::<Node>(topology, origin, &[]).map(Step::Node)).collect()
}

fn sound<K: Kind>(all: Vec<K>, origin: &str, refused: &mut impl FnMut(Refusal)) -> Vec<K> {
    let checked = all.into_iter().filter_map(|mut one| match one.check() {
        Ok(()) => {
            one.element_mut().origin = origin.to_owned();
            Some(one)
        }
        Err(why) => {
            refused(why.into());
            None
        }
    });
    checked.collect()
}

fn deletes<'t, K: Kind>(
    topology: &'t Topology,
    origin: &str,
    kept: &[K],
) -> impl Iterator<Item = Deed<K>> + use<'t, K> {
    let kept: HashSet<String> = kept.iter().map(|one| one.element().id.clone()).collect();
    let origin = origin.to_owned();
    K::all(topology)
        .values()
        .map(|one| one.element())
        .filter(move |one| one.origin == origin && !kept.contains(&one.id))
        .map(|one| Deed::Delete(one.id.clone()))
}

impl Step {
    pub(super) fn make(self, graph: &mut Graph, now: Timestamp) -> Result<(), Refusal> {
        match self {
            Self::Node(deed) => deed.make(graph, now),
            Self::Edge(deed) => deed.make(graph, now),
        }
    }
}

impl<K: Kind> Deed<K> {
    fn make(self, graph: &mut Graph, now: Timestamp) -> Result<(), Refusal> {
        match self {
            Self::Add(_) if graph.len() >= ELEMENTS => return Err(Refusal::Full),
            Self::Add(new) => drop(graph.add(new, now)?),
            Self::Update(newer) => {
                let id = newer.element().id.clone();
                graph.overtake(newer, now).ok_or(Refusal::Unknown(id))?;
            }
            Self::UpdatePartially(update) => {
                let mut newer = match K::all(graph).get(&update.id) {
                    Some(known) => K::clone(known),
                    None => return Err(Refusal::Unknown(update.id)),
                };
                let element = newer.element_mut();
                update.apply(&mut element.metadata).map_err(Refusal::Operation)?;
                (element.revision, element.updated_at) = (update.revision, update.updated_at);
                newer.check()?;
                graph.overtake(newer, now);
            }
            Self::Put(one) => {
                let Some(known) = K::all(graph).get(&one.element().id) else {
                    return Self::Add(one).make(graph, now);
                };
                let id = known.element().id.clone();
                let metadata = one.element().metadata.clone();
                graph.update::<K>(&id, now, |held| *held = metadata);
            }
            Self::Delete(id) => {
                graph.delete::<K>(&id, now).ok_or(Refusal::Unknown(id))?;
            }
        }
        Ok(())
    }
}

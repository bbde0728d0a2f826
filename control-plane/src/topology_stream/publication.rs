//! What a client adds to the topology (Skydive API §7.7): its messages become steps, which know
//! nothing of sockets, and steps are made under the lock of the graph, a few at a time.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sonde_proto::graph::{Edge, Node};
use sonde_proto::null::null_is_default;
use sonde_proto::time::Timestamp;

use super::author::Author;
use super::operation::PartialUpdate;
use super::origins::ORIGINS;
use super::request::{Action, Of};
use crate::envelope::Obj;
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
    /// Only a greater revision than the one that is there, unless the author has the last word.
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
    #[error("'{0}' is of {1}")]
    Foreign(String, String),
    #[error("{0}")]
    Operation(String),
    #[error("the graph has {ELEMENTS} nodes and edges already")]
    Full,
    #[error("analyzers tell of {ORIGINS} origins already")]
    Origins,
}

/// Reads the change that a message of `author` asks for; `None` when that is none of its business,
/// as `topology` is now. An element is checked even when it shall go, as Skydive does.
pub(super) fn step(
    topology: &Topology,
    of: Of,
    action: Action,
    obj: &Obj,
    author: &Author,
) -> Result<Option<Step>, Refusal> {
    Ok(match of {
        Of::Node => deed(topology, action, obj, author)?.map(Step::Node),
        Of::Edge => deed(topology, action, obj, author)?.map(Step::Edge),
    })
}

fn deed<K: Kind + DeserializeOwned>(
    topology: &Topology,
    action: Action,
    obj: &Obj,
    author: &Author,
) -> Result<Option<Deed<K>>, Refusal> {
    if action == Action::UpdatePartially {
        return Ok(Some(Deed::UpdatePartially(obj.read()?)));
    }
    let mut one: K = obj.read()?;
    author.check(&one)?;
    if !author.may_tell(one.element(), topology)? {
        return Ok(None);
    }
    Ok(Some(match action {
        Action::Delete => Deed::Delete(one.element().id.clone()),
        Action::Add => {
            author.sign(one.element_mut());
            Deed::Add(one)
        }
        Action::Update | Action::UpdatePartially => Deed::Update(one),
    }))
}

/// The steps that make the elements of `author` those of `obj`; what is none is told to `refused`.
pub(super) fn replace(
    topology: &Topology,
    obj: &Obj,
    author: &Author,
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

    let whole: Whole = obj.read()?;
    let nodes = sound(topology, whole.nodes, author, &mut refused);
    let edges = sound(topology, whole.edges, author, &mut refused);
    let mut steps: Vec<Step> = deletes(topology, author, &edges).map(Step::Edge).collect();
    steps.extend(deletes(topology, author, &nodes).map(Step::Node));
    steps.extend(nodes.into_iter().map(|node| Step::Node(Deed::Put(node))));
    steps.extend(edges.into_iter().map(|edge| Step::Edge(Deed::Put(edge))));
    Ok(steps)
}

/// The steps that delete all elements of `author`.
pub(super) fn withdraw(topology: &Topology, author: &Author) -> Vec<Step> {
    let edges = deletes::<Edge>(topology, author, &[]).map(Step::Edge);
    edges.chain(deletes::<Node>(topology, author, &[]).map(Step::Node)).collect()
}

fn sound<K: Kind>(
    topology: &Topology,
    all: Vec<K>,
    author: &Author,
    refused: &mut impl FnMut(Refusal),
) -> Vec<K> {
    let may_tell = |one: &K| {
        author.check(one)?;
        author.may_tell(one.element(), topology)
    };
    let checked = all.into_iter().filter_map(|mut one| match may_tell(&one) {
        Ok(true) => {
            author.sign(one.element_mut());
            Some(one)
        }
        Ok(false) => None,
        Err(why) => {
            refused(why);
            None
        }
    });
    checked.collect()
}

fn deletes<'t, K: Kind>(
    topology: &'t Topology,
    author: &'t Author,
    kept: &[K],
) -> impl Iterator<Item = Deed<K>> + use<'t, K> {
    let kept: HashSet<String> = kept.iter().map(|one| one.element().id.clone()).collect();
    K::all(topology)
        .values()
        .map(|one| one.element())
        .filter(move |one| author.owns(one) && !kept.contains(&one.id))
        .map(|one| Deed::Delete(one.id.clone()))
}

impl Step {
    /// Makes the change, if it is one that `author` may make.
    pub(super) fn make(
        self,
        graph: &mut Graph,
        author: &Author,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        match self {
            Self::Node(deed) => deed.make(graph, author, now),
            Self::Edge(deed) => deed.make(graph, author, now),
        }
    }
}

impl<K: Kind> Deed<K> {
    fn make(self, graph: &mut Graph, author: &Author, now: Timestamp) -> Result<(), Refusal> {
        match self {
            Self::Add(_) if graph.len() >= ELEMENTS => return Err(Refusal::Full),
            Self::Add(new) => drop(graph.add(new, now)?),
            Self::Update(newer) => {
                let revision = known::<K>(graph, author, &newer.element().id)?.element().revision;
                overtake(graph, author, revision, newer, now);
            }
            Self::UpdatePartially(update) => {
                let mut newer = K::clone(known::<K>(graph, author, &update.id)?);
                let element = newer.element_mut();
                let revision = element.revision;
                update.apply(&mut element.metadata).map_err(Refusal::Operation)?;
                (element.revision, element.updated_at) = (update.revision, update.updated_at);
                author.check(&newer)?;
                overtake(graph, author, revision, newer, now);
            }
            Self::Put(one) => {
                let id = one.element().id.clone();
                if K::all(graph).get(&id).is_none() {
                    return Self::Add(one).make(graph, author, now);
                }
                known::<K>(graph, author, &id)?;
                let metadata = one.element().metadata.clone();
                graph.update::<K>(&id, now, |held| *held = metadata);
            }
            Self::Delete(id) => {
                known::<K>(graph, author, &id)?;
                graph.delete::<K>(&id, now);
            }
        }
        Ok(())
    }
}

/// The element of that ID, which `author` may change.
fn known<'g, K: Kind>(graph: &'g Graph, author: &Author, id: &str) -> Result<&'g Arc<K>, Refusal> {
    let known = K::all(graph).get(id).ok_or_else(|| Refusal::Unknown(id.to_owned()))?;
    author.may_change(known.element())?;
    Ok(known)
}

/// Takes over what `author` says of an element that is of that revision here.
fn overtake<K: Kind>(
    graph: &mut Graph,
    author: &Author,
    revision: i64,
    mut newer: K,
    now: Timestamp,
) {
    if author.has_last_word() {
        let newer = newer.element_mut();
        newer.revision = newer.revision.max(revision.saturating_add(1));
    }
    graph.overtake(newer, now);
}

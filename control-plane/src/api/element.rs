//! `/api/node` and `/api/edge` (Skydive API §2.8): what clients add to the topology themselves.
//! Nodes and edges of ours are listed, patched and deleted in the same way.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::extract::State as Extract;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use json_patch::PatchOperation;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sonde_proto::graph::{Edge, Metadata, Node};
use sonde_proto::time::Timestamp;
use tokio::time::sleep;

use super::answer::{Json, blocking};
use super::body::{Body, Object};
use super::resource::{Id, ttl};
use super::{Error, patch};
use crate::graph::{Graph, GraphError, Topology};
use crate::state::State;

/// A kind of element as REST handles it.
pub(super) trait Element: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What one is called in errors.
    const TITLE: &'static str;

    /// All of the topology, by ID.
    fn all(topology: &Topology) -> BTreeMap<String, Arc<Self>>;
    /// The one of that ID.
    fn get(topology: &Topology, id: &str) -> Option<Arc<Self>>;
    /// What its schema does not allow (§8.6).
    fn check(&self) -> Result<(), Error>;
    /// Adds it, made by `origin` unless it says otherwise.
    fn add(
        self,
        graph: &mut Graph,
        origin: String,
        now: Timestamp,
    ) -> Result<Arc<Self>, GraphError>;
    /// Gives the one of that ID the metadata of `self`, as far as clients may set it.
    fn update(self, graph: &mut Graph, id: &str, now: Timestamp) -> Option<Arc<Self>>;
    /// Deletes the one of that ID.
    fn delete(graph: &mut Graph, id: &str, now: Timestamp) -> Option<Arc<Self>>;
    /// Its ID.
    fn id(&self) -> &str;
    /// When it was made, in milliseconds.
    fn born(&self) -> Option<i64>;
}

impl Element for Node {
    const TITLE: &'static str = "Node";

    fn all(topology: &Topology) -> BTreeMap<String, Arc<Self>> {
        topology.nodes().map(|node| (node.id.clone(), node.clone())).collect()
    }

    fn get(topology: &Topology, id: &str) -> Option<Arc<Self>> {
        topology.node(id).cloned()
    }

    fn check(&self) -> Result<(), Error> {
        if self.id.is_empty() {
            return Err(Error::NoElementId);
        }
        let has = |key| !self.text(key).is_empty();
        let whole = match self.text("Type") {
            "netns" => has("Path"),
            "ovsport" => has("UUID"),
            "" => has("Path") || has("UUID"),
            _ => true,
        };
        match (has("Name"), whole) {
            (true, true) => Ok(()),
            (true, false) => Err(Error::Schema(NO_TYPE)),
            (false, _) => Err(Error::Schema(NO_NAME)),
        }
    }

    fn add(
        mut self,
        graph: &mut Graph,
        origin: String,
        now: Timestamp,
    ) -> Result<Arc<Self>, GraphError> {
        if self.origin.is_empty() {
            self.origin = origin;
        }
        self.deleted_at = None;
        graph.add_node(self, now)
    }

    fn update(self, graph: &mut Graph, id: &str, now: Timestamp) -> Option<Arc<Self>> {
        graph.update_node(id, now, |metadata| replace(metadata, self.metadata, &KEPT))
    }

    fn delete(graph: &mut Graph, id: &str, now: Timestamp) -> Option<Arc<Self>> {
        graph.delete_node(id, now)
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn born(&self) -> Option<i64> {
        self.created_at
    }
}

impl Element for Edge {
    const TITLE: &'static str = "Edge";

    fn all(topology: &Topology) -> BTreeMap<String, Arc<Self>> {
        topology.edges().map(|edge| (edge.id.clone(), edge.clone())).collect()
    }

    fn get(topology: &Topology, id: &str) -> Option<Arc<Self>> {
        topology.edge(id).cloned()
    }

    fn check(&self) -> Result<(), Error> {
        if self.id.is_empty() {
            return Err(Error::NoElementId);
        }
        for (end, what) in [(&self.parent, "parent"), (&self.child, "child")] {
            if end.is_empty() {
                return Err(Error::NoEnd(what));
            }
        }
        let relation = self.metadata.get("RelationType").and_then(Value::as_str);
        match relation.is_none_or(str::is_empty) {
            true => Err(Error::Schema(NO_RELATION)),
            false => Ok(()),
        }
    }

    fn add(
        mut self,
        graph: &mut Graph,
        origin: String,
        now: Timestamp,
    ) -> Result<Arc<Self>, GraphError> {
        if self.origin.is_empty() {
            self.origin = origin;
        }
        self.deleted_at = None;
        graph.add_edge(self, now)
    }

    fn update(self, graph: &mut Graph, id: &str, now: Timestamp) -> Option<Arc<Self>> {
        graph.update_edge(id, now, |metadata| replace(metadata, self.metadata, &[]))
    }

    fn delete(graph: &mut Graph, id: &str, now: Timestamp) -> Option<Arc<Self>> {
        graph.delete_edge(id, now)
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn born(&self) -> Option<i64> {
        self.created_at
    }
}

/// Makes `metadata` what is `wanted`, all but the values of the `kept` keys.
fn replace(metadata: &mut Metadata, mut wanted: Metadata, kept: &[&str]) {
    for key in kept {
        match metadata.remove(*key) {
            Some(value) => drop(wanted.insert((*key).to_owned(), value)),
            None => drop(wanted.remove(*key)),
        }
    }
    *metadata = wanted;
}

pub(super) async fn list<E: Element>(Extract(state): Extract<State>) -> Result<Json, Error> {
    let all = blocking(move || E::all(&topology(&state))).await?;
    Json::new(&all)
}

pub(super) async fn show<E: Element>(
    Extract(state): Extract<State>,
    Id(id): Id,
) -> Result<Json, Error> {
    match E::get(&topology(&state), &id) {
        Some(element) => Json::new(&element),
        None => Err(Error::NoResource { title: E::TITLE, id }),
    }
}

pub(super) async fn create<E: Element>(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let Object::<E>(element) = body.json()?;
    element.check()?;
    let ttl = ttl(&headers)?;
    let origin = format!("api.{}", state.host);
    let element = edit(&state, move |graph, now| {
        if graph.nodes().count() + graph.edges().count() >= ELEMENTS {
            return Err(Error::ManyElements(ELEMENTS));
        }
        Ok(element.add(graph, origin, now)?)
    })
    .await??;
    if let Some(ttl) = ttl {
        tokio::spawn(expire::<E>(state, element.id().to_owned(), element.born(), ttl));
    }
    Ok((StatusCode::CREATED, Json::new(&element)?).into_response())
}

pub(super) async fn remove<E: Element>(
    Extract(state): Extract<State>,
    Id(id): Id,
) -> Result<Response, Error> {
    let wanted = id.clone();
    match edit(&state, move |graph, now| E::delete(graph, &wanted, now)).await? {
        Some(_) => Ok([(header::CONTENT_TYPE, "text/plain")].into_response()),
        None => Err(Error::NoResource { title: E::TITLE, id }),
    }
}

/// Answers 304 when nothing changed. Another's change meanwhile is not undone: the patch is then
/// applied to what is there now.
pub(super) async fn patch<E: Element>(
    Extract(state): Extract<State>,
    Id(id): Id,
    body: Body,
) -> Result<Response, Error> {
    if E::get(&topology(&state), &id).is_none() {
        return Ok(StatusCode::NOT_FOUND.into_response());
    }
    let operations: Arc<[PatchOperation]> = body.json::<Vec<_>>().map_err(Error::Patch)?.into();
    for _ in 0..TRIES {
        let Some(known) = E::get(&topology(&state), &id) else {
            return Ok(StatusCode::NOT_FOUND.into_response());
        };
        let (source, operations) = (known.clone(), operations.clone());
        let patched = blocking(move || patched(&*source, &operations)).await??;
        let (id, before) = (id.clone(), known.clone());
        let updated = edit(&state, move |graph, now| {
            let same = E::get(graph, &id).is_some_and(|there| Arc::ptr_eq(&there, &before));
            same.then(|| patched.update(graph, &id, now)).flatten()
        });
        match updated.await? {
            Some(element) if Arc::ptr_eq(&element, &known) => {
                return Ok(StatusCode::NOT_MODIFIED.into_response());
            }
            Some(element) => return Ok(Json::new(&element)?.into_response()),
            None => {}
        }
    }
    Err(Error::Contended { title: E::TITLE, id })
}

/// What the element becomes.
fn patched<E: Element>(element: &E, operations: &[PatchOperation]) -> Result<E, Error> {
    let document = serde_json::to_value(element)?;
    let patched = patch::apply(document, operations)?;
    let Object::<E>(patched) =
        serde_json::from_value(patched).map_err(|error| Error::Patched(Box::new(error.into())))?;
    patched.check().map_err(|error| Error::Patched(Box::new(error)))?;
    Ok(patched)
}

/// Deletes the element after `ttl`. When somebody does it before, that is noticed after [`LOOK`].
async fn expire<E: Element>(state: State, id: String, born: Option<i64>, mut ttl: Duration) {
    while !ttl.is_zero() {
        let pause = ttl.min(LOOK);
        sleep(pause).await;
        ttl -= pause;
        if !is_of::<E>(&topology(&state), &id, born) {
            return;
        }
    }
    let wanted = id.clone();
    let deleted = edit(&state, move |graph, now| {
        is_of::<E>(graph, &wanted, born).then(|| E::delete(graph, &wanted, now)).flatten()
    });
    if deleted.await.is_err() {
        tracing::error!(id, "an element outlives its TTL");
    }
}

/// Whether the element of that ID is the one that was `born` then.
fn is_of<E: Element>(topology: &Topology, id: &str, born: Option<i64>) -> bool {
    E::get(topology, id).is_some_and(|found| found.born() == born)
}

fn topology(state: &State) -> Arc<Topology> {
    state.graph.read().unwrap_or_else(PoisonError::into_inner).snapshot()
}

/// Changes the graph where waiting for its lock stops nobody.
async fn edit<T: Send + 'static>(
    state: &State,
    change: impl FnOnce(&mut Graph, Timestamp) -> T + Send + 'static,
) -> Result<T, Error> {
    let (graph, clock) = (state.graph.clone(), state.clock.clone());
    blocking(move || {
        change(&mut graph.write().unwrap_or_else(PoisonError::into_inner), clock.now())
    })
    .await
}

/// What clients cannot change of a node.
const KEPT: [&str; 3] = ["TID", "Name", "Type"];

/// Nodes and edges of a graph that clients may still add to.
const ELEMENTS: usize = 200_000;

/// How often somebody who waits for the end of a TTL looks whether the element is still there.
const LOOK: Duration = Duration::from_secs(60);

/// Times that a patch is applied anew because the element changed meanwhile.
const TRIES: usize = 8;

/// As Skydive has it, word for word: a test of its clients compares it.
const NO_NAME: &str = "(root): Must validate all the schemas (allOf)\n\
    Metadata: Must validate all the schemas (allOf)\n\
    Metadata: Name is required\n\
    (root): Must validate at least one schema (anyOf)\n";

const NO_TYPE: &str = "(root): Must validate at least one schema (anyOf)\n\
    Metadata: Type is required, or Path for a netns, or UUID for an ovsport\n";

const NO_RELATION: &str = "Metadata: RelationType is required\n";

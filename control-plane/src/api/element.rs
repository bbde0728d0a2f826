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
use sonde_proto::graph::{Edge, Metadata, Node};
use sonde_proto::time::Timestamp;
use tokio::time::sleep;

use super::answer::{Json, blocking};
use super::body::{Body, Object};
use super::resource::{Id, ttl};
use super::{Error, patch};
use crate::graph::{ELEMENTS, Graph, Kind, Topology};
use crate::state::State;

/// A kind of element as REST handles it.
pub(super) trait Resource: Kind + Serialize + DeserializeOwned {
    /// What one is called in errors.
    const TITLE: &'static str;
    /// Metadata that clients cannot change.
    const KEPT: &'static [&'static str];
}

impl Resource for Node {
    const TITLE: &'static str = "Node";
    const KEPT: &'static [&'static str] = &["TID", "Name", "Type"];
}

impl Resource for Edge {
    const TITLE: &'static str = "Edge";
    const KEPT: &'static [&'static str] = &[];
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

pub(super) async fn list<K: Resource>(Extract(state): Extract<State>) -> Result<Json, Error> {
    let all = blocking(move || {
        let topology = topology(&state);
        K::all(&topology).iter().map(|(id, one)| (id.clone(), one.clone())).collect()
    });
    let all: BTreeMap<String, Arc<K>> = all.await?;
    Json::new(&all)
}

pub(super) async fn show<K: Resource>(
    Extract(state): Extract<State>,
    Id(id): Id,
) -> Result<Json, Error> {
    match get::<K>(&topology(&state), &id) {
        Some(element) => Json::new(&element),
        None => Err(Error::NoResource { title: K::TITLE, id }),
    }
}

pub(super) async fn create<K: Resource>(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let Object::<K>(mut element) = body.json()?;
    element.check()?;
    let ttl = ttl(&headers)?;
    let origin = &mut element.element_mut().origin;
    if origin.is_empty() {
        *origin = format!("api.{}", state.host);
    }
    let element = edit(&state, move |graph, now| {
        if graph.len() >= ELEMENTS {
            return Err(Error::ManyElements(ELEMENTS));
        }
        Ok(graph.add(element, now)?)
    })
    .await??;
    if let Some(ttl) = ttl {
        tokio::spawn(expire::<K>(
            state,
            element.element().id.clone(),
            element.element().created_at,
            ttl,
        ));
    }
    Ok((StatusCode::CREATED, Json::new(&element)?).into_response())
}

pub(super) async fn remove<K: Resource>(
    Extract(state): Extract<State>,
    Id(id): Id,
) -> Result<Response, Error> {
    let wanted = id.clone();
    match edit(&state, move |graph, now| graph.delete::<K>(&wanted, now)).await? {
        Some(_) => Ok([(header::CONTENT_TYPE, "text/plain")].into_response()),
        None => Err(Error::NoResource { title: K::TITLE, id }),
    }
}

/// Answers 304 when nothing changed. Another's change meanwhile is not undone: the patch is then
/// applied to what is there now.
pub(super) async fn patch<K: Resource>(
    Extract(state): Extract<State>,
    Id(id): Id,
    body: Body,
) -> Result<Response, Error> {
    if get::<K>(&topology(&state), &id).is_none() {
        return Ok(StatusCode::NOT_FOUND.into_response());
    }
    let operations: Arc<[PatchOperation]> = body.json::<Vec<_>>().map_err(Error::Patch)?.into();
    for _ in 0..patch::TRIES {
        let Some(known) = get::<K>(&topology(&state), &id) else {
            return Ok(StatusCode::NOT_FOUND.into_response());
        };
        let (source, operations) = (known.clone(), operations.clone());
        let patched = blocking(move || patched(&*source, &operations)).await??;
        let (id, before) = (id.clone(), known.clone());
        let updated = edit(&state, move |graph, now| {
            let same = get::<K>(graph, &id).is_some_and(|there| Arc::ptr_eq(&there, &before));
            same.then(|| {
                let wanted = patched.element().metadata.clone();
                graph.update::<K>(&id, now, |metadata| replace(metadata, wanted, K::KEPT))
            })?
        });
        match updated.await? {
            Some(element) if Arc::ptr_eq(&element, &known) => {
                return Ok(StatusCode::NOT_MODIFIED.into_response());
            }
            Some(element) => return Ok(Json::new(&element)?.into_response()),
            None => {}
        }
    }
    Err(Error::Contended { title: K::TITLE, id })
}

/// What the element becomes.
fn patched<K: Resource>(element: &K, operations: &[PatchOperation]) -> Result<K, Error> {
    let document = serde_json::to_value(element)?;
    let patched = patch::apply(document, operations)?;
    let Object::<K>(patched) =
        serde_json::from_value(patched).map_err(|error| Error::Patched(Box::new(error.into())))?;
    patched.check().map_err(|error| Error::Patched(Box::new(error.into())))?;
    Ok(patched)
}

/// Deletes the element after `ttl`. When somebody does it before, that is noticed after [`LOOK`].
async fn expire<K: Resource>(state: State, id: String, born: Option<i64>, mut ttl: Duration) {
    while !ttl.is_zero() {
        let pause = ttl.min(LOOK);
        sleep(pause).await;
        ttl -= pause;
        if !is_of::<K>(&topology(&state), &id, born) {
            return;
        }
    }
    let wanted = id.clone();
    let deleted = edit(&state, move |graph, now| {
        is_of::<K>(graph, &wanted, born).then(|| graph.delete::<K>(&wanted, now)).flatten()
    });
    if deleted.await.is_err() {
        tracing::error!(id, "an element outlives its TTL");
    }
}

/// Whether the element of that ID is the one that was `born` then.
fn is_of<K: Resource>(topology: &Topology, id: &str, born: Option<i64>) -> bool {
    get::<K>(topology, id).is_some_and(|found| found.element().created_at == born)
}

fn get<K: Kind>(topology: &Topology, id: &str) -> Option<Arc<K>> {
    K::all(topology).get(id).cloned()
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

/// How often somebody who waits for the end of a TTL looks whether the element is still there.
const LOOK: Duration = Duration::from_secs(60);

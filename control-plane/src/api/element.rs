//! `/api/node` and `/api/edge` (Skydive API §2.8): what clients add to the topology themselves.
//! Nodes and edges of ours are listed, patched and deleted in the same way.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use axum::extract::State as Extract;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use json_patch::PatchOperation;
use sonde_proto::graph::{Edge, Metadata, Node};
use utoipa::ToSchema;

use super::answer::{Json, blocking};
use super::body::{Body, Object};
use super::resource::{Id, ttl};
use super::{Error, patch};
use crate::additions::Added;
use crate::graph::{Kind, Topology};
use crate::state::State;

/// A kind of element as REST handles it.
pub(super) trait Resource: Added + ToSchema {
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
        K::all(&topology).values().map(|one| (one.element().id.clone(), one.clone())).collect()
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
    let Object::<K>(mut element) = body.read()?;
    element.check()?;
    let ttl = ttl(&headers)?;
    let origin = &mut element.element_mut().origin;
    if origin.is_empty() {
        *origin = format!("api.{}", state.host);
    }
    let element = blocking(move || state.additions.create(element, ttl)).await??;
    Ok((StatusCode::CREATED, Json::new(&element)?).into_response())
}

pub(super) async fn remove<K: Resource>(
    Extract(state): Extract<State>,
    Id(id): Id,
) -> Result<Response, Error> {
    let wanted = id.clone();
    match blocking(move || state.additions.delete::<K>(&wanted)).await?? {
        true => Ok([(header::CONTENT_TYPE, "text/plain")].into_response()),
        false => Err(Error::NoResource { title: K::TITLE, id }),
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
    let operations: Arc<[PatchOperation]> = body.read::<Vec<_>>().map_err(Error::Patch)?.into();
    for _ in 0..patch::TRIES {
        let Some(known) = get::<K>(&topology(&state), &id) else {
            return Ok(StatusCode::NOT_FOUND.into_response());
        };
        let (source, operations) = (known.clone(), operations.clone());
        let patched = blocking(move || patched(&*source, &operations)).await??;
        let (id, before, state) = (id.clone(), known.clone(), state.clone());
        let updated = blocking(move || {
            let wanted = patched.element().metadata.clone();
            (state.additions).update(&id, &before, |metadata| replace(metadata, wanted, K::KEPT))
        });
        match updated.await?? {
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

fn get<K: Kind>(topology: &Topology, id: &str) -> Option<Arc<K>> {
    K::all(topology).get(id).cloned()
}

fn topology(state: &State) -> Arc<Topology> {
    state.graph.read().unwrap_or_else(PoisonError::into_inner).snapshot()
}

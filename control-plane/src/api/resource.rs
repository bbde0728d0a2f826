//! Resources as REST handles them (Skydive API §2.1): the same for every kind, and what kinds say
//! of themselves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Path, State as Extract};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use json_patch::PatchOperation;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::answer::{Json, blocking};
use super::body::{Body, Object};
use super::{Error, patch};
use crate::duration::parse_duration;
use crate::resource::{Resource, ResourceError, Resources};
use crate::state::State;
use crate::store::StoreError;

/// A kind of resource that clients reach.
pub(super) trait Served: Resource + ToSchema {
    /// What one is called in errors.
    const TITLE: &'static str;

    /// Whether it can change.
    const UPDATABLE: bool = false;

    /// All of them.
    fn resources(state: &State) -> &Resources<Self>;

    /// Adds one.
    fn create(state: &State, new: Self, ttl: Option<Duration>) -> Result<Self, ResourceError> {
        Ok(Self::resources(state).create(new, ttl)?.resource.clone())
    }

    /// All of them as clients see them, by UUID.
    fn list(state: &State) -> BTreeMap<String, Self> {
        let entries = Self::resources(state).entries();
        entries.iter().map(|(id, entry)| (id.clone(), entry.resource.clone())).collect()
    }

    /// Deletes one; `false` when there is none of that ID.
    fn delete(state: &State, id: &str) -> Result<bool, StoreError> {
        Self::resources(state).delete(id)
    }
}

/// All that stands behind the prefix.
#[derive(Debug)]
pub(super) struct Id(pub(super) String);

impl FromRequestParts<State> for Id {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Error> {
        let Path(id) = Path::from_request_parts(parts, state).await?;
        Ok(Self(id))
    }
}

/// `X-Resource-TTL`: when the resource is deleted by itself; never when it is zero, as in Skydive.
pub(super) fn ttl(headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    let Some(value) = headers.get("x-resource-ttl") else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|error| Error::Ttl(error.to_string()))?;
    let ttl = parse_duration(text).map_err(Error::Ttl)?;
    Ok((!ttl.is_zero()).then_some(ttl))
}

pub(super) async fn list<R: Served>(Extract(state): Extract<State>) -> Result<Json, Error> {
    blocking(move || Json::new(&R::list(&state))).await?
}

pub(super) async fn create<R: Served>(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let Object::<R>(new) = body.read()?;
    let ttl = ttl(&headers)?;
    let turn = timeout(TURN, state.creates.clone().acquire_owned()).await;
    let turn = turn.map_err(|_| Error::Busy)?.map_err(|_| Error::Defect)?;
    let created = blocking(move || {
        let _turn = turn;
        R::create(&state, new, ttl)
    });
    Ok((StatusCode::CREATED, Json::new(&created.await??)?).into_response())
}

pub(super) async fn show<R: Served>(
    Extract(state): Extract<State>,
    Id(id): Id,
) -> Result<Json, Error> {
    blocking(move || match R::list(&state).remove(&id) {
        Some(resource) => Json::new(&resource),
        None => Err(Error::NoResource { title: R::TITLE, id }),
    })
    .await?
}

pub(super) async fn remove<R: Served>(
    Extract(state): Extract<State>,
    Id(id): Id,
) -> Result<Response, Error> {
    blocking(move || match R::delete(&state, &id)? {
        true => Ok([(header::CONTENT_TYPE, "text/plain")].into_response()),
        false => Err(Error::NoResource { title: R::TITLE, id }),
    })
    .await?
}

/// Answers 200 with the resource even when nothing changed. Another's change meanwhile is not
/// undone: the patch is then applied to what is there now.
pub(super) async fn update<R: Served>(
    Extract(state): Extract<State>,
    Id(id): Id,
    body: Body,
) -> Result<Response, Error> {
    blocking(move || {
        let resources = R::resources(&state);
        if !resources.entries().contains_key(&id) {
            return Ok(StatusCode::NOT_FOUND.into_response());
        }
        let operations: Vec<PatchOperation> = body.read().map_err(Error::Patch)?;
        if !R::UPDATABLE {
            return Err(Error::NotUpdatable);
        }
        for _ in 0..patch::TRIES {
            let Some(before) = resources.entries().get(&id).map(Arc::clone) else {
                return Ok(StatusCode::NOT_FOUND.into_response());
            };
            let after = patched(&before.resource, &operations)?;
            match resources.update(&id, &before, after) {
                Ok(Some(after)) => return Ok(Json::new(&after.resource)?.into_response()),
                Ok(None) => {}
                Err(why @ ResourceError::Invalid(_)) => {
                    return Err(Error::Patched(Box::new(why.into())));
                }
                Err(why) => return Err(why.into()),
            }
        }
        Err(Error::Contended { title: R::TITLE, id })
    })
    .await?
}

/// What the resource becomes.
fn patched<R: Served>(resource: &R, operations: &[PatchOperation]) -> Result<R, Error> {
    let patched = patch::apply(serde_json::to_value(resource)?, operations)?;
    let Object::<R>(patched) =
        serde_json::from_value(patched).map_err(|error| Error::Patched(Box::new(error.into())))?;
    Ok(patched)
}

/// How long a resource waits for its turn to be created.
const TURN: Duration = Duration::from_millis(500);

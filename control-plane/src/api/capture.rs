//! `/api/capture` (Skydive API §2.3).

use std::time::Duration;

use axum::extract::State as Extract;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use json_patch::PatchOperation;
use sonde_proto::capture::Capture;
use tokio::time::timeout;

use super::Error;
use super::answer::{Json, blocking};
use super::body::{Body, Object};
use super::resource::{Id, ttl};
use crate::state::State;

pub(super) async fn list(Extract(state): Extract<State>) -> Result<Json, Error> {
    Json::new(&blocking(move || state.captures.list()).await?)
}

pub(super) async fn create(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let Object::<Capture>(capture) = body.json()?;
    let ttl = ttl(&headers)?;
    let turn = timeout(TURN, state.creates.clone().acquire_owned()).await;
    let turn = turn.map_err(|_| Error::Busy)?.map_err(|_| Error::Defect)?;
    let created = blocking(move || {
        let _turn = turn;
        state.captures.create(capture, ttl)
    })
    .await??;
    Ok((StatusCode::CREATED, Json::new(&created)?).into_response())
}

pub(super) async fn show(Extract(state): Extract<State>, Id(id): Id) -> Result<Json, Error> {
    let wanted = id.clone();
    let capture = blocking(move || state.captures.get(&wanted)).await?;
    Json::new(&capture.ok_or_else(|| not_found(id))?)
}

pub(super) async fn remove(Extract(state): Extract<State>, Id(id): Id) -> Result<Response, Error> {
    let wanted = id.clone();
    match blocking(move || state.captures.delete(&wanted)).await?? {
        true => Ok([(header::CONTENT_TYPE, "text/plain")].into_response()),
        false => Err(not_found(id)),
    }
}

pub(super) async fn patch(
    Extract(state): Extract<State>,
    Id(id): Id,
    body: Body,
) -> Result<StatusCode, Error> {
    if blocking(move || state.captures.get(&id)).await?.is_none() {
        return Ok(StatusCode::NOT_FOUND);
    }
    body.json::<Vec<PatchOperation>>().map_err(Error::Patch)?;
    Err(Error::NotUpdatable)
}

fn not_found(id: String) -> Error {
    Error::NoResource { title: "Capture", id }
}

/// How long a capture waits for its turn to be created.
const TURN: Duration = Duration::from_millis(500);

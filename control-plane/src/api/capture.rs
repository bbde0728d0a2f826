//! `/api/capture` (Skydive API §2.3).

use std::time::Duration;

use axum::extract::{FromRequestParts, Path, State as Extract};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::IgnoredAny;
use sonde_proto::capture::Capture;
use tokio::time::timeout;

use super::Error;
use super::answer::{Json, blocking};
use super::body::{Body, Object};
use crate::capture::parse_duration;
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
    body.json::<Vec<Operation>>().map_err(Error::Patch)?;
    Err(Error::NotUpdatable)
}

/// All that stands behind the prefix.
pub(super) struct Id(String);

impl FromRequestParts<State> for Id {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Error> {
        let Path(id) = Path::from_request_parts(parts, state).await?;
        Ok(Self(id))
    }
}

/// An operation of a JSON Patch (RFC 6902), looked at only to tell a patch from what is none.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
#[expect(dead_code, reason = "the members have to be there")]
enum Operation {
    Add { path: String, value: IgnoredAny },
    Remove { path: String },
    Replace { path: String, value: IgnoredAny },
    Move { path: String, from: String },
    Copy { path: String, from: String },
    Test { path: String, value: IgnoredAny },
}

fn not_found(id: String) -> Error {
    Error::NoResource { title: "Capture", id }
}

fn ttl(headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    let Some(value) = headers.get("x-resource-ttl") else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|error| Error::Ttl(error.to_string()))?;
    parse_duration(text).map(Some).map_err(Error::Ttl)
}

/// How long a capture waits for its turn to be created.
const TURN: Duration = Duration::from_millis(500);

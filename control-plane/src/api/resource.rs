//! What all resources have in common (Skydive API §2.1): the ID in the path, the time to live.

use std::time::Duration;

use axum::extract::{FromRequestParts, Path};
use axum::http::HeaderMap;
use axum::http::request::Parts;

use super::Error;
use crate::capture::parse_duration;
use crate::state::State;

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

/// `X-Resource-TTL`: when the resource is deleted by itself.
pub(super) fn ttl(headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    let Some(value) = headers.get("x-resource-ttl") else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|error| Error::Ttl(error.to_string()))?;
    parse_duration(text).map(Some).map_err(Error::Ttl)
}

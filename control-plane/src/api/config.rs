//! `GET /api/config/{key}` (Skydive API §2.1).

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State as Extract};
use serde_json::Value;

use super::Error;
use super::answer::Json;
use crate::state::State;

/// The value of a key, or the empty text: nobody knows whether there is such a key.
pub(super) async fn value(
    Extract(state): Extract<State>,
    key: Result<Path<String>, PathRejection>,
) -> Result<Json, Error> {
    let Path(key) = key?;
    let configuration = state.settings.configuration.get();
    Json::new(configuration.get(&key).unwrap_or(&Value::String(String::new())))
}

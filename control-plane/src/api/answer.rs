//! Makes answers, and runs what may block.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::task::spawn_blocking;
use tracing::Span;

use super::Error;

/// A JSON answer: one line, written as Go does.
#[derive(Debug)]
pub(super) struct Json(Vec<u8>);

impl Json {
    /// Writes `value`.
    pub(super) fn new(value: &impl Serialize) -> Result<Self, Error> {
        let mut text = crate::json::text(value).map_err(|error| {
            tracing::error!(%error, "an answer that is no JSON");
            Error::Defect
        })?;
        text.push(b'\n');
        Ok(Self(text))
    }
}

impl IntoResponse for Json {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "application/json; charset=UTF-8")], self.0).into_response()
    }
}

/// Runs what waits for a lock, the disk or DNS where it stops nobody.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let span = Span::current();
    spawn_blocking(move || span.in_scope(work)).await.map_err(|error| {
        tracing::error!(%error, "a request failed");
        Error::Defect
    })
}

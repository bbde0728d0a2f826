//! `POST /api/pcap`: a capture file, metered while it comes (Skydive API §2.11).

use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::State as Extract;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use super::answer::blocking;
use super::{BODY_TIME, Error};
use crate::state::State;
use crate::upload::pipe;

/// Unlike Skydive's, the flows can be queried, and subscribers see them.
pub(super) async fn upload(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let limit = state.uploads.limit();
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if length.and_then(|length| length.parse().ok()).is_some_and(|length: u64| length > limit) {
        return Err(Error::LargeUpload(limit));
    }
    let turn = state.uploads.turn().ok_or(Error::ManyUploads)?;
    let (chunks, reader) = pipe();
    let replay = state.uploads.replay();
    let stopping = state.uploads.stopping();
    let metered = blocking(move || {
        let _turn = turn;
        replay(Box::new(reader))
    });
    let forwarded = forward(body.into_data_stream(), chunks, limit, BODY_TIME, stopping);
    let (metered, forwarded) = tokio::join!(metered, forwarded);
    forwarded?;
    metered?.map_err(Error::Upload)?;
    let kind = [(header::CONTENT_TYPE, "application/json; charset=UTF-8")];
    Ok((StatusCode::ACCEPTED, kind).into_response())
}

/// Hands the body on, to its end or until the reader has seen enough. Who drips it keeps others from
/// uploading: each [`UPLOAD_LEAST`] must come within `patience`.
async fn forward(
    mut body: BodyDataStream,
    chunks: mpsc::Sender<Bytes>,
    limit: u64,
    patience: Duration,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), Error> {
    let mut left = limit;
    let (mut came, mut until) = (0, Instant::now() + patience);
    loop {
        let chunk = tokio::select! {
            () = chunks.closed() => return Ok(()),
            _ = stopping.wait_for(|stopping| *stopping) => return Err(Error::Stopping),
            chunk = timeout_at(until, body.next()) => chunk.map_err(|_| Error::SlowUpload)?,
        };
        let Some(chunk) = chunk.transpose().map_err(Error::BrokenBody)? else {
            return Ok(());
        };
        left = left.checked_sub(chunk.len() as u64).ok_or(Error::LargeUpload(limit))?;
        came += chunk.len();
        if chunks.send(chunk).await.is_err() {
            return Ok(());
        }
        if came >= UPLOAD_LEAST {
            (came, until) = (0, Instant::now() + patience);
        }
    }
}

/// Bytes of an upload that must come within [`BODY_TIME`].
pub(super) const UPLOAD_LEAST: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;

    use super::*;

    /// What becomes of so many bytes, one every few milliseconds.
    async fn dripped(bytes: usize) -> Result<(), Error> {
        let body = stream::iter(0..bytes).then(async |_| {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok::<_, Infallible>(Bytes::from_static(b"x"))
        });
        let body = Body::from_stream(Box::pin(body)).into_data_stream();
        let (sender, mut taken) = mpsc::channel(1);
        tokio::spawn(async move { while taken.recv().await.is_some() {} });
        let (_go_on, stopping) = watch::channel(false);
        forward(body, sender, u64::MAX, Duration::from_millis(500), stopping).await
    }

    #[tokio::test]
    async fn an_upload_makes_progress_or_ends() {
        assert!(matches!(dripped(usize::MAX).await, Err(Error::SlowUpload)));
        assert!(dripped(2).await.is_ok(), "a short one is at its end");
    }
}

//! `POST /api/pcap`: a capture file, metered while it comes (Skydive API §2.11).

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::State as Extract;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

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
    let forwarded = forward(body.into_data_stream(), chunks, limit, stopping);
    let (metered, forwarded) = tokio::join!(metered, forwarded);
    forwarded?;
    metered?.map_err(Error::Upload)?;
    let kind = [(header::CONTENT_TYPE, "application/json; charset=UTF-8")];
    Ok((StatusCode::ACCEPTED, kind).into_response())
}

/// Hands the body on, to its end or until the reader has seen enough.
async fn forward(
    mut body: BodyDataStream,
    chunks: mpsc::Sender<Bytes>,
    limit: u64,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), Error> {
    let mut left = limit;
    loop {
        let chunk = tokio::select! {
            () = chunks.closed() => return Ok(()),
            _ = stopping.wait_for(|stopping| *stopping) => return Err(Error::Stopping),
            chunk = timeout(BODY_TIME, body.next()) => chunk.map_err(|_| Error::SlowBody)?,
        };
        let Some(chunk) = chunk.transpose().map_err(Error::BrokenBody)? else {
            return Ok(());
        };
        left = left.checked_sub(chunk.len() as u64).ok_or(Error::LargeUpload(limit))?;
        if chunks.send(chunk).await.is_err() {
            return Ok(());
        }
    }
}

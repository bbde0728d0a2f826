//! Tells servers.

use std::sync::OnceLock;
use std::time::Duration;

use axum::http::{Request, StatusCode, Uri, header};
use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::TokioExecutor;
use rustls::crypto::ring;
use tokio::time::timeout;

use crate::tls::trusting_nobody;

/// Posts messages. Whom to is the user's say: any address this host can reach.
#[derive(Debug, Default)]
pub(super) struct Webhooks(OnceLock<Client<HttpsConnector<HttpConnector>, Full<Bytes>>>);

/// Why a server was not told.
#[derive(Debug, thiserror::Error)]
pub(super) enum WebhookError {
    #[error("no request")]
    Request(#[from] axum::http::Error),
    #[error(transparent)]
    Failed(#[from] legacy::Error),
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Late,
    #[error("answered {0}, expected a status of 200 to 299")]
    Refused(StatusCode),
}

impl Webhooks {
    /// Posts the message and waits for the status. Redirections are not followed, and what the
    /// server says is not read.
    pub(super) async fn post(&self, uri: Uri, message: Bytes) -> Result<(), WebhookError> {
        let request = Request::post(uri)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, "sonde")
            .body(Full::new(message))?;
        // The first call reads the host's root certificates.
        let client = self.0.get_or_init(client);
        let answer = timeout(PATIENCE, client.request(request));
        match answer.await.map_err(|_| WebhookError::Late)??.status() {
            status if status.is_success() => Ok(()),
            status => Err(WebhookError::Refused(status)),
        }
    }
}

fn client() -> Client<HttpsConnector<HttpConnector>, Full<Bytes>> {
    let builder = HttpsConnectorBuilder::new();
    let builder = match builder.with_provider_and_native_roots(ring::default_provider()) {
        Ok(builder) => builder,
        Err(error) => {
            tracing::warn!(%error, "no root certificates: webhooks over https fail");
            HttpsConnectorBuilder::new().with_tls_config(trusting_nobody())
        }
    };
    let connector = builder.https_or_http().enable_http1().build();
    // Alerts are rare: no connection is kept for the next.
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector)
}

/// What a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

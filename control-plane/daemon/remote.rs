//! The way to a running daemon, over TLS or not.

use std::process::ExitCode;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use hyper::{Method, Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use sonde_control_plane::tls::trusting_nobody;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tower::ServiceExt as _;

use crate::analyzer::Daemon;
use crate::config_command::WRONG;

/// Does `command` at the daemon. Exit 2 when what says how to reach it is wrong.
pub(crate) fn at(
    daemon: &Daemon,
    command: impl AsyncFnOnce(Remote<'_>) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let remote = match Remote::new(daemon) {
        Ok(remote) => remote,
        Err(error) => {
            eprintln!("sonde: {error:#}");
            return Ok(ExitCode::from(WRONG));
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(command(remote))
}

/// A daemon that can be asked.
pub(crate) struct Remote<'a> {
    daemon: &'a Daemon,
    authorization: Option<String>,
    connector: HttpsConnector<HttpConnector>,
}

/// A WebSocket of the daemon.
pub(crate) type Socket = WebSocketStream<TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>>;

impl<'a> Remote<'a> {
    fn new(daemon: &'a Daemon) -> anyhow::Result<Self> {
        let tls = daemon.tls()?.map(|files| files.read()).transpose()?;
        let authorization = daemon.authorization();
        let analyzer = &daemon.analyzer;
        if authorization.is_some() && !analyzer.is_encrypted() && !analyzer.is_local() {
            eprintln!("sonde: warning: anyone on the way to {analyzer} can read the password");
        }
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls.unwrap_or_else(trusting_nobody))
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self { daemon, authorization, connector })
    }

    /// Sends a request to the REST API.
    pub(crate) async fn send(
        &self,
        method: Method,
        resource: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Response<Incoming>> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}/api/{resource}", self.daemon.analyzer))
            .header(USER_AGENT, "sonde");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.header(ACCEPT, "application/json").body(Full::from(body))?;
        let client = Client::builder(TokioExecutor::new());
        let client = client.build::<_, Full<Bytes>>(self.connector.clone());
        client.request(request).await.with_context(|| self.unreachable())
    }

    /// Opens the WebSocket of this path, by a request with these headers.
    pub(crate) async fn subscribe(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> anyhow::Result<Socket> {
        let analyzer = &self.daemon.analyzer;
        let mut request =
            ClientRequestBuilder::new(format!("{}{path}", analyzer.websocket()).parse()?);
        for &(name, value) in headers {
            request = request.with_header(name, value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.with_header("Authorization", authorization);
        }
        let stream = self.connector.clone().oneshot(analyzer.to_string().parse()?);
        let stream = stream.await.map_err(anyhow::Error::from_boxed);
        let stream = TokioIo::new(stream.with_context(|| self.unreachable())?);
        let opened = tokio_tungstenite::client_async(request, stream).await;
        Ok(opened.with_context(|| self.unreachable())?.0)
    }

    fn unreachable(&self) -> String {
        let analyzer = &self.daemon.analyzer;
        match &self.daemon.ca {
            _ if !analyzer.is_encrypted() => format!("cannot reach the daemon at {analyzer}"),
            Some(ca) => {
                format!("cannot reach the daemon at {analyzer}, trusting {}", ca.display())
            }
            None => format!("cannot reach the daemon at {analyzer}, trusting what this host does"),
        }
    }
}

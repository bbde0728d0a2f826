//! `sonde flows watch`: the flow stream of a running daemon, one JSON object a line.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use futures_util::StreamExt;
use prost::Message as _;
use serde_json::Value;
use sonde_proto::flow::FlowSet;
use sonde_proto::message::{Format, StructMessage};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::cli::{Encoding, Flows, FlowsAction};

/// Prints flows until the daemon or the user ends it, or `count` is reached.
pub(crate) fn flows(options: &Flows) -> anyhow::Result<ExitCode> {
    let FlowsAction::Watch { encoding, capture, count } = &options.action;
    let analyzer = &options.daemon.analyzer;
    let namespace = capture.as_ref().map_or("flow".into(), |uuid| format!("flow/{uuid}"));
    let url = format!("ws://{analyzer}/ws/subscriber/flow");
    let mut request = ClientRequestBuilder::new(url.parse().context("the daemon's address")?)
        .with_header("X-Client-Type", "sonde")
        .with_header("X-Websocket-Namespace", namespace);
    request = match encoding {
        Encoding::Json => request.with_header("X-Client-Protocol", "json"),
        Encoding::Protobuf => request
            .with_header("X-Client-Protocol", "protobuf")
            .with_header("X-Flow-Encoding", "protobuf"),
    };
    if let Some(authorization) = options.daemon.authorization() {
        request = request.with_header("Authorization", authorization);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut socket, _) = tokio_tungstenite::connect_async(request)
            .await
            .with_context(|| format!("cannot reach the daemon at {analyzer}"))?;
        let mut left = count.unwrap_or(u64::MAX);
        while left > 0 {
            let Some(message) = socket.next().await else { break };
            let flows = match message? {
                Message::Text(text) => json(&text)?,
                Message::Binary(bytes) => protobuf(&bytes)?,
                Message::Close(None) => break,
                Message::Close(Some(frame)) => {
                    let ended = frame.reason.is_empty() || frame.code == CloseCode::Away;
                    ensure!(ended, "the daemon closed the stream: {}", frame.reason);
                    break;
                }
                _ => continue,
            };
            let mut out = std::io::stdout().lock();
            for flow in flows.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
                writeln!(out, "{flow}")?;
                left -= 1;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// The flows of a text frame.
fn json(text: &str) -> anyhow::Result<Vec<Value>> {
    let mut message: Value = serde_json::from_str(text).context("a message of the daemon")?;
    match message.get_mut("Obj").map(Value::take) {
        Some(Value::Array(flows)) => Ok(flows),
        _ => bail!("a message of the daemon: expected a list of flows in Obj"),
    }
}

/// The flows of a binary frame.
fn protobuf(bytes: &[u8]) -> anyhow::Result<Vec<Value>> {
    let message = StructMessage::decode(bytes).context("a message of the daemon")?;
    ensure!(
        message.format() == Format::Protobuf,
        "a message of the daemon: expected Protobuf in Obj, found JSON"
    );
    let set = FlowSet::decode(&*message.obj).context("the flows in a message of the daemon")?;
    set.flows.iter().map(|flow| Ok(serde_json::to_value(flow)?)).collect()
}

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
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::cli::{Encoding, Flows, FlowsAction};
use crate::remote;

/// Prints flows until the daemon or the user ends it, or `count` is reached.
pub(crate) fn flows(options: &Flows) -> anyhow::Result<ExitCode> {
    let FlowsAction::Watch { encoding, capture, count } = &options.action;
    let namespace = capture.as_ref().map_or("flow".into(), |uuid| format!("flow/{uuid}"));
    let mut headers = vec![("X-Client-Type", "sonde"), ("X-Websocket-Namespace", &*namespace)];
    headers.extend_from_slice(match encoding {
        Encoding::Json => &[("X-Client-Protocol", "json")],
        Encoding::Protobuf => &[("X-Client-Protocol", "protobuf"), ("X-Flow-Encoding", "protobuf")],
    });
    remote::at(&options.daemon, async |remote| {
        let mut socket = remote.subscribe("/ws/subscriber/flow", &headers).await?;
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

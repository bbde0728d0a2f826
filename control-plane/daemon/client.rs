//! `sonde query`, `sonde capture`: the REST API of a running daemon, from the command line.

use std::io::{BufWriter, Write};
use std::process::ExitCode;

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::{Method, Response, StatusCode};
use serde_json::{Map, Value};

use crate::cli::{Capture, CaptureAction, LayerKeyMode, Metering, Query};
use crate::remote;

/// Asks a query and prints the answer.
pub(crate) fn query(options: &Query) -> anyhow::Result<ExitCode> {
    let body = Value::from(Map::from_iter([(
        "GremlinQuery".to_owned(),
        Value::from(options.query.as_str()),
    )]));
    remote::at(&options.daemon, async |remote| {
        print(remote.send(Method::POST, "topology", Some(&body)).await?).await
    })
}

/// Does what the action says and prints the answer.
pub(crate) fn capture(options: &Capture) -> anyhow::Result<ExitCode> {
    let (method, resource, body) = match &options.action {
        CaptureAction::List => (Method::GET, "capture".to_owned(), None),
        CaptureAction::Delete { uuid } => (Method::DELETE, format!("capture/{uuid}"), None),
        CaptureAction::Create {
            gremlin,
            bpf,
            name,
            description,
            kind,
            port,
            target,
            target_type,
            metering,
        } => {
            let texts = [
                ("GremlinQuery", Some(gremlin.as_str())),
                ("BPFFilter", bpf.as_deref()),
                ("Name", name.as_deref()),
                ("Description", description.as_deref()),
                ("Type", kind.as_deref()),
                ("Target", target.as_deref()),
                ("TargetType", target_type.as_deref()),
            ];
            let texts = texts.into_iter().filter_map(|(name, value)| Some((name, value?.into())));
            let port = port.map(|port| ("Port", port.into()));
            let members = texts.chain(port).chain(members(metering));
            let members = members.map(|(name, value)| (name.to_owned(), value));
            (Method::POST, "capture".to_owned(), Some(Value::Object(members.collect())))
        }
    };
    remote::at(&options.daemon, async |remote| {
        print(remote.send(method, &resource, body.as_ref()).await?).await
    })
}

/// The members of a capture that say what is made of the frames.
fn members(metering: &Metering) -> [(&'static str, Value); 8] {
    let mode = match metering.layer_key_mode {
        LayerKeyMode::L2 => "L2",
        LayerKeyMode::L3 => "L3",
    };
    [
        ("LayerKeyMode", mode.into()),
        ("HeaderSize", metering.header_size.unwrap_or_default().into()),
        ("SamplingRate", metering.sampling.into()),
        ("RawPacketLimit", metering.raw_packets.into()),
        ("ExtraTCPMetric", metering.extra_tcp_metric.into()),
        ("ReassembleTCP", metering.reassemble_tcp.into()),
        ("IPDefrag", metering.ip_defrag.into()),
        ("ExtraLayers", metering.layers().0.into()),
    ]
}

/// The answer on stdout; what the daemon objects to on stderr, with exit 2 when it is the request
/// that is wrong.
async fn print(answer: Response<Incoming>) -> anyhow::Result<ExitCode> {
    let (status, mut body) = (answer.status(), answer.into_body());
    if !status.is_success() {
        let body = Limited::new(body, OBJECTION).collect().await;
        let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
        eprintln!("{status}: {}", String::from_utf8_lossy(&body).trim_end());
        return Ok(ExitCode::from(if status == StatusCode::BAD_REQUEST { 2 } else { 1 }));
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut last = b'\n';
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the answer of the daemon")?;
        let Some(data) = frame.data_ref() else { continue };
        out.write_all(data)?;
        last = data.last().copied().unwrap_or(last);
    }
    if last != b'\n' {
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Bytes that are read of what the daemon objects to.
const OBJECTION: usize = 1 << 20;

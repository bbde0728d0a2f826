//! `sonde query`, `sonde capture`: the REST API of a running daemon, from the command line.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::{Map, Value};

use crate::cli::{Capture, CaptureAction, Daemon, LayerKeyMode, Metering, Query};

/// Asks a query and prints the answer.
pub(crate) fn query(options: &Query) -> anyhow::Result<ExitCode> {
    let body = Value::from(Map::from_iter([(
        "GremlinQuery".to_owned(),
        Value::from(options.query.as_str()),
    )]));
    Api::of(&options.daemon).post("topology", &body)
}

/// Does what the action says and prints the answer.
pub(crate) fn capture(options: &Capture) -> anyhow::Result<ExitCode> {
    let api = Api::of(&options.daemon);
    match &options.action {
        CaptureAction::List => api.get("capture"),
        CaptureAction::Delete { uuid } => api.delete(&format!("capture/{uuid}")),
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
            api.post("capture", &Value::Object(members.collect()))
        }
    }
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

/// The REST API of one daemon.
struct Api<'a> {
    analyzer: &'a str,
    authorization: Option<String>,
    agent: ureq::Agent,
}

impl<'a> Api<'a> {
    fn of(daemon: &'a Daemon) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        Self {
            analyzer: &daemon.analyzer,
            authorization: daemon.authorization(),
            agent: config.into(),
        }
    }

    fn get(&self, resource: &str) -> anyhow::Result<ExitCode> {
        self.print(self.signed(self.agent.get(self.url(resource))).call())
    }

    fn delete(&self, resource: &str) -> anyhow::Result<ExitCode> {
        self.print(self.signed(self.agent.delete(self.url(resource))).call())
    }

    fn post(&self, resource: &str, body: &Value) -> anyhow::Result<ExitCode> {
        let request = self.signed(self.agent.post(self.url(resource)));
        let request = request.header("Content-Type", "application/json");
        self.print(request.header("Accept", "application/json").send(body.to_string()))
    }

    /// The request, with the header that says who asks.
    fn signed<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.authorization {
            Some(authorization) => request.header("Authorization", authorization),
            None => request,
        }
    }

    fn url(&self, resource: &str) -> String {
        format!("http://{}/api/{resource}", self.analyzer)
    }

    /// The answer on stdout; what the daemon objects to on stderr, with exit 2 when it is the
    /// request that is wrong.
    fn print(
        &self,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> anyhow::Result<ExitCode> {
        let mut response =
            response.with_context(|| format!("cannot reach the daemon at {}", self.analyzer))?;
        let status = response.status();
        let body = response.body_mut().with_config().limit(ANSWER).read_to_string()?;
        let body = body.trim_end();
        if status.is_success() {
            if !body.is_empty() {
                writeln!(std::io::stdout(), "{body}")?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        eprintln!("{status}: {body}");
        Ok(ExitCode::from(if status.as_u16() == 400 { 2 } else { 1 }))
    }
}

/// Bytes of an answer at most.
const ANSWER: u64 = 4 << 30;

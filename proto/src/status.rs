//! What the server says of itself: `GET /api` and `GET /api/status` (API §2.1, §2.10).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::record::EndReason;
use crate::report::{Books, Skip};

/// The answer to `GET /api`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Service {
    /// Host id of the server.
    pub host: String,
    /// Version of the program.
    pub version: String,
    /// Skydive's word for what answers: `analyzer`.
    pub service: String,
}

/// The answer to `GET /api/status`. What stands from `Queues` on is sonde's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Status {
    /// Who captures: this host, and the agents that are connected.
    pub agents: BTreeMap<String, Connection>,
    /// Other analyzers.
    pub peers: Peers,
    /// Who publishes topology.
    pub publishers: BTreeMap<String, Connection>,
    /// Who listens.
    pub subscribers: BTreeMap<String, Connection>,
    /// Who runs the alerts.
    pub alerts: Election,
    /// Who runs the captures.
    pub captures: Election,
    /// The topology probes.
    pub probes: BTreeMap<String, Probe>,
    /// Each queue of each observation point.
    pub queues: Vec<Queue>,
    /// The books of all queues, those included that were closed.
    pub totals: Frames,
    /// The flow store.
    pub flow_store: FlowStoreStatus,
    /// The flow stream.
    pub flow_stream: FlowStreamStatus,
    /// What became of alerts.
    pub alert_deliveries: AlertStatus,
    /// The exporters, by the UUID of their capture.
    pub exports: BTreeMap<String, ExportStatus>,
    /// What became of the frames of captures that are mirrored, by their `UUID`.
    pub mirrors: BTreeMap<String, MirrorStatus>,
    /// What was lost or late because somebody was too slow.
    pub overload: Overload,
}

/// The frames of a capture that are mirrored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct MirrorStatus {
    /// The address they are sent to.
    pub target: String,
    /// Frames sent.
    pub sent: u64,
    /// Frames that came faster than they were sent, that are no Ethernet or that the kernel refused.
    pub lost: u64,
    /// Why none can be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A client that is connected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Connection {
    /// `agent`, or what the client calls its kind.
    pub service_type: String,
    /// `json` or `protobuf`.
    pub client_protocol: String,
    /// IP address of the client.
    pub addr: String,
    /// Port of the client.
    pub port: u16,
    /// Always `true`: who is not connected is not shown.
    pub is_connected: bool,
    /// RFC 3339.
    pub connect_time: String,
    /// Messages it lost because it was slow; of clients only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// Messages of its own that were refused; of clients only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<u64>,
}

/// Other analyzers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Peers {
    /// Those that connected to us.
    pub incomers: BTreeMap<String, Connection>,
    /// Those we connected to.
    pub outgoers: BTreeMap<String, Connection>,
}

/// Who of several analyzers is in charge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Election {
    /// Whether it is this one.
    pub is_master: bool,
}

/// A topology probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Probe {
    /// `running`.
    pub status: String,
}

/// A queue of an observation point.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Queue {
    /// The port's name, `interface <index>`, or the path of a file.
    pub point: String,
    /// Its number.
    pub queue: u16,
    /// The CPU its lcore is pinned to.
    #[serde(rename = "CPU")]
    pub cpu: Option<u16>,
    /// `dpdk`, `af_packet`, `pcap_socket` or `upload`.
    pub source: String,
    /// Whether its ring is open.
    pub open: bool,
    /// Revision of the plan it follows.
    pub plan: u64,
    /// Its clock, in milliseconds since the epoch.
    pub at: i64,
    /// Its books.
    pub frames: Frames,
}

/// The books: `Received` is the sum of `Metered`, `Filtered`, `SampledOut`, `Skipped`,
/// `TableFull`, `Unwatched` and `Unaccounted`; the last is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "as in `Books`")]
pub struct Frames {
    pub received: u64,
    pub metered: u64,
    pub filtered: u64,
    pub sampled_out: u64,
    /// By reason.
    pub skipped: BTreeMap<String, u64>,
    pub table_full: u64,
    pub unwatched: u64,
    pub unaccounted: i64,
    pub missed: u64,
    pub no_mbuf: u64,
    pub errors: u64,
    pub truncated: u64,
    pub too_deep: u64,
    /// Flows that ended, by reason.
    pub ended: BTreeMap<String, u64>,
    pub ring_full: u64,
}

impl From<&Books> for Frames {
    fn from(books: &Books) -> Self {
        Self {
            received: books.received,
            metered: books.metered,
            filtered: books.filtered,
            sampled_out: books.sampled_out,
            skipped: (Skip::ALL.iter().zip(books.skipped))
                .map(|(reason, frames)| (reason.name().to_owned(), frames))
                .collect(),
            table_full: books.table_full,
            unwatched: books.unwatched,
            unaccounted: books.unaccounted(),
            missed: books.lost.missed,
            no_mbuf: books.lost.no_mbuf,
            errors: books.lost.errors,
            truncated: books.truncated,
            too_deep: books.too_deep,
            ended: (EndReason::ALL.iter().zip(books.ended))
                .map(|(reason, flows)| (reason.name().to_owned(), flows))
                .collect(),
            ring_full: books.ring_full,
        }
    }
}

/// The flow store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct FlowStoreStatus {
    /// Flows kept.
    pub flows: u64,
    /// Records of new flows that found it full.
    pub refused: u64,
    /// Packets that captures wanted whole and that were lost for want of room.
    pub packets_lost: u64,
}

/// The flow stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct FlowStreamStatus {
    /// Subscribers now.
    pub subscribers: u64,
    /// Flows put into bulks.
    pub flows: u64,
    /// Bulks sent.
    pub bulks: u64,
    /// Messages that subscribers lost because they were slow.
    pub lost: u64,
}

/// What became of alerts, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct AlertStatus {
    /// Times that an alert had news.
    pub fired: u64,
    /// News that webhooks and programs took.
    pub delivered: u64,
    /// News that they did not take.
    pub failed: u64,
    /// News that were too large to tell.
    pub too_large: u64,
    /// Queries and scripts that failed, or took too long.
    pub queries_failed: u64,
}

/// The exporter of a capture that has a `Target`, since it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ExportStatus {
    /// `host:port`, as the capture has it.
    pub target: String,
    /// `ipfix` or `netflowv5`.
    pub target_type: String,
    /// Where datagrams go; empty as long as the host was not found.
    pub address: String,
    /// Records of flows that were sent.
    pub records: u64,
    /// Datagrams that were sent.
    pub datagrams: u64,
    /// Reports of flows that were lost because the exporter was too slow.
    pub dropped: u64,
    /// Reports of flows that the format has no record for.
    pub not_exportable: u64,
    /// Datagrams that could not be sent, or that the target's host refused; and lookups of its name
    /// that failed.
    pub errors: u64,
}

/// What was lost or late between the lcores and the subscribers because somebody was too slow,
/// since the start. Each name says what it counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Overload {
    /// Reports that had to wait in their lcore, because its ring was full. Nothing is lost yet.
    pub reports_held_back: u64,
    /// Times that ingest found a ring full when it came to drain it.
    pub rings_found_full: u64,
    /// The longest that a record can have waited between its ring and the store, of the newest
    /// drain that found any. Milliseconds.
    pub ingest_lag: u64,
    /// The longest ever.
    pub ingest_lag_max: u64,
    /// Flows that lcores gave up when they ended, because their rings stayed full.
    pub flows_given_up: u64,
    /// Records of new flows that found the flow store full. A flow that goes on knocks once a
    /// record.
    pub store_records_refused: u64,
    /// Flows that left the store before their hold time was over, to make room.
    pub store_flows_evicted: u64,
    /// Flows that left the store because their end never came.
    pub store_flows_forgotten: u64,
    /// Packets that captures wanted whole and that were lost for want of room.
    pub packets_lost: u64,
    /// Messages that subscribers lost because they were slow.
    pub stream_messages_lost: u64,
    /// Flows in those messages, once for each subscriber that lost them.
    pub stream_flows_lost: u64,
    /// Reports of flows that exporters lost because they were slow.
    pub export_reports_lost: u64,
    /// Messages of agents on `/ws/agent/flow` that were none.
    pub agent_messages_refused: u64,
    /// Flows of agents that had no room: each agent has a part of the store.
    pub agent_flows_refused: u64,
    /// Frames that mirrors lost because they were slow, or could not send.
    pub mirror_frames_lost: u64,
}

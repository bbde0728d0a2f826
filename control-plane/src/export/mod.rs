//! Flows that are told to collectors: NetFlow version 5 and IPFIX over UDP.
//!
//! A capture with a target has an exporter of its own, from when it is created until its last flows
//! have ended. Ingest puts its records into an [`Outlet`] and never waits; a task takes them from
//! there. Nothing comes back.

mod collector;
mod counts;
mod datagram;
mod delta;
mod element;
mod encoder;
mod exporter;
mod ipfix;
mod netflow;
mod protocol;
mod sampling;
mod template;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sonde_proto::status::ExportStatus;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use uuid::Uuid;

use crate::clock::Clock;
use crate::flow::Outlet;
use crate::ingest::Desired;

use counts::Counts;
use delta::Deltas;
use encoder::Encoder;
use exporter::{Exporter, Life};

/// What a capture with a target asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// How flows are told.
    pub format: Format,
    /// Host and port of the collector.
    pub target: String,
    /// One in so many flows is metered; 0 and 1: all are.
    pub sampling: u32,
    /// Whether TCP flags are known.
    pub tcp_flags: bool,
}

/// How flows are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// IPFIX (RFC 7011), with biflows (RFC 5103).
    Ipfix,
    /// NetFlow version 5.
    NetflowV5,
}

impl Format {
    /// All, in the order of their names.
    pub const ALL: [Self; 2] = [Self::Ipfix, Self::NetflowV5];

    /// The name in `TargetType`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipfix => "ipfix",
            Self::NetflowV5 => "netflowv5",
        }
    }
}

/// All exporters. Clones are the same exporters.
#[derive(Clone, Debug)]
pub struct Exports(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: ExportsConfig,
    /// By the UUID of their capture.
    running: Mutex<BTreeMap<String, Running>>,
    /// Records that found no room, those of exporters that are gone included.
    lost: Arc<AtomicU64>,
    /// Each exporter has a receiver as long as it runs.
    stop: watch::Sender<bool>,
}

/// What exporters work with.
#[derive(Clone, Debug)]
pub struct ExportsConfig {
    /// Tells the time.
    pub clock: Clock,
    /// Flows that each exporter remembers at most.
    pub flows: usize,
    /// How long it remembers a flow of which nothing is heard.
    pub silence: Duration,
}

#[derive(Debug)]
struct Running {
    export: Export,
    outlet: Outlet,
    counts: Arc<Counts>,
    /// Ends the exporter when it is dropped, once the last flows are told.
    _capture: oneshot::Sender<()>,
}

impl Exports {
    /// None yet.
    pub fn new(config: ExportsConfig) -> Self {
        let stop = watch::Sender::new(false);
        Self(Arc::new(Inner { config, running: Mutex::default(), lost: Arc::default(), stop }))
    }

    /// Starts an exporter for a capture, unless it has one. Must be called within a runtime.
    pub fn start(&self, capture: &str, export: &Export) {
        self.running().entry(capture.to_owned()).or_insert_with(|| {
            let ExportsConfig { clock, flows, silence } = self.0.config.clone();
            let (outlet, told) = Outlet::new(ROOM, self.0.lost.clone());
            let counts = Arc::<Counts>::default();
            let exporter = Exporter {
                told,
                deltas: Deltas::new(flows, silence),
                encoder: Encoder::new(export, domain(capture), clock.now()),
                counts: counts.clone(),
                clock,
            };
            let (running, capture) = oneshot::channel();
            let life = Life { capture, stop: self.0.stop.subscribe() };
            tokio::spawn(exporter.run(export.target.clone(), life));
            Running { export: export.clone(), outlet, counts, _capture: running }
        });
    }

    /// Lets the exporters end whose capture is not `wanted` any more.
    pub fn keep(&self, wanted: impl Fn(&str) -> bool) {
        self.running().retain(|capture, _| wanted(capture));
    }

    /// Has ingest hand over the records of the captures that have an exporter.
    pub fn connect(&self, desired: &mut Desired) {
        let running = self.running();
        if running.is_empty() {
            return;
        }
        for watched in desired.watched.values_mut() {
            let outlet = running.get(&watched.capture_id).map(|running| running.outlet.clone());
            Arc::make_mut(watched).outlet = outlet;
        }
    }

    /// Lets all exporters send what they have, and waits until they have ended. Called when no more
    /// records come. `false` when `limit` was over first.
    pub async fn stop(&self, limit: Duration) -> bool {
        self.0.stop.send_replace(true);
        timeout(limit, self.0.stop.closed()).await.is_ok()
    }

    /// What became of the records, by the UUID of the capture.
    pub fn status(&self) -> BTreeMap<String, ExportStatus> {
        let running = self.running();
        running.iter().map(|(capture, running)| (capture.clone(), running.status())).collect()
    }

    /// Records that found no room, those of exporters that are gone included.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn status(&self) -> ExportStatus {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ExportStatus {
            target: self.export.target.clone(),
            target_type: self.export.format.name().to_owned(),
            address: self.counts.address().map(|at| at.to_string()).unwrap_or_default(),
            records: read(&self.counts.records),
            datagrams: read(&self.counts.datagrams),
            dropped: self.outlet.lost(),
            not_exportable: read(&self.counts.not_exportable),
            errors: read(&self.counts.errors),
        }
    }
}

/// What the exporter of a capture is called: the same after a restart, and never 0, which names no
/// domain (RFC 7011, section 3.1).
fn domain(capture: &str) -> u32 {
    Uuid::parse_str(capture).map_or(1, |uuid| uuid.as_fields().0.max(1))
}

/// Records that wait for an exporter at most; each takes about half a kilobyte.
const ROOM: usize = 65_536;

#[cfg(test)]
mod tests;

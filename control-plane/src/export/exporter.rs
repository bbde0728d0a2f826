//! An exporter: takes the records of one capture and sends what is new in them to its target.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::collector::Collector;
use super::counts::Counts;
use super::datagram::Datagram;
use super::delta::Deltas;
use super::encoder::Encoder;
use crate::clock::Clock;
use crate::flow::Told;

/// What an exporter works with.
#[derive(Debug)]
pub(super) struct Exporter {
    pub(super) told: mpsc::Receiver<Told>,
    pub(super) deltas: Deltas,
    pub(super) encoder: Encoder,
    pub(super) counts: Arc<Counts>,
    pub(super) clock: Clock,
}

/// When an exporter ends.
#[derive(Debug)]
pub(super) struct Life {
    /// Closed when the capture is deleted. The ends of its flows are still to come.
    pub(super) capture: oneshot::Receiver<()>,
    /// Says when no more records come at all.
    pub(super) stop: watch::Receiver<bool>,
}

impl Exporter {
    /// Sends to the target until the end of its life, and then what is left.
    pub(super) async fn run(mut self, target: String, mut life: Life) {
        let mut collector = Collector::open(target, self.counts.clone()).await;
        let mut batch = Vec::with_capacity(BATCH);
        let mut expiry = Instant::now() + EXPIRY;
        // When the datagram that is being filled goes out, and when the exporter ends.
        let (mut due, mut end): (Option<Instant>, Option<Instant>) = (None, None);
        loop {
            tokio::select! {
                taken = self.told.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        break;
                    }
                    self.take(&mut batch, &mut collector).await;
                    due = match self.encoder.is_empty() {
                        true => None,
                        false => due.or_else(|| Some(Instant::now() + DELAY)),
                    };
                }
                () = until(due) => {
                    self.flush(&mut collector).await;
                    due = None;
                }
                () = collector.settle() => self.encoder.begin_again(),
                _ = &mut life.capture, if end.is_none() => end = Some(Instant::now() + LINGER),
                () = stopped(&mut life.stop) => break,
                () = until(end) => break,
                () = sleep_until(expiry) => {
                    self.deltas.expire(self.clock.now());
                    expiry = Instant::now() + EXPIRY;
                }
            }
        }
        self.told.close();
        while self.told.recv_many(&mut batch, BATCH).await > 0 {
            self.take(&mut batch, &mut collector).await;
        }
        self.flush(&mut collector).await;
    }

    /// Encodes what is new in the records, and sends the datagrams that are full. Pauses after as
    /// many records as are looked at in one go.
    async fn take(&mut self, batch: &mut Vec<Told>, collector: &mut Collector) {
        let now = self.clock.now();
        let (count, mut full) = (batch.len(), Vec::new());
        for told in batch.drain(..) {
            if !self.encoder.carries(&told.record) {
                self.counts.cannot_export();
            } else if let Some(delta) = self.deltas.news(&told, now) {
                self.encoder.put(&delta, now, &mut full);
            }
        }
        self.send(&full, collector).await;
        if count == BATCH {
            sleep(PACE).await;
        }
    }

    async fn flush(&mut self, collector: &mut Collector) {
        let mut last = Vec::new();
        self.encoder.flush(self.clock.now(), &mut last);
        self.send(&last, collector).await;
    }

    async fn send(&mut self, datagrams: &[Datagram], collector: &mut Collector) {
        for datagram in datagrams {
            if !collector.send(datagram).await {
                self.encoder.begin_again();
            }
        }
    }
}

/// Waits until no more records come; so it is, too, when nobody can say so any more.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    stop.wait_for(|stop| *stop).await.ok();
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Records that are looked at in one go.
const BATCH: usize = 256;

/// Pause after as many: at an update tick all flows come at once, and the socket of a collector has
/// room for a hundred datagrams.
const PACE: Duration = Duration::from_millis(1);

/// How long a record waits for its datagram to fill.
const DELAY: Duration = Duration::from_secs(1);

/// How long the flows of a capture that was deleted may take to end and to come here.
const LINGER: Duration = Duration::from_secs(10);

/// Time between two looks for flows whose end was lost.
const EXPIRY: Duration = Duration::from_secs(60);

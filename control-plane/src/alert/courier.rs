//! Takes messages to those whom alerts tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sonde_proto::status::AlertStatus;
use tokio::task::JoinSet;

use super::script::{self, ScriptError};
use super::validate::{Action, NO_PROGRAMS};
use super::webhook::{WebhookError, Webhooks};
use crate::causes::Causes;
use crate::live::Live;

/// Deliveries under way; each ends with the UUID of its alert. Dropped, it ends them all.
#[derive(Debug)]
pub(super) struct Courier {
    webhooks: Arc<Webhooks>,
    /// Whether programs may be run.
    scripts: Live<bool>,
    counts: Arc<Counts>,
    under_way: JoinSet<String>,
}

/// What became of alerts, since the start.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) fired: AtomicU64,
    pub(super) too_large: AtomicU64,
    pub(super) queries_failed: AtomicU64,
    delivered: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    #[error("webhook")]
    Webhook(#[from] WebhookError),
    #[error("program")]
    Script(#[from] ScriptError),
    #[error("{NO_PROGRAMS}")]
    NoPrograms,
}

impl Courier {
    pub(super) fn new(scripts: Live<bool>, counts: Arc<Counts>) -> Self {
        Self { webhooks: Arc::default(), scripts, counts, under_way: JoinSet::new() }
    }

    /// Begins a delivery, and makes a note when it fails: another try would come late, and the
    /// alert fires again when there is news.
    pub(super) fn send(&mut self, alert: String, action: Action, message: Bytes) {
        let (webhooks, counts) = (self.webhooks.clone(), self.counts.clone());
        let scripts = *self.scripts.get();
        self.under_way.spawn(async move {
            match deliver(&webhooks, scripts, action, message).await {
                Ok(()) => counts.delivered.fetch_add(1, Ordering::Relaxed),
                Err(error) => {
                    tracing::warn!(alert, error = %Causes(&error), "an alert was not delivered");
                    counts.failed.fetch_add(1, Ordering::Relaxed)
                }
            };
            alert
        });
    }

    /// Whether one delivery more may begin.
    pub(super) fn has_room(&self) -> bool {
        self.under_way.len() < AT_ONCE
    }

    /// The UUID of the alert whose delivery ends next; waits for ever when none is under way. A
    /// call that is dropped loses nothing.
    pub(super) async fn ended(&mut self) -> String {
        loop {
            match self.under_way.join_next().await {
                Some(Ok(alert)) => return alert,
                Some(Err(error)) => tracing::error!(%error, "the delivery of an alert"),
                None => std::future::pending().await,
            }
        }
    }
}

impl Counts {
    pub(super) fn status(&self) -> AlertStatus {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        AlertStatus {
            fired: read(&self.fired),
            delivered: read(&self.delivered),
            failed: read(&self.failed),
            too_large: read(&self.too_large),
            queries_failed: read(&self.queries_failed),
        }
    }
}

async fn deliver(
    webhooks: &Webhooks,
    scripts: bool,
    action: Action,
    message: Bytes,
) -> Result<(), DeliveryError> {
    match action {
        Action::None => {}
        Action::Webhook(uri) => webhooks.post(uri, message).await?,
        Action::Script(_) if !scripts => return Err(DeliveryError::NoPrograms),
        Action::Script(program) => script::run(&program, &message, PATIENCE).await?,
    }
    Ok(())
}

/// What a program may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Deliveries under way at most; each holds its message.
const AT_ONCE: usize = 64;

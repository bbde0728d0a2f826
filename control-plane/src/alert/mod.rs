//! Alerts: queries and scripts whose answers are watched, and told when they are news (Skydive API
//! §2.4).

mod courier;
mod evaluation;
mod message;
mod script;
mod sight;
mod validate;
mod watched;
mod webhook;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sonde_proto::alert::Alert;
use sonde_proto::status::AlertStatus;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::asker::Asker;
use crate::graph::Graph;
use crate::gremlin::QueryError;
use crate::ingest::Lcores;
use crate::live::Live;
use crate::notice::{Notice, Notices};
use crate::resource::Resources;
use crate::script::{Host, Scripts};
use crate::store::{Store, StoreError};

pub use validate::Watch;

use courier::{Counts, Courier};
use evaluation::{Evaluation, Evaluations};
use message::MESSAGE;
use sight::Sight;
use validate::{Action, Expression, Trigger};
use watched::{Watched, WatchedAlert};

/// All alerts. Clones are the same alerts.
#[derive(Clone, Debug)]
pub struct Alerts {
    /// As they are kept.
    pub resources: Resources<Alert>,
    config: AlertsConfig,
    counts: Arc<Counts>,
}

/// What alerts work with.
#[derive(Clone, Debug)]
pub struct AlertsConfig {
    /// Whether alerts may run programs: whoever may create one then runs what he likes, as us.
    pub scripts: Live<bool>,
    /// Bounds the expressions that are JavaScript, which run apart from the workflows.
    pub javascript: Scripts,
    /// Answers the queries.
    pub asker: Asker,
    /// Have the newest flows.
    pub lcores: Lcores,
    /// Where alerts are told besides their action.
    pub notices: Notices,
}

impl Alerts {
    /// Takes up the alerts that `store` keeps.
    pub fn open(config: AlertsConfig, store: &Store) -> Result<Self, StoreError> {
        let resources = Resources::open(store, config.asker.clock.clone(), config.scripts.clone())?;
        Ok(Self { resources, config, counts: Arc::default() })
    }

    /// What became of them.
    pub fn status(&self) -> AlertStatus {
        self.counts.status()
    }

    /// Watches until it is dropped; deliveries under way end then. `host` answers what scripts ask.
    pub async fn run(self, host: impl Host) {
        let mut events = self.config.asker.look(Graph::subscribe);
        let mut changed = self.resources.subscribe();
        let mut second = interval(EXPIRY);
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let AlertsConfig { scripts, javascript, asker, .. } = &self.config;
        let mut courier = Courier::new(scripts.clone(), self.counts.clone());
        let mut evaluations = Evaluations::new(javascript.clone(), host, asker.clock.clone());
        let mut watched = Watched::default();
        watched.follow(&self.resources.entries());
        let mut settled: Option<Instant> = None;
        loop {
            let next = watched.next(evaluations.has_room());
            tokio::select! {
                // Changes come in crowds; the alerts look once at each crowd.
                event = events.recv(), if settled.is_none() => {
                    if matches!(event, Err(RecvError::Closed)) {
                        return;
                    }
                    settled = Some(Instant::now() + DEBOUNCE);
                }
                () = until(settled) => {
                    settled = None;
                    events = events.resubscribe();
                    watched.wake();
                }
                () = until(next.as_ref().map(|(due, _)| *due)), if courier.has_room() => {
                    if let Some((_, id)) = next && let Some(alert) = watched.get_mut(&id) {
                        self.look(alert, &mut courier, &mut evaluations).await;
                    }
                }
                Evaluation { alert: entry, sight, rest } = evaluations.ended() => {
                    if let Some(alert) = watched.get_mut(&entry.resource.uuid) {
                        alert.rest(rest);
                        if Arc::ptr_eq(&entry, &alert.entry) {
                            self.seen(alert, sight, &mut courier);
                        }
                    }
                }
                id = courier.ended() => {
                    if let Some(alert) = watched.get_mut(&id) {
                        alert.delivers = false;
                    }
                }
                _ = changed.changed() => watched.follow(&self.resources.entries()),
                _ = second.tick() => self.expire().await,
            }
        }
    }

    /// Looks once, or begins to, and tells the news.
    async fn look(
        &self,
        alert: &mut WatchedAlert,
        courier: &mut Courier,
        evaluations: &mut Evaluations<impl Host>,
    ) {
        let entry = alert.entry.clone();
        let Some(watch) = &entry.parsed else { return };
        alert.due = match watch.trigger {
            Trigger::Graph => None,
            Trigger::Every(pause) => Some(Instant::now() + pause),
        };
        let query = match &watch.expression {
            Expression::Query(query) => query,
            Expression::Script(text) => {
                alert.evaluates = true;
                return evaluations.begin(entry.clone(), text.clone(), alert.told);
            }
        };
        if query.reads_flows() {
            self.config.lcores.refresh(LIVE).await;
        }
        let (asker, query, told) = (self.config.asker.clone(), query.clone(), alert.told);
        let look = move || {
            let answer = asker.answer(&query, &asker.look(Graph::snapshot))?;
            Ok(Sight::of(&answer, &entry.resource.uuid, asker.clock.now(), told))
        };
        match spawn_blocking(look).await {
            Ok(sight) => self.seen::<QueryError>(alert, sight, courier),
            Err(error) => tracing::error!(%error, "alerts"),
        }
    }

    /// Tells what an alert has seen, if it is news.
    fn seen<E: fmt::Display>(
        &self,
        alert: &mut WatchedAlert,
        sight: Result<Sight, E>,
        courier: &mut Courier,
    ) {
        let entry = alert.entry.clone();
        let (id, Some(watch)) = (&entry.resource.uuid, &entry.parsed) else { return };
        match sight.map_err(|error| error.to_string()) {
            Ok(Sight::Known) => alert.fault = None,
            Ok(Sight::Nothing) => (alert.fault, alert.told) = (None, None),
            Ok(Sight::News(news, message)) => {
                (alert.fault, alert.told) = (None, Some(news));
                let Some(message) = message else {
                    self.counts.too_large.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(alert = id, "an alert has more than {MESSAGE} bytes to tell");
                    return;
                };
                self.counts.fired.fetch_add(1, Ordering::Relaxed);
                let obj = message.clone();
                self.config.notices.tell(Notice { namespace: "Alert", kind: "Alert", obj });
                if watch.action != Action::None {
                    alert.delivers = true;
                    courier.send(id.clone(), watch.action.clone(), message);
                }
            }
            Err(fault) => {
                self.counts.queries_failed.fetch_add(1, Ordering::Relaxed);
                // Once, however often it fails so.
                if alert.fault.as_ref() != Some(&fault) {
                    tracing::warn!(alert = id, fault, "the expression of an alert failed");
                    alert.fault = Some(fault);
                }
            }
        }
    }

    async fn expire(&self) {
        let resources = self.resources.clone();
        match spawn_blocking(move || resources.expire()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!(%error, "alerts whose time is over stay"),
            Err(error) => tracing::error!(%error, "alerts"),
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Time between two looks for alerts whose time is over.
const EXPIRY: Duration = Duration::from_secs(1);

/// How long the first change of a crowd waits for the rest.
const DEBOUNCE: Duration = Duration::from_millis(250);

/// How long a query that reads flows waits for the shards; then it reads what is there.
const LIVE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;

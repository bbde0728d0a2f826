//! Alerts: queries whose answers are watched, and told when they are news (Skydive API §2.4).

mod courier;
mod message;
mod script;
mod validate;
mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use sonde_proto::alert::Alert;
use sonde_proto::status::AlertStatus;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::asker::Asker;
use crate::graph::Graph;
use crate::ingest::Lcores;
use crate::notice::{Notice, Notices};
use crate::resource::{Entry, Resources};
use crate::store::{Store, StoreError};

pub use validate::Watch;

use courier::{Counts, Courier};
use message::{MESSAGE, fingerprint, message};
use validate::{Action, Trigger};

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
    pub scripts: bool,
    /// Answers the queries.
    pub asker: Asker,
    /// Have the newest flows.
    pub lcores: Lcores,
    /// Where alerts are told besides their action.
    pub notices: Notices,
}

/// What is known of an alert while it is watched.
#[derive(Debug)]
struct Watched {
    entry: Arc<Entry<Alert>>,
    /// When it looks next; not before something happens when absent.
    due: Option<Instant>,
    /// The answer that it told last; none when there was nothing to tell since.
    told: Option<u64>,
    /// Whether it is being delivered. It looks again when that is over.
    busy: bool,
}

/// What an alert sees.
enum Sight {
    /// Nothing.
    Nothing,
    /// What it told before.
    Known,
    /// News, and their message if it is not too large.
    News(u64, Option<Bytes>),
}

impl Alerts {
    /// Takes up the alerts that `store` keeps.
    pub fn open(config: AlertsConfig, store: &Store) -> Result<Self, StoreError> {
        let resources = Resources::open(store, config.asker.clock.clone(), config.scripts)?;
        Ok(Self { resources, config, counts: Arc::default() })
    }

    /// What became of them.
    pub fn status(&self) -> AlertStatus {
        self.counts.status()
    }

    /// Watches until it is dropped; deliveries under way end then.
    pub async fn run(self) {
        let mut events = self.config.asker.look(Graph::subscribe);
        let mut changed = self.resources.subscribe();
        let mut second = interval(EXPIRY);
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut courier = Courier::new(self.counts.clone());
        let mut watched = BTreeMap::new();
        self.follow(&mut watched);
        let mut settled: Option<Instant> = None;
        loop {
            let next = next(&watched);
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
                    wake(&mut watched);
                }
                () = until(next.as_ref().map(|(due, _)| *due)), if courier.has_room() => {
                    if let Some((_, id)) = next && let Some(alert) = watched.get_mut(&id) {
                        self.look(&id, alert, &mut courier).await;
                    }
                }
                id = courier.ended() => {
                    if let Some(alert) = watched.get_mut(&id) {
                        alert.busy = false;
                    }
                }
                _ = changed.changed() => self.follow(&mut watched),
                _ = second.tick() => self.expire().await,
            }
        }
    }

    /// Watches the alerts there are. New ones, and those that changed, look at once.
    fn follow(&self, watched: &mut BTreeMap<String, Watched>) {
        let entries = self.resources.entries();
        watched.retain(|id, alert| {
            entries.get(id).is_some_and(|entry| Arc::ptr_eq(entry, &alert.entry))
        });
        for (id, entry) in entries.iter().filter(|(_, entry)| entry.parsed.is_some()) {
            let fresh = || Watched {
                entry: entry.clone(),
                due: Some(Instant::now()),
                told: None,
                busy: false,
            };
            watched.entry(id.clone()).or_insert_with(fresh);
        }
    }

    /// Looks once, and tells the news.
    async fn look(&self, id: &str, alert: &mut Watched, courier: &mut Courier) {
        let Some(Watch { query, trigger, action }) = &alert.entry.parsed else { return };
        alert.due = match trigger {
            Trigger::Graph => None,
            Trigger::Every(pause) => Some(Instant::now() + *pause),
        };
        if query.reads_flows() {
            self.config.lcores.refresh(LIVE).await;
        }
        let (alerts, entry, told) = (self.clone(), alert.entry.clone(), alert.told);
        match spawn_blocking(move || alerts.sight(&entry, told)).await {
            Ok(Sight::Known) => {}
            Ok(Sight::Nothing) => alert.told = None,
            Ok(Sight::News(news, message)) => {
                alert.told = Some(news);
                let Some(message) = message else {
                    self.counts.too_large.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(alert = id, "an alert has more than {MESSAGE} bytes to tell");
                    return;
                };
                self.counts.fired.fetch_add(1, Ordering::Relaxed);
                let obj = message.clone();
                self.config.notices.tell(Notice { namespace: "Alert", kind: "Alert", obj });
                if *action != Action::None {
                    alert.busy = true;
                    courier.send(id.to_owned(), action.clone(), message);
                }
            }
            Err(error) => tracing::error!(%error, "alerts"),
        }
    }

    /// What the alert's query finds now. Blocks.
    fn sight(&self, entry: &Entry<Alert>, told: Option<u64>) -> Sight {
        let Some(watch) = &entry.parsed else { return Sight::Nothing };
        let (id, asker) = (&entry.resource.uuid, &self.config.asker);
        let topology = asker.look(Graph::snapshot);
        match asker.answer(&watch.query, &topology) {
            Ok(answer) if answer.is_empty() => Sight::Nothing,
            Ok(answer) => match fingerprint(&answer) {
                news if told == Some(news) => Sight::Known,
                news => Sight::News(news, message(id, asker.clock.now(), &answer)),
            },
            Err(error) => {
                self.counts.queries_failed.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(alert = id, %error, "query");
                Sight::Known
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

/// The alert that looks next, and when.
fn next(watched: &BTreeMap<String, Watched>) -> Option<(Instant, String)> {
    let free = watched.iter().filter(|(_, alert)| !alert.busy);
    let (due, id) = free.filter_map(|(id, alert)| Some((alert.due?, id))).min()?;
    Some((due, id.clone()))
}

/// Makes those look that look at each change of the graph.
fn wake(watched: &mut BTreeMap<String, Watched>) {
    for alert in watched.values_mut() {
        if alert.entry.parsed.as_ref().is_some_and(|watch| watch.trigger == Trigger::Graph) {
            alert.due = Some(Instant::now());
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

//! The alerts as they are watched: which looks when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sonde_proto::alert::Alert;
use tokio::time::Instant;

use super::validate::Trigger;
use crate::resource::{Entries, Entry};

/// All alerts, by UUID.
#[derive(Debug, Default)]
pub(super) struct Watched(BTreeMap<String, WatchedAlert>);

/// What is known of an alert while it is watched.
#[derive(Debug)]
pub(super) struct WatchedAlert {
    pub(super) entry: Arc<Entry<Alert>>,
    /// When it looks next; not before something happens when absent.
    pub(super) due: Option<Instant>,
    /// The answer that it told last; none when there was nothing to tell since.
    pub(super) told: Option<u64>,
    /// Why its expression failed last; none when it did not.
    pub(super) fault: Option<String>,
    /// Whether it is being delivered. It looks again when that is over.
    pub(super) delivers: bool,
    /// Whether its script runs. It looks again when that is over.
    pub(super) evaluates: bool,
    /// Until when its script does not run again.
    rests: Option<Instant>,
}

impl Watched {
    /// Watches the alerts there are. New ones, and those that changed, look at once; but no script
    /// of theirs runs beside another of the same alert, or sooner.
    pub(super) fn follow(&mut self, entries: &Entries<Alert>) {
        let mut before = std::mem::take(&mut self.0);
        for (id, entry) in entries.iter().filter(|(_, entry)| entry.parsed.is_some()) {
            let alert = match before.remove(id) {
                Some(alert) if Arc::ptr_eq(entry, &alert.entry) => alert,
                changed => WatchedAlert {
                    entry: entry.clone(),
                    due: Some(Instant::now()),
                    told: None,
                    fault: None,
                    delivers: false,
                    evaluates: changed.as_ref().is_some_and(|alert| alert.evaluates),
                    rests: changed.and_then(|alert| alert.rests),
                },
            };
            self.0.insert(id.clone(), alert);
        }
    }

    /// The alert that looks next, and when.
    pub(super) fn next(&self) -> Option<(Instant, String)> {
        let free = self.0.iter().filter(|(_, alert)| !alert.delivers && !alert.evaluates);
        let due = |alert: &WatchedAlert| Some(alert.due?.max(alert.rests.unwrap_or(alert.due?)));
        let (due, id) = free.filter_map(|(id, alert)| Some((due(alert)?, id))).min()?;
        Some((due, id.clone()))
    }

    /// Makes those look that look at each change of the graph.
    pub(super) fn wake(&mut self) {
        for alert in self.0.values_mut() {
            if alert.entry.parsed.as_ref().is_some_and(|watch| watch.trigger == Trigger::Graph) {
                alert.due = Some(Instant::now());
            }
        }
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut WatchedAlert> {
        self.0.get_mut(id)
    }
}

impl WatchedAlert {
    /// Its script is over, and does not run again for so long.
    pub(super) fn rest(&mut self, rest: Duration) {
        self.evaluates = false;
        self.rests = Some(Instant::now() + rest);
    }
}

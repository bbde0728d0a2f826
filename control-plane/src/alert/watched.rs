//! The alerts as they are watched: which looks when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sonde_proto::alert::Alert;
use tokio::time::Instant;

use super::validate::{Expression, Trigger};
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

    /// The alert that looks next, and when: the one that waits longest. Those with a script wait on
    /// when `scripts` says that none may begin.
    pub(super) fn next(&self, scripts: bool) -> Option<(Instant, String)> {
        let free =
            self.0.iter().filter(|(_, alert)| alert.is_free() && (scripts || !alert.is_script()));
        let (due, id) = free.filter_map(|(id, alert)| Some((alert.due()?, id))).min()?;
        Some((due, id.clone()))
    }

    /// Makes those look that look at each change of the graph. Those that wait already keep their
    /// place: the first in the order of the alphabet would be first each time.
    pub(super) fn wake(&mut self) {
        let now = Instant::now();
        for alert in self.0.values_mut() {
            if alert.entry.parsed.as_ref().is_some_and(|watch| watch.trigger == Trigger::Graph) {
                alert.due.get_or_insert(now);
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

    /// When it looks next, were it free.
    fn due(&self) -> Option<Instant> {
        self.due.map(|due| self.rests.map_or(due, |rests| due.max(rests)))
    }

    fn is_free(&self) -> bool {
        !self.delivers && !self.evaluates
    }

    fn is_script(&self) -> bool {
        let watch = self.entry.parsed.as_ref();
        watch.is_some_and(|watch| matches!(watch.expression, Expression::Script(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::world::World;

    /// Watches alerts with these expressions.
    fn watched(expressions: &[&str]) -> Watched {
        let world = World::new();
        let resources = &world.state.alerts.resources;
        for expression in expressions {
            let alert = Alert { expression: (*expression).into(), ..Alert::default() };
            resources.create(alert, None).unwrap();
        }
        let mut watched = Watched::default();
        watched.follow(&resources.entries());
        watched
    }

    #[tokio::test]
    async fn each_script_has_its_turn_however_much_changes() {
        let mut watched = watched(&["1", "2", "3", "4", "5"]);
        let mut turns: BTreeMap<String, usize> = BTreeMap::new();
        for _ in 0..50 {
            let (_, id) = watched.next(true).unwrap();
            let alert = watched.get_mut(&id).unwrap();
            (alert.due, alert.evaluates) = (None, true);
            watched.get_mut(&id).unwrap().rest(Duration::ZERO);
            watched.wake();
            *turns.entry(id).or_default() += 1;
        }
        assert_eq!(turns.into_values().collect::<Vec<_>>(), [10; 5]);
    }

    #[tokio::test]
    async fn scripts_without_room_are_passed_by() {
        let mut watched = watched(&["1", "2"]);
        assert!(watched.next(true).is_some());
        assert_eq!(watched.next(false), None);
        watched = self::watched(&["1", "G.V()", "2"]);
        let (_, id) = watched.next(false).unwrap();
        assert_eq!(watched.get_mut(&id).unwrap().entry.resource.expression, "G.V()");
    }
}

//! How far ingest is behind the rings.

use std::time::Duration;

use tokio::time::Instant;

/// How long records wait between their ring and the store, at the most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lag {
    /// When the rings were last emptied.
    emptied: Instant,
    /// Of the newest drain that found reports.
    pub(super) newest: Duration,
    /// The longest ever.
    pub(super) longest: Duration,
}

impl Lag {
    /// No record waits, for all that is known.
    pub(super) fn new(now: Instant) -> Self {
        Self { emptied: now, newest: Duration::ZERO, longest: Duration::ZERO }
    }

    /// The rings were emptied at `emptied`, and at `kept` the records of all their reports were in
    /// the store: the oldest came after the rings were emptied before.
    pub(super) fn drained(&mut self, reports: usize, emptied: Instant, kept: Instant) {
        if reports > 0 {
            self.newest = kept - self.emptied;
            self.longest = self.longest.max(self.newest);
        }
        self.emptied = emptied;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_from_one_drain_to_the_end_of_the_next() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let millis = |lag: &Lag| (lag.newest.as_millis(), lag.longest.as_millis());
        let mut lag = Lag::new(start);
        lag.drained(1, at(50), at(90));
        assert_eq!(millis(&lag), (90, 90));
        lag.drained(1, at(100), at(110));
        assert_eq!(millis(&lag), (60, 90));
        lag.drained(0, at(5000), at(5001));
        assert_eq!(millis(&lag), (60, 90), "nobody waited");
        lag.drained(1, at(5010), at(5020));
        assert_eq!(millis(&lag), (20, 90));
    }
}

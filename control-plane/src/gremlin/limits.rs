//! What a query may cost.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

/// Bounds of one query. An answer is whole or an error: no bound cuts it short in silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the text.
    pub text: usize,
    /// Steps in the text.
    pub steps: usize,
    /// Bytes that each regular expression takes when it is compiled.
    pub regex: usize,
    /// Nodes, edges and flows looked at.
    pub visited: usize,
    /// Elements in the result of any step.
    pub results: usize,
    /// Time to answer. The clock is the caller's, see [`super::Query::run`].
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            text: 64 << 10,
            steps: 64,
            regex: 1 << 20,
            visited: 20_000_000,
            results: 2_000_000,
            time: Duration::from_secs(5),
        }
    }
}

/// Which bound a query hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Exhausted {
    #[error("The query is longer than {0} bytes")]
    Text(usize),
    #[error("The query has more than {0} steps")]
    Steps(usize),
    #[error("The query looks at more than {0} elements")]
    Visited(usize),
    #[error("A step has more than {0} results, narrow it or use Limit")]
    Results(usize),
    #[error("The query takes too long")]
    Time,
}

/// What is left of the limits while a query runs. Iterators that hit a bound just end; the fold
/// asks for the [`Budget::verdict`] after each step.
pub(super) struct Budget<'l> {
    limits: &'l Limits,
    /// Whether the time is up; asked now and then.
    expired: &'l dyn Fn() -> bool,
    visited: Cell<usize>,
    exhausted: Cell<Option<Exhausted>>,
}

impl<'l> Budget<'l> {
    pub(super) fn new(limits: &'l Limits, expired: &'l dyn Fn() -> bool) -> Self {
        Self { limits, expired, visited: Cell::new(0), exhausted: Cell::new(None) }
    }

    /// Counts what the iterator hands out as looked at, and ends it when that is too much.
    pub(super) fn meter<I: Iterator>(&self, items: I) -> impl Iterator<Item = I::Item> {
        items.take_while(|_| self.visit(1))
    }

    /// Collects results, and ends when there are too many.
    pub(super) fn collect<T>(&self, items: impl Iterator<Item = T>) -> Vec<T> {
        let room = self.limits.results.saturating_add(1);
        let kept: Vec<T> = items.take(room).collect();
        self.admits(kept.len());
        kept
    }

    /// Whether a step may have so many results.
    pub(super) fn admits(&self, results: usize) -> bool {
        let admits = results <= self.limits.results;
        if !admits {
            self.exhaust(Exhausted::Results(self.limits.results));
        }
        admits
    }

    /// Counts so many elements as looked at; false when that is too much.
    pub(super) fn visit(&self, elements: usize) -> bool {
        let before = self.visited.get();
        let visited = before.saturating_add(elements);
        self.visited.set(visited);
        if visited > self.limits.visited {
            self.exhaust(Exhausted::Visited(self.limits.visited));
        } else if visited / CLOCK_EVERY > before / CLOCK_EVERY && (self.expired)() {
            self.exhaust(Exhausted::Time);
        }
        self.exhausted.get().is_none()
    }

    /// Whether a bound was hit so far.
    pub(super) fn verdict(&self) -> Result<(), Exhausted> {
        if (self.expired)() {
            self.exhaust(Exhausted::Time);
        }
        self.exhausted.get().map_or(Ok(()), Err)
    }

    fn exhaust(&self, bound: Exhausted) {
        if self.exhausted.get().is_none() {
            self.exhausted.set(Some(bound));
        }
    }
}

impl fmt::Debug for Budget<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Budget")
            .field("limits", self.limits)
            .field("visited", &self.visited)
            .field("exhausted", &self.exhausted)
            .finish_non_exhaustive()
    }
}

/// Elements between two looks at the clock.
const CLOCK_EVERY: usize = 1024;

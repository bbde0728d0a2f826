//! The `[query]` and `[graph]` sections of the configuration: what a query may cost, and how far
//! back it may look.

use std::time::Duration;

use anyhow::ensure;
use serde::{Deserialize, Serialize};
use sonde_control_plane::graph::HistoryLimits;
use sonde_control_plane::gremlin::Limits;

/// What a query may cost. One that costs more is refused.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct QuerySection {
    /// Bytes of its text at most.
    max_length: usize,
    /// Steps at most.
    max_steps: usize,
    /// Bytes that each of its regular expressions takes at most when it is compiled.
    max_regex: usize,
    /// Nodes, edges and flows it looks at at most.
    max_visited: usize,
    /// Elements it finds at most.
    max_results: usize,
    /// Seconds it takes at most.
    timeout: u64,
}

/// How much of the topology's past is kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct GraphSection {
    /// Seconds that a revision is kept after its end; 0 for no history.
    history: u64,
    /// Bytes of all revisions kept, about.
    history_bytes: usize,
}

impl GraphSection {
    /// How much is kept; `None` when nothing is.
    pub(crate) fn history(&self) -> Option<HistoryLimits> {
        let time = Duration::from_secs(self.history);
        (!time.is_zero()).then_some(HistoryLimits { time, bytes: self.history_bytes })
    }
}

impl Default for GraphSection {
    fn default() -> Self {
        Self { history: 3600, history_bytes: 64 << 20 }
    }
}

impl QuerySection {
    /// What serde cannot see.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        for (name, value) in [
            ("max_length", self.max_length),
            ("max_steps", self.max_steps),
            ("max_regex", self.max_regex),
            ("max_visited", self.max_visited),
            ("max_results", self.max_results),
        ] {
            ensure!(value > 0, "query.{name}: expected at least 1, found 0");
        }
        ensure!(self.timeout > 0, "query.timeout: expected at least 1 second, found 0");
        Ok(())
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            text: self.max_length,
            steps: self.max_steps,
            regex: self.max_regex,
            visited: self.max_visited,
            results: self.max_results,
            time: Duration::from_secs(self.timeout),
        }
    }
}

impl Default for QuerySection {
    fn default() -> Self {
        let Limits { text, steps, regex, visited, results, time } = Limits::default();
        Self {
            max_length: text,
            max_steps: steps,
            max_regex: regex,
            max_visited: visited,
            max_results: results,
            timeout: time.as_secs(),
        }
    }
}

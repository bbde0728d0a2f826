//! The `[workflow]` section of the configuration: what JavaScript may take.

use std::time::Duration;

use anyhow::ensure;
use serde::{Deserialize, Serialize};
use sonde_control_plane::script::Limits;

/// What scripts of workflows and alerts may take.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WorkflowSection {
    /// Seconds that a script takes at most.
    timeout: u64,
    /// Bytes of memory that a script takes at most.
    max_memory: u64,
    /// Scripts that run at once; others wait.
    at_once: u16,
}

impl WorkflowSection {
    /// What serde cannot see.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let Self { timeout, max_memory, at_once } = self;
        ensure!(*timeout > 0, "workflow.timeout: expected at least 1 second, found 0");
        ensure!(
            *max_memory >= LEAST_MEMORY,
            "workflow.max_memory: expected at least {LEAST_MEMORY}, found {max_memory}"
        );
        ensure!(
            (1..=MOST_AT_ONCE).contains(at_once),
            "workflow.at_once: expected 1 to {MOST_AT_ONCE}, found {at_once}"
        );
        Ok(())
    }

    /// What a script may take.
    pub(crate) fn limits(&self) -> Limits {
        let Self { timeout, max_memory, at_once } = *self;
        Limits { time: Duration::from_secs(timeout), memory: max_memory, at_once }
    }
}

impl Default for WorkflowSection {
    fn default() -> Self {
        let Limits { time, memory, at_once } = Limits::default();
        Self { timeout: time.as_secs(), max_memory: memory, at_once }
    }
}

/// Bytes that the engine itself takes, and some for a script.
const LEAST_MEMORY: u64 = 16 << 20;

/// Scripts that run at once at most, each in a process.
const MOST_AT_ONCE: u16 = 256;

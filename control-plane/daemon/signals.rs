//! Ctrl-C and SIGTERM: the first asks to stop, the second ends the process at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM};

/// Whether the process was asked to stop; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Follows SIGINT and SIGTERM from now on.
    pub(crate) fn on_signals() -> anyhow::Result<Self> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // In this order: the flag is still down when the first signal looks at it.
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, stop.flag())
                .and_then(|_| signal_hook::flag::register(signal, stop.flag()))
                .with_context(|| format!("cannot handle signal {signal}"))?;
        }
        Ok(stop)
    }

    /// Asks to stop, as a signal does.
    pub(crate) fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether to stop.
    pub(crate) fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits until it was asked to stop.
    pub(crate) async fn wait(&self) {
        while !self.asked() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The flag itself.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        self.0.clone()
    }
}

/// How often a waiting task looks at the flag; a signal handler may not wake it.
const LOOK: Duration = Duration::from_millis(20);

//! Alerts whose expression is JavaScript: each has a process at most, and rests after it.

use std::sync::Arc;
use std::time::Duration;

use sonde_proto::alert::Alert;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::Instant;

use super::sight::{Sight, answer};
use crate::clock::Clock;
use crate::resource::Entry;
use crate::script::{Host, Script, ScriptError, Scripts};

/// Evaluations under way: as many as scripts that may run at once, beside those of workflows.
/// Dropped, nobody waits for them any more.
#[derive(Debug)]
pub(super) struct Evaluations<H> {
    scripts: Scripts,
    host: H,
    clock: Clock,
    under_way: JoinSet<Evaluation>,
}

/// An evaluation that is over.
#[derive(Debug)]
pub(super) struct Evaluation {
    /// Of which alert, and as what it was then.
    pub(super) alert: Arc<Entry<Alert>>,
    pub(super) sight: Result<Sight, ScriptError>,
    /// How long the alert's next one has to wait.
    pub(super) rest: Duration,
}

impl<H: Host> Evaluations<H> {
    /// By `scripts`; what they ask is answered by `host`.
    pub(super) fn new(scripts: Scripts, host: H, clock: Clock) -> Self {
        Self { scripts, host, clock, under_way: JoinSet::new() }
    }

    /// Whether one evaluation more may begin.
    pub(super) fn has_room(&self) -> bool {
        self.under_way.len() < self.scripts.at_once()
    }

    /// Begins to evaluate the text of an alert that told `told` last.
    pub(super) fn begin(&mut self, alert: Arc<Entry<Alert>>, text: String, told: Option<u64>) {
        let (scripts, host, clock) = (self.scripts.clone(), self.host.clone(), self.clock.clone());
        self.under_way.spawn(async move {
            let begun = Instant::now();
            let value = scripts.run_now(Script::Expression(text), TIME, host).await;
            let rest = (begun.elapsed() * RESTS).max(REST);
            let sight = match value {
                Ok(value) => {
                    let alert = alert.clone();
                    let look =
                        move || Sight::of(&answer(value), &alert.resource.uuid, clock.now(), told);
                    spawn_blocking(look).await.map_err(|_| ScriptError::Dropped)
                }
                Err(error) => Err(error),
            };
            Evaluation { alert, sight, rest }
        });
    }

    /// The evaluation that ends next; waits for ever when none is under way. A call that is dropped
    /// loses nothing.
    pub(super) async fn ended(&mut self) -> Evaluation {
        loop {
            match self.under_way.join_next().await {
                Some(Ok(evaluation)) => return evaluation,
                Some(Err(error)) => tracing::error!(%error, "the script of an alert"),
                None => std::future::pending().await,
            }
        }
    }
}

/// What a script takes at most: it is to look, not to work.
const TIME: Duration = Duration::from_secs(10);

/// An alert rests at least so long between two scripts.
const REST: Duration = Duration::from_secs(1);

/// And so many times as long as the last one took: a tenth of the time is what it gets.
const RESTS: u32 = 9;

//! JavaScript of workflows and alerts (Skydive API §2.4, §2.5). The engine bounds neither memory nor
//! time, so each script has a process of its own, which the kernel bounds: what eats memory or never
//! ends costs that process and nothing else. What scripts ask of the REST API travels as lines of JSON.

mod child;
mod engine;
mod link;
mod made;
mod message;
mod process;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Instrument as _;

use crate::live::Live;

use made::Made;
use message::{Said, Task};
use process::{End, Process};

pub use child::run_confined;
pub use message::{Reply, Request, Script};
pub use process::Launch;

/// Runs scripts. Clones share the bounds.
#[derive(Clone, Debug)]
pub struct Scripts {
    launch: Launch,
    limits: Live<Limits>,
    /// The [`WHOLE`], of which each script has its [`Limits::share`].
    turns: Arc<Semaphore>,
}

/// What scripts may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the start of a script to its end.
    pub time: Duration,
    /// Bytes of its process beyond what an idle one has.
    pub memory: u64,
    /// Scripts that run at once.
    pub at_once: u16,
}

/// Answers what scripts ask.
pub trait Host: Clone + Send + Sync + 'static {
    /// What REST answers.
    fn answer(&self, request: Request) -> impl Future<Output = Reply> + Send;
}

/// Why a script has no value.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// As many as may run do, and none ended in time.
    #[error("{0} scripts are running already, try again later")]
    Busy(u16),
    /// It threw, with what and where; or it is no JavaScript.
    #[error("{0}")]
    Thrown(String),
    /// It took too long.
    #[error("the script ran for more than {} s", .0.as_secs())]
    Time(Duration),
    /// It took too much memory.
    #[error("the script took more than {0} bytes of memory")]
    Memory(u64),
    /// It called too deep for the engine to see.
    #[error("the script has too many calls within one another")]
    Stack,
    /// Its process ended.
    #[error("the script's process: {0}")]
    Died(String),
    /// There is no process for it.
    #[error("the script's process: {0}")]
    Process(#[from] io::Error),
    /// A defect of ours.
    #[error("the script was dropped")]
    Dropped,
}

impl Scripts {
    /// Scripts that `launch` finds processes for. Each keeps the limits that it began with.
    pub fn new(launch: Launch, limits: Live<Limits>) -> Self {
        Self { launch, limits, turns: Arc::new(Semaphore::new(WHOLE as usize)) }
    }

    /// How many run at once.
    pub fn at_once(&self) -> usize {
        self.limits.get().at_once.into()
    }

    /// The value of a script, which waits for its turn. It runs to its end, or to that of its
    /// bounds, also when nobody waits for it any more. Nothing is left of what a script created
    /// that fails.
    pub async fn run(&self, script: Script, host: impl Host) -> Result<Value, ScriptError> {
        let limits = *self.limits.get();
        let turn = self.turns.clone().acquire_many_owned(limits.share());
        let turn = timeout(limits.time, turn).await;
        let turn = turn.map_err(|_| ScriptError::Busy(limits.at_once))?;
        let turn = turn.map_err(|_| ScriptError::Dropped)?;
        let run = run(self.launch.clone(), limits, script, host);
        let run = async move {
            let _turn = turn;
            run.await
        };
        let run = tokio::spawn(run.in_current_span());
        run.await.map_err(|_| ScriptError::Dropped)?
    }

    /// The same without waiting, and beside those that have turns: whoever asks sees to it that no
    /// more than [`Self::at_once`] run so. It ends after `time` if not before.
    pub async fn run_now(
        &self,
        script: Script,
        time: Duration,
        host: impl Host,
    ) -> Result<Value, ScriptError> {
        let limits = *self.limits.get();
        let limits = Limits { time: limits.time.min(time), ..limits };
        let run = tokio::spawn(run(self.launch.clone(), limits, script, host).in_current_span());
        run.await.map_err(|_| ScriptError::Dropped)?
    }
}

impl Limits {
    /// What a script takes of the [`WHOLE`], so that there is room for so many and for no more. When
    /// their number changes, those that run count for what they took.
    fn share(&self) -> u32 {
        WHOLE / u32::from(self.at_once.max(1))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { time: Duration::from_secs(60), memory: 128 << 20, at_once: 4 }
    }
}

/// Runs a script, and leaves nothing of one that fails.
async fn run(
    launch: Launch,
    limits: Limits,
    script: Script,
    host: impl Host,
) -> Result<Value, ScriptError> {
    let mut made = Made::default();
    let result = attend(&launch, limits, script, &host, &mut made).await;
    if result.is_err() {
        made.undo(&host).await;
    }
    result
}

/// Runs a script in a process of its own.
async fn attend(
    launch: &Launch,
    limits: Limits,
    script: Script,
    host: &impl Host,
    made: &mut Made,
) -> Result<Value, ScriptError> {
    let mut process = launch.launch()?;
    let task = Task { script, memory: limits.memory, time: limits.time };
    match converse(&mut process, &task, host, made).await {
        Ok(Some(Ok(value))) => Ok(value),
        Ok(Some(Err(thrown))) => Err(ScriptError::Thrown(thrown)),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Err(ScriptError::Time(limits.time))
        }
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(None) | Err(_) => Err(match process.end().await {
            End::Memory => ScriptError::Memory(limits.memory),
            End::Stack => ScriptError::Stack,
            End::Other(why) => ScriptError::Died(why),
        }),
    }
}

/// Answers what the script asks until it says what became of it; `None` when it never does.
async fn converse(
    process: &mut Process,
    task: &Task,
    host: &impl Host,
    made: &mut Made,
) -> io::Result<Option<Result<Value, String>>> {
    let end = Instant::now() + task.time;
    timeout_at(end, process.tell(task)).await??;
    loop {
        match timeout_at(end, process.hear()).await?? {
            Some(Said::Ask(request)) => {
                // To its end: what it creates must be known.
                let reply = host.answer(request.clone()).await;
                made.note(&request, &reply);
                timeout_at(end, process.tell(&reply)).await??;
            }
            Some(Said::Log(text)) => tracing::debug!(text, "a script says"),
            Some(Said::Done(value)) => return Ok(Some(Ok(value))),
            Some(Said::Failed(why)) => return Ok(Some(Err(why))),
            None => return Ok(None),
        }
    }
}

/// What all scripts that run at once take. Shares of it are exact for far more than anybody runs: up
/// to its square root.
const WHOLE: u32 = 1 << 28;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

//! The daemon's end of the line to a script's process.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::BufReader;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _,
};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

/// Starts a process that calls [`super::run_confined`] on its standard input and output.
#[derive(Clone)]
pub struct Launch(Arc<dyn Fn() -> io::Result<Process> + Send + Sync>);

/// A script's process while it runs. It is killed when this is dropped.
pub(super) struct Process {
    input: Box<dyn AsyncWrite + Send + Unpin>,
    output: BufReader<Box<dyn AsyncRead + Send + Unpin>>,
    child: Option<(Child, Option<ChildStderr>)>,
}

/// How a process ended that did not say what became of its script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It asked for more memory than it may have.
    Memory,
    /// Its stack was full.
    Stack,
    /// Another, for people.
    Other(String),
}

impl Launch {
    /// Starts `program` with `arguments`.
    pub fn program(program: PathBuf, arguments: &'static [&'static str]) -> Self {
        Self::new(move || {
            let mut child = Command::new(&program)
                .args(arguments)
                // One that has no memory left has none for a backtrace.
                .env("RUST_BACKTRACE", "0")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .kill_on_drop(true)
                .spawn()?;
            let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
                return Err(io::Error::other("a process without pipes"));
            };
            let errors = child.stderr.take();
            Ok(Process { child: Some((child, errors)), ..Process::new(input, output) })
        })
    }

    pub(super) fn new(launch: impl Fn() -> io::Result<Process> + Send + Sync + 'static) -> Self {
        Self(Arc::new(launch))
    }

    pub(super) fn launch(&self) -> io::Result<Process> {
        (self.0)()
    }
}

impl Process {
    pub(super) fn new(
        input: impl AsyncWrite + Send + Unpin + 'static,
        output: impl AsyncRead + Send + Unpin + 'static,
    ) -> Self {
        Self { input: Box::new(input), output: BufReader::new(Box::new(output)), child: None }
    }

    pub(super) async fn tell(&mut self, message: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.input.write_all(&line).await
    }

    /// The next message; `None` when there is no more.
    pub(super) async fn hear<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let mut line = Vec::new();
        (&mut self.output).take(MESSAGE).read_until(b'\n', &mut line).await?;
        match line.last() {
            Some(b'\n') => Ok(Some(serde_json::from_slice(&line)?)),
            Some(_) if line.len() as u64 >= MESSAGE => {
                Err(io::Error::other(format!("a message of more than {MESSAGE} bytes")))
            }
            // It may end in the midst of a word.
            _ => Ok(None),
        }
    }

    /// How it ended. It is killed when it did not.
    pub(super) async fn end(self) -> End {
        let Some((mut child, errors)) = self.child else { return End::Other("it ended".into()) };
        let mut said = Vec::new();
        if let Some(errors) = errors {
            let _ = timeout(LAST, errors.take(ERRORS).read_to_end(&mut said)).await;
        }
        let said = String::from_utf8_lossy(&said);
        if said.contains(NO_MEMORY) {
            return End::Memory;
        }
        if said.contains(STACK_FULL) {
            return End::Stack;
        }
        let status = match timeout(LAST, child.wait()).await {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => return End::Other(error.to_string()),
            Err(_) => return End::Other("it does not end".into()),
        };
        tracing::error!(%status, %said, "a script's process");
        match status.signal() {
            Some(signal) => End::Other(format!("signal {signal}")),
            None => End::Other(status.to_string()),
        }
    }
}

impl fmt::Debug for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Launch").finish_non_exhaustive()
    }
}

/// Bytes of a message: what an engine may give, written as JSON.
const MESSAGE: u64 = 16 << 20;

/// Bytes of the last words of a process.
const ERRORS: u64 = 4096;

/// How long the last words may take.
const LAST: Duration = Duration::from_secs(1);

/// What Rust says when it gets no memory.
const NO_MEMORY: &str = "memory allocation of";

/// What Rust says when a stack is full.
const STACK_FULL: &str = "has overflowed its stack";

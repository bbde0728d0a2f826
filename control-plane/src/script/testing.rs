//! Scripts for tests: each on a thread of this process, without bounds.

use std::io::{self, BufReader};
use std::os::unix::net::UnixStream;
use std::thread;

use serde_json::Value;

use crate::live::Live;

use super::process::{Launch, Process};
use super::{Host, Limits, Script, ScriptError, Scripts, child};

pub(crate) fn scripts() -> Scripts {
    limited(Limits::default())
}

pub(crate) fn limited(limits: impl Into<Live<Limits>>) -> Scripts {
    Scripts::new(launch(), limits.into())
}

pub(crate) fn launch() -> Launch {
    Launch::new(process)
}

/// The value of the last statement of a text.
pub(crate) async fn evaluate(
    scripts: &Scripts,
    text: &str,
    host: impl Host,
) -> Result<Value, ScriptError> {
    scripts.run(Script::Expression(text.to_owned()), host).await
}

fn process() -> io::Result<Process> {
    let (here, there) = UnixStream::pair()?;
    here.set_nonblocking(true)?;
    let input = BufReader::new(there.try_clone()?);
    thread::spawn(move || child::run(input, there, |_, _| Ok(())));
    let (output, input) = tokio::net::UnixStream::from_std(here)?.into_split();
    Ok(Process::new(input, output))
}

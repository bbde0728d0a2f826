//! The process that runs a script: it can end itself, and nothing else.

use std::io::{self, BufRead, Write};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::engine;
use super::link::Link;
use super::message::{Said, Task};

/// Runs the script that `input` brings, within the bounds it brings, and says to `output` what it
/// asks and what becomes of it. The bounds are those of the whole process: it is good for nothing
/// else then.
pub fn run_confined(
    input: impl BufRead + Send + 'static,
    output: impl Write + Send + 'static,
) -> io::Result<()> {
    run(input, output, confine)
}

/// Runs a script; `confine` bounds memory and CPU time before it begins.
pub(super) fn run(
    input: impl BufRead + Send + 'static,
    output: impl Write + Send + 'static,
    confine: fn(memory: u64, time: Duration) -> io::Result<()>,
) -> io::Result<()> {
    // The engine calls itself for what a script calls.
    let engine = thread::Builder::new().stack_size(STACK).spawn(move || {
        let link = Rc::new(Link::new(Box::new(input), Box::new(output)));
        let task: Task = link.hear()?;
        confine(task.memory, task.time)?;
        let result = engine::run(&task.script, &link);
        link.say(&result.map_or_else(Said::Failed, Said::Done))
    })?;
    engine.join().unwrap_or_else(|_| Err(io::Error::other("the engine panicked")))
}

/// Bounds this process: to what it has now and `memory` bytes more, and to `time` of CPU.
fn confine(memory: u64, time: Duration) -> io::Result<()> {
    let seconds = time.as_secs().saturating_add(1);
    for (resource, bound) in [
        (Resource::RLIMIT_DATA, data()?.saturating_add(memory)),
        (Resource::RLIMIT_CPU, seconds),
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_FSIZE, 0),
    ] {
        let (_, most) = getrlimit(resource)?;
        let bound = bound.min(most);
        setrlimit(resource, bound, bound)?;
    }
    Ok(())
}

/// Bytes of memory that this process may write to and nobody else.
fn data() -> io::Result<u64> {
    let status = std::fs::read_to_string(STATUS)?;
    let kilobytes = (status.lines())
        .find_map(|line| line.strip_prefix("VmData:")?.split_whitespace().next()?.parse().ok());
    let unknown = || io::Error::other(format!("{STATUS}: expected VmData in kB"));
    kilobytes.map(|kilobytes: u64| kilobytes * 1024).ok_or_else(unknown)
}

/// What the kernel says of this process.
const STATUS: &str = "/proc/self/status";

/// Bytes of the engine's stack: what [`engine`] lets a script call within one another has room, in a
/// debug build too.
const STACK: usize = 64 << 20;

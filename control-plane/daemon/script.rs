//! `sonde script`: the process of one script.

use std::io::{BufReader, stdin, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use sonde_control_plane::script::{self, Launch};

/// Runs the script that the daemon sends on stdin.
pub(crate) fn script() -> anyhow::Result<ExitCode> {
    script::run_confined(BufReader::new(stdin()), stdout()).context("running a script")?;
    Ok(ExitCode::SUCCESS)
}

/// Starts such processes.
pub(crate) fn launch() -> Launch {
    Launch::program(PathBuf::from(SELF), &["script"])
}

/// This program, also when its file was replaced since it started.
const SELF: &str = "/proc/self/exe";

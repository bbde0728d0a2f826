//! `sonde script`: the process of one script.

use std::io::{BufReader, stdin, stdout};
use std::process::ExitCode;

use anyhow::Context as _;
use sonde_control_plane::script;

/// Runs the script that the daemon sends on stdin.
pub(crate) fn script() -> anyhow::Result<ExitCode> {
    script::run_confined(BufReader::new(stdin()), stdout()).context("running a script")?;
    Ok(ExitCode::SUCCESS)
}

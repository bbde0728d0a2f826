//! Log lines on stderr: for people on a terminal, JSON elsewhere.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging.
pub(crate) fn start(filter: EnvFilter) {
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match std::io::stderr().is_terminal() {
        true => lines.compact().init(),
        false => lines.json().with_ansi(false).init(),
    }
}

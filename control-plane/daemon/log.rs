//! Log lines on stderr: for people on a terminal, JSON elsewhere. `RUST_LOG` chooses the levels.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging.
pub(crate) fn init() {
    // capsule reports each step of its own; its failures come back as errors.
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,capsule=warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.compact().init();
    } else {
        builder.json().with_ansi(false).init();
    }
}

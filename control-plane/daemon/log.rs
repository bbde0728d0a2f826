//! Log lines on stderr: for people on a terminal, JSON elsewhere.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

/// Which lines there are. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Levels(Handle<EnvFilter, Registry>);

/// Starts logging.
pub(crate) fn start(filter: EnvFilter) -> Levels {
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match std::io::stderr().is_terminal() {
        true => lines.compact().boxed(),
        false => lines.json().with_ansi(false).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines).init();
    Levels(handle)
}

impl Levels {
    /// Has other lines from now on.
    pub(crate) fn set(&self, filter: EnvFilter) -> anyhow::Result<()> {
        self.0.reload(filter).context("cannot change what is logged")
    }
}

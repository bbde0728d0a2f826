//! What the daemon and a script's process say to each other: a JSON text a line. The daemon says the
//! [`Task`], and a [`Reply`] to each [`Request`]; the process says what [`Said`] holds.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a process is started for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) script: Script,
    /// Bytes that the process may take beyond what it began with.
    pub(super) memory: u64,
    /// CPU time that it may take. Whoever started it looks at the clock.
    pub(super) time: Duration,
}

/// A JavaScript text, and what is made of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Script {
    /// Statements; what the last one gives is asked for, of a promise what it is resolved with.
    Expression(String),
    /// A function that is called.
    Function {
        /// Its text.
        source: String,
        /// What it is given.
        params: Vec<Value>,
    },
}

/// What a script asks of the REST API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// HTTP's.
    pub method: String,
    /// From `/api` on.
    pub path: String,
    /// JSON, or nothing.
    pub body: String,
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// HTTP's.
    pub status: u16,
    /// JSON, the text of an error, or nothing.
    pub body: String,
}

/// What a process says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Said {
    /// It waits for the answer.
    Ask(Request),
    /// For the log.
    Log(String),
    /// The value of the script; the last that it says.
    Done(Value),
    /// Why there is none; the last that it says.
    Failed(String),
}

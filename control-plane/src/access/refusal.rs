//! Why somebody may not, as he is told (Skydive API §1.1, §1.2).

use std::time::Duration;

/// Why a request is refused. Its text is the body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No token, or one that nobody has.
    #[error("Wrong credentials")]
    Wrong,
    /// A log-in without a name or a password.
    #[error("No credentials provided")]
    NoneGiven,
    /// Too many failures; how long to wait.
    #[error("too many wrong credentials, try again in {} s", seconds(.0))]
    Throttled(Duration),
    /// Too many passwords are being checked.
    #[error("too many log in at once, try again later")]
    Busy,
    /// The user may not.
    #[error("'{user}' has no '{action}' permission on '{object}'")]
    Denied {
        /// Who.
        user: String,
        /// What.
        action: &'static str,
        /// On what.
        object: &'static str,
    },
    /// A page of another site asks.
    #[error("pages of {0} may not do this, see http.allowed_origins")]
    Foreign(String),
    /// It does not say which host it is meant for.
    #[error("expected one header Host")]
    NoHost,
    /// It is meant for another host, as far as its name goes.
    #[error("'{0}' is no name of this host, see http.allowed_hosts")]
    Misdirected(String),
    /// A defect of ours; the log says more.
    #[error("internal error")]
    Defect,
}

/// Whole seconds, after which the time is over.
pub(crate) fn seconds(time: &Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

//! A rule of a resource that is broken, with Skydive's texts (API §2.1).

use crate::gremlin::{self, Limits, Query};

/// The member, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{member}: {fault}")]
pub struct Invalid {
    member: &'static str,
    fault: String,
}

impl Invalid {
    /// Says so.
    pub fn new(member: &'static str, fault: impl Into<String>) -> Self {
        Self { member, fault: fault.into() }
    }
}

/// What a member holds, or `None` and one broken rule more.
pub fn keep<T>(broken: &mut Vec<Invalid>, result: Result<T, Invalid>) -> Option<T> {
    result.map_err(|invalid| broken.push(invalid)).ok()
}

/// The query that a member holds. A filter in it may name hosts, so this may block on DNS.
pub fn query(member: &'static str, text: &str) -> Result<Query, Invalid> {
    gremlin::parse(text, &Limits::default())
        .map_err(|why| Invalid::new(member, format!("Not a valid Gremlin expression: {why}")))
}

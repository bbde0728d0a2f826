//! Rules of resources that are broken, with Skydive's texts (API §2.1).

use crate::gremlin::{self, Limits, Query};

/// A rule that is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);

impl Invalid {
    /// What is wrong with a member.
    pub fn new(member: &'static str, fault: impl AsRef<str>) -> Self {
        Self(format!("{member}: {}", fault.as_ref()))
    }

    /// What is wrong with all of it.
    pub fn whole(fault: impl Into<String>) -> Self {
        Self(fault.into())
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

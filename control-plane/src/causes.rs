//! What is behind an error, in one text.

use std::error::Error;
use std::fmt;
use std::iter::successors;

/// An error and its causes, the outermost first: `a: b: c`. By itself an error says but the first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Causes<'a>(pub(crate) &'a dyn Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut causes = successors(self.0.source(), |&cause| cause.source());
        causes.try_for_each(|cause| write!(f, ": {cause}"))
    }
}

//! A text of one's own.

use crate::flow::Small;

/// A text that is kept: in place when it is short, as IDs and addresses are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Text {
    Short(Small),
    /// Never one that would be short.
    Long(Box<str>),
}

impl Text {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Short(text) => text.as_str(),
            Self::Long(text) => text,
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Small::of(text).map_or_else(|| Self::Long(text.into()), Self::Short)
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

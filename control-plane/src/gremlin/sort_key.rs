//! What flows are sorted and told apart by.

use std::cmp::Ordering;

use super::field::{Field, Scalar};
use super::step::Order;
use super::text::Text;

/// A field's value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Int(i64),
    /// A text, or an object as one.
    Text(Text),
}

impl Key {
    pub(super) fn of(field: &Field<'_>) -> Self {
        match field {
            Field::One(Scalar::Int(n) | Scalar::Port(n)) => Self::Int(*n),
            field => Self::Text(
                field.to_text().unwrap_or_else(|| field.to_value().to_string().as_str().into()),
            ),
        }
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            // A field is of one kind in all flows.
            _ => Ordering::Equal,
        }
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// By the field, then by UUID so that pages fit together; flows without it come last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SortKey {
    pub(super) field: Option<Key>,
    pub(super) uuid: Option<Key>,
}

impl Order {
    pub(super) fn compare(self, a: &SortKey, b: &SortKey) -> Ordering {
        self.compare_fields(&a.field, &b.field).then_with(|| a.uuid.cmp(&b.uuid))
    }

    pub(super) fn compare_fields(self, a: &Option<Key>, b: &Option<Key>) -> Ordering {
        match (a, b) {
            (Some(a), Some(b)) => match self {
                Self::Ascending => a.cmp(b),
                Self::Descending => b.cmp(a),
            },
            (a, b) => b.is_some().cmp(&a.is_some()),
        }
    }
}

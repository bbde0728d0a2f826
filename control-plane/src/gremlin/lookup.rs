//! What a graph's indexes know of a filter.

use std::sync::Arc;

use super::field::unprefixed;
use super::predicate::{Condition, Literal, Predicate};
use crate::graph::{Elements, Kind};

/// Elements among which are all that meet all the conditions, in the order of `elements`: those that
/// the index names which names fewest; `None` when no index knows any of the conditions.
pub(super) fn indexed<'a, K: Kind>(
    elements: &'a Elements<K>,
    conditions: &[Condition],
) -> Option<impl Iterator<Item = &'a Arc<K>> + use<'a, K>> {
    let indexed = conditions.iter().filter_map(|condition| {
        let (path, texts) = (unprefixed(&condition.key), texts(&condition.predicate)?);
        Some((elements.count_with(path, &texts)?, path, texts))
    });
    let (_, path, texts) = indexed.min_by_key(|(count, ..)| *count)?;
    elements.with(path, &texts)
}

/// The texts one of which a field has to have; `None` when other values do as well.
fn texts(predicate: &Predicate) -> Option<Vec<&str>> {
    match predicate {
        Predicate::Equal(literal) => Some(vec![literal.text()?]),
        Predicate::Within(list) => list.iter().map(Literal::text).collect(),
        _ => None,
    }
}

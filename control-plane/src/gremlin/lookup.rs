//! What a graph's indexes know of a filter.

use std::sync::Arc;

use super::field::unprefixed;
use super::predicate::{Condition, Literal, Predicate};
use crate::graph::{Elements, Kind};

/// The elements that meet one of the conditions, in the order of `elements`, and the others: that
/// which an index knows and which fewest meet. `None` when no index knows any.
pub(super) fn indexed<'a, 'c, K: Kind>(
    elements: &'a Elements<K>,
    conditions: &'c [Condition],
) -> Option<(impl Iterator<Item = &'a Arc<K>> + use<'a, K>, [&'c [Condition]; 2])> {
    let indexed = conditions.iter().enumerate().filter_map(|(place, condition)| {
        let (path, texts) = (unprefixed(&condition.key), texts(&condition.predicate)?);
        Some((elements.count_with(path, &texts)?, place, path, texts))
    });
    let (_, place, path, texts) = indexed.min_by_key(|(count, ..)| *count)?;
    let others = [conditions.get(..place)?, conditions.get(place + 1..)?];
    Some((elements.with(path, &texts)?, others))
}

/// The texts one of which a field has to have; `None` when other values do as well.
fn texts(predicate: &Predicate) -> Option<Vec<&str>> {
    match predicate {
        Predicate::Equal(literal) => Some(vec![literal.text()?]),
        Predicate::Within(list) => list.iter().map(Literal::text).collect(),
        _ => None,
    }
}

//! What a graph's indexes know of a filter.

use std::sync::Arc;

use super::field::unprefixed;
use super::predicate::{Condition, Literal, Predicate};
use crate::graph::{Elements, Kind};

/// The elements that may meet all the conditions, in the order of `elements`: those that the index
/// names which names fewest, or all when no index knows any of the conditions.
pub(super) fn candidates<'a, K: Kind>(
    elements: &'a Elements<K>,
    conditions: &[Condition],
) -> Box<dyn Iterator<Item = &'a Arc<K>> + 'a> {
    let indexed = conditions.iter().filter_map(|condition| {
        let (path, texts) = (unprefixed(&condition.key), texts(&condition.predicate)?);
        Some((elements.count_with(path, &texts)?, path, texts))
    });
    let fewest = indexed.min_by_key(|(count, ..)| *count);
    match fewest.and_then(|(_, path, texts)| elements.with(path, &texts)) {
        Some(found) => Box::new(found),
        None => Box::new(elements.values()),
    }
}

/// The texts one of which a field has to have; `None` when other values do as well.
fn texts(predicate: &Predicate) -> Option<Vec<&str>> {
    match predicate {
        Predicate::Equal(literal) => Some(vec![literal.text()?]),
        Predicate::Within(list) => list.iter().map(Literal::text).collect(),
        _ => None,
    }
}

//! What a flow must meet to be selected.

use std::collections::HashSet;

use super::flow_field::filter_getter;
use super::flow_getter::Getter;
use super::predicate::{Condition, Predicate};
use crate::flow_store::Row;
use crate::graph::Span;

/// One of the clauses that a flow must meet, all of them.
pub(super) enum Clause<'q> {
    /// Captured on a node of one of those TIDs.
    At(HashSet<&'q str>),
    /// A packet in the span, or one before it and one after.
    SeenIn(Span),
    Any(Vec<Test<'q>>),
}

/// A predicate and how to read its field; a name that no flow has reads as missing.
pub(super) struct Test<'q> {
    getter: Option<Getter>,
    predicate: &'q Predicate,
}

impl<'q> Clause<'q> {
    /// A clause for each of the conditions.
    pub(super) fn all(conditions: &'q [Condition]) -> impl Iterator<Item = Self> {
        conditions.iter().map(|condition| Self::Any(vec![Test::of(condition)]))
    }

    /// One clause, of which a condition will do.
    pub(super) fn any(conditions: &'q [Condition]) -> Self {
        Self::Any(conditions.iter().map(Test::of).collect())
    }

    pub(super) fn admits(&self, row: Row<'_>) -> bool {
        match self {
            Self::At(tids) => tids.contains(row.node_tid()),
            Self::SeenIn(span) => {
                let (start, last) = row.times();
                start <= span.to && last >= span.from
            }
            Self::Any(tests) => tests.iter().any(|test| test.admits(row)),
        }
    }

    /// Whether it needs no more of a record than its headline.
    pub(super) fn is_narrow(&self) -> bool {
        let mut getters = self.tests().iter().filter_map(|test| test.getter.as_ref());
        getters.all(Getter::is_narrow)
    }

    /// Whether each of its tests is about as fast as a comparison.
    pub(super) fn is_brief(&self) -> bool {
        self.tests().iter().all(|test| {
            test.predicate.is_brief() && test.getter.as_ref().is_none_or(Getter::is_brief)
        })
    }

    pub(super) fn tests(&self) -> &[Test<'q>] {
        match self {
            Self::At(_) | Self::SeenIn(_) => &[],
            Self::Any(tests) => tests,
        }
    }
}

impl<'q> Test<'q> {
    fn of(condition: &'q Condition) -> Self {
        Self { getter: filter_getter(&condition.key), predicate: &condition.predicate }
    }

    fn admits(&self, row: Row<'_>) -> bool {
        let field = self.getter.and_then(|getter| getter.read(row));
        self.predicate.admits(field.as_ref())
    }
}

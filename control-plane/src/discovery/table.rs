//! Tables of links that others can fill: listed up to a limit, counted beyond it.

use std::collections::HashMap;

use serde_json::Value;

/// The entries of one link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table<T> {
    /// In order; the first [`LISTED`] that were found.
    pub(super) listed: Vec<T>,
    /// How many more there are.
    pub(super) more: u64,
}

/// Tables by interface index.
#[derive(Debug)]
pub(super) struct ByLink<T>(HashMap<u32, Table<T>>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { listed: Vec::new(), more: 0 }
    }
}

impl<T> Default for ByLink<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> Table<T> {
    fn add(&mut self, entry: T) {
        if self.listed.len() < LISTED {
            self.listed.push(entry);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// The entries as JSON; `None` when there are none.
    pub(super) fn json(&self, entry: impl Fn(&T) -> Value) -> Option<Value> {
        (!self.listed.is_empty()).then(|| self.listed.iter().map(entry).collect())
    }
}

impl<T: Ord> ByLink<T> {
    pub(super) fn add(&mut self, link: u32, entry: T) {
        self.0.entry(link).or_default().add(entry);
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (link, table) in other.0 {
            let held = self.0.entry(link).or_default();
            held.more = held.more.saturating_add(table.more);
            table.listed.into_iter().for_each(|entry| held.add(entry));
        }
    }

    /// The table of a link, in order.
    pub(super) fn take(&mut self, link: u32) -> Table<T> {
        let mut table = self.0.remove(&link).unwrap_or_default();
        table.listed.sort_unstable();
        table
    }
}

/// Entries of one table that are listed.
pub(super) const LISTED: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_limit_is_counted() {
        let (mut tables, mut others) = (ByLink::default(), ByLink::default());
        for entry in (0..LISTED - 1).rev() {
            tables.add(7, entry);
        }
        for entry in 0..3 {
            others.add(7, entry + LISTED);
        }
        tables.merge(others);
        let table = tables.take(7);
        assert_eq!((table.listed.len(), table.more), (LISTED, 2));
        assert!(table.listed.is_sorted());
        assert_eq!(tables.take(7), Table::default());
    }
}

//! Where in the slab a key may be: a hash table over tags.

use hashbrown::HashTable;

/// Finds places in the slab by tag. Two keys may share a tag, so the key itself is compared by
/// the caller, always.
#[derive(Debug)]
pub(crate) struct Table {
    entries: HashTable<Entry>,
}

/// Eight bytes, so that a line of the table holds eight of them.
#[derive(Clone, Copy, Debug)]
struct Entry {
    tag: u32,
    index: u32,
}

impl Table {
    /// A table for `capacity` flows. It has room for twice as many: at such a load nearly every
    /// removal frees its slot for good, so the table never needs to be rehashed.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: HashTable::with_capacity(capacity.saturating_mul(2)) }
    }

    /// The place of the first entry with `tag` that `is` says is the one.
    #[inline]
    pub(crate) fn find(&self, tag: u32, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        self.entries
            .find(spread(tag), |entry| entry.tag == tag && is(entry.index))
            .map(|entry| entry.index)
    }

    /// Adds an entry.
    pub(crate) fn insert(&mut self, tag: u32, index: u32) {
        self.entries.insert_unique(spread(tag), Entry { tag, index }, |entry| spread(entry.tag));
    }

    /// Removes an entry, if it is there.
    pub(crate) fn remove(&mut self, tag: u32, index: u32) {
        if let Ok(entry) = self.entries.find_entry(spread(tag), |entry| entry.index == index) {
            entry.remove();
        }
    }
}

/// A tag's 64 bits: hashbrown takes the place from the low ones and a check from the top ones.
#[inline]
fn spread(tag: u32) -> u64 {
    u64::from(tag).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_share_a_tag_are_told_apart() {
        let mut table = Table::new(4);
        table.insert(7, 1);
        table.insert(7, 2);
        assert_eq!(table.find(7, |index| index == 2), Some(2));
        table.remove(7, 2);
        assert_eq!(table.find(7, |index| index == 2), None);
        assert_eq!(table.find(7, |_| true), Some(1));
        assert_eq!(table.find(8, |_| true), None);
    }

    #[test]
    fn churn_at_the_limit_never_grows_the_table() {
        let mut table = Table::new(1000);
        let room = table.entries.allocation_size();
        for n in 0..1_000_000u32 {
            if n >= 1000 {
                let old = n - 1000;
                table.remove(old.wrapping_mul(2_654_435_761), old);
            }
            table.insert(n.wrapping_mul(2_654_435_761), n);
        }
        assert_eq!(table.entries.len(), 1000);
        assert_eq!(table.entries.allocation_size(), room);
    }
}

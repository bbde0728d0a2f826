//! A map in parts that are small enough to be looked through at once.

use ahash::RandomState;
use indexmap::IndexMap;

use super::FlowKey;

/// Values by the key of their flow, on shelves. A value stays on the shelf where it was put, so
/// that who walks along the shelves, and lets others work between two, misses none that was there
/// all the time and meets none twice.
#[derive(Debug)]
pub(super) struct Shelves<T> {
    shelves: Vec<IndexMap<FlowKey, T, RandomState>>,
    /// Keyed at random: who makes up flows must not choose their shelf.
    hasher: RandomState,
    len: usize,
}

/// A place on a shelf.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor {
    shelf: usize,
    place: usize,
}

impl<T> Shelves<T> {
    /// As many shelves as `capacity` values need; of the room on them, none is taken yet.
    pub(super) fn new(capacity: usize) -> Self {
        let hasher = RandomState::new();
        let shelves = capacity.div_ceil(SHELF).clamp(1, MOST).next_power_of_two();
        let shelf = || IndexMap::with_hasher(hasher.clone());
        Self { shelves: (0..shelves).map(|_| shelf()).collect(), hasher, len: 0 }
    }

    pub(super) fn get(&self, key: &FlowKey) -> Option<&T> {
        self.shelves.get(self.shelf_of(key))?.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &FlowKey) -> Option<&mut T> {
        let shelf = self.shelf_of(key);
        self.shelves.get_mut(shelf)?.get_mut(key)
    }

    pub(super) fn insert(&mut self, key: FlowKey, value: T) {
        let shelf = self.shelf_of(&key);
        if let Some(shelf) = self.shelves.get_mut(shelf) {
            self.len += usize::from(shelf.insert(key, value).is_none());
        }
    }

    pub(super) fn remove(&mut self, key: &FlowKey) -> Option<T> {
        let shelf = self.shelf_of(key);
        let value = self.shelves.get_mut(shelf)?.swap_remove(key)?;
        self.len -= 1;
        Some(value)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// What is on the shelf of that number; `None` behind the last.
    pub(super) fn shelf(&self, number: usize) -> Option<impl ExactSizeIterator<Item = &T>> {
        Some(self.shelves.get(number)?.values())
    }

    /// The value at the cursor or next after it, round and round; `None` when there is none.
    pub(super) fn at(&mut self, cursor: &mut Cursor) -> Option<&mut T> {
        if self.len == 0 {
            return None;
        }
        while self.shelves.get(cursor.shelf).is_none_or(|shelf| cursor.place >= shelf.len()) {
            cursor.place = 0;
            cursor.shelf = if cursor.shelf < self.shelves.len() { cursor.shelf + 1 } else { 0 };
        }
        let (_, value) = self.shelves.get_mut(cursor.shelf)?.get_index_mut(cursor.place)?;
        Some(value)
    }

    /// Takes the value at the cursor; another one has its place then.
    pub(super) fn remove_at(&mut self, cursor: Cursor) {
        let shelf = self.shelves.get_mut(cursor.shelf);
        if shelf.and_then(|shelf| shelf.swap_remove_index(cursor.place)).is_some() {
            self.len -= 1;
        }
    }

    fn shelf_of(&self, key: &FlowKey) -> usize {
        // Bits that a shelf makes no use of to find its own places.
        (self.hasher.hash_one(key) >> 32) as usize & (self.shelves.len() - 1)
    }
}

impl Cursor {
    pub(super) fn advance(&mut self) {
        self.place += 1;
    }
}

/// Values on a full shelf, about: they are looked through in a tenth of a millisecond.
const SHELF: usize = 1024;

/// Shelves at most.
const MOST: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use sonde_proto::record::WatchId;

    use super::*;

    fn key(uuid: u64) -> FlowKey {
        FlowKey { watch: WatchId(1), uuid }
    }

    #[test]
    fn walkers_meet_each_value_once_while_others_come_and_go() {
        let mut shelves = Shelves::new(100_000);
        (0..50_000).for_each(|n| shelves.insert(key(n), n));
        let (mut met, mut shelf) = (Vec::new(), 0);
        while shelf < shelves.shelves.len() {
            met.extend(shelves.shelf(shelf).unwrap().copied());
            shelf += 1;
            // Evens leave and come again, others are new.
            let even = key(shelf as u64 * 2);
            let value = shelves.remove(&even).unwrap();
            shelves.insert(even, value);
            shelves.insert(key(50_000 + shelf as u64), 50_000 + shelf as u64);
        }
        assert!(shelf >= 50);
        met.retain(|n| *n < 50_000);
        met.sort_unstable();
        assert_eq!(met, Vec::from_iter(0..50_000));
        assert_eq!(shelves.len(), 50_000 + shelf);
    }

    #[test]
    fn a_cursor_goes_round() {
        let mut shelves = Shelves::new(10_000);
        let mut cursor = Cursor::default();
        assert!(shelves.at(&mut cursor).is_none());
        (0..3).for_each(|n| shelves.insert(key(n), n));
        let mut next = || {
            let value = *shelves.at(&mut cursor).unwrap();
            cursor.advance();
            value
        };
        let first = [next(), next(), next()];
        assert_eq!([next(), next(), next()], first);
        let mut sorted = first;
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2]);
    }
}

//! A map in parts that are small enough to be looked through at once.

use ahash::RandomState;

use super::shelf::Shelf;
use super::walk::Rows;
use super::{FlowKey, Stay};
use crate::flow::LazyFlow;

/// Flows by their key, on shelves. A flow stays on the shelf where it was put, so that who walks along
/// the shelves, and lets others work between two, misses none that was there all the time and meets
/// none twice.
#[derive(Debug)]
pub(super) struct Shelves {
    shelves: Vec<Shelf>,
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

impl Shelves {
    /// As many shelves as `capacity` flows need; of the room on them, none is taken yet.
    pub(super) fn new(capacity: usize) -> Self {
        let hasher = RandomState::new();
        let shelves = capacity.div_ceil(SHELF).clamp(1, MOST).next_power_of_two();
        let shelf = || Shelf::new(hasher.clone());
        Self { shelves: (0..shelves).map(|_| shelf()).collect(), hasher, len: 0 }
    }

    /// Puts a flow, in the place of what is known of it.
    pub(super) fn put(&mut self, key: FlowKey, flow: LazyFlow, stay: Stay) {
        let shelf = self.number_of(&key);
        if let Some(shelf) = self.shelves.get_mut(shelf) {
            self.len += usize::from(shelf.put(key, flow, stay));
        }
    }

    pub(super) fn remove(&mut self, key: &FlowKey) -> Option<Stay> {
        let shelf = self.number_of(key);
        let stay = self.shelves.get_mut(shelf)?.remove(key)?;
        self.len -= 1;
        Some(stay)
    }

    pub(super) fn flow(&self, key: &FlowKey) -> Option<&LazyFlow> {
        self.shelf_of(key)?.flow(key)
    }

    pub(super) fn stay(&self, key: &FlowKey) -> Option<&Stay> {
        self.shelf_of(key)?.stay(key)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// What is on the shelf of that number; `None` behind the last.
    pub(super) fn rows(&self, number: usize) -> Option<Rows<'_>> {
        Some(self.shelves.get(number)?.rows())
    }

    /// The key and the stay of the flow at the cursor or next after it, round and round; `None` when
    /// there is none.
    pub(super) fn at(&mut self, cursor: &mut Cursor) -> Option<(&FlowKey, &mut Stay)> {
        if self.len == 0 {
            return None;
        }
        while self.shelves.get(cursor.shelf).is_none_or(|shelf| cursor.place >= shelf.len()) {
            cursor.place = 0;
            cursor.shelf = if cursor.shelf < self.shelves.len() { cursor.shelf + 1 } else { 0 };
        }
        self.shelves.get_mut(cursor.shelf)?.at(cursor.place)
    }

    fn shelf_of(&self, key: &FlowKey) -> Option<&Shelf> {
        self.shelves.get(self.number_of(key))
    }

    fn number_of(&self, key: &FlowKey) -> usize {
        // Bits that a shelf makes no use of to find its own places.
        (self.hasher.hash_one(key) >> 32) as usize & (self.shelves.len() - 1)
    }
}

impl Cursor {
    pub(super) fn advance(&mut self) {
        self.place += 1;
    }
}

/// Flows on a full shelf, about: they are looked through in a tenth of a millisecond.
const SHELF: usize = 1024;

/// Shelves at most.
const MOST: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sonde_proto::flow::Flow;
    use sonde_proto::record::WatchId;
    use sonde_proto::time::Timestamp;

    use super::*;

    fn key(uuid: u64) -> FlowKey {
        FlowKey { watch: WatchId(1), uuid }
    }

    fn put(shelves: &mut Shelves, uuid: u64) {
        let flow = Flow { start: uuid as i64, ..Flow::default() };
        let stay = Stay { at: Timestamp::default(), leaves: None };
        shelves.put(key(uuid), Arc::new(flow).into(), stay);
    }

    #[test]
    fn walkers_meet_each_flow_once_while_others_come_and_go() {
        let mut shelves = Shelves::new(100_000);
        (0..50_000).for_each(|n| put(&mut shelves, n));
        let (mut met, mut shelf) = (Vec::new(), 0);
        while let Some(rows) = shelves.rows(shelf) {
            met.extend(rows.iter().map(|row| row.flow.times().0));
            shelf += 1;
            // Evens leave and come again, others are new.
            let even = shelf as u64 * 2;
            assert!(shelves.remove(&key(even)).is_some());
            put(&mut shelves, even);
            put(&mut shelves, 50_000 + shelf as u64);
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
        (0..3).for_each(|n| put(&mut shelves, n));
        let mut next = || {
            let (key, _) = shelves.at(&mut cursor).unwrap();
            let uuid = key.uuid;
            cursor.advance();
            uuid
        };
        let first = [next(), next(), next()];
        assert_eq!([next(), next(), next()], first);
        let mut sorted = first;
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2]);
    }
}

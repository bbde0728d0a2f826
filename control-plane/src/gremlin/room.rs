//! Where a query puts what it makes of the flows it looks at.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash};

use indexmap::IndexSet;

/// A place for what is made of flows. What takes longer the more there is, as to grow does, waits
/// until nobody waits for the query.
pub(super) trait Room {
    /// Makes room for some shelves of flows. Called after each shelf, when others have the store.
    fn make_room(&mut self);
}

/// A number takes none.
impl Room for usize {
    fn make_room(&mut self) {}
}

impl Room for i128 {
    fn make_room(&mut self) {}
}

impl<T> Room for Vec<T> {
    fn make_room(&mut self) {
        if self.len() >= FEW {
            self.reserve(FEW);
        }
    }
}

impl<T: Eq + Hash, S: BuildHasher> Room for HashSet<T, S> {
    fn make_room(&mut self) {
        if self.len() >= FEW {
            self.reserve(FEW);
        }
    }
}

impl<T: Eq + Hash, S: BuildHasher> Room for IndexSet<T, S> {
    fn make_room(&mut self) {
        if self.len() >= FEW {
            self.reserve(FEW);
        }
    }
}

/// More than is made of the flows of a shelf. Fewer grow in no time.
const FEW: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// Puts shelf after shelf into it, and wants that it grows between them only.
    fn fill<T: Room + Default>(put: fn(&mut T, usize), capacity: fn(&T) -> usize) {
        let mut place = T::default();
        let numbers = Vec::from_iter(0..20 * FEW);
        for shelf in numbers.chunks(FEW / 2) {
            let before = capacity(&place);
            shelf.iter().for_each(|n| put(&mut place, *n));
            assert!(capacity(&place) == before || before < 2 * FEW, "at {}", shelf[0]);
            place.make_room();
        }
    }

    #[test]
    fn places_grow_while_nobody_waits() {
        fill::<Vec<usize>>(Vec::push, Vec::capacity);
        fill::<HashSet<usize>>(|set, n| assert!(set.insert(n)), HashSet::capacity);
        fill::<IndexSet<usize>>(|set, n| assert!(set.insert(n)), IndexSet::capacity);
    }
}

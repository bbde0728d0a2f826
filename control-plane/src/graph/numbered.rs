//! Values by number, in a form that is cheap to copy and to change after.

use std::slice;
use std::sync::Arc;

/// A map from numbers to values, in the order of the numbers: a trie whose branches are shared.
/// A copy costs nothing; a change copies the branches on the way to its value, of which there are
/// as many as the greatest number has digits in base 32.
#[derive(Clone, Debug)]
pub(super) struct Numbered<T> {
    root: Option<Arc<Branch<T>>>,
    /// Inner branches on the way to a leaf.
    height: u32,
}

#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "values are pointers too")]
enum Branch<T> {
    Inner(Slots<Arc<Self>>),
    Leaf(Slots<T>),
}

type Slots<T> = [Option<T>; FAN_OUT];

/// Walks the values in the order of their numbers.
struct Values<'a, T> {
    /// What is left of the inner branches on the way to the leaf, and of the leaf.
    inner: Vec<slice::Iter<'a, Option<Arc<Branch<T>>>>>,
    leaf: slice::Iter<'a, Option<T>>,
}

impl<T> Numbered<T> {
    /// The value of that number.
    pub(super) fn get(&self, number: u64) -> Option<&T> {
        let mut branch = self.root.as_deref().filter(|_| is_below(number, self.height))?;
        for level in (0..=self.height).rev() {
            match branch {
                Branch::Inner(slots) => branch = slots[place(number, level)].as_deref()?,
                Branch::Leaf(slots) => return slots[place(number, level)].as_ref(),
            }
        }
        None
    }

    /// All values, in the order of their numbers.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        let mut values = Values { inner: Vec::new(), leaf: [].iter() };
        values.enter(self.root.as_deref());
        values
    }
}

impl<T: Clone> Numbered<T> {
    /// Puts a value under a number, in the place of what was there.
    pub(super) fn insert(&mut self, number: u64, value: T) {
        while !is_below(number, self.height) {
            if let Some(root) = self.root.take() {
                let mut slots = empty();
                slots[0] = Some(root);
                self.root = Some(Arc::new(Branch::Inner(slots)));
            }
            self.height += 1;
        }
        let mut value = Some(value);
        let mut slot = &mut self.root;
        for level in (0..=self.height).rev() {
            match Arc::make_mut(slot.get_or_insert_with(|| Arc::new(Branch::new(level)))) {
                Branch::Inner(slots) => slot = &mut slots[place(number, level)],
                Branch::Leaf(slots) => {
                    slots[place(number, level)] = value.take();
                    return;
                }
            }
        }
    }

    /// Takes the value of that number.
    pub(super) fn remove(&mut self, number: u64) -> Option<T> {
        self.get(number)?;
        remove(&mut self.root, number, self.height)
    }
}

/// Takes a value from below a branch, and the branch if nothing is left on it.
fn remove<T: Clone>(slot: &mut Option<Arc<Branch<T>>>, number: u64, level: u32) -> Option<T> {
    let branch = Arc::make_mut(slot.as_mut()?);
    let place = place(number, level);
    let (taken, is_empty) = match branch {
        Branch::Inner(slots) => {
            (remove(&mut slots[place], number, level.checked_sub(1)?), is_empty(slots))
        }
        Branch::Leaf(slots) => (slots[place].take(), is_empty(slots)),
    };
    if is_empty {
        *slot = None;
    }
    taken
}

impl<T> Branch<T> {
    /// An empty one, so many levels above the leaves.
    fn new(level: u32) -> Self {
        if level == 0 { Self::Leaf(empty()) } else { Self::Inner(empty()) }
    }
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { root: None, height: 0 }
    }
}

impl<'a, T> Values<'a, T> {
    fn enter(&mut self, branch: Option<&'a Branch<T>>) {
        match branch {
            Some(Branch::Inner(slots)) => self.inner.push(slots.iter()),
            Some(Branch::Leaf(slots)) => self.leaf = slots.iter(),
            None => {}
        }
    }
}

impl<'a, T> Iterator for Values<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        loop {
            if let Some(value) = self.leaf.by_ref().flatten().next() {
                return Some(value);
            }
            match self.inner.last_mut()?.next() {
                Some(branch) => self.enter(branch.as_deref()),
                None => drop(self.inner.pop()),
            }
        }
    }
}

/// Whether a trie of that height has a place for the number.
fn is_below(number: u64, height: u32) -> bool {
    number.checked_shr(BITS * (height + 1)).unwrap_or(0) == 0
}

/// The place on a branch that is so many levels above the leaves.
fn place(number: u64, level: u32) -> usize {
    (number >> (BITS * level)) as usize % FAN_OUT
}

fn empty<T>() -> Slots<T> {
    [const { None }; FAN_OUT]
}

fn is_empty<T>(slots: &Slots<T>) -> bool {
    slots.iter().all(Option::is_none)
}

/// Of a number, on each level.
const BITS: u32 = 5;
const FAN_OUT: usize = 1 << BITS;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Numbers near each other, near the bounds of branches, and far away.
    fn number() -> impl Strategy<Value = u64> {
        let bounds = prop::sample::select(vec![31, 32, 33, 1023, 1024, 32_768, u64::MAX]);
        prop_oneof![0..70_u64, bounds, any::<u64>()]
    }

    proptest! {
        #[test]
        fn it_is_a_map_and_copies_stay_as_they_were(
            changes in prop::collection::vec((number(), any::<bool>()), 0..100),
        ) {
            let (mut trie, mut map) = (Numbered::default(), BTreeMap::new());
            let mut copies = Vec::new();
            for (n, (number, puts)) in changes.into_iter().enumerate() {
                copies.push((trie.clone(), map.clone()));
                if puts {
                    trie.insert(number, n);
                    map.insert(number, n);
                } else {
                    prop_assert_eq!(trie.remove(number), map.remove(&number));
                }
                prop_assert_eq!(trie.get(number), map.get(&number));
                prop_assert_eq!(trie.root.is_none(), map.is_empty(), "nothing empty is kept");
            }
            for (trie, map) in copies {
                prop_assert!(trie.values().eq(map.values()));
            }
        }
    }
}

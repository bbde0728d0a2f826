//! Some elements of a graph, by their age.

use std::sync::Arc;

use super::numbered::Numbered;

/// A set of ages, in their order. As in [`Numbered`], a copy costs nothing and a change little.
#[derive(Clone, Debug)]
pub(super) enum Ages {
    /// At most [`FEW`], as nearly all sets are.
    Few(Arc<[u64]>),
    Many {
        ages: Numbered<u64>,
        count: usize,
    },
}

impl Ages {
    pub(super) fn insert(&mut self, age: u64) {
        match self {
            Self::Few(few) => {
                let Err(place) = few.binary_search(&age) else { return };
                if few.len() < FEW {
                    let (before, after) = few.split_at(place);
                    *few = [before, &[age], after].concat().into();
                } else {
                    let mut ages = Numbered::default();
                    few.iter().chain([&age]).for_each(|age| ages.insert(*age, *age));
                    *self = Self::Many { ages, count: FEW + 1 };
                }
            }
            Self::Many { ages, count } => {
                *count += usize::from(ages.get(age).is_none());
                ages.insert(age, age);
            }
        }
    }

    pub(super) fn remove(&mut self, age: u64) {
        match self {
            Self::Few(few) => *few = few.iter().copied().filter(|other| *other != age).collect(),
            Self::Many { ages, count } => *count -= usize::from(ages.remove(age).is_some()),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.len(),
            Self::Many { count, .. } => *count,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u64> {
        let (few, many) = match self {
            Self::Few(few) => (few.iter(), None),
            Self::Many { ages, .. } => ([].iter(), Some(ages.values())),
        };
        few.chain(many.into_iter().flatten()).copied()
    }
}

impl Default for Ages {
    fn default() -> Self {
        Self::Few(Arc::default())
    }
}

/// More take a trie.
const FEW: usize = 16;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(changes in prop::collection::vec((0..40_u64, 0..4_u8), 0..150)) {
            let (mut ages, mut set) = (Ages::default(), BTreeSet::new());
            for (age, kind) in changes {
                if kind > 0 {
                    ages.insert(age);
                    set.insert(age);
                } else {
                    ages.remove(age);
                    set.remove(&age);
                }
                prop_assert_eq!(ages.len(), set.len());
                prop_assert!(ages.iter().eq(set.iter().copied()));
            }
        }
    }
}

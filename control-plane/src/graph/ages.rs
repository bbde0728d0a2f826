//! Some elements of a graph, by their age.

use std::sync::Arc;

use super::numbered::Numbered;

/// A set of ages.
pub(super) type Ages = ByAge<()>;

/// Values by age, in the order of the ages. As in [`Numbered`], a copy costs nothing and a change
/// little.
#[derive(Clone, Debug)]
pub(super) enum ByAge<T> {
    /// At most [`FEW`], as nearly all are.
    Few(Arc<[(u64, T)]>),
    Many {
        entries: Numbered<(u64, T)>,
        count: usize,
    },
}

impl<T: Copy> ByAge<T> {
    /// Puts a value under an age where there is none.
    pub(super) fn insert(&mut self, age: u64, value: T) {
        match self {
            Self::Few(few) => {
                let Err(place) = few.binary_search_by_key(&age, |(age, _)| *age) else { return };
                if few.len() < FEW {
                    let (before, after) = few.split_at(place);
                    *few = [before, &[(age, value)], after].concat().into();
                } else {
                    let mut entries = Numbered::default();
                    let all = few.iter().copied().chain([(age, value)]);
                    all.for_each(|entry| entries.insert(entry.0, entry));
                    *self = Self::Many { entries, count: FEW + 1 };
                }
            }
            Self::Many { entries, count } if entries.get(age).is_none() => {
                *count += 1;
                entries.insert(age, (age, value));
            }
            Self::Many { .. } => {}
        }
    }

    pub(super) fn remove(&mut self, age: u64) {
        match self {
            Self::Few(few) => {
                *few = few.iter().copied().filter(|(other, _)| *other != age).collect();
            }
            Self::Many { entries, count } => *count -= usize::from(entries.remove(age).is_some()),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.len(),
            Self::Many { count, .. } => *count,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, T)> {
        let (few, many) = match self {
            Self::Few(few) => (few.iter(), None),
            Self::Many { entries, .. } => ([].iter(), Some(entries.values())),
        };
        few.chain(many.into_iter().flatten()).copied()
    }

    pub(super) fn ages(&self) -> impl Iterator<Item = u64> {
        self.iter().map(|(age, _)| age)
    }
}

impl<T> Default for ByAge<T> {
    fn default() -> Self {
        Self::Few(Arc::default())
    }
}

/// More take a trie.
const FEW: usize = 16;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map(changes in prop::collection::vec((0..40_u64, 0..4_u8), 0..150)) {
            let (mut by_age, mut map) = (ByAge::default(), BTreeMap::new());
            for (n, (age, kind)) in changes.into_iter().enumerate() {
                if kind > 0 {
                    by_age.insert(age, n);
                    map.entry(age).or_insert(n);
                } else {
                    by_age.remove(age);
                    map.remove(&age);
                }
                prop_assert_eq!(by_age.len(), map.len());
                prop_assert!(by_age.iter().eq(map.iter().map(|(age, n)| (*age, *n))));
            }
        }
    }
}

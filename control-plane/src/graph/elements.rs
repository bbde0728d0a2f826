//! The nodes, or the edges, of a graph: by ID, by age, and by texts in their metadata.

use std::collections::BTreeSet;
use std::sync::Arc;

use ahash::RandomState;
use rpds::HashTrieMapSync;

use super::Kind;
use super::index::Index;
use super::numbered::Numbered;

/// Elements of one kind. A copy shares all with what it was copied from; a change costs the
/// logarithm of their number, whoever holds copies.
#[derive(Clone, Debug)]
pub struct Elements<K> {
    by_age: Numbered<Arc<K>>,
    /// The age of each, by its ID.
    ages: HashTrieMapSync<Arc<str>, u64, RandomState>,
    /// One for each of [`Kind::INDEXED`].
    indexes: Vec<Index>,
    /// The next element's.
    next: u64,
}

impl<K: Kind> Elements<K> {
    /// The element of that ID.
    pub fn get(&self, id: &str) -> Option<&Arc<K>> {
        self.by_age.get(self.age(id)?)
    }

    /// All, oldest first.
    pub fn values(&self) -> impl Iterator<Item = &Arc<K>> {
        self.by_age.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ages.size()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ages.is_empty()
    }

    /// How many have one of `texts` at that path, perhaps more than do; `None` when no index knows.
    pub fn count_with(&self, path: &str, texts: &[&str]) -> Option<usize> {
        let index = self.index(path)?;
        Some(texts.iter().map(|text| index.count(text)).sum())
    }

    /// Those that have one of `texts` at that path of their metadata, or in an array there, oldest
    /// first; `None` when no index knows.
    pub fn with<'a>(
        &'a self,
        path: &str,
        texts: &[&str],
    ) -> Option<impl Iterator<Item = &'a Arc<K>> + use<'a, K>> {
        let index = self.index(path)?;
        let (one, several) = match texts {
            [text] => (Some(index.ages(text)), BTreeSet::new()),
            texts => (None, texts.iter().flat_map(|text| index.ages(text)).collect()),
        };
        let ages = one.into_iter().flatten().chain(several);
        Some(ages.filter_map(|age| self.by_age.get(age)))
    }

    /// The number that tells when the element of that ID came: greater than those before it.
    pub(crate) fn age(&self, id: &str) -> Option<u64> {
        self.ages.get(id).copied()
    }

    /// The element of that age.
    pub(crate) fn of_age(&self, age: u64) -> Option<&Arc<K>> {
        self.by_age.get(age)
    }

    /// Takes in a new element, or a new revision of one. Its age.
    pub(super) fn put(&mut self, element: Arc<K>) -> u64 {
        let known = self.age(&element.element().id);
        let age = known.unwrap_or(self.next);
        let before = self.by_age.get(age).map(|element| &element.element().metadata);
        let after = Some(&element.element().metadata);
        self.indexes.iter_mut().for_each(|index| index.follow(age, before, after));
        if known.is_none() {
            self.ages.insert_mut(element.element().id.as_str().into(), age);
            self.next += 1;
        }
        self.by_age.insert(age, element);
        age
    }

    /// Takes the element of that ID out.
    pub(super) fn remove(&mut self, id: &str) -> Option<Arc<K>> {
        let age = self.age(id)?;
        self.ages.remove_mut(id);
        let element = self.by_age.remove(age)?;
        let before = Some(&element.element().metadata);
        self.indexes.iter_mut().for_each(|index| index.follow(age, before, None));
        Some(element)
    }

    fn index(&self, path: &str) -> Option<&Index> {
        self.indexes.iter().find(|index| index.path() == path)
    }
}

impl<K: Kind> Default for Elements<K> {
    fn default() -> Self {
        let ages = HashTrieMapSync::new_with_hasher_and_ptr_kind(RandomState::new());
        let indexes = K::INDEXED.iter().copied().map(Index::new).collect();
        Self { by_age: Numbered::default(), ages, indexes, next: 0 }
    }
}

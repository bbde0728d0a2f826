//! What is kept of a kind of element.

use std::collections::BTreeMap;
use std::sync::Arc;

use sonde_proto::graph::Element;
use sonde_proto::time::Timestamp;

use super::Added;
use crate::store::{Store, StoreError, Stored, Table};

/// What is kept of a kind, by ID.
#[derive(Debug)]
pub struct Kept<K> {
    pub(super) table: Table<K>,
    pub(super) entries: BTreeMap<String, Addition<K>>,
}

/// An element that a client added.
#[derive(Debug)]
pub(super) struct Addition<K> {
    /// As clients want it; in the graph others may have added to its metadata.
    pub(super) element: Arc<K>,
    pub(super) expires: Option<Timestamp>,
    /// Until when one of before waits for its place in the graph; absent once it has it.
    pub(super) waits: Option<Timestamp>,
}

impl<K: Added> Kept<K> {
    pub(super) fn load(
        store: &Store,
        name: &'static str,
        waits: Timestamp,
    ) -> Result<Self, StoreError> {
        let table = store.table::<K>(name);
        let addition = |(id, stored): (String, Stored<K>)| {
            let expires = stored.expires();
            (id, Addition { element: Arc::new(stored.resource), expires, waits: Some(waits) })
        };
        let entries = table.load()?.into_iter().map(addition).collect();
        Ok(Self { table, entries })
    }

    /// Keeps what a client changed: the keys that differ. What others added is not kept.
    pub(super) fn change(
        &mut self,
        id: &str,
        before: &Element,
        after: &Element,
    ) -> Result<(), StoreError> {
        let Some(addition) = self.entries.get_mut(id) else { return Ok(()) };
        let mut changed = K::clone(&addition.element);
        let element = changed.element_mut();
        element.metadata.retain(|key, _| {
            after.metadata.contains_key(key) || !before.metadata.contains_key(key)
        });
        for (key, value) in &after.metadata {
            if before.metadata.get(key) != Some(value) {
                element.metadata.insert(key.clone(), value.clone());
            }
        }
        (element.revision, element.updated_at) = (after.revision, after.updated_at);
        self.table.put(id, &changed, addition.expires)?;
        addition.element = Arc::new(changed);
        Ok(())
    }

    pub(super) fn which(&self, is_it: impl Fn(&Addition<K>) -> bool) -> Vec<String> {
        let found = self.entries.iter().filter(|(_, addition)| is_it(addition));
        found.map(|(id, _)| id.clone()).collect()
    }

    /// Forgets those of `ids` that are kept, on the disk first; whether there was any.
    pub(super) fn forget(&mut self, ids: &[String]) -> Result<bool, StoreError> {
        let kept: Vec<_> = ids.iter().filter(|id| self.entries.contains_key(*id)).collect();
        if kept.is_empty() {
            return Ok(false);
        }
        self.table.remove(kept.iter().map(|id| id.as_str()))?;
        for id in kept {
            self.entries.remove(id);
        }
        Ok(true)
    }
}

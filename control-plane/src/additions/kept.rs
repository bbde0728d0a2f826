//! What is kept of nodes and edges.

use std::collections::BTreeMap;
use std::sync::Arc;

use sonde_proto::graph::{Edge, Element, Node};
use sonde_proto::time::Timestamp;

use super::Added;
use crate::store::{Store, StoreError, Stored, Table};

/// What is kept.
#[derive(Debug)]
pub struct Kept {
    store: Store,
    pub(super) nodes: KeptOf<Node>,
    pub(super) edges: KeptOf<Edge>,
}

/// What is kept of a kind, by ID.
#[derive(Debug)]
pub struct KeptOf<K> {
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

impl Kept {
    pub(super) fn load(store: &Store, waits: Timestamp) -> Result<Self, StoreError> {
        let nodes = KeptOf::load(store, "nodes", waits)?;
        let edges = KeptOf::load(store, "edges", waits)?;
        Ok(Self { store: store.clone(), nodes, edges })
    }

    /// Forgets those of `ids` that are kept, and with a node the edges at it: on the disk first, and
    /// at a crash all or none. Whether there was any.
    pub(super) fn forget<K: Added>(&mut self, ids: &[String]) -> Result<bool, StoreError> {
        let edges = K::edges_of(self, &ids.iter().map(String::as_str).collect());
        let kept = K::kept(self);
        let ids: Vec<_> = ids.iter().filter(|id| kept.entries.contains_key(*id)).collect();
        if ids.is_empty() && edges.is_empty() {
            return Ok(false);
        }
        let these = (kept.table.name(), ids.iter().map(|id| id.as_str()).collect());
        let theirs = (self.edges.table.name(), edges.iter().map(String::as_str).collect());
        self.store.remove(&[these, theirs])?;
        for id in ids {
            K::kept_mut(self).entries.remove(id);
        }
        for id in edges {
            self.edges.entries.remove(&id);
        }
        Ok(true)
    }
}

impl<K: Added> KeptOf<K> {
    fn load(store: &Store, name: &'static str, waits: Timestamp) -> Result<Self, StoreError> {
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
}

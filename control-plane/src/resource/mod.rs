//! Resources: what clients create, list and delete by REST, and what of it is kept in the state
//! file (Skydive API §2.1).

mod invalid;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sonde_proto::time::Timestamp;
use tokio::sync::watch;
use uuid::Uuid;

use crate::clock::Clock;
use crate::store::{Store, StoreError, Stored, Table};

pub use invalid::{Invalid, keep, query};

/// A kind of resource.
pub trait Resource:
    Clone + fmt::Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// What it takes to do what it asks for: its texts parsed and compiled.
    type Parsed: fmt::Debug + Send + Sync;

    /// What its rules depend on.
    type Rules: fmt::Debug + Send + Sync;

    /// Where the kind is kept, and what many of it are called.
    const TABLE: &'static str;

    /// More than this are refused: each costs memory and time.
    const LIMIT: usize = 1024;

    /// Its `UUID`.
    fn uuid(&mut self) -> &mut String;

    /// Fills what is empty and has a default, and parses the texts; or says every rule that is
    /// broken. May block on DNS.
    fn parse(&mut self, rules: &Self::Rules) -> Result<Self::Parsed, Vec<Invalid>>;

    /// Why clients may not ask for it now, valid as it is. What they asked for before stays.
    fn refuse(_parsed: &Self::Parsed, _rules: &Self::Rules) -> Result<(), Invalid> {
        Ok(())
    }

    /// Whether the two do the same, so that there must be one of them only.
    fn duplicates(&self, _other: &Self) -> bool {
        false
    }

    /// What is said of one that [`Self::duplicates`] another.
    fn duplicate(&self) -> ResourceError {
        ResourceError::Duplicate
    }

    /// Sets what the server says and no client: of a new one, or of one that was `before`.
    fn stamp(&mut self, _before: Option<&Self>, _now: Timestamp) {}
}

/// All resources of a kind. Clones are the same resources. Calls that change any wait for the disk.
#[derive(Debug)]
pub struct Resources<R: Resource>(Arc<Inner<R>>);

/// All resources of a kind at a moment, by UUID.
pub type Entries<R> = BTreeMap<String, Arc<Entry<R>>>;

/// A resource.
#[derive(Debug)]
pub struct Entry<R: Resource> {
    /// As clients see it.
    pub resource: R,
    /// Absent when it was kept by an earlier run and is not valid any more.
    pub parsed: Option<R::Parsed>,
    expires: Option<Timestamp>,
}

#[derive(Debug)]
struct Inner<R: Resource> {
    rules: R::Rules,
    clock: Clock,
    table: Table<R>,
    /// Held by who changes any, while it waits for the disk.
    turn: Mutex<()>,
    /// Held for a moment, so that readers wait for no disk.
    entries: Mutex<Arc<Entries<R>>>,
    changed: watch::Sender<()>,
}

/// Why a resource was refused.
#[derive(Debug, thiserror::Error)]
pub enum ResourceError {
    /// It breaks rules, one at least.
    #[error("{}", .0.iter().map(Invalid::to_string).collect::<Vec<_>>().join(", "))]
    Invalid(Vec<Invalid>),
    /// One that does the same is there already.
    #[error("duplicated resource")]
    Duplicate,
    /// There is no room for more.
    #[error("there are {limit} {table} already, delete some first")]
    TooMany {
        /// [`Resource::TABLE`].
        table: &'static str,
        /// [`Resource::LIMIT`].
        limit: usize,
    },
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl<R: Resource> Resources<R> {
    /// Takes up those that `store` keeps and whose time is not over.
    pub fn open(store: &Store, clock: Clock, rules: R::Rules) -> Result<Self, StoreError> {
        let table = store.table(R::TABLE);
        let entries: Entries<R> = (table.load()?.into_iter())
            .map(|(id, stored)| (id, Arc::new(Entry::restored(stored, &rules))))
            .collect();
        let resources = Self(Arc::new(Inner {
            rules,
            clock,
            table,
            turn: Mutex::default(),
            entries: Mutex::new(Arc::new(entries)),
            changed: watch::Sender::new(()),
        }));
        resources.expire()?;
        Ok(resources)
    }

    /// Adds one under a new UUID, for `ttl` or until it is deleted. It is kept when this returns.
    pub fn create(
        &self,
        mut resource: R,
        ttl: Option<Duration>,
    ) -> Result<Arc<Entry<R>>, ResourceError> {
        // Looked at twice: what has no place is not worth a question to DNS.
        has_room(&self.entries())?;
        let Inner { clock, table, .. } = &*self.0;
        let parsed = self.parsed(&mut resource)?;
        let (id, now) = (Uuid::new_v4().to_string(), clock.now());
        resource.uuid().clone_from(&id);
        resource.stamp(None, now);
        let expires = ttl.map(|ttl| now.after(ttl));
        let entry = Arc::new(Entry { resource, parsed: Some(parsed), expires });
        let _turn = self.turn();
        let entries = self.entries();
        has_room(&entries)?;
        if entries.values().any(|other| other.resource.duplicates(&entry.resource)) {
            return Err(entry.resource.duplicate());
        }
        table.put(&id, &entry.resource, expires)?;
        self.change(|entries| drop(entries.insert(id, entry.clone())));
        Ok(entry)
    }

    /// Puts `after` where `before` is; the UUID and the time of its end stay. `None` when it is not
    /// there any more, or another took its place.
    pub fn update(
        &self,
        id: &str,
        before: &Arc<Entry<R>>,
        mut after: R,
    ) -> Result<Option<Arc<Entry<R>>>, ResourceError> {
        let Inner { clock, table, .. } = &*self.0;
        let parsed = Some(self.parsed(&mut after)?);
        id.clone_into(after.uuid());
        after.stamp(Some(&before.resource), clock.now());
        let _turn = self.turn();
        if !self.entries().get(id).is_some_and(|there| Arc::ptr_eq(there, before)) {
            return Ok(None);
        }
        if after == before.resource {
            return Ok(Some(before.clone()));
        }
        let entries = self.entries();
        let mut others = entries.iter().filter(|(other, _)| *other != id);
        if others.any(|(_, other)| other.resource.duplicates(&after)) {
            return Err(after.duplicate());
        }
        let entry = Arc::new(Entry { resource: after, parsed, expires: before.expires });
        table.put(id, &entry.resource, entry.expires)?;
        self.change(|entries| drop(entries.insert(id.to_owned(), entry.clone())));
        Ok(Some(entry))
    }

    /// Deletes one. `false` when there is none of that ID.
    pub fn delete(&self, id: &str) -> Result<bool, StoreError> {
        self.remove(|other, _| other == id)
    }

    /// Deletes those whose time is over; whether there was any.
    pub fn expire(&self) -> Result<bool, StoreError> {
        let now = self.0.clock.now();
        self.remove(|_, entry| entry.expires.is_some_and(|expires| expires <= now))
    }

    /// All of them, as they are now.
    pub fn entries(&self) -> Arc<Entries<R>> {
        self.book().clone()
    }

    /// Wakes at each change from now on.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// Forgets all that are `over`, on the disk first; whether there was any.
    fn remove(&self, over: impl Fn(&str, &Entry<R>) -> bool) -> Result<bool, StoreError> {
        let _turn = self.turn();
        let ids: Vec<_> = (self.entries().iter())
            .filter(|(id, entry)| over(id, entry))
            .map(|(id, _)| id.clone())
            .collect();
        if ids.is_empty() {
            return Ok(false);
        }
        self.0.table.remove(ids.iter().map(String::as_str))?;
        self.change(|entries| ids.iter().for_each(|id| drop(entries.remove(id))));
        Ok(true)
    }

    /// What a client asks for.
    fn parsed(&self, resource: &mut R) -> Result<R::Parsed, ResourceError> {
        let rules = &self.0.rules;
        let parsed = resource.parse(rules).map_err(ResourceError::Invalid)?;
        R::refuse(&parsed, rules).map_err(|why| ResourceError::Invalid(vec![why]))?;
        Ok(parsed)
    }

    fn change(&self, change: impl FnOnce(&mut Entries<R>)) {
        change(Arc::make_mut(&mut self.book()));
        self.0.changed.send_replace(());
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.0.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn book(&self) -> MutexGuard<'_, Arc<Entries<R>>> {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Resource> Clone for Resources<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R: Resource> Entry<R> {
    /// One of an earlier run. One that is not valid any more (a host in a filter that is not found,
    /// say) is kept and shown, but does nothing.
    fn restored(stored: Stored<R>, rules: &R::Rules) -> Self {
        let expires = stored.expires();
        let mut resource = stored.resource;
        let parsed = resource.parse(rules).map_err(ResourceError::Invalid);
        if let Err(why) = &parsed {
            let id = resource.uuid();
            tracing::warn!(of = R::TABLE, id, %why, "a resource of before does nothing");
        }
        Self { resource, parsed: parsed.ok(), expires }
    }
}

fn has_room<R: Resource>(entries: &Entries<R>) -> Result<(), ResourceError> {
    match entries.len() < R::LIMIT {
        true => Ok(()),
        false => Err(ResourceError::TooMany { table: R::TABLE, limit: R::LIMIT }),
    }
}

#[cfg(test)]
mod tests;

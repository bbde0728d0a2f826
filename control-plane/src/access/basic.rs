//! Users with passwords. Checking one takes long, so it is done elsewhere, few at a time, and
//! once for each client.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};
use tracing::Span;

use super::AccessError;
use super::refusal::Refusal;
use super::secret::Secret;
use super::tag::{Tag, Tagger};
use super::throttle::Throttle;
use super::token::Credentials;
use super::users::{Users, UsersError};
use super::verified::Verified;
use crate::files::Stamp;
use crate::live::Live;

/// Where users come from.
#[derive(Clone, Debug, Default)]
pub struct UserSource {
    /// Their names, and hashes of their passwords, or these as they are.
    pub listed: BTreeMap<String, Secret>,
    /// An htpasswd file, which may change.
    pub file: Option<PathBuf>,
}

/// The users as they are now, and what is known of those who tried to be one.
#[derive(Debug)]
pub(super) struct Basic {
    current: Live<Current>,
    /// Who replaces the users has it, so that what was read first is not taken last.
    replacing: Mutex<()>,
    tags: Tagger,
    verified: Mutex<Verified>,
    throttle: Mutex<Throttle>,
    /// Turns to check a password, see [`AT_ONCE`].
    turns: Arc<Semaphore>,
}

#[derive(Debug)]
struct Current {
    read: Read,
    /// Counts how often they were read.
    generation: u64,
}

/// Users that were read.
#[derive(Clone, Debug)]
pub(super) struct Read {
    source: UserSource,
    users: Arc<Users>,
    stamp: Stamp,
}

impl Basic {
    /// Users that were read.
    pub(super) fn new(read: Read) -> Result<Self, AccessError> {
        read.warn();
        Ok(Self {
            current: Live::from(Current { read, generation: 0 }),
            replacing: Mutex::default(),
            tags: Tagger::new().map_err(|_| AccessError::NoRandom)?,
            verified: Mutex::default(),
            throttle: Mutex::default(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        })
    }

    /// Has these users from now on.
    pub(super) fn replace(&self, read: Read) {
        let _alone = lock(&self.replacing);
        self.put(read);
    }

    /// Reads the users again, if their file has changed. When that fails, they stay as they are.
    pub(super) fn refresh(&self) -> Result<(), UsersError> {
        let _alone = lock(&self.replacing);
        let Current { read, generation } = &*self.current.get();
        let stamp = read.source.stamp();
        if stamp == read.stamp {
            return Ok(());
        }
        let fresh = Read::new(read.source.clone()).inspect_err(|_| {
            // Once is enough to complain of it.
            let read = Read { stamp, ..read.clone() };
            self.current.set(Current { read, generation: *generation });
        });
        self.put(fresh?);
        Ok(())
    }

    fn put(&self, read: Read) {
        tracing::info!(users = read.users.len(), "users read again");
        read.warn();
        let generation = self.current.get().generation + 1;
        self.current.set(Current { read, generation });
    }

    /// The name of the user whose credentials these are; `address` is where they come from.
    pub(super) async fn authenticate(
        self: &Arc<Self>,
        credentials: Credentials,
        address: IpAddr,
    ) -> Result<Arc<str>, Refusal> {
        let tag =
            self.tags.tag(&[credentials.user.as_bytes(), credentials.password.expose().as_bytes()]);
        if let Some(user) = self.remembered(&tag) {
            return Ok(user);
        }
        let failures_of = self.tags.tag(&[credentials.user.as_bytes()]);
        self.may_try(address, failures_of)?;
        let turn = timeout(TURN, self.turns.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| Refusal::Busy)?.map_err(|_| Refusal::Defect)?;
        // Others of the same client may have come first, with success or without.
        if let Some(user) = self.remembered(&tag) {
            return Ok(user);
        }
        self.may_try(address, failures_of)?;
        let (basic, span) = (self.clone(), Span::current());
        // A client that does not wait for the answer has tried all the same.
        let checked = spawn_blocking(move || {
            let _turn = turn;
            span.in_scope(|| basic.check(&credentials, tag, address, failures_of))
        });
        checked.await.map_err(|error| {
            tracing::error!(%error, "checking a password failed");
            Refusal::Defect
        })?
    }

    fn remembered(&self, tag: &Tag) -> Option<Arc<str>> {
        let generation = self.current.get().generation;
        lock(&self.verified).get(tag, generation, Instant::now())
    }

    fn may_try(&self, address: IpAddr, user: Tag) -> Result<(), Refusal> {
        match lock(&self.throttle).wait(address, user, Instant::now()) {
            Some(wait) => Err(Refusal::Throttled(wait)),
            None => Ok(()),
        }
    }

    fn check(
        &self,
        credentials: &Credentials,
        tag: Tag,
        address: IpAddr,
        failures_of: Tag,
    ) -> Result<Arc<str>, Refusal> {
        let Current { read: Read { users, .. }, generation } = &*self.current.get();
        match users.verify(credentials) {
            Some(user) => {
                lock(&self.verified).put(tag, user.clone(), *generation, Instant::now());
                Ok(user)
            }
            None => {
                let user = users.known(&credentials.user);
                tracing::warn!(%address, user, "wrong credentials");
                lock(&self.throttle).failed(address, failures_of, Instant::now());
                Err(Refusal::Wrong)
            }
        }
    }
}

impl Read {
    /// Reads them. It may wait for the disk.
    pub(super) fn new(source: UserSource) -> Result<Self, UsersError> {
        // First, so that what changes meanwhile is seen later.
        let stamp = source.stamp();
        let users = Arc::new(Users::load(&source.listed, source.file.as_deref())?);
        Ok(Self { source, users, stamp })
    }

    fn warn(&self) {
        for user in self.users.plain() {
            tracing::warn!(user, "auth.users has the password itself, a hash of it is safer");
        }
        if self.users.len() == 0 {
            tracing::warn!("there are no users, nobody can log in");
        }
    }
}

impl UserSource {
    fn stamp(&self) -> Stamp {
        Stamp::of(self.file.iter())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passwords that are checked at once; the CPUs belong to the lcores.
const AT_ONCE: usize = 2;

/// How long a password waits to be checked.
const TURN: Duration = Duration::from_secs(10);

//! IP fragments in, whole datagrams out (RFC 791, RFC 8200), in memory that is bounded.
//!
//! Only what is needed is kept: which bytes of a datagram came, and the first [`PREFIX`] of them,
//! from which its headers are read. Where fragments overlap the datagram is given up, of both
//! versions, as hosts do (RFC 5722; Linux for IPv4 too).

mod pending;

use ahash::RandomState;
use sonde_proto::report::{Books, Skip};
use sonde_proto::time::Timestamp;

use self::pending::{Pending, Step};
use crate::parse::{Datagram, Fragment};

/// The datagrams of an lcore that are not complete.
///
/// A datagram has [`WAYS`] places where it may be. When all are taken the oldest there is given
/// up: a flood of fragments costs other datagrams, and no memory.
#[derive(Debug)]
pub(crate) struct Defragmenter {
    places: Vec<Option<Pending>>,
    /// The first bytes of each.
    prefixes: Vec<u8>,
    /// Where the search for datagrams whose time is over goes on.
    hand: usize,
    hasher: RandomState,
}

/// A datagram that is complete now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole<'a> {
    pub(crate) datagram: Datagram<'a>,
    /// Fragments that came before the last one.
    pub(crate) fragments: u16,
    /// Fragments that no datagram can have.
    pub(crate) errors: u16,
    /// The watches that admitted any of the fragments.
    pub(crate) wanted: Places,
}

/// A set of watches, by their places in the shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places([u64; 4]);

impl Defragmenter {
    pub(crate) fn new() -> Self {
        Self {
            places: vec![None; PLACES],
            prefixes: vec![0; PLACES * PREFIX],
            hand: 0,
            hasher: RandomState::new(),
        }
    }

    /// Takes a fragment whose frame the watches at `wanted` admit, and gives its datagram if this
    /// was the last one missing. The books then tell what became of the frames before; of this one
    /// they tell only when there is no datagram and it is not `metered` for other watches anyway.
    pub(crate) fn take<'a>(
        &'a mut self,
        fragment: &Fragment<'a>,
        wanted: Places,
        metered: bool,
        at: Timestamp,
        books: &mut Books,
    ) -> Option<Whole<'a>> {
        let Fragment { protocol, offset, more, bytes, length, .. } = *fragment;
        if offset == 0 && !more {
            // An atomic fragment has nothing to do with others (RFC 6946 §4).
            let datagram = Datagram { protocol, bytes, length };
            return Some(Whole { datagram, fragments: 0, errors: 0, wanted });
        }
        let at_place = self.place(fragment, at, books);
        let place = self.places.get_mut(at_place)?;
        let pending = place.get_or_insert_with(|| Pending::new(fragment.datagram, at));
        let prefix = self.prefixes.get_mut(at_place * PREFIX..(at_place + 1) * PREFIX)?;
        let step = pending.take(fragment, wanted, prefix);
        if step == Step::Complete {
            pending.settle(Skip::Fragment, books);
            let whole = pending.whole(prefix);
            *place = None;
            return Some(whole);
        }
        if !metered {
            match step {
                Step::Refused => pending.refuse(books),
                _ => pending.hold(books),
            }
        }
        if step == Step::Broken {
            pending.settle(Skip::FragmentLost, books);
        }
        None
    }

    /// Gives up datagrams that wait for too long; looks at a few places.
    pub(crate) fn expire(&mut self, now: Timestamp, books: &mut Books) {
        for _ in 0..LOOK {
            self.hand = (self.hand + 1) % PLACES;
            if let Some(place) = self.places.get_mut(self.hand) {
                give_up_if(place, books, |pending| pending.is_over(now));
            }
        }
    }

    /// Another watch is at the place `watch` from now on: what only the one before wanted is given
    /// up.
    pub(crate) fn forget(&mut self, watch: u8, books: &mut Books) {
        let mut only = Places::default();
        only.add(watch);
        for place in &mut self.places {
            give_up_if(place, books, |pending| pending.wanted == only);
            if let Some(pending) = place {
                pending.wanted.remove(watch);
            }
        }
    }

    /// Gives up all datagrams.
    pub(crate) fn clear(&mut self, books: &mut Books) {
        for place in &mut self.places {
            give_up_if(place, books, |_| true);
        }
    }

    /// Where the datagram of a fragment is, or may be: nothing else is there.
    fn place(&mut self, fragment: &Fragment<'_>, at: Timestamp, books: &mut Books) -> usize {
        let set = self.hasher.hash_one(fragment.datagram) as usize % (PLACES / WAYS) * WAYS;
        let ways = self.places.get_mut(set..set + WAYS).unwrap_or_default();
        let mut best = (0, Timestamp::from_nanos(u64::MAX));
        for (way, place) in ways.iter_mut().enumerate() {
            give_up_if(place, books, |pending| pending.is_over(at));
            let since = match place {
                Some(pending) if pending.key == fragment.datagram => return set + way,
                Some(pending) => pending.since,
                None => Timestamp::default(),
            };
            if since < best.1 {
                best = (way, since);
            }
        }
        if let Some(place) = ways.get_mut(best.0) {
            give_up_if(place, books, |_| true);
        }
        set + best.0
    }
}

impl Places {
    /// Adds a watch.
    pub(crate) fn add(&mut self, place: u8) {
        self.0[usize::from(place >> 6)] |= 1 << (place & 63);
    }

    /// Takes a watch out.
    fn remove(&mut self, place: u8) {
        self.0[usize::from(place >> 6)] &= !(1 << (place & 63));
    }

    /// Adds the watches of another set.
    pub(crate) fn join(&mut self, other: Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine |= theirs;
        }
    }

    /// Whether a watch is in the set.
    pub(crate) fn has(self, place: u8) -> bool {
        self.0[usize::from(place >> 6)] & 1 << (place & 63) != 0
    }

    /// Whether there is none.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == [0; 4]
    }
}

fn give_up_if(place: &mut Option<Pending>, books: &mut Books, is: impl Fn(&Pending) -> bool) {
    if let Some(mut pending) = place.take_if(|pending| is(pending)) {
        pending.settle(Skip::FragmentLost, books);
    }
}

/// Datagrams that are put together at a time, at most.
const PLACES: usize = 1024;

/// Places where a datagram may be.
const WAYS: usize = 8;

/// Bytes of a datagram that are kept: far more than headers have.
const PREFIX: usize = 4096;

/// Places that are looked at in a turn for datagrams whose time is over.
const LOOK: usize = 64;

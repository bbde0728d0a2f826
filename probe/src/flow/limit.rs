//! The limit of the table, and who goes when it comes near.
//!
//! From [`HIGH`] per cent on the table is in an emergency, until it is down to [`LOW`]: between
//! bursts, those flows leave that can be missed: flows of one packet, which is what floods and
//! scans are made of, connections that are over, and flows that are silent for a shortened timeout.
//! If that does not help and the table is full, whoever was not in use since the hand of the clock
//! last passed makes room for who comes.

use sonde_proto::record::EndReason;
use sonde_proto::time::Timestamp;

use super::Export;
use super::shard::Shard;
use crate::memory::prefetch;

/// Where the search for flows to evict stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limit {
    /// The place that is looked at next.
    hand: u32,
    /// The table is to be relieved.
    emergency: bool,
    /// Places that were looked at since a flow was found.
    in_vain: u32,
    /// Nothing is looked at before.
    rest: Timestamp,
}

impl Shard {
    /// Evicts flows while the table is in an emergency: `slice` of them at most, while entries are
    /// taken.
    #[inline]
    pub(super) fn relieve(&mut self, now: Timestamp, slice: usize, out: &mut impl Export) {
        let (live, capacity) = (self.slab.live() as u64 * 100, self.slab.capacity() as u64);
        if live >= capacity * HIGH && capacity >= LEAST {
            self.limit.emergency = true;
        } else if live <= capacity * LOW {
            self.limit.emergency = false;
        }
        // A clock that was set back must not make it rest for longer.
        let rest = self.limit.rest.nanos().saturating_sub(now.nanos());
        if self.limit.emergency && !(1..=REST).contains(&rest) {
            self.relieve_now(now, slice, out);
        }
    }

    #[inline(never)]
    fn relieve_now(&mut self, now: Timestamp, slice: usize, out: &mut impl Export) {
        let mut left = slice;
        for _ in 0..LOOK {
            if left == 0 || !out.ready() {
                return;
            }
            self.approach(self.ahead(AHEAD));
            let index = self.limit.hand;
            self.limit.hand = self.ahead(1);
            if self.can_be_missed(index, now) {
                self.end_flow(index, EndReason::Evicted, out);
                self.limit.in_vain = 0;
                left -= 1;
            } else {
                self.limit.in_vain += 1;
            }
        }
        if self.limit.in_vain >= self.slab.used() {
            // All of them are needed: to look again at once would cost, and find nobody.
            self.limit.in_vain = 0;
            self.limit.rest = Timestamp::from_nanos(now.nanos().saturating_add(REST));
        }
    }

    /// Whether a flow may go that nobody has to go for yet.
    #[inline]
    fn can_be_missed(&self, index: u32, now: Timestamp) -> bool {
        self.slab.hot.get(index as usize).is_some_and(|hot| {
            let silence = now.nanos().saturating_sub(hot.last.nanos());
            hot.lives()
                && (hot.is_first() || hot.closed() || silence > self.timers.expire / SHORTENED)
        })
    }

    /// A flow that can make room: the first that was not in use since the hand of the clock last
    /// passed, or is closed; when [`TRIES`] in a row were, the one silent for longest.
    pub(super) fn victim(&mut self) -> Option<u32> {
        let mut oldest: Option<(Timestamp, u32)> = None;
        for _ in 0..TRIES {
            let index = self.limit.hand;
            self.limit.hand = self.ahead(1);
            let Some(hot) = self.slab.hot.get_mut(index as usize) else {
                continue;
            };
            if !hot.lives() {
                continue;
            }
            if !hot.take_referenced() || hot.closed() {
                return Some(index);
            }
            if oldest.is_none_or(|(last, _)| hot.last < last) {
                oldest = Some((hot.last, index));
            }
        }
        oldest.map(|(_, index)| index)
    }

    /// Brings near what evicting the `n`-th victim from here will touch.
    pub(super) fn approach_victim(&self, n: u32) {
        self.approach(self.ahead(n));
    }

    #[inline]
    fn approach(&self, index: u32) {
        prefetch(&self.slab.hot, index as usize);
        prefetch(&self.slab.cold, index as usize);
        if let Some(tag) = self.slab.tags.get(index as usize) {
            self.table.approach(*tag);
        }
    }

    /// The place that the hand comes to after `n` more.
    #[inline]
    fn ahead(&self, n: u32) -> u32 {
        let (place, used) = (self.limit.hand.wrapping_add(n), self.slab.used());
        if place < used { place } else { place.checked_rem(used).unwrap_or_default() }
    }
}

/// Per cent of the table that begin an emergency.
const HIGH: u64 = 90;
/// Per cent of the table that end it.
const LOW: u64 = 70;
/// Tables for fewer flows are simply full: in the room that is left a burst finds no place.
const LEAST: u64 = 4096;
/// In an emergency the idle timeout is that much shorter.
const SHORTENED: u64 = 16;
/// Places that are looked at in a turn.
const LOOK: usize = 512;
/// How many places ahead of the hand lines are asked for.
const AHEAD: u32 = 16;
/// Nanoseconds of rest after all flows were looked at in vain.
const REST: u64 = 100_000_000;
/// Flows that are looked at to find one to evict.
const TRIES: usize = 8;

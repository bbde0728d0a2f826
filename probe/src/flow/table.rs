//! Where in the slab a key may be: a hash table over tags, whose buckets are cache lines.
//!
//! Flows come and go for months while the table is as full as ever, and a polling lcore may not
//! stop to tidy up. So nothing is ever moved but within a bucket, and no removal leaves a trace. (A
//! table with open addressing cannot have both: under such churn hashbrown fills with the marks of
//! removed entries at any load from 0.2 on, and must then be rehashed as a whole, 10 ms for a
//! million flows.) A flow whose bucket is full is spilled to a list that begins there.

use crate::memory::{Region, equal, prefetch};

/// Finds places in the slab by tag. Two keys may share a tag, so the key itself is compared by
/// the caller, always.
#[derive(Debug)]
pub(crate) struct Table {
    buckets: Vec<Bucket>,
    /// For each place of the slab: the next one that its bucket spilled.
    spilled: Vec<u32>,
}

/// A line of the table.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Bucket {
    tags: [u32; ENTRIES],
    /// Entries in use, the first ones.
    used: u32,
    places: [u32; ENTRIES],
    /// The first place that was spilled.
    spill: u32,
}

impl Table {
    /// A table for `capacity` flows: so many buckets that few of them spill.
    pub(crate) fn new(capacity: usize) -> Self {
        let count = capacity.div_ceil(LOAD).next_power_of_two();
        let mut buckets = Vec::with_capacity(count);
        Region::of(&buckets).prefer_huge_pages();
        buckets.resize(count, Bucket::EMPTY);
        let spilled = Vec::with_capacity(capacity);
        Region::of(&spilled).prefer_huge_pages();
        Self { buckets, spilled }
    }

    /// Bytes that a table for `capacity` flows takes.
    pub(crate) const fn bytes(capacity: usize) -> usize {
        let buckets = capacity.div_ceil(LOAD).next_power_of_two();
        buckets * size_of::<Bucket>() + capacity * size_of::<u32>()
    }

    /// The memory reserved for it.
    pub(crate) fn regions(&self) -> [Region; 2] {
        [Region::of(&self.buckets), Region::of(&self.spilled)]
    }

    /// Asks for the line where `tag` will be looked for.
    #[inline(always)]
    pub(crate) fn approach(&self, tag: u32) {
        prefetch(&self.buckets, self.bucket(tag));
    }

    /// The first place with `tag` that `is` says is the one. `tags` are those of all places.
    #[inline(always)]
    pub(crate) fn find(
        &self,
        tag: u32,
        tags: &[u32],
        mut is: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let bucket = self.buckets.get(self.bucket(tag))?;
        let mut matches = bucket.matches(tag);
        while matches != 0 {
            let place = bucket.places[matches.trailing_zeros() as usize];
            if is(place) {
                return Some(place);
            }
            matches &= matches - 1;
        }
        if bucket.spill == NIL { None } else { self.find_spilled(bucket, tag, tags, is) }
    }

    #[cold]
    fn find_spilled(
        &self,
        bucket: &Bucket,
        tag: u32,
        tags: &[u32],
        mut is: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let mut place = bucket.spill;
        while place != NIL {
            if tags.get(place as usize) == Some(&tag) && is(place) {
                return Some(place);
            }
            place = self.spilled.get(place as usize).copied().unwrap_or(NIL);
        }
        None
    }

    /// Adds a place, which must not be there.
    #[inline]
    pub(crate) fn insert(&mut self, tag: u32, place: u32) {
        let at = self.bucket(tag);
        let Some(bucket) = self.buckets.get_mut(at) else { return };
        if !bucket.push(tag, place) {
            let next = std::mem::replace(&mut bucket.spill, place);
            // As far as there are flows in the slab; it never grows beyond its capacity.
            if self.spilled.len() <= place as usize {
                self.spilled.resize(place as usize + 1, NIL);
            }
            self.spilled[place as usize] = next;
        }
    }

    /// Removes a place, if it is there. `tags` are those of all places.
    #[inline]
    pub(crate) fn remove(&mut self, tag: u32, place: u32, tags: &[u32]) {
        let at = self.bucket(tag);
        let Some(bucket) = self.buckets.get_mut(at) else { return };
        if !bucket.take(place) {
            self.remove_spilled(at, place);
        } else if bucket.spill != NIL {
            // Who was spilled gets the room.
            let first = bucket.spill;
            bucket.spill = self.spilled.get(first as usize).copied().unwrap_or(NIL);
            bucket.push(tags.get(first as usize).copied().unwrap_or_default(), first);
        }
    }

    #[cold]
    fn remove_spilled(&mut self, at: usize, place: u32) {
        let after = self.spilled.get(place as usize).copied().unwrap_or(NIL);
        let mut link = match self.buckets.get_mut(at) {
            Some(bucket) => &mut bucket.spill,
            None => return,
        };
        if *link == place {
            *link = after;
            return;
        }
        let mut before = *link;
        while before != NIL {
            link = match self.spilled.get_mut(before as usize) {
                Some(link) => link,
                None => return,
            };
            if *link == place {
                *link = after;
                return;
            }
            before = *link;
        }
    }

    #[inline(always)]
    fn bucket(&self, tag: u32) -> usize {
        tag as usize & (self.buckets.len() - 1)
    }
}

impl Bucket {
    const EMPTY: Self = Self { tags: [0; ENTRIES], places: [0; ENTRIES], used: 0, spill: NIL };

    /// The entries with that tag, a bit each.
    #[inline(always)]
    fn matches(&self, tag: u32) -> u32 {
        let [a, b, c, d, e, f, g] = self.tags;
        equal([a, b, c, d, e, f, g, 0], tag) & ((1 << self.used) - 1)
    }

    /// Adds an entry; whether there was room.
    #[inline(always)]
    fn push(&mut self, tag: u32, place: u32) -> bool {
        let entry = self.used as usize;
        if entry == ENTRIES {
            return false;
        }
        (self.tags[entry], self.places[entry]) = (tag, place);
        self.used += 1;
        true
    }

    /// Takes an entry out; whether it was there.
    #[inline(always)]
    fn take(&mut self, place: u32) -> bool {
        let used = (self.used as usize).min(ENTRIES);
        let Some(entry) = self.places[..used].iter().position(|known| *known == place) else {
            return false;
        };
        let last = used - 1;
        (self.tags[entry], self.places[entry]) = (self.tags[last], self.places[last]);
        self.used -= 1;
        true
    }
}

/// Entries of a bucket: with two numbers more they fill a line.
const ENTRIES: usize = 7;
/// Flows for each bucket at most, on average: then 13 % of the buckets spill one or two. With the
/// next power of two it is half to all of that.
const LOAD: usize = 5;
/// No place.
const NIL: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn entries_that_share_a_tag_are_told_apart() {
        let mut table = Table::new(4);
        let tags = [0, 7, 7];
        table.insert(7, 1);
        table.insert(7, 2);
        assert_eq!(table.find(7, &tags, |place| place == 2), Some(2));
        table.remove(7, 2, &tags);
        assert_eq!(table.find(7, &tags, |place| place == 2), None);
        assert_eq!(table.find(7, &tags, |_| true), Some(1));
        assert_eq!(table.find(8, &tags, |_| true), None);
    }

    #[test]
    fn a_full_bucket_spills_and_forgets_nobody() {
        let tags = [3; 40];
        for order in 0..3 {
            let mut table = Table::new(40);
            (0..40).for_each(|place| table.insert(3, place));
            let mut left: VecDeque<u32> = (0..40).collect();
            while let Some(gone) = match order {
                0 => left.pop_front(),
                1 => left.pop_back(),
                _ => left.remove(left.len() / 2),
            } {
                table.remove(3, gone, &tags);
                assert_eq!(table.find(3, &tags, |place| place == gone), None);
                for place in &left {
                    assert_eq!(table.find(3, &tags, |found| found == *place), Some(*place));
                }
            }
            let bucket = table.buckets[table.bucket(3)];
            assert_eq!((bucket.used, bucket.spill), (0, NIL));
        }
    }

    #[test]
    fn churn_at_the_limit_keeps_every_entry_and_no_trace() {
        const FLOWS: usize = 1000;
        let mut table = Table::new(FLOWS);
        let room = (table.buckets.capacity(), table.spilled.capacity());
        let tag = |n: u32| n.wrapping_mul(0x9e37_79b1).rotate_left(16).wrapping_mul(0x85eb_ca6b);
        let mut tags = vec![0; FLOWS];
        for n in 0..200_000 {
            let place = n % FLOWS as u32;
            if n >= FLOWS as u32 {
                table.remove(tags[place as usize], place, &tags);
            }
            tags[place as usize] = tag(n);
            table.insert(tag(n), place);
        }
        for (place, tag) in tags.iter().enumerate() {
            let found = table.find(*tag, &tags, |found| found == place as u32);
            assert_eq!(found, Some(place as u32));
        }
        assert_eq!(room, (table.buckets.capacity(), table.spilled.capacity()));
        for (place, tag) in tags.iter().enumerate() {
            table.remove(*tag, place as u32, &tags);
        }
        assert!(table.buckets.iter().all(|bucket| (bucket.used, bucket.spill) == (0, NIL)));
    }

    proptest! {
        /// Places come back under another tag, in the same bucket or the other, spilled or not.
        #[test]
        fn who_is_there_is_found_and_nobody_else(
            steps in prop::collection::vec((0..48usize, 0..6u32), 0..400),
        ) {
            let mut table = Table::new(48);
            let mut tags = vec![0; 48];
            let mut there = [false; 48];
            for (place, tag) in steps {
                if std::mem::take(&mut there[place]) {
                    table.remove(tags[place], place as u32, &tags);
                } else {
                    // Three tags to each of two buckets.
                    let tag = tag % 2 + tag / 2 * table.buckets.len() as u32;
                    tags[place] = tag;
                    table.insert(tag, place as u32);
                    there[place] = true;
                }
                for (place, there) in there.iter().enumerate() {
                    let found = table.find(tags[place], &tags, |found| found == place as u32);
                    prop_assert_eq!(found.is_some(), *there);
                }
            }
        }
    }
}

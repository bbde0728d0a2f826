//! A timing wheel: which flows want to be looked at, and when.
//!
//! One timer for each place in the slab. Touching a flow does not move its timer: when a timer
//! comes due, the shard looks at the flow and files it again if it is too early. Nothing is
//! allocated after start: timers are doubly linked through an array.

use sonde_proto::time::Timestamp;

use crate::memory::Region;

/// The timers of a shard.
#[derive(Debug)]
pub(crate) struct Wheel {
    links: Vec<Link>,
    /// First timer of each slot.
    heads: Box<[u32; SLOTS as usize]>,
    /// The slot that is looked at, counted from the epoch.
    hand: u64,
}

/// The neighbours of a timer in its slot, [`NIL`] at the ends.
#[derive(Clone, Copy, Debug)]
struct Link {
    next: u32,
    /// The timer before, or [`HEAD`] and the slot's number for the first; [`NIL`]: not filed.
    previous: u32,
}

impl Wheel {
    /// A wheel for the timers `0..capacity`.
    pub(crate) fn new(capacity: usize) -> Self {
        let links = Vec::with_capacity(capacity);
        Region::of(&links).prefer_huge_pages();
        Self { links, heads: Box::new([NIL; SLOTS as usize]), hand: 0 }
    }

    /// Bytes that a wheel for `capacity` timers takes.
    pub(crate) const fn bytes(capacity: usize) -> usize {
        capacity * size_of::<Link>() + SLOTS as usize * size_of::<u32>()
    }

    /// The memory reserved for it.
    pub(crate) fn region(&self) -> Region {
        Region::of(&self.links)
    }

    /// Files timer `index`, which must not be filed, to come due at `due` or up to a slot later.
    /// What lies beyond the wheel's span comes due early. The end of time never comes due.
    pub(crate) fn file(&mut self, index: u32, due: Timestamp) {
        while self.links.len() <= index as usize {
            self.links.push(Link { next: NIL, previous: NIL });
        }
        if due.nanos() == u64::MAX {
            return;
        }
        let last = self.hand.saturating_add(SLOTS - 1);
        let slot = (due.nanos() >> SLOT_BITS).clamp(self.hand, last) % SLOTS;
        let head = self.heads[slot as usize];
        self.links[index as usize] = Link { next: head, previous: HEAD | slot as u32 };
        if head != NIL {
            self.links[head as usize].previous = index;
        }
        self.heads[slot as usize] = index;
    }

    /// Takes timer `index` out, if it is filed.
    pub(crate) fn cancel(&mut self, index: u32) {
        let Some(link) = self.links.get_mut(index as usize) else {
            return;
        };
        let Link { next, previous } = *link;
        if previous == NIL {
            return;
        }
        link.previous = NIL;
        if previous & HEAD != 0 {
            self.heads[(previous & !HEAD) as usize] = next;
        } else {
            self.links[previous as usize].next = next;
        }
        if next != NIL {
            self.links[next as usize].previous = previous;
        }
    }

    /// Takes out a timer that is due at `now`; `None` when there is none left.
    pub(crate) fn due(&mut self, now: Timestamp) -> Option<u32> {
        let target = now.nanos() >> SLOT_BITS;
        // All timers lie within a turn of the hand: a leap in time needs one turn, not more. A clock
        // that was set back takes the hand with it: timers are then looked at early, not years late.
        self.hand = self.hand.clamp(target.saturating_sub(SLOTS), target);
        while self.hand < target {
            let index = self.heads[(self.hand % SLOTS) as usize];
            if index != NIL {
                self.cancel(index);
                return Some(index);
            }
            self.hand += 1;
        }
        None
    }
}

/// No timer.
const NIL: u32 = u32::MAX;
/// Marks a slot's number among timers; there are never so many flows in a shard.
const HEAD: u32 = 1 << 31;
/// Slots of the wheel.
const SLOTS: u64 = 1024;
/// A slot is 2^27 ns, 134 ms, wide: the wheel spans 137 s.
const SLOT_BITS: u32 = 27;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn all(wheel: &mut Wheel, now: Timestamp) -> Vec<u32> {
        let mut due: Vec<u32> = std::iter::from_fn(|| wheel.due(now)).collect();
        due.sort_unstable();
        due
    }

    fn second(n: u64) -> Timestamp {
        Timestamp::from_millis(1_500_000_000_000 + n * 1000)
    }

    fn started() -> Wheel {
        let mut wheel = Wheel::new(8);
        assert_eq!(wheel.due(second(0)), None);
        wheel
    }

    #[test]
    fn a_timer_comes_due_once_and_never_early() {
        let mut wheel = started();
        wheel.file(3, second(60));
        assert!(all(&mut wheel, second(60)).is_empty());
        let late = second(60).after(Duration::from_millis(269));
        assert_eq!(all(&mut wheel, late), [3]);
        assert!(all(&mut wheel, second(600)).is_empty());
    }

    #[test]
    fn a_clock_set_back_is_followed() {
        let mut wheel = started();
        let back = Timestamp::from_millis(second(0).nanos() / 1_000_000 - 7_200_000);
        assert_eq!(wheel.due(back), None);
        wheel.file(5, back.after(Duration::from_secs(60)));
        assert!(all(&mut wheel, back.after(Duration::from_secs(59))).is_empty());
        assert_eq!(all(&mut wheel, back.after(Duration::from_secs(61))), [5]);
    }

    #[test]
    fn neighbours_in_a_slot_are_cancelled_apart() {
        for gone in 0..3 {
            let mut wheel = started();
            for index in 0..3 {
                wheel.file(index, second(10));
            }
            wheel.cancel(gone);
            wheel.cancel(gone);
            let rest: Vec<u32> = (0..3).filter(|i| *i != gone).collect();
            assert_eq!(all(&mut wheel, second(11)), rest);
        }
    }

    #[test]
    fn a_leap_in_time_finds_all_timers_and_ends() {
        let mut wheel = started();
        wheel.file(0, second(1));
        wheel.file(1, second(120));
        wheel.file(2, Timestamp::from_nanos(u64::MAX));
        let far = Timestamp::from_nanos(u64::MAX - 1);
        assert_eq!(all(&mut wheel, far), [0, 1]);
        // Time that ran backwards finds nothing, and what is filed then is found in its time.
        wheel.file(0, second(1));
        assert!(all(&mut wheel, second(0)).is_empty());
    }
}

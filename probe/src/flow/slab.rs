//! The places of a shard's flows, and the lists of those with unreported changes.

use sonde_proto::entry::{First, FlowEntry, Key};
use sonde_proto::record::{Cause, WatchId};
use uuid::Uuid;

use super::entry::{ASKED, Cold, Hot, LISTED, UNREPORTED};
use super::staged::Staged;
use crate::memory::Region;
use crate::parse::{Echo, tcp_flags};

/// Room for a number of flows, reserved at the start and touched when first used.
#[derive(Debug)]
pub(crate) struct Slab {
    pub(crate) hot: Vec<Hot>,
    pub(crate) cold: Vec<Cold>,
    /// Hashes of the keys, to find their entries in the table.
    pub(crate) tags: Vec<u32>,
    free: Vec<u32>,
    /// Heads of two lists of flows with unreported changes: those that a running sweep still has
    /// to report, and those touched since it began.
    sweeping: u32,
    touched: u32,
    capacity: usize,
}

impl Slab {
    /// Room for `capacity` flows, less than 2^31.
    pub(crate) fn new(capacity: usize) -> Self {
        let slab = Self {
            hot: Vec::with_capacity(capacity),
            cold: Vec::with_capacity(capacity),
            tags: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
            sweeping: NIL,
            touched: NIL,
            capacity,
        };
        slab.regions().into_iter().for_each(Region::prefer_huge_pages);
        slab
    }

    /// Bytes that a slab for `capacity` flows takes.
    pub(crate) const fn bytes(capacity: usize) -> usize {
        capacity * (size_of::<Hot>() + size_of::<Cold>() + 2 * size_of::<u32>())
    }

    /// The memory reserved for it.
    pub(crate) fn regions(&self) -> [Region; 4] {
        let Self { hot, cold, tags, free, .. } = self;
        [Region::of(hot), Region::of(cold), Region::of(tags), Region::of(free)]
    }

    /// How many flows there is room for.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether [`Self::begin`] has a place.
    pub(crate) fn has_room(&self) -> bool {
        !self.free.is_empty() || self.hot.len() < self.capacity
    }

    /// Flows that live.
    pub(crate) fn live(&self) -> usize {
        self.hot.len() - self.free.len()
    }

    /// Places that were used so far, flows on some of them.
    pub(crate) fn used(&self) -> u32 {
        self.hot.len() as u32
    }

    /// Places a new flow; there must be room.
    #[inline(always)]
    pub(crate) fn begin(&mut self, item: &Staged, key: Key, first: First) -> u32 {
        let mut hot = Hot::new(key, item.swap, &first, item.ports[0], item.at);
        let cold = Cold::new(first, item.at);
        let tag = item.tag;
        match self.free.pop() {
            Some(index) => {
                let place = &mut self.hot[index as usize];
                // The place may still be on a list.
                hot.flags |= place.flags & LISTED;
                hot.next = place.next;
                *place = hot;
                self.cold[index as usize] = cold;
                self.tags[index as usize] = tag;
                index
            }
            None => {
                self.hot.push(hot);
                self.cold.push(cold);
                self.tags.push(tag);
                (self.hot.len() - 1) as u32
            }
        }
    }

    /// Counts a packet of flow `index`; whether TCP is over with it.
    pub(crate) fn count(&mut self, index: u32, item: &Staged) -> bool {
        let hot = &mut self.hot[index as usize];
        let ab = if hot.is_empty() { hot.count_first(item) } else { hot.count(item) };
        self.list(index);
        if item.tcp_flags & (tcp_flags::SYN | tcp_flags::RST | tcp_flags::FIN) != 0
            || item.echo.is_some()
        {
            self.time(index, item);
            return self.hot[index as usize].close(item.tcp_flags, ab);
        }
        false
    }

    /// Puts a flow on the list of those with unreported changes.
    #[inline(always)]
    pub(crate) fn list(&mut self, index: u32) {
        if let Some(hot) = self.hot.get_mut(index as usize)
            && !hot.is(LISTED)
        {
            hot.flags |= LISTED;
            hot.next = self.touched;
            self.touched = index;
        }
    }

    /// Measures round trips: each SYN to its SYN+ACK or RST, each echo request to its reply. One
    /// that is sent again counts from the first time.
    fn time(&mut self, index: u32, item: &Staged) {
        let hot = &mut self.hot[index as usize];
        let (tcp, echo, at) = (item.tcp_flags, item.echo, item.at);
        let syn_ack = tcp_flags::SYN | tcp_flags::ACK;
        let asks = tcp & syn_ack == tcp_flags::SYN && tcp & tcp_flags::RST == 0
            || echo == Some(Echo::Request);
        let answers =
            tcp & syn_ack == syn_ack || tcp & tcp_flags::RST != 0 || echo == Some(Echo::Reply);
        if hot.is(ASKED) && answers {
            self.cold[index as usize].rtt = at.since(hot.asked).as_nanos() as u64;
            hot.flags &= !ASKED;
        } else if asks && !hot.is(ASKED) {
            hot.asked = at;
            hot.flags |= ASKED;
        }
    }

    /// An update tick at which the flow had changed.
    pub(crate) fn tick(&mut self, index: u32) {
        self.hot[index as usize].tick(&mut self.cold[index as usize]);
    }

    /// Passes over ticks at which nothing changed, up to the `ticks`-th.
    pub(crate) fn pass_ticks(&mut self, index: u32, ticks: u64) {
        self.hot[index as usize].pass_ticks(&mut self.cold[index as usize], ticks);
    }

    /// Gives a place back; it may stay on a list.
    pub(crate) fn end(&mut self, index: u32) {
        let hot = &mut self.hot[index as usize];
        hot.flags &= LISTED;
        hot.key = Key::NONE;
        self.free.push(index);
    }

    /// Begins to sweep: what was touched until now is what [`Self::next_swept`] gives.
    pub(crate) fn begin_sweep(&mut self) {
        if self.sweeping == NIL {
            self.sweeping = std::mem::replace(&mut self.touched, NIL);
        }
    }

    /// Takes the next place off the sweep's list: nothing may live there, or have changed.
    pub(crate) fn next_swept(&mut self) -> Option<u32> {
        let index = self.sweeping;
        let hot = self.hot.get_mut(index as usize)?;
        self.sweeping = hot.next;
        hot.flags &= !LISTED;
        Some(index)
    }

    /// The entry of a flow as it stands; it counts as reported.
    #[inline(always)]
    pub(crate) fn report(
        &mut self,
        index: u32,
        watch: (WatchId, Uuid),
        cause: Cause,
        update: u64,
    ) -> FlowEntry {
        let hot = &mut self.hot[index as usize];
        hot.flags &= !UNREPORTED;
        hot.entry(&self.cold[index as usize], watch, cause, update)
    }
}

/// The end of a list.
const NIL: u32 = u32::MAX;

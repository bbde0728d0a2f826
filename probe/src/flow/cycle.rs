//! The life of a flow after its packets: ticks, silence, eviction, sweeps, the end.

use sonde_proto::entry::FlowEntry;
use sonde_proto::record::{Cause, EndReason, FinishType, WatchId};
use sonde_proto::time::Timestamp;
use uuid::Uuid;

use super::Export;
use super::shard::Shard;

impl Shard {
    /// Looks at flows whose timers are due, `slice` of them at most, while entries are taken:
    /// reports what changed since the last tick, ends what was silent for too long.
    pub fn expire(&mut self, now: Timestamp, slice: usize, out: &mut impl Export) {
        self.expire_fragments(now);
        self.relieve(now, slice, out);
        for _ in 0..slice {
            if !out.ready() {
                return;
            }
            let Some(index) = self.wheel.due(now) else {
                return;
            };
            match self.over(index, now).or_else(|| self.timed_out(index, now)) {
                Some(reason) => self.end_flow(index, reason, out),
                None => {
                    self.tick(index, now, out);
                    let due = self.due(index);
                    self.wheel.file(index, due);
                }
            }
        }
    }

    /// Begins to report all flows touched since they were last reported. A sweep that still runs
    /// must be ended first.
    pub fn begin_sweep(&mut self) {
        self.slab.begin_sweep();
    }

    /// Goes on with the sweep: looks at `slice` flows at most. `true` when it is over.
    pub fn sweep(&mut self, slice: usize, out: &mut impl Export) -> bool {
        for _ in 0..slice {
            if !out.ready() {
                return false;
            }
            let Some(index) = self.slab.next_swept() else {
                return true;
            };
            let hot = self.slab.hot.get(index as usize);
            if hot.is_some_and(|hot| hot.lives() && hot.unreported()) {
                let entry = self.report(index, Cause::Sweep, out);
                out.export(entry);
            }
        }
        false
    }

    /// Goes on to end the flows of watches that left: looks at `slice` places at most. `true` when
    /// that was the last slice.
    pub fn retire(&mut self, slice: usize, out: &mut impl Export) -> bool {
        let Some(from) = self.leaving else {
            return false;
        };
        let to = self.slab.used().min(from.saturating_add(slice.try_into().unwrap_or(u32::MAX)));
        for index in from..to {
            if !out.ready() {
                self.leaving = Some(index);
                return false;
            }
            if self.watching_leaves(index) {
                self.end_flow(index, EndReason::Stopped, out);
            }
        }
        if to < self.slab.used() {
            self.leaving = Some(to);
            return false;
        }
        self.leaving = None;
        for place in &mut self.watches {
            place.take_if(|watching| watching.is_leaving() && watching.flows == 0);
        }
        true
    }

    /// Whether flows of watches that left are still to be ended.
    pub fn is_retiring(&self) -> bool {
        self.leaving.is_some()
    }

    /// Ends all flows while entries are taken. `true` when none is left.
    pub fn end(&mut self, reason: EndReason, out: &mut impl Export) -> bool {
        self.give_up_fragments();
        // Places are freed from the front: what was ended is not looked at again.
        while self.ended < self.slab.used() {
            if !out.ready() {
                return false;
            }
            let index = self.ended;
            if self.slab.hot.get(index as usize).is_some_and(|hot| hot.lives()) {
                self.end_flow(index, reason, out);
            }
            self.ended += 1;
        }
        self.ended = 0;
        true
    }

    /// Reports a flow for the last time and frees its place; an entry must be taken.
    pub(super) fn end_flow(&mut self, index: u32, reason: EndReason, out: &mut impl Export) {
        let mut entry = self.report(index, Cause::End(reason), out);
        let finish = match reason {
            EndReason::Finished | EndReason::Drained => FinishType::NotFinished,
            _ => FinishType::Timeout,
        };
        self.books.ended[reason as usize] += 1;
        if entry.finish == FinishType::NotFinished {
            entry.finish = finish;
        }
        out.export(entry);
        if let Some(tag) = self.slab.tags.get(index as usize) {
            self.table.remove(*tag, index, &self.slab.tags);
        }
        self.wheel.cancel(index);
        if let Some(hot) = self.slab.hot.get(index as usize)
            && let Some(Some(watching)) = self.watches.get_mut(hot.key.watch())
        {
            watching.flows -= 1;
        }
        self.slab.end(index);
    }

    /// Why a flow without packets until `now` is over, if it is.
    #[inline]
    pub(super) fn over(&self, index: u32, now: Timestamp) -> Option<EndReason> {
        let hot = self.slab.hot.get(index as usize)?;
        let silence = now.nanos().saturating_sub(hot.last.nanos());
        if hot.finish() != FinishType::NotFinished && silence > self.timers.hold {
            Some(EndReason::Finished)
        } else if silence > self.timers.expire {
            Some(EndReason::Idle)
        } else if self.timers.active != u64::MAX {
            let cold = self.slab.cold.get(index as usize)?;
            let age = now.nanos().saturating_sub(cold.start.nanos());
            (age > self.timers.active).then_some(EndReason::Active)
        } else {
            None
        }
    }

    /// Whether a flow whose update tick is due was silent for as long as its application may be.
    fn timed_out(&self, index: u32, now: Timestamp) -> Option<EndReason> {
        let hot = self.slab.hot.get(index as usize)?;
        let cold = self.slab.cold.get(index as usize)?;
        if hot.changed() || now < cold.next_tick(self.timers.update) {
            return None;
        }
        let timeout = self.timers.applications.of(cold.first.application()?)?;
        (now.since(hot.last) > timeout).then_some(EndReason::Idle)
    }

    /// When a flow has to be looked at next.
    pub(super) fn due(&self, index: u32) -> Timestamp {
        let never = Timestamp::from_nanos(u64::MAX);
        let (Some(hot), Some(cold)) =
            (self.slab.hot.get(index as usize), self.slab.cold.get(index as usize))
        else {
            return never;
        };
        let hold = match hot.finish() {
            FinishType::NotFinished => u64::MAX,
            _ => hot.last.nanos().saturating_add(self.timers.hold),
        };
        let due = cold
            .next_tick(self.timers.update)
            .nanos()
            .min(hot.last.nanos().saturating_add(self.timers.expire))
            .min(cold.start.nanos().saturating_add(self.timers.active))
            .min(hold);
        Timestamp::from_nanos(due)
    }

    /// Takes the update ticks of a flow that are due at `now`.
    fn tick(&mut self, index: u32, now: Timestamp, out: &mut impl Export) {
        let (Some(hot), Some(cold)) =
            (self.slab.hot.get(index as usize), self.slab.cold.get(index as usize))
        else {
            return;
        };
        let update = self.timers.update;
        if now < cold.next_tick(update) {
            return;
        }
        let ticks = now.nanos().saturating_sub(cold.start.nanos()) / update;
        if hot.changed() {
            self.slab.tick(index);
            let entry = self.report(index, Cause::Update, out);
            out.export(entry);
        }
        self.slab.pass_ticks(index, ticks);
    }

    /// The entry of a flow as it stands. What its capture wants to know beyond is given to `out`.
    #[inline(always)]
    fn report(&mut self, index: u32, cause: Cause, out: &mut impl Export) -> FlowEntry {
        let hot = self.slab.hot.get(index as usize);
        let watch = hot
            .and_then(|hot| self.watches.get(hot.key.watch())?.as_ref())
            .map_or((WatchId::default(), Uuid::nil()), |watching| {
                (watching.watch.id, watching.watch.node_tid.unwrap_or_default())
            });
        let mut entry = self.slab.report(index, watch, cause, self.timers.update);
        entry.raw_packets = self.copies.sent(index);
        if self.extras.any() {
            if matches!(cause, Cause::End(_)) {
                self.extras.end(index);
            }
            let extra = self.extras.report(index, entry.shows_ipv4());
            entry.extra = extra.and_then(|extra| out.extra(extra));
        }
        entry
    }

    fn watching_leaves(&self, index: u32) -> bool {
        self.slab
            .hot
            .get(index as usize)
            .filter(|hot| hot.lives())
            .and_then(|hot| self.watches.get(hot.key.watch())?.as_ref())
            .is_some_and(|watching| watching.is_leaving())
    }
}

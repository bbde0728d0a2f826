//! The second half of metering: staged pieces meet their flows.

use sonde_proto::entry::Identity;
use sonde_proto::record::{EndReason, FinishType};
use sonde_proto::time::Timestamp;

use super::Export;
use super::copies::{self, Label};
use super::entry::Hot;
use super::shard::Shard;
use super::staged::Staged;
use super::watching::Watching;
use crate::memory::prefetch;
use crate::parse::Piece;

impl Shard {
    /// Counts the frames taken since the last call.
    pub fn settle(&mut self, out: &mut impl Export) {
        let mut staged = std::mem::take(&mut self.stage.items);
        let mut pieces = std::mem::take(&mut self.pieces);
        let full = !self.slab.has_room();
        let mut new = 0;
        for item in &mut staged {
            match self.table.find(item.tag, &self.slab.tags, |_| true) {
                Some(index) => {
                    item.candidate = index;
                    prefetch(&self.slab.hot, index as usize);
                }
                None if full => {
                    self.approach_victim(new);
                    new += 1;
                }
                None => {}
            }
        }
        let mut tally = Tally::default();
        let mut rest = staged.as_slice();
        // Frames of one piece for one watch, which nearly all are, and those without room.
        let (mut single, mut full) = (0, 0);
        while let Some((first, after)) = rest.split_first() {
            if first.outermost && first.last {
                rest = after;
                let counted = self.record(first, &pieces, 0, out).is_some();
                tally.add(first, counted, &mut self.watches);
                single += 1;
                full += u64::from(!counted);
            } else {
                rest = self.settle_pieces(rest, &pieces, &mut tally, out);
            }
        }
        self.books.metered += single - full;
        self.books.table_full += full;
        tally.enter(&mut self.watches);
        staged.clear();
        pieces.clear();
        self.copies.clear();
        self.stage.items = staged;
        self.pieces = pieces;
    }

    /// Counts the pieces of a frame, for all watches. Returns what is left.
    fn settle_pieces<'a>(
        &mut self,
        staged: &'a [Staged],
        pieces: &[Piece],
        tally: &mut Tally,
        out: &mut impl Export,
    ) -> &'a [Staged] {
        // The outer flow of the next piece; none once one had no room.
        let mut parent = None;
        let mut metered = false;
        let mut rest = staged;
        while let Some((item, after)) = rest.split_first() {
            rest = after;
            if item.outermost {
                parent = Some(0);
            }
            if let Some(outer) = parent {
                let index = self.record(item, pieces, outer, out);
                tally.add(item, index.is_some(), &mut self.watches);
                metered |= item.outermost && index.is_some();
                parent = index.map(|index| if item.innermost { 0 } else { self.uuid(index) });
            }
            if item.last {
                break;
            }
        }
        self.books.metered += u64::from(metered);
        self.books.table_full += u64::from(!metered);
        rest
    }

    /// Counts a piece for its flow, whose place it returns; `None` when there is no room.
    #[inline(always)]
    fn record(
        &mut self,
        item: &Staged,
        pieces: &[Piece],
        parent: u64,
        out: &mut impl Export,
    ) -> Option<u32> {
        // Nearly always it is the flow that was foreseen, with nothing to do but to count.
        let fresh = self.timers.fresh;
        let hit = |hot: &&mut Hot| {
            let silence = item.at.nanos().saturating_sub(hot.last.nanos());
            hot.key.matches(&item.key, parent) && silence < fresh
        };
        if let Some(hot) = self.slab.hot.get_mut(item.candidate as usize).filter(hit)
            && item.is_quiet()
        {
            hot.count(item);
            self.slab.list(item.candidate);
            return Some(item.candidate);
        }
        self.record_any(item, pieces.get(item.piece as usize), parent, out)
    }

    /// Counts a piece for its flow, whatever there is to do beside.
    #[inline(never)]
    fn record_any(
        &mut self,
        item: &Staged,
        piece: Option<&Piece>,
        parent: u64,
        out: &mut impl Export,
    ) -> Option<u32> {
        let index = match self.find(item, parent) {
            Some(index) => match self.over(index, item.at) {
                // Silent for too long, though its timer has not been looked at yet.
                Some(reason) if out.ready() => {
                    self.end_flow(index, reason, out);
                    self.begin(item, parent, piece, out)?
                }
                _ => index,
            },
            None => self.begin(item, parent, piece, out)?,
        };
        if self.slab.count(index, item) {
            // It is over sooner than its timer knows.
            self.wheel.cancel(index);
            let due = self.due(index);
            self.wheel.file(index, due);
        }
        if let Some(piece) = piece {
            if self.extras.any() {
                let hot = self.slab.hot.get(index as usize)?;
                self.extras.count(index, piece, hot.is_from_a(item.swap), item.at);
            }
            if item.copy != copies::NONE {
                self.send_copy(item, piece, index, out);
            }
        }
        Some(index)
    }

    /// The `UUID` of a flow. It is taken when somebody asks for it, which few do.
    fn uuid(&mut self, index: u32) -> u64 {
        let place = index as usize;
        let (Some(hot), Some(cold)) = (self.slab.hot.get_mut(place), self.slab.cold.get(place))
        else {
            return 0;
        };
        if hot.uuid == 0 {
            let watching = self.watches.get(hot.key.watch()).and_then(Option::as_ref);
            let tid = watching.and_then(|watching| watching.watch.node_tid);
            hot.uuid = Identity::of(&hot.key).uuid(cold.start, tid);
        }
        hot.uuid
    }

    /// Sends up what the watch wants of a piece that was counted for flow `index`.
    #[cold]
    fn send_copy(&mut self, item: &Staged, piece: &Piece, index: u32, out: &mut impl Export) {
        let place = item.key.watch();
        let uuid = self.uuid(index);
        if let (Some(hot), Some(Some(watching))) =
            (self.slab.hot.get(index as usize), self.watches.get_mut(place))
        {
            let label = Label {
                index,
                uuid,
                first: hot.is_first(),
                at: item.at,
                length: piece.wire_length,
            };
            watching.copies_lost += self.copies.send(item.copy, &watching.watch, label, out);
        }
    }

    #[inline]
    fn find(&self, item: &Staged, parent: u64) -> Option<u32> {
        let is = |index: u32| {
            let hot = self.slab.hot.get(index as usize);
            hot.is_some_and(|hot| hot.key.matches(&item.key, parent))
        };
        if is(item.candidate) {
            return Some(item.candidate);
        }
        // Another flow with the same tag; or one that began, or moved, since we looked.
        self.table.find(item.tag, &self.slab.tags, is)
    }

    /// Begins a flow, in the place of another one if the table is full.
    fn begin(
        &mut self,
        item: &Staged,
        parent: u64,
        piece: Option<&Piece>,
        out: &mut impl Export,
    ) -> Option<u32> {
        if !self.slab.has_room() {
            if !out.ready() {
                return None;
            }
            let victim = self.victim()?;
            self.end_flow(victim, EndReason::Evicted, out);
        }
        let key = item.key.with_parent(parent);
        let watching = self.watches.get_mut(key.watch())?.as_mut()?;
        watching.flows += 1;
        let first = item.first(piece);
        let index = self.slab.begin(item, key, first);
        self.copies.begin(index);
        self.table.insert(item.tag, index);
        match piece {
            Some(piece) => {
                self.extras.begin(index, &watching.watch.options, piece, item.innermost);
            }
            None if self.extras.any() => self.extras.clear(index),
            None => {}
        }
        let due = if first.finish() == FinishType::NotFinished {
            Timestamp::from_nanos(item.at.nanos().saturating_add(self.timers.young))
        } else {
            self.due(index)
        };
        self.wheel.file(index, due);
        Some(index)
    }
}

/// Counts for one watch, until a piece is for another.
#[derive(Debug, Default)]
struct Tally {
    place: usize,
    packets: u64,
    bytes: u64,
    dropped: u64,
}

impl Tally {
    /// Adds a piece that was counted, or that there was no room for.
    #[inline(always)]
    fn add(&mut self, item: &Staged, counted: bool, watches: &mut [Option<Watching>]) {
        let place = item.key.watch();
        if place != self.place {
            self.enter(watches);
            self.place = place;
        }
        if item.outermost && counted {
            self.packets += 1;
            self.bytes += u64::from(item.wire);
        }
        self.dropped += u64::from(!counted);
    }

    /// Enters the counts into the watch's books, and begins anew.
    fn enter(&mut self, watches: &mut [Option<Watching>]) {
        let Self { place, packets, bytes, dropped } = std::mem::take(self);
        if let Some(Some(watching)) = watches.get_mut(place) {
            watching.packets += packets;
            watching.bytes += bytes;
            watching.dropped += dropped;
        }
    }
}

//! The part of the flow table that one lcore owns.

use sonde_proto::entry::Identity;
use sonde_proto::plan::{KeyMode, Options, Watch};
use sonde_proto::report::{Books, Skip, WatchReport, WatchState};

use super::copies::{Copies, Lent};
use super::extras::Extras;
use super::key::{Keyed, hash};
use super::limit::Limit;
use super::nanos::Nanos;
use super::slab::Slab;
use super::staged::{Stage, Staged, Taker};
use super::table::Table;
use super::watching::Watching;
use super::wheel::Wheel;
use super::{Export, Timers};
use crate::defrag::{Defragmenter, Places};
use crate::memory::Region;
use crate::parse::{MAX_PIECES, ParseOptions, Piece, parse};
use crate::source::{BURST, Frame};

/// The flows of an lcore, of all watches on its point.
///
/// Frames are metered in three passes, so that the lines of many flows are fetched at once: each
/// frame is parsed and hashed as it is lent, and the table's line asked for ([`Self::meter`]); then
/// the flows are looked up by hash and their lines asked for; then keys are compared and packets
/// counted ([`Self::settle`]).
#[derive(Debug)]
pub struct Shard {
    pub(super) slab: Slab,
    pub(super) table: Table,
    pub(super) wheel: Wheel,
    pub(super) extras: Extras,
    pub(super) timers: Nanos,
    /// The watches, each at the place its flows' keys name; a place is empty when no flow names it.
    pub(super) watches: Vec<Option<Watching>>,
    /// How the table is kept from being full.
    pub(super) limit: Limit,
    /// Where the search for flows of leaving watches goes on.
    pub(super) leaving: Option<u32>,
    /// Where the search for flows to end goes on, once all shall end.
    pub(super) ended: u32,
    /// Watches there is no place for.
    refused: Vec<WatchReport>,
    /// How many bytes of a plain frame are looked at, when no watch wants more of one than its
    /// flows' counters.
    plain: Option<u32>,
    /// The watches that run.
    takers: Vec<Taker>,
    /// Only while a watch wants datagrams put together.
    pub(super) defragmenter: Option<Box<Defragmenter>>,
    pub(super) stage: Stage,
    pub(super) pieces: Vec<Piece>,
    pub(super) copies: Copies,
    pub(super) books: Books,
}

impl Shard {
    /// A shard with room for `max_flows`, reserved now.
    pub fn new(max_flows: usize, timers: Timers) -> Self {
        let max_flows = max_flows.clamp(1, i32::MAX as usize);
        Self {
            slab: Slab::new(max_flows),
            table: Table::new(max_flows),
            wheel: Wheel::new(max_flows),
            extras: Extras::default(),
            timers: timers.into(),
            watches: Vec::new(),
            limit: Limit::default(),
            leaving: None,
            ended: 0,
            refused: Vec::new(),
            plain: None,
            takers: Vec::with_capacity(1 + usize::from(u8::MAX)),
            defragmenter: None,
            stage: Stage::new(STAGED),
            pieces: Vec::with_capacity(STAGED),
            copies: Copies::default(),
            books: Books::default(),
        }
    }

    /// Bytes that the table of `max_flows` takes at most, which is 282 to 295 for each: two lines
    /// of what each packet touches, two of what few do, and 26 to 39 bytes to find and time it.
    /// Options of captures that want to know more of a flow than counters take their own.
    pub const fn bytes(max_flows: usize) -> usize {
        Slab::bytes(max_flows) + Table::bytes(max_flows) + Wheel::bytes(max_flows)
    }

    /// Takes all memory from the kernel that was reserved for flows, so that no packet waits for a
    /// page. Whether the kernel gave it.
    pub fn populate(&mut self) -> bool {
        let [hot, cold, tags, free] = self.slab.regions();
        let [buckets, spilled] = self.table.regions();
        let regions = [hot, cold, tags, free, buckets, spilled, self.wheel.region()];
        regions.into_iter().all(Region::populate)
    }

    /// Runs the watches of a plan: new ones start, those it no longer names leave.
    pub fn follow(&mut self, watches: &[Watch]) {
        self.extras.follow(watches, self.slab.capacity(), self.slab.used() as usize);
        self.follow_fragments(watches);
        for place in &mut self.watches {
            let Some(watching) = place else { continue };
            if watches.iter().any(|watch| watch.id == watching.watch.id) {
                continue;
            }
            if watching.flows == 0 {
                *place = None;
            } else if !watching.is_leaving() {
                watching.leave();
                self.leaving = Some(0);
            }
        }
        self.refused.clear();
        for watch in watches {
            let mut known = self.watches.iter_mut().flatten();
            if let Some(known) = known.find(|known| known.watch.id == watch.id) {
                if known.watch != *watch || known.is_leaving() {
                    known.follow(watch);
                }
            } else if let Some(place) = self.watches.iter().position(Option::is_none) {
                self.watches[place] = Some(Watching::new(watch));
                self.forget_fragments(place as u8);
            } else if self.watches.len() <= usize::from(u8::MAX) {
                self.watches.push(Some(Watching::new(watch)));
            } else {
                self.refused.push(WatchReport {
                    watch: watch.id,
                    state: WatchState::Failed(libc::ENOSPC),
                    packets: 0,
                    bytes: 0,
                    dropped: 0,
                    flows: 0,
                    copies_lost: 0,
                });
            }
        }
        self.plain = self.plain_size();
        self.takers.clear();
        let places = self.watches.iter().enumerate();
        let running = places.filter_map(|(place, watching)| watching.as_ref()?.taker(place as u8));
        self.takers.extend(running);
        // A frame is taken while there is room for what all watches may make of it: its pieces, and
        // those of the datagram that it completes.
        let most = STAGED + 2 * MAX_PIECES * (1 + self.watches.len());
        self.stage.items.reserve_exact(most);
        self.pieces.reserve_exact(most);
        let wanting = self.watches.iter().flatten().filter(|watching| watching.wants_packets());
        if let Some(longest) = wanting.map(|w| w.watch.options.header_size).max() {
            self.copies.reserve(self.slab.capacity(), longest);
        }
    }

    /// Whether a watch wants packets whole, or frames.
    pub fn wants_packets(&self) -> bool {
        let wants = |w: &Watching| w.wants_packets() || w.watch.options.mirror;
        self.watches.iter().flatten().any(wants)
    }

    /// How many bytes of plain frames all watches that run look at, if that is all they want.
    fn plain_size(&self) -> Option<u32> {
        let running = self.watches.iter().flatten().filter(|watching| watching.runs());
        let mut sizes = running.map(Watching::plain_size);
        let size = sizes.next().flatten()?;
        let alike = sizes.all(|other| other == Some(size));
        alike.then_some(size)
    }

    /// Whether a watch wants to know of its flows more than counters.
    pub fn wants_extras(&self) -> bool {
        self.extras.any()
    }

    /// Takes a frame: it is counted for the flows of each watch that admits it, at the next
    /// [`Self::settle`] at the latest.
    #[inline]
    pub fn meter(&mut self, frame: &Frame<'_>, out: &mut impl Export) {
        if self.stage.items.len() >= STAGED {
            self.settle(out);
        }
        self.books.received += 1;
        if !self.meter_plain(frame) {
            // Frames that sampling leaves out have pieces, none of which is staged.
            if self.copies.is_full() || self.pieces.len() >= STAGED {
                self.settle(out);
            }
            self.meter_any(frame, out);
        }
    }

    /// Takes a frame if it is plain, which is all there is to know of it.
    #[inline(always)]
    fn meter_plain(&mut self, frame: &Frame<'_>) -> bool {
        let Some(size) = self.plain else { return false };
        if let [taker] = self.takers.as_slice()
            && !taker.filtered
        {
            // Nearly every point has one watch, which takes all.
            return self.stage.push_plain(frame, size, taker, &self.table);
        }
        self.meter_plain_for_some(frame, size)
    }

    /// The same for any number of watches, with filters or without.
    fn meter_plain_for_some(&mut self, frame: &Frame<'_>, size: u32) -> bool {
        let staged = self.stage.items.len();
        for taker in &self.takers {
            if taker.filtered {
                let watching = self.watches.get(usize::from(taker.place));
                if !watching.is_some_and(|w| w.as_ref().is_some_and(|w| w.admits(frame))) {
                    continue;
                }
            }
            if !self.stage.push_plain(frame, size, taker, &self.table) {
                self.stage.items.truncate(staged);
                return false;
            }
        }
        if self.stage.items.len() > staged {
            if self.takers.len() > 1 {
                self.stage.end_frame(staged);
            }
        } else if self.takers.is_empty() {
            self.books.unwatched += 1;
        } else {
            self.books.filtered += 1;
        }
        true
    }

    #[inline(never)]
    fn meter_any(&mut self, frame: &Frame<'_>, out: &mut impl Export) {
        let staged = self.stage.items.len();
        let mut watched = false;
        let mut skipped = None;
        let mut sampled_out = false;
        let mut cut = Cut::default();
        let mut parsed: Option<Parsed> = None;
        let fragment = self.fragment(frame);
        let mut wanted = Places::default();
        let mut lent = Lent::new(frame);
        for place in 0..self.watches.len() {
            let Some(Some(watching)) = self.watches.get_mut(place) else {
                continue;
            };
            watched |= watching.runs();
            if !watching.admits(frame) {
                continue;
            }
            if watching.watch.options.mirror {
                watching.mirror(frame, out);
            }
            if fragment.is_some() && watching.watch.options.defragment {
                wanted.add(place as u8);
                continue;
            }
            let Options { key_mode, sampling, header_size, mpls_udp_port, .. } =
                watching.watch.options;
            let options = ParseOptions { header_size, mpls_udp_port };
            let copied = watching.wants_packets();
            let parsed = match parsed {
                Some(parsed) if parsed.options == options => parsed,
                _ => *parsed.insert(self.parse(frame, options)),
            };
            match parsed.pieces {
                Ok((first, _)) if !self.samples(first, key_mode, sampling) => sampled_out = true,
                Ok((first, count)) => {
                    cut.truncated |= parsed.cut.truncated;
                    cut.too_deep |= parsed.cut.too_deep;
                    self.stage(frame, first, count, key_mode, place as u8);
                    if copied {
                        self.set_aside(&mut lent, place, count);
                    }
                }
                Err(skip) => skipped = Some(skip),
            }
        }
        if let Some(fragment) = &fragment {
            let metered = self.stage.items.len() > staged;
            match self.put_together(frame, fragment, wanted, metered) {
                Some(whole) => {
                    cut.truncated |= whole.truncated;
                    sampled_out |= whole.sampled_out;
                }
                None if metered => {}
                None => return,
            }
        }
        if self.stage.items.len() > staged {
            self.books.truncated += u64::from(cut.truncated);
            self.books.too_deep += u64::from(cut.too_deep);
            if let Some(item) = self.stage.items.last_mut() {
                item.last = true;
            }
        } else if sampled_out {
            self.books.sampled_out += 1;
        } else if let Some(skip) = skipped {
            self.books.skipped[skip as usize] += 1;
        } else if watched {
            self.books.filtered += 1;
        } else {
            self.books.unwatched += 1;
        }
    }

    /// The counters of the frames settled, and of those that made no flow.
    pub fn books(&self) -> &Books {
        &self.books
    }

    /// State and counters of each watch, those included that leave while their flows end.
    pub fn watches(&self) -> impl Iterator<Item = WatchReport> {
        let running = self.watches.iter().flatten().map(Watching::report);
        running.chain(self.refused.iter().copied())
    }

    #[inline]
    fn parse(&mut self, frame: &Frame<'_>, options: ParseOptions) -> Parsed {
        let first = self.pieces.len();
        let pieces = match parse(frame, options, &mut self.pieces) {
            Ok(0) => Err(Skip::Runt),
            Ok(count) => Ok((first, count)),
            Err(skip) => Err(skip),
        };
        if pieces.is_err() {
            self.pieces.truncate(first);
        }
        let parsed = self.pieces.get(first..).unwrap_or_default();
        let cut = Cut {
            truncated: parsed.iter().any(|piece| piece.truncated),
            too_deep: parsed.last().is_some_and(|piece| piece.too_deep),
        };
        Parsed { options, pieces, cut }
    }

    /// Whether a watch that takes one in `sampling` flows takes this frame, whose outermost piece
    /// is `first`: when its flow's `TrackingID` is a multiple of `sampling`.
    ///
    /// That digest has no secret and is the same both ways, so every lcore and every host decides
    /// alike, and flows are taken whole or not at all. What is inside a tunnel goes with the tunnel.
    #[inline]
    pub(super) fn samples(&self, first: usize, mode: KeyMode, sampling: u32) -> bool {
        if sampling <= 1 {
            return true;
        }
        let identity =
            |piece: &Piece| Identity::of(&Keyed::of(&piece.into(), mode, 0).key).tracking_id();
        let sampled = |id: u64| id.is_multiple_of(sampling.into());
        self.pieces.get(first).map(identity).is_some_and(sampled)
    }

    #[inline]
    pub(super) fn stage(
        &mut self,
        frame: &Frame<'_>,
        first: usize,
        count: usize,
        mode: KeyMode,
        watch: u8,
    ) {
        let mut outer = 0;
        let pieces = self.pieces.iter().enumerate().skip(first).take(count);
        for (at, piece) in pieces {
            let keyed = Keyed::of(&piece.into(), mode, watch);
            outer = hash(&keyed.key, &self.stage.hasher, outer);
            let mut staged = Staged::new(frame, piece, at as u32, keyed, outer);
            staged.length = match mode {
                KeyMode::L2 => piece.length,
                KeyMode::L3 => piece.wire_length,
            };
            staged.innermost = at + 1 == first + count;
            self.stage.items.push(staged);
        }
    }

    /// Sets the `count` pieces aside that were staged last, where the watch wants them.
    #[cold]
    pub(super) fn set_aside(&mut self, lent: &mut Lent<'_>, place: usize, count: usize) {
        let Some(Some(watching)) = self.watches.get(place) else { return };
        for item in self.stage.items.iter_mut().rev().take(count).rev() {
            if let Some(piece) = self.pieces.get(item.piece as usize) {
                let options = &watching.watch.options;
                item.copy = self.copies.set_aside(lent, piece, options);
            }
        }
    }
}

/// What a frame gave when it was read so.
#[derive(Clone, Copy)]
struct Parsed {
    options: ParseOptions,
    /// Where its pieces begin, and how many there are.
    pieces: Result<(usize, usize), Skip>,
    cut: Cut,
}

/// What of a frame was not read.
#[derive(Clone, Copy, Default)]
struct Cut {
    /// Its bytes ended before its headers did.
    truncated: bool,
    /// It has more tunnels inside each other than are opened.
    too_deep: bool,
}

/// Pieces that are settled before the next frame is taken: frames in a burst, and some tunnels.
const STAGED: usize = 4 * BURST;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sonde_proto::plan::BpfInstruction;
    use sonde_proto::record::WatchId;

    use super::*;

    #[test]
    fn watches_that_leave_or_failed_do_not_say_how_frames_are_read() {
        let options = Options { tcp_metric: true, ..Options::default() };
        let follows = Watch { id: WatchId(1), node_tid: None, filter: Arc::default(), options };
        let plain = Watch { id: WatchId(2), options: Options::default(), ..follows.clone() };
        let mut shard = Shard::new(8, Timers::default());
        shard.follow(&[follows.clone(), plain.clone()]);
        assert_eq!(shard.plain, None);

        // It stays until its flow has ended.
        shard.watches[0].as_mut().unwrap().flows = 1;
        shard.follow(std::slice::from_ref(&plain));
        assert!(shard.is_retiring());
        assert_eq!(shard.plain, Some(256));

        let code = BpfInstruction { code: 0xffff, jt: 0, jf: 0, k: 0 };
        shard.follow(&[plain, Watch { filter: Arc::new([code]), ..follows }]);
        assert_eq!(shard.plain, Some(256));
    }
}

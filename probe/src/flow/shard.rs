//! The part of the flow table that one lcore owns.

use std::time::Duration;

use ahash::RandomState;
use sonde_proto::plan::{KeyMode, Options, Watch};
use sonde_proto::record::EndReason;
use sonde_proto::report::{Books, Skip, WatchReport, WatchState};
use sonde_proto::time::Timestamp;

use super::copies::{self, Copies, Label, Lent};
use super::extras::Extras;
use super::first::First;
use super::identity::Identity;
use super::key::{Key, Keyed, Parts};
use super::slab::Slab;
use super::table::Table;
use super::watching::Watching;
use super::wheel::Wheel;
use super::{Export, Timers};
use crate::defrag::{Defragmenter, Places};
use crate::memory::prefetch;
use crate::parse::{Echo, ParseOptions, Piece, Plain, parse, plain};
use crate::source::{BURST, Frame};

/// The flows of an lcore, of all watches on its point.
///
/// Frames are metered in three passes, so that the lines of many flows are fetched at once: each
/// frame is parsed and hashed as it is lent ([`Self::meter`]); then the flows are looked up by
/// hash and their lines asked for; then keys are compared and packets counted ([`Self::settle`]).
#[derive(Debug)]
pub struct Shard {
    pub(super) slab: Slab,
    pub(super) table: Table,
    pub(super) wheel: Wheel,
    pub(super) extras: Extras,
    pub(super) timers: Timers,
    /// Two of the timers in nanoseconds, as each packet compares them.
    pub(super) expire: u64,
    pub(super) hold: u64,
    /// The watches, each at the place its flows' keys name; a place is empty when no flow names it.
    pub(super) watches: Vec<Option<Watching>>,
    /// Where the search for a flow to evict goes on.
    pub(super) hand: u32,
    /// Where the search for flows of leaving watches goes on.
    pub(super) leaving: Option<u32>,
    /// Where the search for flows to end goes on, once all shall end.
    pub(super) ended: u32,
    /// Watches there is no place for.
    refused: Vec<WatchReport>,
    /// How many bytes of a plain frame are looked at, when no watch wants more of one than its
    /// flows' counters.
    plain: Option<u32>,
    /// Only while a watch wants datagrams put together.
    pub(super) defragmenter: Option<Box<Defragmenter>>,
    hasher: RandomState,
    staged: Vec<Staged>,
    pub(super) pieces: Vec<Piece>,
    pub(super) copies: Copies,
    pub(super) books: Books,
}

/// A piece on its way to its flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Staged {
    pub(super) keyed: Keyed,
    pub(super) first: First,
    pub(super) at: Timestamp,
    pub(super) tag: u32,
    /// Where the flow may be, or [`NOWHERE`].
    candidate: u32,
    /// What counts for the flow.
    pub(super) length: u32,
    /// Wire length of the frame.
    wire: u32,
    /// Place in [`Shard::pieces`]; [`NOWHERE`] for a plain piece, of which nothing more is wanted.
    piece: u32,
    /// Place in [`Shard::copies`], if the watch wants the packet.
    copy: u32,
    /// Source port, 0 without.
    pub(super) port: u16,
    pub(super) tcp_flags: u8,
    pub(super) echo: Option<Echo>,
    /// No tunnel is around this piece.
    outermost: bool,
    /// Nothing is inside this piece.
    innermost: bool,
    /// The frame has no more pieces, for no watch.
    last: bool,
}

impl Shard {
    /// A shard with room for `max_flows`, reserved now.
    pub fn new(max_flows: usize, timers: Timers) -> Self {
        let max_flows = max_flows.clamp(1, i32::MAX as usize);
        let nanos = |timer: Duration| timer.as_nanos().try_into().unwrap_or(u64::MAX);
        Self {
            slab: Slab::new(max_flows),
            table: Table::new(max_flows),
            wheel: Wheel::new(max_flows),
            extras: Extras::default(),
            timers: Timers { update: timers.update.max(LEAST_UPDATE), ..timers },
            expire: nanos(timers.expire),
            hold: nanos(timers.hold),
            watches: Vec::new(),
            hand: 0,
            leaving: None,
            ended: 0,
            refused: Vec::new(),
            plain: None,
            defragmenter: None,
            hasher: RandomState::new(),
            staged: Vec::with_capacity(STAGED + STAGED / 2),
            pieces: Vec::with_capacity(STAGED + STAGED / 2),
            copies: Copies::default(),
            books: Books::default(),
        }
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
            } else if let Some(place) = self.watches.iter_mut().find(|place| place.is_none()) {
                *place = Some(Watching::new(watch));
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
        let wanting = self.watches.iter().flatten().filter(|watching| watching.wants_packets());
        if let Some(longest) = wanting.map(|w| w.watch.options.header_size).max() {
            self.copies.reserve(self.slab.capacity(), longest);
        }
    }

    /// Whether a watch wants packets whole.
    pub fn wants_packets(&self) -> bool {
        self.watches.iter().flatten().any(Watching::wants_packets)
    }

    /// How many bytes of plain frames all watches look at, if that is all they want.
    fn plain_size(&self) -> Option<u32> {
        let mut sizes = self.watches.iter().flatten().map(Watching::plain_size);
        let size = sizes.next().flatten()?;
        let alike = sizes.all(|other| other == Some(size));
        alike.then_some(size)
    }

    /// Takes a frame: it is counted for the flows of each watch that admits it, at the next
    /// [`Self::settle`] at the latest.
    #[inline]
    pub fn meter(&mut self, frame: &Frame<'_>, out: &mut impl Export) {
        if self.staged.len() >= STAGED || self.copies.is_full() {
            self.settle(out);
        }
        self.books.received += 1;
        match self.plain.and_then(|size| plain(frame, size)) {
            Some((outer, inner)) => self.meter_plain(frame, &outer, inner.as_ref()),
            None => self.meter_any(frame),
        }
    }

    #[inline(always)]
    fn meter_plain(&mut self, frame: &Frame<'_>, outer: &Plain, inner: Option<&Plain>) {
        let (mut watched, mut admitted) = (false, false);
        for (place, watching) in self.watches.iter().enumerate() {
            let Some(watching) = watching else { continue };
            watched |= watching.runs();
            if !watching.admits(frame) {
                continue;
            }
            admitted = true;
            let mode = watching.watch.options.key_mode;
            let keyed = Keyed::of(&Parts::from(outer), mode, place as u8);
            let hash = keyed.key.hash(&self.hasher, 0);
            let mut staged = Staged::plain(frame, outer, keyed, hash);
            staged.outermost = true;
            staged.innermost = inner.is_none();
            self.staged.push(staged);
            if let Some(inner) = inner {
                let keyed = Keyed::of(&Parts::from(inner), mode, place as u8);
                let hash = keyed.key.hash(&self.hasher, hash);
                self.staged.push(Staged::plain(frame, inner, keyed, hash));
            }
        }
        if admitted {
            if let Some(item) = self.staged.last_mut() {
                item.last = true;
            }
        } else if watched {
            self.books.filtered += 1;
        } else {
            self.books.unwatched += 1;
        }
    }

    #[inline(never)]
    fn meter_any(&mut self, frame: &Frame<'_>) {
        let staged = self.staged.len();
        let mut watched = false;
        let mut skipped = None;
        let mut sampled_out = false;
        let mut cut = Cut::default();
        let mut parsed: Option<Parsed> = None;
        let fragment = self.fragment(frame);
        let mut wanted = Places::default();
        let mut lent = Lent::new(frame);
        for place in 0..self.watches.len() {
            let Some(Some(watching)) = self.watches.get(place) else {
                continue;
            };
            watched |= watching.runs();
            if !watching.admits(frame) {
                continue;
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
            let metered = self.staged.len() > staged;
            match self.put_together(frame, fragment, wanted, metered) {
                Some(whole) => {
                    cut.truncated |= whole.truncated;
                    sampled_out |= whole.sampled_out;
                }
                None if metered => {}
                None => return,
            }
        }
        if self.staged.len() > staged {
            self.books.truncated += u64::from(cut.truncated);
            self.books.too_deep += u64::from(cut.too_deep);
            if let Some(item) = self.staged.last_mut() {
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

    /// Counts the frames taken since the last call.
    pub fn settle(&mut self, out: &mut impl Export) {
        let mut staged = std::mem::take(&mut self.staged);
        let mut pieces = std::mem::take(&mut self.pieces);
        let full = !self.slab.has_room();
        let mut new = 0;
        for item in &mut staged {
            match self.table.find(item.tag, |_| true) {
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
        // The outer flow of the next piece; none once one had no room.
        let mut parent = None;
        let mut metered = false;
        for item in &staged {
            if item.outermost {
                parent = Some(0);
            }
            if let Some(outer) = parent {
                parent = self.record(item, pieces.get(item.piece as usize), outer, out);
                let counted = item.outermost && parent.is_some();
                metered |= counted;
                if let Some(Some(watching)) = self.watches.get_mut(item.keyed.key.watch()) {
                    watching.dropped += u64::from(parent.is_none());
                    if counted {
                        watching.packets += 1;
                        watching.bytes += u64::from(item.wire);
                    }
                }
            }
            if item.last {
                self.books.metered += u64::from(metered);
                self.books.table_full += u64::from(!metered);
                metered = false;
            }
        }
        staged.clear();
        pieces.clear();
        self.copies.clear();
        self.staged = staged;
        self.pieces = pieces;
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
        let mut hash = 0;
        let pieces = self.pieces.iter().enumerate().skip(first).take(count);
        for (at, piece) in pieces {
            let keyed = Keyed::of(&piece.into(), mode, watch);
            hash = keyed.key.hash(&self.hasher, hash);
            self.staged.push(Staged {
                keyed,
                first: piece.into(),
                at: frame.at,
                tag: (hash >> 32) as u32,
                candidate: NOWHERE,
                length: match mode {
                    KeyMode::L2 => piece.length,
                    KeyMode::L3 => piece.wire_length,
                },
                wire: frame.length,
                piece: at as u32,
                copy: copies::NONE,
                port: piece.ports.map_or(0, |ports| ports.source),
                tcp_flags: piece.tcp_flags,
                echo: piece.echo,
                outermost: piece.depth == 0,
                innermost: at + 1 == first + count,
                last: false,
            });
        }
    }

    /// Sets the `count` pieces aside that were staged last, where the watch wants them.
    #[cold]
    pub(super) fn set_aside(&mut self, lent: &mut Lent<'_>, place: usize, count: usize) {
        let Some(Some(watching)) = self.watches.get(place) else { return };
        for item in self.staged.iter_mut().rev().take(count).rev() {
            if let Some(piece) = self.pieces.get(item.piece as usize) {
                let options = &watching.watch.options;
                item.copy = self.copies.set_aside(lent, piece, options);
            }
        }
    }

    /// Counts a piece for its flow, whose `UUID` it returns; `None` when there is no room.
    #[inline]
    fn record(
        &mut self,
        item: &Staged,
        piece: Option<&Piece>,
        parent: u64,
        out: &mut impl Export,
    ) -> Option<u64> {
        let mut key = item.keyed.key;
        key.set_parent(parent);
        let index = match self.find(item, &key) {
            Some(index) => match self.over(index, item.at) {
                // Silent for too long, though its timer has not been looked at yet.
                Some(reason) if out.ready() => {
                    self.end_flow(index, reason, out);
                    self.begin(item, key, piece, out)?
                }
                _ => index,
            },
            None => self.begin(item, key, piece, out)?,
        };
        if self.slab.count(index, item) {
            // It is over sooner than its timer knows.
            self.wheel.cancel(index);
            let due = self.due(index);
            self.wheel.file(index, due);
        }
        let hot = self.slab.hot.get(index as usize)?;
        let uuid = hot.uuid;
        if let Some(piece) = piece {
            if self.extras.any() {
                self.extras.count(index, piece, hot.is_from_a(item.keyed.swap), item.at);
            }
            if item.copy != copies::NONE {
                self.send_copy(item, piece, index, out);
            }
        }
        Some(uuid)
    }

    /// Sends up what the watch wants of a piece that was counted for flow `index`.
    #[cold]
    fn send_copy(&mut self, item: &Staged, piece: &Piece, index: u32, out: &mut impl Export) {
        let place = item.keyed.key.watch();
        if let (Some(hot), Some(Some(watching))) =
            (self.slab.hot.get(index as usize), self.watches.get_mut(place))
        {
            let label = Label {
                index,
                uuid: hot.uuid,
                first: hot.is_first(),
                at: item.at,
                length: piece.wire_length,
            };
            watching.copies_lost += self.copies.send(item.copy, &watching.watch, label, out);
        }
    }

    #[inline]
    fn find(&self, item: &Staged, key: &Key) -> Option<u32> {
        let is = |index: u32| {
            let hot = self.slab.hot.get(index as usize);
            hot.is_some_and(|hot| hot.lives() && hot.key.matches(key))
        };
        if is(item.candidate) {
            return Some(item.candidate);
        }
        // Another flow with the same tag; or one that began, or moved, since we looked.
        self.table.find(item.tag, is)
    }

    /// Begins a flow, in the place of another one if the table is full.
    #[cold]
    fn begin(
        &mut self,
        item: &Staged,
        key: Key,
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
        let watching = self.watches.get_mut(key.watch())?.as_mut()?;
        watching.flows += 1;
        let uuid = Identity::of(&key).uuid(item.at, watching.tid());
        let index = self.slab.begin(item, key, uuid);
        self.copies.begin(index);
        self.table.insert(item.tag, index);
        match piece {
            Some(piece) => {
                self.extras.begin(index, &watching.watch.options, piece, item.innermost);
            }
            None => self.extras.clear(index),
        }
        let due = self.due(index);
        self.wheel.file(index, due);
        Some(index)
    }
}

impl Staged {
    #[inline(always)]
    fn plain(frame: &Frame<'_>, plain: &Plain, keyed: Keyed, hash: u64) -> Self {
        Self {
            keyed,
            first: plain.into(),
            at: frame.at,
            tag: (hash >> 32) as u32,
            candidate: NOWHERE,
            length: plain.length,
            wire: frame.length,
            piece: NOWHERE,
            copy: copies::NONE,
            port: plain.ports[0],
            tcp_flags: plain.tcp_flags,
            echo: None,
            outermost: false,
            innermost: true,
            last: false,
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

/// Pieces that are staged before they are settled: frames in a burst, and some tunnels.
const STAGED: usize = 4 * BURST;

/// Ticks are counted in 32 bits: that lasts for 136 years of seconds.
const LEAST_UPDATE: Duration = Duration::from_secs(1);

/// No place in a vector.
const NOWHERE: u32 = u32::MAX;

//! A datagram of which fragments are missing.

use std::time::Duration;

use sonde_proto::report::{Books, Skip};
use sonde_proto::time::Timestamp;

use super::{Places, Whole};
use crate::parse::{Datagram, DatagramKey, Fragment};

/// What is known of a datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) key: DatagramKey,
    /// When its first fragment came.
    pub(super) since: Timestamp,
    /// What came, in order, with gaps between.
    runs: [Run; RUNS],
    /// How many of those there are.
    count: usize,
    /// The length of the whole, once its end came.
    total: Option<u16>,
    /// What it carries, once its start came.
    protocol: u8,
    /// The bytes before this one were captured.
    captured: u16,
    /// Fragments overlap: it will never be whole, and nothing more is kept of it.
    broken: bool,
    /// The watches that admitted any of the fragments.
    pub(super) wanted: Places,
    fragments: u16,
    errors: u16,
    /// Frames that the books show as held.
    frames: u64,
}

/// What a fragment does to its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Others are missing still.
    Held,
    /// It was the last.
    Complete,
    /// No datagram can have such a fragment.
    Refused,
    /// The datagram will never be whole.
    Broken,
}

/// Bytes that came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Run {
    start: u16,
    end: u16,
}

impl Pending {
    pub(super) fn new(key: DatagramKey, since: Timestamp) -> Self {
        Self {
            key,
            since,
            runs: [Run::default(); RUNS],
            count: 0,
            total: None,
            protocol: 0,
            captured: u16::MAX,
            broken: false,
            wanted: Places::default(),
            fragments: 0,
            errors: 0,
            frames: 0,
        }
    }

    /// Takes a fragment, and puts its bytes into the datagram's `prefix`.
    pub(super) fn take(
        &mut self,
        fragment: &Fragment<'_>,
        wanted: Places,
        prefix: &mut [u8],
    ) -> Step {
        self.wanted.join(wanted);
        if self.broken {
            return Step::Broken;
        }
        let Some(run) = Run::of(fragment) else {
            self.errors = self.errors.saturating_add(1);
            return Step::Refused;
        };
        let last = (!fragment.more).then_some(run.end);
        let fits = match self.place(run, last) {
            Place::Known => {
                self.fragments = self.fragments.saturating_add(1);
                return Step::Held;
            }
            Place::Overlapping => false,
            Place::At(at) => self.insert(at, run),
        };
        if !fits {
            self.broken = true;
            return Step::Broken;
        }
        self.total = self.total.or(last);
        if fragment.offset == 0 {
            self.protocol = fragment.protocol;
        }
        self.keep(fragment, prefix);
        if self.count == 1 && self.total == Some(self.runs[0].end) && self.runs[0].start == 0 {
            return Step::Complete;
        }
        self.fragments = self.fragments.saturating_add(1);
        Step::Held
    }

    /// The datagram, once it is complete.
    pub(super) fn whole<'a>(&self, prefix: &'a [u8]) -> Whole<'a> {
        let total = self.total.unwrap_or_default();
        let there = usize::from(total.min(self.captured)).min(prefix.len());
        let bytes = prefix.get(..there).unwrap_or_default();
        Whole {
            datagram: Datagram { protocol: self.protocol, bytes, length: total.into() },
            fragments: self.fragments,
            errors: self.errors,
            wanted: self.wanted,
        }
    }

    /// Whether it waits for too long.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        now.since(self.since) > PATIENCE
    }

    /// The books show one more frame as held.
    pub(super) fn hold(&mut self, books: &mut Books) {
        self.frames += 1;
        books.skipped[Skip::FragmentHeld as usize] += 1;
    }

    /// The books tell of a frame that is refused.
    pub(super) fn refuse(&self, books: &mut Books) {
        if self.wanted.is_empty() {
            books.filtered += 1;
        } else {
            books.skipped[Skip::FragmentLost as usize] += 1;
        }
    }

    /// The books tell what became of the frames that were held.
    pub(super) fn settle(&mut self, became: Skip, books: &mut Books) {
        let frames = std::mem::take(&mut self.frames);
        books.skipped[Skip::FragmentHeld as usize] -= frames;
        if self.wanted.is_empty() {
            books.filtered += frames;
        } else {
            books.skipped[became as usize] += frames;
        }
    }

    /// Where new bytes belong.
    fn place(&self, new: Run, last: Option<u16>) -> Place {
        let runs = self.runs.get(..self.count).unwrap_or_default();
        if runs.iter().any(|run| run.start <= new.start && new.end <= run.end) {
            return Place::Known;
        }
        let end = runs.last().map_or(0, |run| run.end);
        let beyond = self.total.is_some_and(|total| new.end > total)
            || last.is_some_and(|last| end > last || self.total.is_some());
        if beyond || runs.iter().any(|run| new.start < run.end && run.start < new.end) {
            return Place::Overlapping;
        }
        Place::At(runs.iter().take_while(|run| run.start < new.start).count())
    }

    /// Puts new bytes in their place, together with those they touch. `false` when there would be
    /// more gaps than anybody but an attacker leaves.
    fn insert(&mut self, at: usize, new: Run) -> bool {
        let joins_next = at < self.count && self.runs[at].start == new.end;
        let joins_previous = at > 0 && self.runs[at - 1].end == new.start;
        match (joins_previous, joins_next) {
            (true, true) => {
                self.runs[at - 1].end = self.runs[at].end;
                self.runs.copy_within(at + 1..self.count, at);
                self.count -= 1;
            }
            (true, false) => self.runs[at - 1].end = new.end,
            (false, true) => self.runs[at].start = new.start,
            (false, false) if self.count < RUNS => {
                self.runs.copy_within(at..self.count, at + 1);
                self.runs[at] = new;
                self.count += 1;
            }
            (false, false) => return false,
        }
        true
    }

    /// Keeps the bytes of a fragment, as far as there is room.
    fn keep(&mut self, fragment: &Fragment<'_>, prefix: &mut [u8]) {
        let offset = fragment.offset as usize;
        let captured = fragment.bytes.len().min(fragment.length as usize);
        if captured < fragment.length as usize {
            let end = (offset + captured).try_into().unwrap_or(u16::MAX);
            self.captured = self.captured.min(end);
        }
        let room = prefix.get_mut(offset..).unwrap_or_default();
        for (kept, byte) in room.iter_mut().zip(fragment.bytes) {
            *kept = *byte;
        }
    }
}

/// Where a fragment belongs among those that came.
enum Place {
    /// It came before.
    Known,
    /// It contradicts them.
    Overlapping,
    /// Before the run at this index.
    At(usize),
}

impl Run {
    /// The bytes of a fragment, if a datagram can have it: all but the last are made of units of 8
    /// bytes, none is empty, and none ends beyond the longest datagram.
    fn of(fragment: &Fragment<'_>) -> Option<Self> {
        let end = fragment.offset.checked_add(fragment.length)?;
        let is_whole = !fragment.more || fragment.length.is_multiple_of(8);
        if fragment.length == 0 || !is_whole {
            return None;
        }
        Some(Self { start: fragment.offset.try_into().ok()?, end: end.try_into().ok()? })
    }
}

/// How long a datagram is waited for. Hosts wait for 30 s (Linux) to 60 s (RFC 8200 §4.5).
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs of bytes with gaps between that a datagram may have. The longest datagram in any order has
/// no more than 23, on links that carry 1500 bytes.
const RUNS: usize = 32;

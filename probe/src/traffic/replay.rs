//! Frames made beforehand, and a source that plays them.

use std::sync::Arc;
use std::time::Duration;

use sonde_proto::report::Lost;
use sonde_proto::time::Timestamp;

use super::{Generator, SNAP};
use crate::memory::prefetch;
use crate::source::{BURST, Closed, Frame, LinkType, Source};

/// Frames in memory, one behind the other.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// Where a frame is, and what is known of it.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: usize,
    at: Timestamp,
    length: u32,
    captured: u32,
}

impl Frames {
    /// Bytes that a frame takes at most: [`SNAP`] and what is known of it.
    pub const BYTES: usize = SNAP + size_of::<Place>();

    /// The next frames of a generator, `count` at most.
    pub fn of(generator: &mut Generator, count: usize) -> Self {
        let mut frames = Self::default();
        frames.renew(generator, count);
        frames
    }

    /// Puts the next frames of a generator, `count` at most, in place of those that are there.
    pub fn renew(&mut self, generator: &mut Generator, count: usize) {
        self.bytes.clear();
        self.places.clear();
        while self.places.len() < count
            && let Some(Frame { bytes, length, at, .. }) = generator.next_frame()
        {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(bytes);
            self.places.push(Place { start, at, length, captured: bytes.len() as u32 });
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The frames, in the order they were made.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = Frame<'_>> {
        self.places.iter().map(|place| self.frame(place))
    }

    #[inline]
    fn frame(&self, place: &Place) -> Frame<'_> {
        let Place { start, at, length, captured } = *place;
        let bytes = &self.bytes[start..start + captured as usize];
        Frame { bytes, length, at, link: LinkType::Ethernet }
    }
}

/// Plays frames once, as fast as they are taken; then the source is at its end, until renewed.
#[derive(Debug)]
pub struct Replay {
    frames: Arc<Frames>,
    next: usize,
    now: Timestamp,
}

impl Replay {
    /// A source of these frames.
    pub fn new(frames: Arc<Frames>) -> Self {
        Self { frames, next: 0, now: Timestamp::default() }
    }

    /// Plays the next frames of a generator, `count` at most, once those that are there are over;
    /// in their place in memory, unless somebody else holds them. Returns how many there are.
    pub fn renew(&mut self, generator: &mut Generator, count: usize) -> usize {
        let frames = Arc::make_mut(&mut self.frames);
        frames.renew(generator, count);
        self.next = 0;
        frames.len()
    }
}

impl Source for Replay {
    #[inline]
    fn burst(&mut self, mut meter: impl FnMut(Frame<'_>)) -> Result<usize, Closed> {
        let rest = self.frames.places.get(self.next..).unwrap_or_default();
        let burst = rest.get(..BURST).unwrap_or(rest);
        let Some(last) = burst.last() else { return Err(Closed::End) };
        self.now = last.at;
        for (n, place) in burst.iter().enumerate() {
            // As the queue of a port does.
            if let Some(ahead) = rest.get(n + AHEAD) {
                prefetch(&self.frames.bytes, ahead.start);
            }
            meter(self.frames.frame(place));
        }
        let taken = burst.len();
        self.next += taken;
        Ok(taken)
    }

    /// The time of the newest frame that was taken.
    fn now(&self) -> Timestamp {
        self.now
    }

    fn lost(&mut self) -> Lost {
        Lost::default()
    }

    fn idle(&mut self, _: u32, _: Duration) {}
}

/// How many frames ahead of the one that is lent bytes are asked for.
const AHEAD: usize = 8;

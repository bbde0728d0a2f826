//! Pieces on their way to their flows.

use ahash::RandomState;
use sonde_proto::entry::{First, Key};
use sonde_proto::plan::KeyMode;
use sonde_proto::time::Timestamp;

use super::copies;
use super::first;
use super::key::{Direction, Keyed, hash};
use super::table::Table;
use crate::parse::{Echo, Inside, Piece, Plain, PlainPath, Sink, plain, tcp_flags};
use crate::source::Frame;

/// Where pieces wait until they are settled, and the secret by which they are hashed.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) items: Vec<Staged>,
    pub(crate) hasher: RandomState,
}

/// A watch that takes frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taker {
    /// Its place in the shard.
    pub(crate) place: u8,
    pub(crate) mode: KeyMode,
    /// Not every frame is for it.
    pub(crate) filtered: bool,
}

impl Stage {
    /// Room for `capacity` pieces.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { items: Vec::with_capacity(capacity), hasher: RandomState::new() }
    }

    /// Puts the pieces of a plain frame there; `false`, and none is there, when it is not plain.
    #[inline(never)]
    pub(crate) fn push_plain(
        &mut self,
        frame: &Frame<'_>,
        size: u32,
        taker: &Taker,
        table: &Table,
    ) -> bool {
        plain(frame, size, &mut Outermost { stage: self, frame, taker, table })
    }

    /// The pieces from `first` on are of one frame, for several watches, each of which marked the
    /// last one that it put there.
    #[cold]
    pub(crate) fn end_frame(&mut self, first: usize) {
        let pieces = self.items.get_mut(first..).unwrap_or_default();
        if let Some((_, others)) = pieces.split_last_mut() {
            others.iter_mut().for_each(|item| item.last = false);
        }
    }

    #[inline(always)]
    fn push(&mut self, staged: Staged, table: &Table) {
        // It is settled before it is full.
        debug_assert!(self.items.len() < self.items.capacity());
        table.approach(staged.tag);
        self.items.push(staged);
    }
}

/// Stages the outermost piece of a frame.
struct Outermost<'a> {
    stage: &'a mut Stage,
    frame: &'a Frame<'a>,
    taker: &'a Taker,
    table: &'a Table,
}

impl Sink for Outermost<'_> {
    #[inline(always)]
    fn take(&mut self, plain: Plain, inside: Option<Inside<'_>>) -> bool {
        let Self { stage, frame, taker, table } = self;
        let keyed = Keyed::plain(&plain, taker.mode, taker.place);
        let hash = hash(&keyed.key, &stage.hasher, 0);
        let mut staged = Staged::plain(frame, &plain, keyed, hash);
        staged.outermost = true;
        staged.innermost = inside.is_none();
        staged.last = inside.is_none();
        stage.push(staged, table);
        match inside {
            None => true,
            Some(inside) => {
                let outer = stage.items.len() - 1;
                let inside =
                    Innermost { stage, frame, taker, table, outer: hash }.take_inside(inside);
                if !inside {
                    stage.items.truncate(outer);
                }
                inside
            }
        }
    }
}

/// Stages the piece inside a tunnel.
struct Innermost<'a> {
    stage: &'a mut Stage,
    frame: &'a Frame<'a>,
    taker: &'a Taker,
    table: &'a Table,
    /// Hash of the tunnel.
    outer: u64,
}

impl Innermost<'_> {
    #[inline(never)]
    fn take_inside(&mut self, inside: Inside<'_>) -> bool {
        inside.plain(self.frame.length, self)
    }
}

impl Sink for Innermost<'_> {
    /// A tunnel inside a tunnel is not plain.
    #[inline(always)]
    fn take(&mut self, plain: Plain, inside: Option<Inside<'_>>) -> bool {
        let Self { stage, frame, taker, table, outer } = self;
        let keyed = Keyed::plain(&plain, taker.mode, taker.place);
        let hash = hash(&keyed.key, &stage.hasher, *outer);
        let mut staged = Staged::plain(frame, &plain, keyed, hash);
        staged.last = true;
        stage.push(staged, table);
        inside.is_none()
    }
}

/// What counting a packet takes, and for a plain one what beginning its flow does. Two cache lines.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct Staged {
    pub(crate) key: Key,
    pub(crate) at: Timestamp,
    pub(crate) tag: u32,
    /// Where the flow may be, or [`Self::NOWHERE`].
    pub(crate) candidate: u32,
    /// What counts for the flow.
    pub(crate) length: u32,
    /// Wire length of the frame.
    pub(crate) wire: u32,
    /// Place among the pieces of the shard; [`Self::NOWHERE`] for a plain piece.
    pub(crate) piece: u32,
    /// Place among the copies, if the watch wants the packet.
    pub(crate) copy: u32,
    /// Of a plain piece: VLAN ids, network identifier, names of the layers.
    vlans: u32,
    vni: u32,
    path: Option<PlainPath>,
    /// Ports, source first.
    pub(crate) ports: [u16; 2],
    pub(crate) tcp_flags: u8,
    pub(crate) echo: Option<Echo>,
    pub(crate) direction: Direction,
    /// Whether the source is the `hi` end of the key.
    pub(crate) swap: bool,
    /// No tunnel is around this piece.
    pub(crate) outermost: bool,
    /// Nothing is inside this piece.
    pub(crate) innermost: bool,
    /// The frame has no more pieces, for no watch.
    pub(crate) last: bool,
}

const _: () = assert!(size_of::<Staged>() == 128);

impl Staged {
    /// No place.
    pub(crate) const NOWHERE: u32 = u32::MAX;

    /// A piece of any kind, at a place among the pieces of the shard.
    #[inline]
    pub(crate) fn new(
        frame: &Frame<'_>,
        piece: &Piece,
        place: u32,
        keyed: Keyed,
        hash: u64,
    ) -> Self {
        Self {
            key: keyed.key,
            at: frame.at,
            tag: tag(hash),
            candidate: Self::NOWHERE,
            length: piece.length,
            wire: frame.length,
            piece: place,
            copy: copies::NONE,
            vlans: 0,
            vni: 0,
            path: None,
            ports: piece.ports.map_or([0; 2], |ports| [ports.source, ports.destination]),
            tcp_flags: piece.tcp_flags,
            echo: piece.echo,
            direction: keyed.direction,
            swap: keyed.swap,
            outermost: piece.depth == 0,
            innermost: true,
            last: false,
        }
    }

    /// A plain piece.
    #[inline(always)]
    pub(crate) fn plain(frame: &Frame<'_>, plain: &Plain, keyed: Keyed, hash: u64) -> Self {
        Self {
            key: keyed.key,
            at: frame.at,
            tag: tag(hash),
            candidate: Self::NOWHERE,
            length: plain.length,
            wire: frame.length,
            piece: Self::NOWHERE,
            copy: copies::NONE,
            vlans: plain.vlans,
            vni: plain.vni.unwrap_or_default(),
            path: Some(plain.path),
            ports: plain.ports,
            tcp_flags: plain.tcp_flags,
            echo: None,
            direction: keyed.direction,
            swap: keyed.swap,
            outermost: false,
            innermost: true,
            last: false,
        }
    }

    /// Whether there is nothing to do for it but to count it.
    #[inline(always)]
    pub(crate) fn is_quiet(&self) -> bool {
        let signals = tcp_flags::SYN | tcp_flags::RST | tcp_flags::FIN;
        self.tcp_flags & signals == 0 && self.path.is_some()
    }

    /// What it leaves to the flow that begins with it; a piece that is not plain is at hand.
    #[inline(always)]
    pub(crate) fn first(&self, piece: Option<&Piece>) -> First {
        match (piece, self.path) {
            (Some(piece), _) => first::any(piece),
            (None, Some(path)) => {
                first::plain(path, self.vlans, self.ports[1], self.tcp_flags, self.vni)
            }
            (None, None) => First::default(),
        }
    }
}

/// The part of a hash by which flows are found.
#[inline]
fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

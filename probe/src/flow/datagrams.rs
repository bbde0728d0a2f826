//! Fragments at the door of the shard: they wait, and their datagram goes in whole.

use sonde_proto::plan::{Options, Watch};
use sonde_proto::time::Timestamp;

use super::copies::Lent;
use super::shard::Shard;
use crate::defrag::{Defragmenter, Places};
use crate::parse::{Fragment, ParseOptions, fragment, parse_datagram};
use crate::source::Frame;

impl Shard {
    /// Puts fragments together from now on if one of the watches wants that, else no more.
    pub(super) fn follow_fragments(&mut self, watches: &[Watch]) {
        if watches.iter().any(|watch| watch.options.defragment) {
            self.defragmenter.get_or_insert_with(|| Box::new(Defragmenter::new()));
        } else {
            self.give_up_fragments();
            self.defragmenter = None;
        }
    }

    /// Another watch is at that place from now on: no fragment there is for it.
    pub(super) fn forget_fragments(&mut self, place: u8) {
        if let Some(defragmenter) = &mut self.defragmenter {
            defragmenter.forget(place, &mut self.books);
        }
    }

    /// Gives up the datagrams that are not complete.
    pub(super) fn give_up_fragments(&mut self) {
        if let Some(defragmenter) = &mut self.defragmenter {
            defragmenter.clear(&mut self.books);
        }
    }

    /// Gives up the datagrams that wait for too long.
    pub(super) fn expire_fragments(&mut self, now: Timestamp) {
        if let Some(defragmenter) = &mut self.defragmenter {
            defragmenter.expire(now, &mut self.books);
        }
    }

    /// The fragment in a frame, while fragments are put together.
    #[inline]
    pub(super) fn fragment<'a>(&mut self, frame: &Frame<'a>) -> Option<Fragment<'a>> {
        self.defragmenter.as_ref()?;
        fragment(frame, &mut self.pieces)
    }

    /// Takes a fragment whose frame the watches at `wanted` admit. If its datagram is complete it
    /// is staged, for the watches that admitted any of its fragments; then says what became of it.
    #[cold]
    pub(super) fn put_together(
        &mut self,
        frame: &Frame<'_>,
        fragment: &Fragment<'_>,
        wanted: Places,
        metered: bool,
    ) -> Option<Whole> {
        let mut defragmenter = self.defragmenter.take()?;
        let whole = defragmenter.take(fragment, wanted, metered, frame.at, &mut self.books);
        let complete = whole.map(|whole| {
            let mut result = Whole { truncated: false, sampled_out: false };
            let mut lent = Lent::whole(frame, fragment.start, whole.datagram.bytes);
            for place in 0..self.watches.len() {
                let Some(Some(watching)) = self.watches.get(place) else { continue };
                if !whole.wanted.has(place as u8) || !watching.runs() {
                    continue;
                }
                let Options { key_mode, sampling, header_size, mpls_udp_port, .. } =
                    watching.watch.options;
                let options = ParseOptions { header_size, mpls_udp_port };
                let copied = watching.wants_packets();
                let first = self.pieces.len();
                let Ok(count) = parse_datagram(frame, &whole.datagram, options, &mut self.pieces)
                else {
                    continue;
                };
                if !self.samples(first, key_mode, sampling) {
                    result.sampled_out = true;
                    continue;
                }
                if let Some(innermost) = self.pieces.last_mut() {
                    innermost.fragments = whole.fragments;
                    innermost.fragment_errors = whole.errors;
                    result.truncated |= innermost.truncated;
                }
                self.stage(frame, first, count, key_mode, place as u8);
                if copied {
                    self.set_aside(&mut lent, place, count);
                }
            }
            result
        });
        self.defragmenter = Some(defragmenter);
        complete
    }
}

/// What became of a frame that completed a datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole {
    /// Its bytes end before its headers do.
    pub(super) truncated: bool,
    /// A watch left it out.
    pub(super) sampled_out: bool,
}

//! One direction of a TCP connection, put in order by sequence numbers alone.
//!
//! Payload is counted and never kept. Counts as Skydive's assembler does: segments without payload
//! and without SYN, FIN or RST are no part of the stream; a segment sent again is delivered with
//! the bytes that are new, if any. Where Skydive waits for a missing start until the flow ends,
//! with all segments in memory, [`PENDING`] gaps are waited for here; and where it looks past TCP
//! inside UDP tunnels, that is put in order like any other.

use sonde_proto::record::TcpSide;

use crate::parse::Piece;
use crate::parse::tcp_flags::{FIN, RST, SYN};

/// What one end sent, in order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stream {
    /// The sequence number that is delivered next; `None` before the start is known.
    next: Option<u32>,
    /// What came too early, by sequence number, with gaps before and between.
    pending: [Run; PENDING],
    /// How many of those there are.
    runs: u8,
    /// FIN or RST was delivered, and no SYN after it.
    over: bool,
    saw_start: bool,
    saw_end: bool,
    packets: u64,
    bytes: u64,
    out_of_order: u64,
    skipped: u64,
    skipped_bytes: u64,
}

/// Adjacent segments. Sequence numbers are compared modulo 2^32 (RFC 9293 §3.4).
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    start: u32,
    /// The sequence number behind the last byte.
    end: u32,
    packets: u32,
    /// Of those, how many no later segment was seen to precede.
    timely: u32,
    /// Ends with FIN or RST.
    closes: bool,
}

impl Stream {
    /// Whether a segment is part of a stream at all.
    #[inline]
    pub(crate) fn has(piece: &Piece) -> bool {
        piece.tcp_payload > 0 || piece.tcp_flags & (SYN | FIN | RST) != 0
    }

    /// Takes a segment of this end.
    pub(crate) fn take(&mut self, piece: &Piece) {
        let opens = piece.tcp_flags & SYN != 0;
        if self.over {
            // Only a new connection has more to say.
            if !opens {
                return;
            }
            *self = Self { next: None, over: false, ..*self };
        }
        let is_known = self.next.is_some() || self.runs > 0;
        if !is_known && !opens && piece.tcp_payload == 0 {
            // The end of what never began.
            return;
        }
        let closes = piece.tcp_flags & (FIN | RST) != 0;
        let start = piece.tcp_sequence.wrapping_add(u32::from(opens));
        let segment = Run {
            start,
            end: start.wrapping_add(piece.tcp_payload),
            packets: 1,
            timely: 1,
            closes: closes && !opens,
        };
        if opens && self.next.is_none() {
            self.saw_start = true;
            self.next = Some(start);
        }
        self.overtake(piece.tcp_sequence);
        while !self.over && !self.accept(segment) {
            self.skip();
        }
        self.catch_up();
    }

    /// Gives up all gaps: nothing more will come.
    pub(crate) fn flush(&mut self) {
        while self.runs > 0 {
            self.skip();
        }
    }

    /// Adds what is known to the record of the end.
    pub(crate) fn report(&self, side: &mut TcpSide) {
        side.out_of_order = self.out_of_order;
        side.skipped = self.skipped;
        side.skipped_bytes = self.skipped_bytes;
        side.packets = self.packets;
        side.bytes = self.bytes;
        side.saw_start = self.saw_start;
        side.saw_end = self.saw_end;
    }

    /// Segments that wait behind this sequence number came before the one they follow.
    fn overtake(&mut self, sequence: u32) {
        let mut late = 0;
        for run in self.waiting() {
            if is_before(sequence, run.start) {
                late += u64::from(run.timely);
                run.timely = 0;
            }
        }
        self.out_of_order += late;
    }

    /// Delivers a segment or lets it wait; `false` when there is no room to wait.
    fn accept(&mut self, segment: Run) -> bool {
        match self.next {
            Some(next) if !is_before(next, segment.start) => {
                self.deliver(&segment);
                true
            }
            _ => self.wait(segment),
        }
    }

    /// Puts a segment in its place among those that wait.
    fn wait(&mut self, segment: Run) -> bool {
        let touches =
            |run: &Run| !is_before(run.end, segment.start) && !is_before(segment.end, run.start);
        if let Some(at) = self.waiting().iter().position(touches) {
            self.pending[at].join(&segment);
            // It may have closed the gap to the next one, or overlap more of them.
            while at + 1 < usize::from(self.runs)
                && !is_before(self.pending[at].end, self.pending[at + 1].start)
            {
                let next = self.remove(at + 1);
                self.pending[at].join(&next);
            }
            return true;
        }
        let runs = usize::from(self.runs);
        if runs == PENDING {
            return false;
        }
        let at = self.waiting().iter().position(|run| is_before(segment.start, run.start));
        let at = at.unwrap_or(runs);
        self.pending.copy_within(at..runs, at + 1);
        self.pending[at] = segment;
        self.runs += 1;
        true
    }

    /// Delivers what waits and has no gap before it any more.
    fn catch_up(&mut self) {
        while self.runs > 0 && self.next.is_some_and(|next| !is_before(next, self.pending[0].start))
        {
            let run = self.remove(0);
            self.deliver(&run);
        }
    }

    /// Gives up the first gap, and delivers up to the next one. Before a start that was never seen
    /// there is no gap to speak of.
    fn skip(&mut self) {
        if self.runs == 0 {
            return;
        }
        let run = self.remove(0);
        if let Some(next) = self.next {
            self.skipped += 1;
            self.skipped_bytes += u64::from(run.start.wrapping_sub(next));
        }
        self.next = Some(run.start);
        self.deliver(&run);
        self.catch_up();
    }

    /// Counts segments whose turn it is.
    fn deliver(&mut self, run: &Run) {
        let next = self.next.unwrap_or(run.start);
        self.packets += u64::from(run.packets);
        if is_before(next, run.end) {
            self.bytes += u64::from(run.end.wrapping_sub(next));
            self.next = Some(run.end);
        }
        if run.closes {
            self.saw_end = true;
            self.over = true;
            self.runs = 0;
        }
    }

    fn waiting(&mut self) -> &mut [Run] {
        &mut self.pending[..usize::from(self.runs)]
    }

    fn remove(&mut self, at: usize) -> Run {
        let run = self.pending[at];
        self.pending.copy_within(at + 1..usize::from(self.runs), at);
        self.runs -= 1;
        run
    }
}

impl Run {
    /// Takes in a run that touches this one.
    fn join(&mut self, other: &Self) {
        if is_before(other.start, self.start) {
            self.start = other.start;
        }
        if is_before(self.end, other.end) {
            self.end = other.end;
        }
        self.packets = self.packets.saturating_add(other.packets);
        self.timely = self.timely.saturating_add(other.timely);
        self.closes |= other.closes;
    }
}

/// Whether sequence number `a` comes before `b`.
fn is_before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// Gaps that are waited for in one direction. When there would be more, the first is given up.
const PENDING: usize = 8;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// A segment with that many bytes.
    fn segment(flags: u8, sequence: u32, payload: u32) -> Piece {
        Piece { tcp_flags: flags, tcp_sequence: sequence, tcp_payload: payload, ..Piece::new(0, 0) }
    }

    /// What a stream makes of segments, all gaps given up at last.
    fn played(segments: &[(u8, u32, u32)]) -> TcpSide {
        let mut stream = Stream::default();
        for &(flags, sequence, payload) in segments {
            let segment = segment(flags, sequence, payload);
            if Stream::has(&segment) {
                stream.take(&segment);
            }
        }
        stream.flush();
        let mut side = TcpSide::default();
        stream.report(&mut side);
        side
    }

    fn counts(side: &TcpSide) -> (u64, u64, u64, u64, u64) {
        (side.packets, side.bytes, side.out_of_order, side.skipped, side.skipped_bytes)
    }

    #[test]
    fn segments_in_order_are_counted() {
        let side = played(&[(SYN, 100, 0), (0, 101, 0), (0, 101, 6), (0, 107, 10), (FIN, 117, 0)]);
        assert_eq!(counts(&side), (4, 16, 0, 0, 0));
        assert!(side.saw_start && side.saw_end);
    }

    #[test]
    fn sequence_numbers_wrap_around() {
        let isn = u32::MAX - 4;
        let next = isn.wrapping_add(1);
        let side = played(&[
            (SYN, isn, 0),
            (0, next.wrapping_add(10), 10),
            (0, next, 10),
            (FIN, next.wrapping_add(20), 3),
        ]);
        assert_eq!(counts(&side), (4, 23, 1, 0, 0));
        assert!(side.saw_end);
    }

    #[test]
    fn early_segments_wait() {
        // The two that came early are out of order, however often the gap is filled.
        let early = [(SYN, 0, 0), (0, 11, 10), (0, 31, 10), (0, 1, 10), (0, 1, 10), (0, 21, 10)];
        assert_eq!(counts(&played(&early)), (6, 40, 2, 0, 0));
    }

    #[test]
    fn gaps_are_given_up_at_last() {
        let side = played(&[(SYN, 0, 0), (0, 11, 10), (0, 41, 10), (FIN, 51, 0)]);
        assert_eq!(counts(&side), (4, 20, 0, 2, 30));
        assert!(side.saw_end);
    }

    #[test]
    fn the_first_gap_is_given_up_when_there_are_too_many() {
        let mut stream = Stream::default();
        stream.take(&segment(SYN, 0, 0));
        for n in 1..=PENDING as u32 {
            stream.take(&segment(0, 1 + 20 * n, 10));
        }
        assert_eq!((stream.packets, stream.skipped), (1, 0));
        stream.take(&segment(0, 1 + 20 * (PENDING as u32 + 1), 10));
        assert_eq!((stream.packets, stream.skipped, stream.skipped_bytes), (2, 1, 20));
        // What it waited for is now old: a segment without new bytes.
        stream.take(&segment(0, 1, 10));
        assert_eq!((stream.packets, stream.bytes), (3, 10));
    }

    #[test]
    fn only_new_bytes_of_segments_sent_again_count() {
        let side = played(&[(SYN, 0, 0), (SYN, 0, 0), (0, 1, 10), (0, 1, 10), (0, 6, 10)]);
        assert_eq!(counts(&side), (5, 15, 0, 0, 0));
    }

    #[test]
    fn a_stream_may_be_joined_late() {
        // Where it began nobody knows: that is no gap.
        let side = played(&[(0, 500, 10), (0, 510, 10), (RST, 520, 0), (0, 520, 10)]);
        assert_eq!(counts(&side), (4, 30, 0, 0, 0));
        assert!(!side.saw_start && side.saw_end);
        let syn_late = played(&[(0, 11, 10), (0, 1, 10), (SYN, 0, 0), (0, 21, 10)]);
        assert_eq!(counts(&syn_late), (4, 30, 2, 0, 0));
        assert!(syn_late.saw_start);
        assert_eq!(counts(&played(&[(RST, 0, 0), (FIN, 9, 0)])), (0, 0, 0, 0, 0));
    }

    #[test]
    fn after_the_end_only_a_new_connection_counts() {
        let first = [(SYN, 0, 0), (0, 1, 10), (FIN, 11, 0), (FIN, 11, 0), (0, 12, 99)];
        let second = [(SYN, 5_000_000, 0), (0, 5_000_001, 10)];
        assert_eq!(counts(&played(&first)), (3, 10, 0, 0, 0));
        assert_eq!(counts(&played(&[&first[..], &second].concat())), (5, 20, 0, 0, 0));
    }

    proptest! {
        #[test]
        fn any_segments_are_taken(
            segments in proptest::collection::vec(
                (any::<u8>(), prop_oneof![any::<u32>(), 0..500u32], 0..100_000u32),
                0..60,
            ),
        ) {
            let taken = segments.iter().filter(|(flags, _, payload)| {
                *payload > 0 || flags & (SYN | FIN | RST) != 0
            });
            prop_assert!(played(&segments).packets <= taken.count() as u64);
        }

        #[test]
        fn the_order_changes_no_byte(
            isn in any::<u32>(),
            lost in proptest::collection::btree_set(0..20u32, 0..4),
            mut order in Just((0..20u32).collect::<Vec<_>>()).prop_shuffle(),
            window in 1..6usize,
        ) {
            // Shuffled within windows, so that no more gaps are open than are waited for.
            order.sort_by_key(|n| *n as usize / window);
            let start = isn.wrapping_add(1);
            let segments: Vec<_> = std::iter::once((SYN, isn, 0))
                .chain(order.iter().filter(|n| !lost.contains(n)).map(|n| {
                    (0, start.wrapping_add(n * 100), 100)
                }))
                .collect();
            let side = played(&segments);
            let kept: BTreeSet<u32> = (0..20).filter(|n| !lost.contains(n)).collect();
            prop_assert_eq!(side.packets, 1 + kept.len() as u64);
            prop_assert_eq!(side.bytes, 100 * kept.len() as u64);
            let last = kept.last().copied().unwrap_or(0);
            let missing = lost.iter().filter(|n| **n < last).count() as u64;
            prop_assert_eq!(side.skipped_bytes, 100 * missing);
            prop_assert!(side.skipped <= missing);
        }
    }
}

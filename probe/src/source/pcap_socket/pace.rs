//! The times of a capture, moved to now.

use std::time::Duration;

use sonde_proto::time::Timestamp;

/// When the frames of a capture are due that is played from now on, at the spacing they have.
#[derive(Debug)]
pub(super) struct Pace {
    /// The newest time in the capture so far.
    newest: Option<Timestamp>,
    /// When the frame that is next is due.
    due: Timestamp,
}

impl Pace {
    /// The first frame is due at once.
    pub(super) fn new() -> Self {
        Self { newest: None, due: Timestamp::default() }
    }

    /// Goes on to the next frame, which was captured `at`. A gap before it counts for
    /// [`LONGEST_GAP`] at most. Where the player is late by more than [`LATE`], what is left of the
    /// capture is played from `now` on.
    pub(super) fn next(&mut self, at: Timestamp, now: Timestamp) {
        let gap = self.newest.map_or(Duration::ZERO, |newest| at.since(newest)).min(LONGEST_GAP);
        self.newest = self.newest.max(Some(at));
        let due = self.due.after(gap);
        self.due = if now.since(due) > LATE { now } else { due };
    }

    /// When the next frame is due. When that is too far away, the clock was set back: the frame is
    /// due `now`, and the others after it.
    pub(super) fn due(&mut self, now: Timestamp) -> Timestamp {
        if self.due.since(now) > FARTHEST {
            self.due = now;
        }
        self.due
    }
}

/// Longer silence in a capture is cut down to this: what was captured over days must not keep its
/// client for days.
const LONGEST_GAP: Duration = Duration::from_secs(10);

/// No frame is due later than after the longest gap, and the little that the one before was early.
const FARTHEST: Duration = LONGEST_GAP.saturating_add(Duration::from_secs(1));

/// So late the player may be, and still the frames have the spacing they were captured with.
const LATE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn second(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_600_000_000_000 + millis)
    }

    /// When a frame is due that was captured `at`, of a player that asks once.
    fn due(pace: &mut Pace, at: Timestamp, now: Timestamp) -> Timestamp {
        pace.next(at, now);
        pace.due(now)
    }

    /// Frames captured at those milliseconds, played without a delay, are due after so many.
    #[test]
    fn spacing_is_kept_as_far_as_it_is_reasonable() {
        for (captured, expected) in [
            (&[5_000, 5_001, 5_700][..], &[0, 1, 700][..]),
            (&[0, 10_000, 13_600_000, 13_600_500], &[0, 10_000, 20_000, 20_500]),
            (&[100, 50, 99, 100, 101], &[0, 0, 0, 0, 1]),
        ] {
            let mut pace = Pace::new();
            let start = second(777);
            let mut now = start;
            for (at, expected) in captured.iter().zip(expected) {
                now = due(&mut pace, Timestamp::from_millis(*at), now);
                assert_eq!(now.since(start), Duration::from_millis(*expected), "{captured:?}");
            }
        }
    }

    #[test]
    fn who_is_late_makes_up_for_a_second_and_no_more() {
        let mut pace = Pace::new();
        assert_eq!(due(&mut pace, second(0), second(0)), second(0));
        assert_eq!(due(&mut pace, second(10), second(900)), second(10));
        assert_eq!(due(&mut pace, second(20), second(1_021)), second(1_021));
        assert_eq!(due(&mut pace, second(30), second(1_021)), second(1_031));
    }

    #[test]
    fn a_clock_that_was_set_back_is_followed() {
        let mut pace = Pace::new();
        let hour = 3_600_000;
        assert_eq!(due(&mut pace, second(0), second(hour)), second(hour));
        assert_eq!(due(&mut pace, second(10), second(0)), second(0));
        assert_eq!(due(&mut pace, second(20), second(0)), second(10));
        // While a frame waits, too.
        assert_eq!(due(&mut pace, second(5_020), second(10)), second(5_010));
        assert_eq!(pace.due(second(11)), second(5_010));
        let before = Timestamp::from_millis(1_000);
        assert_eq!(pace.due(before), before);
        assert_eq!(pace.due(before.after(Duration::from_millis(9))), before);
    }

    /// A frame may be handed over a little early.
    #[test]
    fn the_longest_gap_is_kept_after_a_frame_that_came_early() {
        let mut pace = Pace::new();
        assert_eq!(due(&mut pace, second(0), second(1)), second(1));
        assert_eq!(due(&mut pace, second(20_000), second(0)), second(10_001));
    }
}

//! The times of a capture, moved to now.

use std::time::Duration;

use sonde_proto::time::Timestamp;

/// When the frames of a capture are due that is played from now on, at the spacing they have.
#[derive(Debug)]
pub(super) struct Pace {
    /// The newest time in the capture so far.
    newest: Option<Timestamp>,
    /// When the frame before was due.
    due: Timestamp,
}

impl Pace {
    /// The first frame is due at once.
    pub(super) fn new() -> Self {
        Self { newest: None, due: Timestamp::default() }
    }

    /// When the next frame is due, which was captured `at`. A gap before it counts for
    /// [`LONGEST_GAP`] at most. Where the player is late by more than [`LATE`], or ahead of a clock
    /// that was set back, what is left of the capture is played from `now` on.
    pub(super) fn due(&mut self, at: Timestamp, now: Timestamp) -> Timestamp {
        let gap = self.newest.map_or(Duration::ZERO, |newest| at.since(newest)).min(LONGEST_GAP);
        self.newest = self.newest.max(Some(at));
        let due = self.due.after(gap);
        let astray = now.since(due) > LATE || due.since(now) > LONGEST_GAP;
        self.due = if astray { now } else { due };
        self.due
    }
}

/// Longer silence in a capture is cut down to this: what was captured over days must not keep its
/// client for days.
const LONGEST_GAP: Duration = Duration::from_secs(10);

/// So late the player may be, and still the frames have the spacing they were captured with.
const LATE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn second(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_600_000_000_000 + millis)
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
                now = pace.due(Timestamp::from_millis(*at), now);
                assert_eq!(now.since(start), Duration::from_millis(*expected), "{captured:?}");
            }
        }
    }

    #[test]
    fn who_is_late_makes_up_for_a_second_and_no_more() {
        let mut pace = Pace::new();
        assert_eq!(pace.due(second(0), second(0)), second(0));
        assert_eq!(pace.due(second(10), second(900)), second(10));
        assert_eq!(pace.due(second(20), second(1_021)), second(1_021));
        assert_eq!(pace.due(second(30), second(1_021)), second(1_031));
    }

    #[test]
    fn a_clock_that_was_set_back_is_followed() {
        let mut pace = Pace::new();
        let hour = 3_600_000;
        assert_eq!(pace.due(second(0), second(hour)), second(hour));
        assert_eq!(pace.due(second(10), second(0)), second(0));
        assert_eq!(pace.due(second(20), second(0)), second(10));
    }
}

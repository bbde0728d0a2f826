//! A clock that stands still while the lcores run: how capsule's `execute` is made to return.
//!
//! capsule ends for a signal or when a duration is over. A signal is the daemon's business: were
//! capsule to listen too, it would be two handlers for one Ctrl-C, and a stop by the API would have
//! to raise one. So capsule gets a duration of [`DURATION`] and, through the hook its timer has for
//! the purpose, a clock of ours. Held, it shows the same time at each look; its main thread looks
//! again each [`DURATION`]. Once all lcores have left it jumps ahead, and `execute` goes on to stop
//! the ports.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio_timer::clock::{Clock, Now};

use super::course::Course;

/// How long capsule waits for the lcores by its (held) clock, and how soon it sees that they left.
pub(super) const DURATION: Duration = Duration::from_millis(50);

/// The hand that stops the clock.
#[derive(Clone, Debug, Default)]
pub(super) struct HeldClock {
    held: Arc<OnceLock<(Instant, Arc<Course>)>>,
}

impl HeldClock {
    /// The same clock, as capsule's timer reads it.
    pub(super) fn clock(&self) -> Clock {
        Clock::new_with_now(self.clone())
    }

    /// Holds the clock until the course is over.
    pub(super) fn hold(&self, course: Arc<Course>) {
        self.held.get_or_init(|| (system(), course));
    }
}

impl Now for HeldClock {
    fn now(&self) -> Instant {
        match self.held.get() {
            Some((at, course)) if !course.is_over() => *at,
            Some((at, _)) => *at + Duration::from_secs(3600),
            None => system(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "capsule's timer, not a time of the data")]
fn system() -> Instant {
    Instant::now()
}

//! The loop of an lcore, as capsule's executor runs it.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use capsule::batch::Pipeline;

use super::course::Place;
use super::{Queue, Turn};
use crate::source::dpdk::{Registration, RxQueue, insist_on_symmetry, open_gate};

/// All queues of one CPU, polled in turn until the course is over.
pub(super) struct Lcore<T, F> {
    name: String,
    place: Place,
    open: Arc<F>,
    /// Queues that wait for the first poll: they are opened on the lcore itself, so that their
    /// memory is near it.
    waiting: Vec<Queue>,
    polling: Vec<T>,
    /// Those whose source has closed, until nothing of theirs is left.
    finishing: Vec<T>,
    registration: Option<Registration>,
    /// When the course must be left, once it is stopped.
    deadline: Option<Instant>,
}

impl<T: Turn, F: Fn(RxQueue, &Queue) -> T> Lcore<T, F> {
    pub(super) fn new(cpu: usize, queues: Vec<Queue>, open: Arc<F>, place: Place) -> Self {
        Self {
            name: format!("lcore {cpu}"),
            place,
            open,
            waiting: queues,
            polling: Vec::new(),
            finishing: Vec::new(),
            registration: None,
            deadline: None,
        }
    }

    /// Runs for a while. Returns whether there is more to do.
    fn rounds(&mut self) -> bool {
        self.open_queues();
        for _ in 0..ROUNDS {
            if self.place.shall_stop() {
                return self.finish();
            }
            if self.polling.is_empty() && self.finishing.is_empty() {
                return false;
            }
            self.round();
        }
        true
    }

    /// One turn of each queue.
    fn round(&mut self) {
        let mut taken = 0;
        self.finishing.retain_mut(|turn| !turn.finish());
        let closed = self.polling.extract_if(.., |turn| match turn.turn() {
            Ok(frames) => {
                taken += frames;
                false
            }
            Err(_closed) => true,
        });
        self.finishing.extend(closed);
        if taken == 0 {
            let share = IDLE / u32::try_from(self.polling.len()).unwrap_or(u32::MAX).max(1);
            self.polling.iter_mut().for_each(|turn| turn.idle(share));
        }
    }

    fn open_queues(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        self.registration = Some(Registration::new());
        for queue in self.waiting.drain(..) {
            // The ports are started by now, and not polled yet.
            if queue.queue == 0 {
                insist_on_symmetry(queue.port_number);
            }
            let source = RxQueue::claim(queue.port_number, queue.queue, queue.idle)
                .expect("capsule set up this queue and nobody else polls it");
            self.polling.push((self.open)(source, &queue));
        }
        open_gate();
    }

    /// Ends all flows and pushes what waits, within [`GRACE`]. Returns whether there is more to do.
    fn finish(&mut self) -> bool {
        let deadline = *self.deadline.get_or_insert_with(|| clock() + GRACE);
        self.finishing.append(&mut self.polling);
        self.finishing.retain_mut(|turn| !turn.finish());
        if self.finishing.is_empty() {
            return false;
        }
        if clock() >= deadline {
            self.place.give_up(self.finishing.len());
            return false;
        }
        // The control plane has to drain the ring first.
        thread::sleep(NAP);
        true
    }

    /// Lets go of all that belongs to this thread.
    fn leave(&mut self) {
        self.polling.clear();
        self.finishing.clear();
        self.registration = None;
    }
}

/// Nothing in it is ever pinned.
impl<T, F> Unpin for Lcore<T, F> {}

impl<T: Turn, F: Fn(RxQueue, &Queue) -> T> Future for Lcore<T, F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let lcore = self.get_mut();
        // A panic must not unwind through capsule: on the main thread it would close the ports
        // under the feet of the other lcores.
        match catch_unwind(AssertUnwindSafe(|| lcore.rounds())) {
            Ok(true) => {
                // Woken while it is polled, a task comes again after capsule has looked around.
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Ok(false) => {
                lcore.leave();
                Poll::Ready(())
            }
            Err(_panic) => {
                lcore.place.fail();
                lcore.leave();
                Poll::Ready(())
            }
        }
    }
}

impl<T: Turn, F: Fn(RxQueue, &Queue) -> T> Pipeline for Lcore<T, F> {
    fn name(&self) -> &str {
        &self.name
    }

    fn run_once(&mut self) {
        self.rounds();
    }
}

#[expect(clippy::disallowed_methods, reason = "stopping is bounded in wall time")]
fn clock() -> Instant {
    Instant::now()
}

/// Rounds before capsule's executor gets its turn: it parks and wakes up, which takes as long as a
/// burst does.
const ROUNDS: usize = 256;

/// The longest an lcore naps between two rounds.
const IDLE: Duration = Duration::from_micros(100);

/// The longest that flows may take to leave after a stop.
const GRACE: Duration = Duration::from_secs(4);

/// Between two attempts to finish.
const NAP: Duration = Duration::from_millis(1);

//! What the lcores tell the main thread, and it them: stop, and that they have left.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::source::dpdk::close_gate;

/// From the start of the lcores until the last one has left.
#[derive(Debug)]
pub(super) struct Course {
    stop: Arc<AtomicBool>,
    running: AtomicUsize,
    over: AtomicBool,
    unfinished: AtomicUsize,
    panicked: AtomicBool,
}

impl Course {
    pub(super) fn new(stop: Arc<AtomicBool>) -> Arc<Self> {
        Arc::new(Self {
            stop,
            running: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            unfinished: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
        })
    }

    /// Counts an lcore in; it is counted out when its place is dropped.
    pub(super) fn place(self: &Arc<Self>) -> Place {
        self.running.fetch_add(1, Ordering::Relaxed);
        Place(self.clone())
    }

    /// Whether all lcores have left, and nobody sends: the ports may be stopped.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Queues that were left with something unsaid.
    pub(super) fn unfinished(&self) -> usize {
        self.unfinished.load(Ordering::Acquire)
    }

    /// Whether an lcore panicked.
    pub(super) fn panicked(&self) -> bool {
        self.panicked.load(Ordering::Acquire)
    }
}

/// An lcore's place in the course.
#[derive(Debug)]
pub(super) struct Place(Arc<Course>);

impl Place {
    /// Whether to stop. Read-shared, so that looking at it each round costs next to nothing.
    pub(super) fn shall_stop(&self) -> bool {
        self.0.stop.load(Ordering::Relaxed)
    }

    /// Leaves queues behind that could not finish.
    pub(super) fn give_up(&self, queues: usize) {
        self.0.unfinished.fetch_add(queues, Ordering::Relaxed);
    }

    /// Stops all lcores because this one cannot go on.
    pub(super) fn fail(&self) {
        self.0.panicked.store(true, Ordering::Relaxed);
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            close_gate();
            self.0.over.store(true, Ordering::Release);
        }
    }
}

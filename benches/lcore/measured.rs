//! What is done with the frames, and the time it takes.

use std::fs;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sonde_probe::lcore::Turn;
use sonde_probe::source::{Closed, Source};
use sonde_probe::worker::Worker;

/// What is measured: a turn, and the end of all turns.
pub(crate) trait Metered {
    fn turn(&mut self) -> Result<usize, Closed>;
    fn end(&mut self) -> bool;
}

impl<S: Source> Metered for Worker<S> {
    fn turn(&mut self) -> Result<usize, Closed> {
        self.turn()
    }

    fn end(&mut self) -> bool {
        self.drain()
    }
}

/// Takes frames and frees them.
pub(crate) struct Take<S>(pub(crate) S);

impl<S: Source> Metered for Take<S> {
    fn turn(&mut self) -> Result<usize, Closed> {
        self.0.burst(|frame| {
            black_box(frame.bytes.len());
        })
    }

    fn end(&mut self) -> bool {
        true
    }
}

/// Counts the packets of the turns that count.
pub(crate) struct Measured<M> {
    inner: M,
    course: Arc<Course>,
    packets: u64,
    start: Option<(u64, Instant, Duration)>,
    told: bool,
}

impl<M: Metered> Measured<M> {
    pub(crate) fn new(inner: M, course: &Arc<Course>) -> Self {
        course.opened.store(true, Ordering::Relaxed);
        Self { inner, course: course.clone(), packets: 0, start: None, told: false }
    }
}

impl<M: Metered> Turn for Measured<M> {
    fn turn(&mut self) -> Result<usize, Closed> {
        if self.start.is_none() && self.course.measuring.load(Ordering::Relaxed) {
            self.start = Some((self.packets, Instant::now(), cpu_time()));
        }
        let taken = self.inner.turn()?;
        self.packets += taken as u64;
        Ok(taken)
    }

    fn idle(&mut self, _: Duration) {}

    fn finish(&mut self) -> bool {
        if !std::mem::replace(&mut self.told, true) {
            let (packets, wall, cpu) = self.start.expect("there was a turn that counts");
            let packets = self.packets - packets;
            let span = Span { packets, wall: wall.elapsed(), cpu: cpu_time() - cpu };
            self.course.spans.lock().expect("nobody panicked").push(span);
        }
        self.inner.end()
    }
}

/// What the lcores and the clock tell each other.
#[derive(Default)]
pub(crate) struct Course {
    pub(crate) opened: AtomicBool,
    pub(crate) measuring: AtomicBool,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) spans: Mutex<Vec<Span>>,
}

pub(crate) struct Span {
    pub(crate) packets: u64,
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

/// How long the calling thread has run.
fn cpu_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("the kernel says so");
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("it begins with nanoseconds"))
}

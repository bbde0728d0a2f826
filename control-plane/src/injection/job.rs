//! A node that sends: a thread that does nothing else.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use sonde_proto::injection::PacketInjection;

use super::frame::Frames;
use super::route::Sender;
use super::{Injector, Wire};

/// Where frames come from.
#[derive(Clone, Debug)]
pub(super) enum Supply {
    /// From us, one unlike the other.
    Made(Frames),
    /// From a file, in its order.
    File(Arc<[Vec<u8>]>),
}

/// A node that sends. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) sender: Sender,
    /// The first frame's identifier, or source port.
    pub(super) supply: Supply,
    state: Arc<State>,
    /// Dropped with the job, which the thread notices.
    _stop: mpsc::Sender<Infallible>,
}

/// The nodes of ours that send for an injection.
#[derive(Debug)]
pub(super) struct Jobs {
    left: Vec<Job>,
    over: usize,
}

#[derive(Debug, Default)]
struct State {
    over: AtomicBool,
    sent: AtomicU64,
    error: OnceLock<String>,
}

impl Job {
    /// Begins to send.
    pub(super) fn start(
        of: &PacketInjection,
        sender: &Sender,
        supply: Supply,
        injector: &Injector,
        sending: Arc<AtomicUsize>,
    ) -> Self {
        let state = Arc::new(State::default());
        let (stop, stopped) = mpsc::channel();
        let (mut frames, count) = (supply.clone(), of.count);
        let pause = Duration::from_millis(of.interval);
        let (job, injector, point) = (state.clone(), injector.clone(), sender.point.clone());
        sending.fetch_add(1, Ordering::Relaxed);
        let thread = thread::Builder::new().name("sonde-inject".into()).spawn(move || {
            let open = || (injector.open)(&point);
            match open()
                .and_then(|wire| job.send(&mut frames, count, wire, || goes_on(&stopped, pause)))
            {
                Ok(()) => job.over.store(true, Ordering::Release),
                Err(why) => job.fail(&why),
            }
            sending.fetch_sub(1, Ordering::Relaxed);
        });
        if let Err(why) = thread {
            state.fail(&why);
        }
        Self { sender: sender.clone(), supply, state, _stop: stop }
    }

    /// Frames sent until now.
    pub(super) fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::Relaxed)
    }

    /// Why it sends no more.
    pub(super) fn error(&self) -> Option<&str> {
        self.state.error.get().map(String::as_str)
    }

    /// Whether all is sent.
    pub(super) fn is_over(&self) -> bool {
        self.state.over.load(Ordering::Acquire)
    }
}

impl Jobs {
    /// All of them have begun.
    pub(super) fn new(begun: Vec<Job>) -> Self {
        Self { left: begun, over: 0 }
    }

    /// Ends those that have sent all.
    pub(super) fn end_over(&mut self) {
        let before = self.left.len();
        self.left.retain(|job| !job.is_over());
        self.over += before - self.left.len();
    }

    /// Those that send, and those that failed.
    pub(super) fn left(&self) -> impl Iterator<Item = &Job> {
        self.left.iter()
    }

    /// How many have sent all.
    pub(super) fn over(&self) -> usize {
        self.over
    }
}

impl State {
    fn send(
        &self,
        frames: &mut Supply,
        count: u64,
        mut wire: Wire,
        goes_on: impl Fn() -> bool,
    ) -> io::Result<()> {
        let mut send = |frame: &[u8]| -> io::Result<bool> {
            if self.sent.load(Ordering::Relaxed) > 0 && !goes_on() {
                return Ok(false);
            }
            wire(frame)?;
            self.sent.fetch_add(1, Ordering::Relaxed);
            Ok(true)
        };
        for _ in 0..count {
            let goes_on = match frames {
                Supply::Made(frames) => send(&frames.next()?)?,
                Supply::File(frames) => {
                    let mut all = frames.iter().map(|frame| send(frame));
                    all.find(|sent| !matches!(sent, Ok(true))).unwrap_or(Ok(true))?
                }
            };
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    fn fail(&self, why: &io::Error) {
        tracing::warn!(%why, "a packet injection ends");
        // Set once: a thread fails once.
        let _ = self.error.set(why.to_string());
    }
}

/// Waits so long; false, and at once, when the job was dropped.
fn goes_on(stopped: &mpsc::Receiver<Infallible>, pause: Duration) -> bool {
    matches!(stopped.recv_timeout(pause), Err(RecvTimeoutError::Timeout))
}

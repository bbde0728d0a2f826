//! Takes frames from queues of ports.

use std::time::Duration;
use std::{hint, thread};

use sonde_proto::report::Lost;
use sonde_proto::time::Timestamp;

use super::{Claim, Port, Stamps};
use crate::source::{Closed, Frame, Source, wall_clock};

/// A receive queue of a port. It stays on the thread that claimed it, as DPDK demands.
#[derive(Debug)]
pub struct RxQueue {
    claim: Claim,
    idle: Idle,
    stamps: Option<Stamps>,
    now: Timestamp,
    /// The wall clock at the last burst.
    wall: Timestamp,
}

/// What an lcore does while no frames come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Polls on: for cores that do nothing else.
    Spin,
    /// Polls on for a while, then naps of at most 100 us between polls.
    Adaptive,
}

impl RxQueue {
    /// The queue, unless the port has no such queue or somebody polls it already.
    pub(crate) fn claim(port: u16, queue: u16, idle: Idle) -> Option<Self> {
        let port = Port::hold(port)?;
        let (stamps, wall) = (Stamps::of(&port), wall_clock());
        Some(Self {
            claim: Claim::new(&port, queue)?,
            idle,
            stamps,
            now: if stamps.is_some() { Timestamp::default() } else { wall },
            wall,
        })
    }
}

impl Source for RxQueue {
    #[inline]
    fn burst(&mut self, mut meter: impl FnMut(Frame<'_>)) -> Result<usize, Closed> {
        let wall = wall_clock();
        self.now = match self.stamps {
            None => wall,
            // After the end of a file its time goes on at the pace of the wall.
            Some(_) => self.now.after(wall.since(self.wall)),
        };
        self.wall = wall;
        let Some(burst) = self.claim.burst() else {
            return Ok(0);
        };
        for at in 0..burst.len().min(AHEAD) {
            burst.prefetch(at);
        }
        for at in 0..burst.len() {
            burst.prefetch(at + AHEAD);
            if let Some(stamps) = self.stamps {
                self.now = burst.time(at, stamps).unwrap_or(wall);
            }
            meter(burst.frame(at, self.now));
        }
        Ok(burst.len())
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    /// Nothing: ports count, not queues, and reading their counters may cost a system call or a
    /// slow walk over PCI. It is done off the lcore, by [`super::port_stats`].
    fn lost(&mut self) -> Lost {
        Lost::default()
    }

    fn idle(&mut self, empty: u32, limit: Duration) {
        match self.idle {
            Idle::Adaptive if empty > POLLS_AWAKE => thread::sleep(NAP.min(limit)),
            Idle::Spin | Idle::Adaptive => hint::spin_loop(),
        }
    }
}

/// How many frames ahead headers are fetched: a few, for a frame takes about as long as memory.
const AHEAD: usize = 4;

/// Empty polls before the first nap: some 10 us, longer than the gaps within a stream.
const POLLS_AWAKE: u32 = 256;

/// With the kernel's 50 us of timer slack it becomes 100 us at most.
const NAP: Duration = Duration::from_micros(50);

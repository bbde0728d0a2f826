//! Sends frames on ports, off the lcores. An lcore only takes; of the transmit queues that capsule
//! sets up beside the receive queues the first is used here, by one thread at a time. The mbufs are
//! from pools of their own, so that no lcore ever waits for a thread that sends.

use std::io;
use std::thread::sleep;
use std::time::Duration;

use super::{Port, ROOM, closed, offer, prepare};

/// Sends on one port.
#[derive(Debug)]
pub struct PortSender {
    port: u16,
    /// Bytes of a frame at most.
    longest: usize,
}

impl PortSender {
    /// The way out of a port that is started. An error when it is not, or not any more.
    pub fn open(port: u16) -> io::Result<Self> {
        let held = Port::hold(port).ok_or_else(closed)?;
        prepare(&held)?;
        let mtu = held.mtu().map_or(MTU, usize::from);
        Ok(Self { port, longest: (mtu + HEADER).min(ROOM) })
    }

    /// Sends a frame, from its Ethernet header on; a short one is filled up with zeros. Waits for a
    /// moment when the port is busy. An error when it takes none, or when the frame is larger than
    /// its MTU.
    pub fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        let Self { port, longest } = *self;
        if frame.len() > longest {
            let why = format!("a frame of {} bytes, the port takes {longest}", frame.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        for _ in 0..TRIES {
            if offer(port, frame)? {
                return Ok(());
            }
            sleep(PAUSE);
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "the port takes no frames"))
    }
}

/// The MTU of a port that does not say.
const MTU: usize = 1500;

/// Bytes of an Ethernet header with one VLAN tag.
const HEADER: usize = 18;

/// How often a frame is offered, and the time between.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(1);

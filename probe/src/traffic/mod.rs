//! Made-up traffic: the same frames from the same words, on any machine.
//!
//! Benches, tests and `sonde bench` measure with it. Three kinds, named for what they wear out:
//! [`Kind::Mix`] the caches, [`Kind::Flood`] the making of flows, [`Kind::Elephants`] the
//! instructions. Frames carry no checksums but that of IPv4 headers, their payload is zeros, and at
//! most [`SNAP`] bytes of each are there, as in a capture.
//!
//! Everything is made of integers and of one generator whose algorithm never changes (crates of
//! random numbers keep the right to change theirs), so that figures of different days and machines
//! are of the same frames.

mod conversation;
mod header;
mod life;
mod pcap;
mod popularity;
mod random;
mod replay;

use sonde_proto::time::Timestamp;

use self::conversation::Conversation;
use self::header::{Packet, Sheet};
use self::life::{Act, Lives};
pub use self::pcap::write_pcap;
use self::random::Random;
pub use self::replay::{Frames, Replay};
use crate::source::{Frame, LinkType};

/// Bytes of a frame that are captured at most.
pub const SNAP: usize = 128;

/// What traffic is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// TCP and UDP flows that come and go, both ways. How often one of those that live is seen
    /// follows Zipf's law (exponent 1); frames of 64, 576 and 1500 bytes as 7:4:1, longer where
    /// their headers are; 15 % IPv6, 10 % behind a VLAN tag, 10 % inside VXLAN.
    Mix,
    /// SYNs of 64 bytes to one server, each from an address and port of its own.
    Flood,
    /// TCP flows that never end, all alike: frames of 1400 bytes after the handshakes.
    Elephants,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Mix, Self::Flood, Self::Elephants];

    /// The name of the kind, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mix => "mix",
            Self::Flood => "flood",
            Self::Elephants => "elephants",
        }
    }

    /// Flows that live at once, where nobody asks for another number. In a flood it means nothing.
    pub const fn flows(self) -> u32 {
        match self {
            Self::Mix => 100_000,
            Self::Flood => 0,
            Self::Elephants => 1000,
        }
    }

    /// Nanoseconds between two frames, on average: 1.4 million a second, a full gigabit, and a
    /// full ten.
    const fn gap(self) -> u64 {
        match self {
            Self::Mix => 714,
            Self::Flood => 672,
            Self::Elephants => 1136,
        }
    }
}

/// The words that say which traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// What it is like.
    pub kind: Kind,
    /// Traffic of another seed has other frames, and is alike all the same.
    pub seed: u64,
    /// How many frames there are.
    pub packets: u64,
    /// Flows that live at once, one at least; without meaning in a flood.
    pub flows: u32,
}

impl Spec {
    /// Five million frames of that kind, and the flows that belong to it.
    pub const fn of(kind: Kind) -> Self {
        Self { kind, seed: 1, packets: 5_000_000, flows: kind.flows() }
    }
}

/// Makes the frames, one after the other.
#[derive(Debug)]
pub struct Generator {
    spec: Spec,
    random: Random,
    lives: Lives,
    sheet: Sheet,
    made: u64,
    now: Timestamp,
}

impl Generator {
    /// Nothing is made yet. Needs 16 bytes for each flow that lives at once.
    pub fn new(spec: Spec) -> Self {
        let lives = match spec.kind {
            Kind::Mix => Lives::mortal(spec.flows),
            Kind::Flood => Lives::default(),
            Kind::Elephants => Lives::immortal(spec.flows),
        };
        Self {
            spec,
            random: Random::new(spec.seed),
            lives,
            sheet: Sheet::default(),
            made: 0,
            now: Timestamp::from_millis(START),
        }
    }

    /// Makes the next frame and lends it; `None` after the last.
    #[inline]
    pub fn next_frame(&mut self) -> Option<Frame<'_>> {
        if self.made == self.spec.packets {
            return None;
        }
        let (conversation, packet) = match self.spec.kind {
            Kind::Flood => {
                // The number of the frame is that of its flow.
                let conversation = Conversation::flood(self.spec.seed, self.made as u32);
                (conversation, Packet::syn(self.random.next(), FLOOD_SIZE))
            }
            Kind::Mix | Kind::Elephants => {
                let Act { conversation, packet } = self.lives.act(self.spec.seed, &mut self.random);
                (conversation, packet)
            }
        };
        let length = self.sheet.write(&conversation, &packet);
        self.made += 1;
        // From 1 to twice the average.
        let gap = 1 + self.random.below(2 * self.spec.kind.gap() as u32);
        self.now = Timestamp::from_nanos(self.now.nanos() + u64::from(gap));
        let bytes = self.sheet.bytes(length);
        Some(Frame { bytes, length, at: self.now, link: LinkType::Ethernet })
    }

    /// Flows that have begun: pairs of ends, those inside VXLAN, not the tunnels around them.
    pub fn flows(&self) -> u64 {
        match self.spec.kind {
            Kind::Flood => self.made,
            Kind::Mix | Kind::Elephants => self.lives.begun(),
        }
    }
}

/// When the traffic begins, in milliseconds: 2020-09-13 12:26:40 UTC.
const START: u64 = 1_600_000_000_000;

const FLOOD_SIZE: u32 = 64;

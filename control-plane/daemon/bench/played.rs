//! Frames from memory: made a chunk at a time, metered, and only the metering is timed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use sonde_probe::traffic::{Frames, Generator, Kind, Replay, Spec};
use sonde_probe::worker::{FlowConfig, Worker};
use sonde_proto::ring::RingSize;

use super::figures::{Figures, Spent, State};
use super::meter::{self, Taker};
use super::room::Room;
use crate::signals::Stop;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(super) enum Extent {
    /// So many frames.
    Packets(u64),
    /// Frames for so long.
    Time(Duration),
}

/// Meters traffic until it was enough, or somebody wants to stop.
pub(super) fn play(spec: Spec, extent: Extent, room: &Room, stop: &Stop) -> nix::Result<Figures> {
    let mut player = Player::new(spec, room);
    // At first most frames begin flows; that is not how it goes on.
    let warm_up = match spec.kind {
        Kind::Mix | Kind::Elephants => 2 * u64::from(spec.flows),
        Kind::Flood => room.max_flows as u64,
    };
    player.run(Extent::Packets(warm_up), stop)?;
    let before = player.state();
    let time = player.run(extent, stop)?;
    let after = player.state();
    Ok(Figures::between((spec.kind.name(), "memory", spec.flows), &before, &after, time))
}

/// A worker, the frames it takes, and who takes its reports.
struct Player {
    generator: Generator,
    chunk: usize,
    worker: Worker<Replay>,
    taker: Taker,
}

impl Player {
    fn new(spec: Spec, room: &Room) -> Self {
        let (announcer, taker) = Taker::new();
        let ring = announcer.open(meter::lcore("memory"), RingSize::default());
        let config = FlowConfig { max_flows: room.max_flows, ..FlowConfig::default() };
        let source = Replay::new(Arc::new(Frames::default()));
        Self {
            generator: Generator::new(spec),
            chunk: room.chunk,
            worker: Worker::new(source, meter::point(), ring, &config),
            taker,
        }
    }

    /// Meters frames; how long that took, without their making.
    #[expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
    fn run(&mut self, extent: Extent, stop: &Stop) -> nix::Result<Spent> {
        let (mut packets, mut spent) = (0, Spent::default());
        loop {
            let chunk = match extent {
                Extent::Packets(all) => (self.chunk as u64).min(all - packets) as usize,
                Extent::Time(all) if spent.wall < all => self.chunk,
                Extent::Time(_) => 0,
            };
            let made = self.worker.source_mut().renew(&mut self.generator, chunk);
            if made == 0 || stop.asked() {
                return Ok(spent);
            }
            let (start, cpu) = (Instant::now(), cpu_time()?);
            self.meter();
            spent.wall += start.elapsed();
            spent.cpu += cpu_time()?.saturating_sub(cpu);
            packets += made as u64;
        }
    }

    /// Meters the frames that are there.
    fn meter(&mut self) {
        let mut turns = 0_u32;
        while self.worker.turn().is_ok() {
            turns += 1;
            if turns.is_multiple_of(TURNS) {
                self.taker.take();
            }
        }
    }

    /// Where the worker stands.
    fn state(&mut self) -> State {
        while !self.worker.drain() {
            self.taker.take();
        }
        self.taker.take();
        self.taker.state
    }
}

/// CPU time of this thread.
fn cpu_time() -> nix::Result<Duration> {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from)
}

/// Turns between two looks at the ring: it has room for eight times as many records as frames
/// come in them.
const TURNS: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_the_frames_that_were_asked_for() {
        for kind in Kind::ALL {
            let spec = Spec { packets: u64::MAX, flows: 100, ..Spec::of(kind) };
            let room = Room { max_flows: 1000, chunk: 700, bytes: 0 };
            let figures = play(spec, Extent::Packets(5000), &room, &Stop::default()).unwrap();
            assert_eq!((figures.packets, figures.unaccounted), (5000, 0));
            assert_eq!((figures.lost, figures.table_full), (0, 0));
            assert!(figures.flows_in_table > 50 && figures.ns_per_packet > 0.0);
            match kind {
                Kind::Mix => assert!(figures.flows_per_second > 0.0),
                Kind::Flood => assert_eq!((figures.evicted, figures.flows_in_table), (5000, 1000)),
                Kind::Elephants => assert_eq!(figures.flows_in_table, 100),
            }
        }
    }

    #[test]
    fn who_wants_to_stop_does_not_wait() {
        let stop = Stop::default();
        stop.ask();
        let spec = Spec { packets: u64::MAX, ..Spec::of(Kind::Elephants) };
        let room = Room { max_flows: 1000, chunk: 700, bytes: 0 };
        let figures = play(spec, Extent::Time(Duration::MAX), &room, &stop).unwrap();
        assert_eq!(figures.packets, 0);
    }
}

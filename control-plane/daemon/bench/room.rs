//! How much memory a measurement takes, before it is taken.

use anyhow::ensure;
use sonde_probe::flow::Shard;
use sonde_probe::traffic::{Frames, Kind};

use super::machine;

/// Sizes of what is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Flows that the table takes.
    pub(super) max_flows: usize,
    /// Frames that are made at once.
    pub(super) chunk: usize,
    /// Bytes that all takes, at most.
    pub(super) bytes: u64,
}

impl Room {
    /// The room for so many flows at once: a table as large as the daemon's, or half as large again
    /// as they are many, because flows that ended stay for a while.
    pub(super) fn of(kind: Kind, flows: u32) -> Self {
        let many = match kind {
            Kind::Mix | Kind::Elephants => u64::from(flows) * 3 / 2,
            Kind::Flood => 0,
        };
        let max_flows = many.max(MAX_FLOWS);
        let bytes = Shard::bytes(max_flows as usize) as u64
            + u64::from(flows) * PLACE
            + (CHUNK * Frames::BYTES) as u64
            + REST;
        Self { max_flows: max_flows as usize, chunk: CHUNK, bytes }
    }

    /// The same with frames in mbufs of DPDK's.
    #[cfg(feature = "dpdk")]
    pub(super) fn with_mbufs(self, mbufs: usize) -> Self {
        Self { bytes: self.bytes + mbufs as u64 * MBUF, ..self }
    }

    /// An error when this machine has less.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        self.fits(machine::available())
    }

    fn fits(&self, available: Option<u64>) -> anyhow::Result<()> {
        let Some(available) = available else { return Ok(()) };
        ensure!(
            self.bytes <= available,
            "{} flows need {} MB of memory, and {} MB are available: ask for fewer --flows",
            self.max_flows,
            self.bytes >> 20,
            available >> 20,
        );
        Ok(())
    }
}

/// The table of the daemon without a configuration.
const MAX_FLOWS: u64 = 500_000;
/// Bytes that the generator keeps of a flow.
const PLACE: u64 = 16;
/// Frames made at once: enough that the clock is read rarely, few enough to be made quickly.
const CHUNK: usize = 1 << 20;
/// Bytes of an mbuf on plain pages.
#[cfg(feature = "dpdk")]
const MBUF: u64 = 4096;
/// Bytes of everything else.
const REST: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_million_flows_fit_into_8_gib() {
        let room = Room::of(Kind::Mix, 10_000_000);
        assert!(room.bytes < 8 << 30, "{} MB", room.bytes >> 20);
        assert!(room.max_flows >= 10_000_000);
    }

    #[test]
    fn too_little_memory_is_refused_in_numbers() {
        let room = Room::of(Kind::Elephants, 1000);
        assert_eq!(room.max_flows, 500_000);
        assert!(room.fits(None).is_ok());
        assert!(room.fits(Some(room.bytes)).is_ok());
        let error = room.fits(Some(100 << 20)).unwrap_err().to_string();
        assert!(error.starts_with("500000 flows need "), "{error}");
        assert!(error.contains("and 100 MB are available"), "{error}");
    }
}

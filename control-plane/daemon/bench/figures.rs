//! What was measured, and how it is printed.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;
use sonde_proto::report::Books;

use super::machine::{self, Machine};

/// The outcome of a measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    /// Name of the kind of traffic.
    pub(super) traffic: &'static str,
    /// Where the frames came from.
    pub(super) through: &'static str,
    /// Flows that lived at once, as the traffic was asked for.
    pub(super) flows: u32,
    /// Frames that were measured.
    pub(super) packets: u64,
    /// Wall time of metering them.
    pub(super) seconds: f64,
    /// Million frames a second.
    pub(super) mpps: f64,
    /// CPU time per frame of the one thread that meters.
    pub(super) ns_per_packet: f64,
    /// Flows that began a second, tunnels and their insides each for itself.
    pub(super) flows_per_second: f64,
    /// Flows in the table at the end.
    pub(super) flows_in_table: u64,
    /// Flows that had to leave because the table was full.
    pub(super) evicted: u64,
    /// Frames that the port lost before sonde could take them.
    pub(super) lost: u64,
    /// Frames that no flow was found room for.
    pub(super) table_full: u64,
    /// Reports that had to wait for the control end.
    pub(super) ring_full: u64,
    /// Frames that no counter explains: 0, or a defect of ours.
    pub(super) unaccounted: i64,
    /// Bytes of this process in memory.
    pub(super) resident_bytes: u64,
    /// Where this was measured.
    pub(super) machine: Machine,
}

/// The counters of a queue at a moment, and the flows it holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    pub(super) books: Books,
    /// Flows in the table.
    pub(super) flows: u64,
}

impl State {
    /// Flows that have begun.
    fn begun(&self) -> u64 {
        self.flows + self.books.ended.iter().sum::<u64>()
    }
}

/// What it took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    pub(super) wall: Duration,
    /// Of the thread that meters.
    pub(super) cpu: Duration,
}

impl Figures {
    /// What happened between two moments.
    pub(super) fn between(
        (traffic, through, flows): (&'static str, &'static str, u32),
        before: &State,
        after: &State,
        spent: Spent,
    ) -> Self {
        let evicted =
            |state: &State| state.books.ended[sonde_proto::record::EndReason::Evicted as usize];
        let lost = |Books { lost, .. }: &Books| lost.missed + lost.no_mbuf + lost.errors;
        let packets = after.books.received.saturating_sub(before.books.received);
        let seconds = spent.wall.as_secs_f64();
        Self {
            traffic,
            through,
            flows,
            packets,
            seconds,
            mpps: packets as f64 / seconds / 1e6,
            ns_per_packet: spent.cpu.as_secs_f64() * 1e9 / packets as f64,
            flows_per_second: after.begun().saturating_sub(before.begun()) as f64 / seconds,
            flows_in_table: after.flows,
            evicted: evicted(after).saturating_sub(evicted(before)),
            lost: lost(&after.books).saturating_sub(lost(&before.books)),
            table_full: after.books.table_full.saturating_sub(before.books.table_full),
            ring_full: after.books.ring_full.saturating_sub(before.books.ring_full),
            unaccounted: after.books.unaccounted(),
            resident_bytes: machine::resident(),
            machine: Machine::of_this(),
        }
    }

    /// Lines for people.
    pub(super) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let Machine { cpu, cores, huge_pages_free_bytes } = &self.machine;
        writeln!(out, "traffic          {}, {} flows at once", self.traffic, self.flows)?;
        writeln!(out, "through          {}", self.through)?;
        writeln!(out, "packets          {} in {:.2} s", self.packets, self.seconds)?;
        writeln!(out, "rate             {:.2} Mpps on one core", self.mpps)?;
        writeln!(out, "per packet       {:.1} ns of CPU time", self.ns_per_packet)?;
        writeln!(out, "flows            {:.0} begun a second", self.flows_per_second)?;
        writeln!(out, "table            {} flows at the end", self.flows_in_table)?;
        writeln!(out, "evicted          {} flows", self.evicted)?;
        writeln!(out, "lost by the port {}", self.lost)?;
        writeln!(out, "table full       {} packets", self.table_full)?;
        writeln!(out, "ring full        {} reports", self.ring_full)?;
        writeln!(out, "unaccounted      {}", self.unaccounted)?;
        writeln!(out, "resident         {} MB", self.resident_bytes >> 20)?;
        writeln!(out, "machine          {cpu}, {cores} cores")?;
        match huge_pages_free_bytes {
            0 => writeln!(out, "huge pages       none free"),
            free => writeln!(out, "huge pages       {} MB free", free >> 20),
        }
    }
}

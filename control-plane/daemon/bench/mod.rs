//! `sonde bench`: what the data plane does on this machine, with made-up traffic.

mod figures;
mod machine;
mod meter;
mod played;
mod plot;
#[cfg(feature = "dpdk")]
mod polled;
mod room;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use sonde_probe::traffic::{Kind, Spec};

use crate::cli::{Bench, BenchOutput, Through};
use crate::signals::Stop;

use self::figures::Figures;
use self::machine::Machine;
use self::played::Extent;
use self::room::Room;

/// Measures what is asked for and prints it.
pub(crate) fn bench(options: &Bench) -> anyhow::Result<ExitCode> {
    let stop = Stop::on_signals()?;
    match &options.plot {
        Some(file) => draw(options, file, &stop)?,
        None => {
            let figures = measure(options, &stop)?;
            let mut out = std::io::stdout().lock();
            match options.output {
                BenchOutput::Table => figures.print(&mut out)?,
                BenchOutput::Json => writeln!(out, "{}", serde_json::to_string_pretty(&figures)?)?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One measurement.
fn measure(options: &Bench, stop: &Stop) -> anyhow::Result<Figures> {
    let kind = Kind::from(options.traffic);
    let flows = options.flows.unwrap_or(kind.flows());
    match options.through {
        Through::Memory => from_memory(options, flows, stop),
        #[cfg(feature = "dpdk")]
        Through::NetPcap => {
            let packets = options.packets.unwrap_or(polled::PACKETS);
            let spec = Spec { kind, seed: options.seed, packets, flows };
            polled::net_pcap(spec, seconds(options), stop)
        }
        #[cfg(feature = "dpdk")]
        Through::NetNull => polled::net_null(seconds(options), stop),
        #[cfg(not(feature = "dpdk"))]
        Through::NetPcap | Through::NetNull => {
            bail!("--through: expected memory, this sonde was built without the feature dpdk")
        }
    }
}

/// Frames made beforehand, a chunk at a time.
fn from_memory(options: &Bench, flows: u32, stop: &Stop) -> anyhow::Result<Figures> {
    let kind = Kind::from(options.traffic);
    let room = Room::of(kind, flows);
    room.check()?;
    let extent = match (options.packets, options.seconds) {
        (packets, None) => Extent::Packets(packets.unwrap_or(PACKETS)),
        (None, Some(seconds)) => Extent::Time(Duration::from_secs(seconds)),
        (Some(_), Some(_)) => bail!("expected --packets or --seconds, found both"),
    };
    let spec = Spec { kind, seed: options.seed, packets: u64::MAX, flows };
    played::play(spec, extent, &room, stop).context("no CPU clock of threads")
}

/// Measurements from few flows to many, each after the other, and a drawing of them.
fn draw(options: &Bench, file: &Path, stop: &Stop) -> anyhow::Result<()> {
    let kind = Kind::from(options.traffic);
    ensure!(options.through == Through::Memory, "--plot: expected --through memory");
    ensure!(kind != Kind::Flood, "--plot: expected flows that last, not a flood");
    let most = options.flows.unwrap_or(MOST);
    Room::of(kind, most).check()?;
    let mut all: Vec<Figures> = Vec::new();
    if options.output == BenchOutput::Table {
        println!("{:>9} {:>15} {:>9}", "flows", "in the table", "ns/packet");
    }
    for flows in STEPS.into_iter().filter(|flows| *flows <= most) {
        let figures = from_memory(options, flows, stop)?;
        if stop.asked() {
            break;
        }
        if options.output == BenchOutput::Table {
            let Figures { ns_per_packet, flows_in_table, .. } = figures;
            println!("{flows:>9} {flows_in_table:>15} {ns_per_packet:>9.1}");
        }
        all.push(figures);
    }
    ensure!(all.len() > 1, "--plot: expected at least two measurements to draw");
    let points: Vec<_> =
        all.iter().map(|figures| (figures.flows.into(), figures.ns_per_packet)).collect();
    let title = format!("sonde bench, {} from memory, {}", kind.name(), Machine::of_this().cpu);
    std::fs::write(file, plot::svg(&title, &points)).with_context(|| file.display().to_string())?;
    if options.output == BenchOutput::Json {
        println!("{}", serde_json::to_string_pretty(&all)?);
    }
    Ok(())
}

#[cfg(feature = "dpdk")]
fn seconds(options: &Bench) -> Duration {
    Duration::from_secs(options.seconds.unwrap_or(5))
}

/// Frames that are measured where nobody asks for another number.
const PACKETS: u64 = 5_000_000;

/// The numbers of flows of a plot, and the greatest of them.
const STEPS: [u32; 9] = [1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, MOST];
const MOST: u32 = 10_000_000;

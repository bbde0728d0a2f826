//! `sonde traffic`: made-up traffic as a capture file.

use std::fs::File;
use std::io::BufWriter;
use std::process::ExitCode;

use anyhow::Context;
use sonde_probe::traffic::{Generator, Spec, write_pcap};

use crate::cli::Traffic;

/// Writes the file, and says on stderr what is in it.
pub(crate) fn write(options: &Traffic) -> anyhow::Result<ExitCode> {
    let Traffic { kind, ref file, packets, flows, seed } = *options;
    let default = Spec::of(kind.into());
    let spec = Spec { seed, packets, flows: flows.unwrap_or(default.flows), ..default };
    let name = || file.display().to_string();
    let out = File::create(file).with_context(name)?;
    let mut generator = Generator::new(spec);
    let out = BufWriter::with_capacity(BUFFER, out);
    write_pcap(&mut generator, out).with_context(name)?;
    eprintln!("{}: {packets} frames, {} flows", name(), generator.flows());
    Ok(ExitCode::SUCCESS)
}

/// Bytes that are written at once.
const BUFFER: usize = 1 << 20;

//! `sonde read`: capture files in, flows out, without a daemon.

use std::fs::Metadata;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use sonde_control_plane::assembler::Assembler;
use sonde_control_plane::bpf;
use sonde_probe::source::Closed;
use sonde_probe::source::pcap::PcapFile;
use sonde_probe::worker::{FlowConfig, Worker};
use sonde_proto::flow::ApplicationPorts;
use sonde_proto::plan::{BpfInstruction, Plan, PlannedPoint, Point, Watch};
use sonde_proto::record::{Cause, EndReason, Transport, WatchId};
use sonde_proto::report::{Books, LcoreInfo};
use sonde_proto::ring::{self, RingSize, Rings};

use crate::cli::{ApplicationPort, Read};
use crate::output::{self, Printer};
use crate::signals::Stop;

/// Reads every file. Exit 1 when one of them could not be read to its end; its flows up to there
/// are printed all the same.
pub(crate) fn read(options: &Read) -> anyhow::Result<ExitCode> {
    let filter = match &options.bpf {
        Some(text) => bpf::compile(text)?,
        None => Arc::default(),
    };
    let stop = Stop::on_signals()?;
    let names = application_ports(&options.application_ports);
    let mut summary = Summary::default();
    let mut printer = Printer::new(options.output, std::io::stdout().lock());
    let mut failed = false;
    printer.begin()?;
    for file in &options.files {
        let reading = Reading { options, filter: &filter, names: &names, stop: &stop };
        if let Err(error) = reading.file(file, &mut printer, &mut summary) {
            if output::is_closed(&error) {
                return Ok(ExitCode::SUCCESS);
            }
            eprintln!("{}: {error:#}", file.display());
            failed = true;
        }
        if stop.asked() {
            break;
        }
    }
    printer.finish()?;
    summary.print();
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What holds for every file.
struct Reading<'a> {
    options: &'a Read,
    filter: &'a Arc<[BpfInstruction]>,
    names: &'a ApplicationPorts,
    stop: &'a Stop,
}

impl Reading<'_> {
    fn file(
        &self,
        path: &Path,
        printer: &mut Printer<impl Write>,
        summary: &mut Summary,
    ) -> anyhow::Result<()> {
        let size = std::fs::metadata(path).as_ref().map(Metadata::len).unwrap_or(0);
        let source = PcapFile::open(path)?;
        let progress = progress(size);
        let point = Point::File(path.to_owned());
        let (announcer, mut rings) = ring::rings();
        rings.follow(Arc::new(self.plan(&point)));
        let lcore = LcoreInfo { point: point.clone(), queue: 0, cpu: None, source: "pcap" };
        let ring = announcer.open(lcore, RingSize::default());
        let config = FlowConfig {
            max_flows: self.options.max_flows,
            timers: self.options.ending.timers(),
            ..FlowConfig::default()
        };
        let mut worker = Worker::new(source, point, ring, &config);
        let mut assembler = Assembler::default();
        let closed = loop {
            match worker.turn() {
                Ok(_) if self.stop.asked() => break Closed::End,
                Ok(_) => {}
                Err(closed) => break closed,
            }
            print(&mut rings, &mut assembler, self.names, printer)?;
            progress.set_position(worker.source().bytes_read());
        };
        worker.end(EndReason::Drained);
        while !worker.drain() {
            print(&mut rings, &mut assembler, self.names, printer)?;
        }
        print(&mut rings, &mut assembler, self.names, printer)?;
        progress.finish_and_clear();
        if let unsupported @ [_, ..] = worker.source().unsupported() {
            let numbers: Vec<_> = unsupported.iter().map(u16::to_string).collect();
            let numbers = numbers.join(", ");
            eprintln!(
                "{}: LINKTYPE {numbers} is not supported, its frames are skipped",
                path.display()
            );
        }
        summary.add(&worker.books(), printer.flows());
        match closed {
            Closed::End => Ok(()),
            damaged => Err(damaged).context("cannot be read on"),
        }
    }

    fn plan(&self, point: &Point) -> Plan {
        let watch = Watch {
            id: WatchId(0),
            node_tid: None,
            filter: self.filter.clone(),
            options: self.options.metering.options(u32::MAX, self.options.mpls_udp_port),
        };
        let points = vec![PlannedPoint { point: point.clone(), watches: vec![watch] }];
        Plan { revision: 1, sweep: 0, points }
    }
}

/// Prints the flows that wait in the ring.
fn print(
    rings: &mut Rings,
    assembler: &mut Assembler,
    names: &ApplicationPorts,
    printer: &mut Printer<impl Write>,
) -> anyhow::Result<()> {
    let mut printed = Ok(());
    rings.drain(
        |_, _, report| {
            for (head, bytes) in report.packets.iter() {
                assembler.packet(head, Bytes::copy_from_slice(bytes));
            }
            for entry in &report.flows {
                if printed.is_ok() && matches!(entry.cause, Cause::End(_)) {
                    printed = printer.flow(|| {
                        let record = report.record(entry);
                        let mut flow = names.flow(&record);
                        assembler.complete(&record, &mut flow);
                        flow
                    });
                }
            }
        },
        |_, _| {},
    );
    printed
}

fn application_ports(ports: &[ApplicationPort]) -> ApplicationPorts {
    let named = |protocol| {
        let ports = ports.iter().filter(move |port| port.protocol == protocol);
        ports.map(|port| (port.port, port.name.clone()))
    };
    ApplicationPorts::new(named(Transport::Tcp), named(Transport::Udp))
}

/// What all files came to.
#[derive(Default)]
struct Summary {
    books: Books,
    flows: u64,
}

impl Summary {
    fn add(&mut self, books: &Books, flows: u64) {
        self.books.add(books);
        self.flows = flows;
    }

    /// Every counter, on stderr.
    fn print(&self) {
        eprintln!("flows: {}", self.flows);
        for (name, n) in self.books.named() {
            eprintln!("{name}: {n}");
        }
        eprintln!("unaccounted: {}", self.books.unaccounted());
    }
}

/// A bar with rate and time left, when somebody watches.
fn progress(size: u64) -> ProgressBar {
    if size == 0 || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(size);
    let template = "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} ETA {eta}";
    bar.with_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
    )
}

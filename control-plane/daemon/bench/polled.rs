//! Frames from a virtual device of DPDK, polled by an lcore as in the daemon.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use sonde_probe::lcore::{Dpdk, DpdkConfig, PortConfig};
use sonde_probe::source::dpdk::Idle;
use sonde_probe::traffic::{Generator, Kind, Spec, write_pcap};
use sonde_probe::worker::{FlowConfig, Worker};
use sonde_proto::ring::RingSize;

use super::figures::{Figures, Spent, State};
use super::machine::{self, Machine};
use super::meter::{self, Taker};
use super::room::Room;
use crate::ports::Polled;
use crate::signals::Stop;

/// Frames that net_pcap plays again and again, where nobody asks for another number: it keeps an
/// mbuf for each.
pub(super) const PACKETS: u64 = 100_000;

/// Frames that net_pcap copies from memory, again and again.
pub(super) fn net_pcap(spec: Spec, time: Duration, stop: &Stop) -> anyhow::Result<Figures> {
    let mbufs = (spec.packets.saturating_add(SPARE).next_power_of_two() - 1) as usize;
    let room = Room::of(spec.kind, spec.flows).with_mbufs(mbufs);
    room.check()?;
    let max_flows = match spec.kind {
        Kind::Mix | Kind::Elephants => room.max_flows,
        // When a SYN comes again, its flow shall be gone.
        Kind::Flood => room.max_flows.min(spec.packets as usize / 2),
    };
    let directory = tempfile::tempdir().context("no directory for the frames")?;
    let path = directory.path().join("frames.pcap");
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    write_pcap(&mut Generator::new(spec), BufWriter::new(file)).context("cannot write frames")?;
    let words = (spec.kind.name(), "net_pcap", spec.flows);
    run(words, &device(&path)?, mbufs, max_flows, time, stop)
}

/// Empty frames of 64 bytes, as fast as they are taken.
pub(super) fn net_null(time: Duration, stop: &Stop) -> anyhow::Result<Figures> {
    let max_flows = FlowConfig::default().max_flows;
    let mbufs = SPARE as usize - 1;
    run(("empty frames", "net_null", 1), "net_null0,size=64", mbufs, max_flows, time, stop)
}

fn device(path: &Path) -> anyhow::Result<String> {
    let path = path.display().to_string();
    // The EAL splits device arguments at commas.
    ensure!(!path.contains(','), "{path}: expected a directory for temporary files without comma");
    Ok(format!("net_pcap0,rx_pcap={path},infinite_rx=1"))
}

/// Polls one device on one CPU, the last one.
fn run(
    words: (&'static str, &'static str, u32),
    device: &str,
    mempool: usize,
    max_flows: usize,
    time: Duration,
    stop: &Stop,
) -> anyhow::Result<Figures> {
    let (announcer, taker) = Taker::new();
    let (ended, over) = (stop.flag(), Arc::new(AtomicBool::new(false)));
    // Before DPDK comes up, which pins this thread.
    let watcher = thread::spawn({
        let (ended, over) = (ended.clone(), over.clone());
        move || watch(taker, time, &ended, &over)
    });
    let machine = Machine::of_this();
    let port = PortConfig {
        name: meter::NAME.into(),
        device: device.into(),
        cpus: vec![machine.cores - 1],
        idle: Some(Idle::Spin),
        ..PortConfig::default()
    };
    let config = DpdkConfig { ports: vec![port], mempool, ..DpdkConfig::default() };
    let flow = FlowConfig { max_flows, report_every: REPORT, ..FlowConfig::default() };
    let polled = Dpdk::bring_up(config).and_then(|dpdk| {
        dpdk.run(ended, move |queue, _| {
            let ring = announcer.open(meter::lcore("dpdk"), RingSize::default());
            Polled::new(Worker::new(queue, meter::point(), ring, &flow))
        })
    });
    over.store(true, Ordering::Relaxed);
    let watched = watcher.join().map_err(|_| anyhow!("who takes the reports panicked"))?;
    let lost = polled
        .context("DPDK ended badly")?
        .iter()
        .map(|port| port.lost)
        .fold(0, |sum, lost| sum + lost.missed + lost.no_mbuf + lost.errors);
    let Watched { before, after, wall, resident_bytes } =
        watched.context("stopped before anything was measured")?;
    // The lcore never pauses.
    let spent = Spent { wall, cpu: wall };
    let figures = Figures::between(words, &before, &after, spent);
    Ok(Figures { lost, resident_bytes, machine, ..figures })
}

/// What was seen of a run.
struct Watched {
    before: State,
    after: State,
    /// Between the two.
    wall: Duration,
    /// While all was there.
    resident_bytes: u64,
}

/// Takes reports until they tell of `time`, after a warm-up; then asks the lcore to stop with
/// `ended`, and takes what it still sends until all is `over`.
fn watch(
    mut taker: Taker,
    time: Duration,
    ended: &AtomicBool,
    over: &AtomicBool,
) -> Option<Watched> {
    let mut begun = None;
    let mut first = None;
    let mut measured = None;
    while measured.is_none() && !over.load(Ordering::Relaxed) {
        taker.take();
        if taker.state.books.received > 0 {
            let begun = *begun.get_or_insert(taker.at);
            if taker.at.since(begun) >= WARM_UP {
                let (at, state) = *first.get_or_insert((taker.at, taker.state));
                let wall = taker.at.since(at);
                if wall >= time {
                    let (before, after) = (state, taker.state);
                    let resident_bytes = machine::resident();
                    measured = Some(Watched { before, after, wall, resident_bytes });
                }
            }
        }
        thread::sleep(LOOK);
    }
    ended.store(true, Ordering::Relaxed);
    // The last flows need room in the ring.
    while !over.load(Ordering::Relaxed) {
        taker.take();
        thread::sleep(LOOK);
    }
    measured
}

/// Mbufs beyond those that a device keeps.
const SPARE: u64 = 16_384;
/// How often the lcore says where it stands.
const REPORT: Duration = Duration::from_millis(100);
/// How long the lcore runs before anything is measured.
const WARM_UP: Duration = Duration::from_millis(500);
/// Between two looks at the ring.
const LOOK: Duration = Duration::from_millis(1);

//! Frames through capsule's lcores, and what of their cost is DPDK's: 64-byte frames that are taken
//! and freed (`take`), or metered by a whole worker up to drained reports (`meter`), from `net_null`,
//! from `net_pcap` that replays a file from memory, and from memory without DPDK, as it lies there
//! (`memory`) and with the copies that `net_pcap` makes (`copies`).
//!
//! `cargo bench --bench lcore`. Each line is the least disturbed of [`ROUNDS`] runs: CPU time of the
//! lcores per packet, and packets of all lcores per second of the wall. `net_pcap` copies each frame,
//! which a NIC does not ask of a CPU. Compare figures of one run only.

#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![expect(clippy::expect_used, reason = "a bench that cannot go on fails here")]

mod frames;
mod measured;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{env, thread};

use sonde_probe::lcore::{Dpdk, DpdkConfig, PortConfig, Queue, Turn};
use sonde_probe::source::Source;
use sonde_probe::source::dpdk::Idle;
use sonde_probe::worker::{FlowConfig, Worker};
use sonde_proto::plan::{Options, Plan, PlannedPoint, Point, Watch};
use sonde_proto::record::WatchId;
use sonde_proto::report::LcoreInfo;
use sonde_proto::ring::{Announcer, RingSize, rings};

use frames::{Copies, Memory, write_pcap};
use measured::{Course, Measured, Metered, Take};

fn main() {
    // EAL starts once in a process: each run is a process of its own, which this one started.
    if let Ok(case) = env::var(CASE) {
        return run(&case);
    }
    let files = tempfile::tempdir().expect("there is a directory for temporary files");
    let directory = files.path();
    for flows in FLOWS {
        write_pcap(&file(directory, flows), flows);
    }
    let mut best = [None::<Figures>; CASES.len()];
    for _ in 0..ROUNDS {
        for (case, best) in CASES.iter().zip(&mut best) {
            let figures = start(case, directory);
            *best = Some(best.map_or(figures, |known| known.least(figures)));
        }
    }
    println!("source    lcores   flows  turn     Mpps  ns/packet");
    for (Case { source, lcores, flows, turn }, best) in CASES.iter().zip(best) {
        let Figures { mpps, nanos } = best.expect("there is a round");
        println!("{source:<8}  {lcores:>6}  {flows:>6}  {turn:<5}  {mpps:>6.2}  {nanos:>9.1}");
    }
}

struct Case {
    source: &'static str,
    lcores: usize,
    flows: u32,
    turn: &'static str,
}

const CASES: [Case; 15] = [
    case("net_null", 1, 1, "take"),
    case("net_null", 1, 1, "meter"),
    case("net_pcap", 1, 1_000, "take"),
    case("net_pcap", 1, 1_000, "meter"),
    case("memory", 1, 1_000, "meter"),
    case("net_pcap", 1, 100_000, "take"),
    case("net_pcap", 1, 100_000, "meter"),
    case("memory", 1, 100_000, "meter"),
    case("copies", 1, 100_000, "take"),
    case("copies", 1, 100_000, "meter"),
    case("net_null", 2, 1, "take"),
    case("net_pcap", 2, 1_000, "take"),
    case("net_pcap", 2, 1_000, "meter"),
    case("net_pcap", 2, 100_000, "take"),
    case("net_pcap", 2, 100_000, "meter"),
];

const fn case(source: &'static str, lcores: usize, flows: u32, turn: &'static str) -> Case {
    Case { source, lcores, flows, turn }
}

#[derive(Clone, Copy)]
struct Figures {
    mpps: f64,
    nanos: f64,
}

impl Figures {
    fn least(self, other: Self) -> Self {
        Self { mpps: self.mpps.max(other.mpps), nanos: self.nanos.min(other.nanos) }
    }
}

/// Runs a case in another process, which says how it went on the last line it prints.
fn start(Case { source, lcores, flows, turn }: &Case, directory: &Path) -> Figures {
    let file = file(directory, *flows);
    let output = Command::new(env::current_exe().expect("this runs from a file"))
        .env(CASE, format!("{source} {lcores} {flows} {turn} {}", file.display()))
        .output()
        .expect("this binary runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let figures = text.lines().last().and_then(|line| line.split_once(' '));
    let figures = figures.and_then(|(mpps, nanos)| {
        Some(Figures { mpps: mpps.parse().ok()?, nanos: nanos.parse().ok()? })
    });
    figures.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// One case, in the process it has for itself.
fn run(case: &str) {
    let words: Vec<&str> = case.split(' ').collect();
    let &[source, lcores, flows, turn, file] = &words[..] else { panic!("{case:?}") };
    let lcores: usize = lcores.parse().expect("a number of lcores");
    let flows: u32 = flows.parse().expect("a number of flows");
    let (announcer, mut rings) = rings();
    rings.follow(Arc::new(plan()));
    let course = Arc::new(Course::default());
    let told = course.clone();
    thread::spawn(move || {
        let mut opened = None;
        loop {
            // As the control plane does.
            rings.drain(|_, _, _| {}, |_, _| {});
            thread::sleep(Duration::from_millis(5));
            if told.opened.load(Ordering::Relaxed) {
                let since = opened.get_or_insert_with(Instant::now).elapsed();
                told.measuring.store(since >= WARM_UP, Ordering::Relaxed);
                told.stop.store(since >= WARM_UP + MEASURED, Ordering::Relaxed);
            }
        }
    });
    match (source, turn) {
        ("memory", _) => without_dpdk(worker(Memory::new(flows), 0, &announcer), &course),
        ("copies", "take") => without_dpdk(Take(Copies::new(flows)), &course),
        ("copies", _) => without_dpdk(worker(Copies::new(flows), 0, &announcer), &course),
        (_, "take") => {
            let (stop, course) = (course.stop.clone(), course.clone());
            let open = move |queue, _: &Queue| Measured::new(Take(queue), &course);
            bring_up(source, lcores, flows, file).run(stop, open).expect("DPDK ends");
        }
        _ => {
            let (stop, course) = (course.stop.clone(), course.clone());
            let open = move |queue, which: &Queue| {
                Measured::new(worker(queue, which.queue, &announcer), &course)
            };
            bring_up(source, lcores, flows, file).run(stop, open).expect("DPDK ends");
        }
    }
    let spans = course.spans.lock().expect("nobody panicked");
    let packets: u64 = spans.iter().map(|span| span.packets).sum();
    let wall = spans.iter().map(|span| span.wall).max().expect("there is an lcore");
    let cpu: Duration = spans.iter().map(|span| span.cpu).sum();
    let mpps = packets as f64 / wall.as_secs_f64() / 1e6;
    println!("{mpps} {}", cpu.as_nanos() as f64 / packets as f64);
}

fn without_dpdk(what: impl Metered, course: &Arc<Course>) {
    let mut turn = Measured::new(what, course);
    while !course.stop.load(Ordering::Relaxed) {
        turn.turn().expect("memory does not close");
    }
    while !turn.finish() {}
}

/// A port with a queue for each lcore.
fn bring_up(driver: &str, lcores: usize, flows: u32, file: &str) -> Dpdk {
    let mut device = format!("{driver}0");
    match driver {
        "net_null" => device.push_str(",size=64"),
        _ => {
            device.push_str(",infinite_rx=1");
            for _ in 0..lcores {
                write!(device, ",rx_pcap={file}").expect("a string takes it");
            }
        }
    }
    // DPDK's main thread, which only waits, stays on the first CPU.
    let all = thread::available_parallelism().map_or(1, usize::from);
    let port = PortConfig {
        name: PORT.into(),
        device,
        cpus: (all.saturating_sub(lcores)..all).collect(),
        idle: Some(Idle::Spin),
        ..PortConfig::default()
    };
    // The driver keeps an mbuf for each frame of each queue.
    let mempool = (flows as usize * lcores + 16_384).next_power_of_two() - 1;
    Dpdk::bring_up(DpdkConfig { ports: vec![port], mempool, ..DpdkConfig::default() })
        .expect("DPDK starts")
}

fn plan() -> Plan {
    let watch = Watch {
        id: WatchId(1),
        node_tid: None,
        filter: Arc::default(),
        options: Options::default(),
    };
    let points = vec![PlannedPoint { point: Point::Port(PORT.into()), watches: vec![watch] }];
    Plan { revision: 1, sweep: 0, points }
}

fn worker<S: Source>(source: S, queue: u16, announcer: &Announcer) -> Worker<S> {
    let point = Point::Port(PORT.into());
    let lcore = LcoreInfo { point: point.clone(), queue, cpu: None, source: "bench" };
    let ring = announcer.open(lcore, RingSize::default());
    Worker::new(source, point, ring, &FlowConfig::default())
}

/// The file of so many flows.
fn file(directory: &Path, flows: u32) -> PathBuf {
    directory.join(format!("{flows}.pcap"))
}

const FLOWS: [u32; 2] = [1_000, 100_000];

const ROUNDS: usize = 3;

/// Until tables and caches are filled, in each run.
const WARM_UP: Duration = Duration::from_millis(700);

const MEASURED: Duration = Duration::from_millis(1500);

/// Name of the port.
const PORT: &str = "bench";

/// The environment variable that tells a process its case.
const CASE: &str = "SONDE_BENCH_CASE";

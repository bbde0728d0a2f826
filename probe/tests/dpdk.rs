//! Bring-up, polling and stop on DPDK's virtual devices. EAL starts once per process, so that each
//! test runs in a process of its own.
#![cfg(feature = "dpdk")]
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{env, fs, io, process, thread};

use etherparse::PacketBuilder;
use sonde_probe::lcore::{ConfigError, Dpdk, DpdkConfig, DpdkError, PortConfig, Queue, Turn};
use sonde_probe::source::dpdk::{
    Idle, PortSender, PortStats, RxQueue, Spread, hashes_symmetrically, port_stats,
};
use sonde_probe::source::{Closed, LinkType, Source};

#[test]
fn frames_of_a_pcap_arrive_whole() {
    alone("frames_of_a_pcap_arrive_whole", || {
        let frames = vec![udp(1, 18), udp(2, 400), udp(3, 1458), udp(4, 5000)];
        let file = write_pcap(&frames);
        let device = format!("net_pcap0,rx_pcap={}", file.display());
        let dpdk = Dpdk::bring_up(config(vec![port("trace", &device, &cpus()[..1])])).unwrap();

        let info = &dpdk.ports()[0];
        assert_eq!((info.name.as_str(), info.device.as_str()), ("trace", device.as_str()));
        assert_eq!((info.facts.driver.as_str(), info.facts.queues), ("net_pcap", 1));
        assert_eq!((info.facts.spread, info.facts.link_up), (Spread::Single, false));
        assert_eq!((info.may_part, info.far.len()), (false, 0));
        assert_eq!(info.pci, None);
        let number = info.number;

        let (seen, stats) = (Seen::default(), Arc::new(Mutex::new(PortStats::default())));
        let stop = stop_when({
            let (seen, stats) = (seen.clone(), stats.clone());
            move || {
                *stats.lock().unwrap() = port_stats(number).unwrap_or_default();
                seen.lock().unwrap().len() >= 4
            }
        });
        let (finished, last) = run(dpdk, stop, &seen).unwrap();
        fs::remove_file(file).unwrap();

        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), frames.len());
        for (seen, frame) in seen.iter().zip(&frames) {
            // A segment holds 2048 bytes; the parser wants no more than the headers.
            assert_eq!(seen.bytes, frame[..frame.len().min(2048)]);
            assert_eq!(seen.length as usize, frame.len());
            assert_eq!(seen.link, LinkType::Ethernet);
            assert_eq!(seen.nanos, 1_600_000_000_000_000_000, "the time in the file");
        }
        assert_eq!(finished, 1);
        let stats = *stats.lock().unwrap();
        let bytes: usize = frames.iter().map(Vec::len).sum();
        assert_eq!((stats.packets, stats.bytes), (4, bytes as u64));
        assert_eq!((last[0].packets, last[0].lost), (4, stats.lost), "read after the last frame");
        assert!(stats.link_up);
        assert_eq!(port_stats(number), None, "the port is closed");
    });
}

#[test]
fn frames_are_sent_while_ports_are_polled() {
    alone("frames_are_sent_while_ports_are_polled", || {
        let file = env::temp_dir().join(format!("sonde-sent-{}.pcap", process::id()));
        let files =
            format!("net_pcap0,rx_pcap={},tx_pcap={}", write_pcap(&[]).display(), file.display());
        // What is sent on the ring comes in on it.
        let ports =
            vec![port("ring", "net_ring0", &cpus()[..1]), port("file", &files, &cpus()[..1])];
        let dpdk = Dpdk::bring_up(config(ports)).unwrap();
        let [ring, out] = [0, 1].map(|at| dpdk.ports()[at].number);
        let not_started = |result: io::Result<()>| {
            assert_eq!(result.unwrap_err().to_string(), "the port is not started");
        };
        not_started(PortSender::open(ring).map(drop));

        let seen = Seen::default();
        let stop = Arc::new(AtomicBool::new(false));
        let sending = thread::spawn({
            let (seen, stop) = (seen.clone(), stop.clone());
            move || {
                let mut senders = (0..4000).find_map(|_| {
                    thread::sleep(Duration::from_millis(5));
                    Some([PortSender::open(ring).ok()?, PortSender::open(out).ok()?])
                });
                for sender in senders.as_mut().unwrap() {
                    // More than the port holds at once, and than there are mbufs.
                    for n in 0..2000 {
                        sender.send(&udp(n as u8, n % 1400)).unwrap();
                    }
                    let error = sender.send(&[0; 2000]).unwrap_err();
                    assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
                    sender.send(&[7; 20]).unwrap();
                }
                for _ in 0..4000 {
                    if seen.lock().unwrap().len() == 2001 {
                        break;
                    }
                    thread::sleep(Duration::from_millis(5));
                }
                stop.store(true, Ordering::Relaxed);
                senders.unwrap()
            }
        });
        run(dpdk, stop, &seen).unwrap();
        for mut sender in sending.join().unwrap() {
            not_started(sender.send(&udp(1, 1)));
        }
        let sent: Vec<_> =
            (0..2000).map(|n| udp(n as u8, n % 1400)).chain([filled(&[7; 20])]).collect();
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), sent.len());
        assert!(seen.iter().zip(&sent).all(|(seen, sent)| seen.bytes == filled(sent)));
        let written = fs::read(&file).unwrap();
        fs::remove_file(file).unwrap();
        let bytes: usize = sent.iter().map(|frame| 16 + filled(frame).len()).sum();
        assert_eq!(written.len(), 24 + bytes);
    });
}

#[test]
fn every_queue_is_polled_by_its_cpu() {
    alone("every_queue_is_polled_by_its_cpu", || {
        let cpus = cpus();
        let (main, both) = (cpus[0], &cpus[..cpus.len().min(2)]);
        let mut spinning = port("null", "net_null0,size=64", both);
        spinning.idle = Some(Idle::Spin);
        let ports = vec![
            spinning,
            port("other", "net_null1,size=1200", &[main]),
            port("ring", "net_ring0", &[main]),
        ];
        let dpdk = Dpdk::bring_up(config(ports)).unwrap();
        assert_eq!(dpdk.ports()[0].facts.queues as usize, both.len());
        let several = both.len() > 1;
        let spread = if several { Spread::Unknown } else { Spread::Single };
        assert_eq!((dpdk.ports()[0].facts.spread, dpdk.ports()[0].may_part), (spread, several));
        assert_eq!(dpdk.ports()[1].facts.driver, "net_null");
        assert_eq!(dpdk.ports()[2].facts.driver, "net_ring");

        let seen = Arc::new(Mutex::new(Vec::<(Queue, u32, String)>::new()));
        let expected = both.len() + 1;
        let stop = stop_when({
            let seen = seen.clone();
            move || seen.lock().unwrap().len() >= expected
        });
        let open = {
            let seen = seen.clone();
            move |source: RxQueue, queue: &Queue| FirstFrame {
                source,
                opened: status("Cpus_allowed_list:"),
                queue: queue.clone(),
                seen: seen.clone(),
                told: false,
            }
        };
        dpdk.run(stop, open).unwrap();

        let mut seen = seen.lock().unwrap().clone();
        seen.sort_by_key(|(queue, ..)| (queue.port.clone(), queue.queue));
        let names: Vec<_> =
            seen.iter().map(|(q, length, _)| (&*q.port, q.queue, *length)).collect();
        let mut wanted = vec![("null", 0, 64), ("null", 1, 64), ("other", 0, 1200)];
        wanted.retain(|(_, queue, _)| usize::from(*queue) < both.len());
        assert_eq!(names, wanted);
        for (queue, _, allowed) in &*seen {
            assert_eq!(*allowed, queue.cpu.to_string(), "{queue:?} runs on its cpu alone");
            assert_eq!(queue.idle, Idle::Spin, "one port that spins keeps the cpu awake");
        }
    });
}

#[test]
fn a_port_with_rss_gets_the_symmetric_key() {
    alone("a_port_with_rss_gets_the_symmetric_key", || {
        let cpus = cpus();
        if cpus.len() < 2 || !Path::new("/dev/net/tun").exists() {
            return eprintln!("skipped: this needs two CPUs and /dev/net/tun");
        }
        // The one virtual device whose key can be read back, on another that could have one.
        let bond = port("bond", "net_bonding0,mode=2,slave=net_tap0", &cpus);
        let eal = vec![format!("--vdev=net_tap0,iface=sonde{}", process::id())];
        let dpdk = Dpdk::bring_up(DpdkConfig { eal, ..config(vec![bond]) }).unwrap();
        let info = dpdk.ports()[0].clone();
        assert!(info.facts.spread.keeps_flows_whole() && !info.may_part, "{info:?}");
        assert_eq!(info.facts.spread.headers(), ["ip", "tcp", "udp"], "no more than it offers");
        assert_eq!(hashes_symmetrically(info.number), Some(false), "it keeps its own at first");

        let symmetric = Arc::new(Mutex::new(None));
        let open = {
            let symmetric = symmetric.clone();
            move |_: RxQueue, queue: &Queue| {
                if queue.queue == 0 {
                    *symmetric.lock().unwrap() = hashes_symmetrically(queue.port_number);
                }
                Scripted { turn: || Err(Closed::Gone(19)), finish: || true }
            }
        };
        dpdk.run(Arc::default(), open).unwrap();
        assert_eq!(*symmetric.lock().unwrap(), Some(true), "before the first frame is taken");
    });
}

#[test]
fn run_ends_when_all_sources_have_closed() {
    alone("run_ends_when_all_sources_have_closed", || {
        let cpus = cpus();
        let dpdk = Dpdk::bring_up(config(vec![port("null", "net_null0", &cpus[..1])])).unwrap();
        let finished = Arc::new(AtomicBool::new(false));
        let open = {
            let finished = finished.clone();
            move |_: RxQueue, _: &Queue| Scripted {
                turn: || Err(Closed::Gone(19)),
                finish: {
                    let finished = finished.clone();
                    move || finished.swap(true, Ordering::Relaxed)
                },
            }
        };
        dpdk.run(Arc::default(), open).unwrap();
        assert!(finished.load(Ordering::Relaxed));
    });
}

#[test]
fn signals_are_left_to_the_caller() {
    alone("signals_are_left_to_the_caller", || {
        let dpdk = Dpdk::bring_up(config(vec![port("null", "net_null0", &cpus()[..1])])).unwrap();
        let caught = Arc::new(Mutex::new(None));
        let open = {
            let caught = caught.clone();
            move |_: RxQueue, _: &Queue| Scripted {
                turn: {
                    let caught = caught.clone();
                    move || {
                        *caught.lock().unwrap() = Some(status("SigCgt:"));
                        Err(Closed::Gone(19))
                    }
                },
                finish: || true,
            }
        };
        dpdk.run(Arc::default(), open).unwrap();
        let caught = caught.lock().unwrap().take().unwrap();
        let caught = u64::from_str_radix(&caught, 16).unwrap();
        let (hangup, interrupt, terminate) = (1 << 0, 1 << 1, 1 << 14);
        assert_eq!(caught & (hangup | interrupt | terminate), 0);
    });
}

#[test]
fn an_lcore_that_panics_stops_all() {
    alone("an_lcore_that_panics_stops_all", || {
        let cpus = cpus();
        let ports = vec![port("a", "net_null0", &cpus[..1]), port("b", "net_null1", &cpus)];
        let dpdk = Dpdk::bring_up(config(ports)).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let open = |_: RxQueue, queue: &Queue| {
            let fails = queue.port == "a";
            Scripted {
                turn: move || if fails { panic!("for the test") } else { Ok(0) },
                finish: || true,
            }
        };
        let outcome = dpdk.run(stop.clone(), open);
        assert!(matches!(outcome, Err(DpdkError::Panicked)));
        assert!(stop.load(Ordering::Relaxed));
    });
}

#[test]
fn flows_that_cannot_leave_do_not_hold_the_process() {
    alone("flows_that_cannot_leave_do_not_hold_the_process", || {
        let cpus = cpus();
        let dpdk = Dpdk::bring_up(config(vec![port("a", "net_null0", &cpus[..1])])).unwrap();
        let stop = Arc::new(AtomicBool::new(true));
        let outcome = dpdk.run(stop, |_, _| Scripted { turn: || Ok(0), finish: || false });
        assert!(matches!(outcome, Err(DpdkError::Unfinished { queues: 1 })));
    });
}

#[test]
fn refusals_name_their_cause() {
    alone("refusals_name_their_cause", || {
        let none = Dpdk::bring_up(config(vec![])).err();
        assert!(matches!(none, Some(DpdkError::Config(ConfigError::NoPort))));
        let unknown = Dpdk::bring_up(config(vec![port("a", "net_nothing0", &cpus()[..1])])).err();
        assert_eq!(unknown.unwrap().to_string(), "DPDK: bring-up failed");
    });
}

type Seen = Arc<Mutex<Vec<SeenFrame>>>;

struct SeenFrame {
    bytes: Vec<u8>,
    length: u32,
    link: LinkType,
    nanos: u64,
}

/// Keeps a copy of each frame; finishes at the third call.
struct Copier {
    source: RxQueue,
    seen: Seen,
    finishes: u32,
    finished: Arc<Mutex<u32>>,
}

impl Turn for Copier {
    fn turn(&mut self) -> Result<usize, Closed> {
        let seen = &self.seen;
        let taken = self.source.burst(|frame| {
            seen.lock().unwrap().push(SeenFrame {
                bytes: frame.bytes.to_vec(),
                length: frame.length,
                link: frame.link,
                nanos: frame.at.nanos(),
            });
        })?;
        Ok(taken)
    }

    fn idle(&mut self, limit: Duration) {
        self.source.idle(1000, limit);
    }

    fn finish(&mut self) -> bool {
        self.finishes += 1;
        if self.finishes == 3 {
            assert_eq!(self.source.lost(), Default::default());
            *self.finished.lock().unwrap() += 1;
        }
        self.finishes >= 3
    }
}

/// Tells of the first frame, and which CPUs the thread may run on.
struct FirstFrame {
    source: RxQueue,
    /// Those it might run on when it was made: what it allocates is near them.
    opened: String,
    queue: Queue,
    seen: Arc<Mutex<Vec<(Queue, u32, String)>>>,
    told: bool,
}

impl Turn for FirstFrame {
    fn turn(&mut self) -> Result<usize, Closed> {
        let mut length = 0;
        let taken = self.source.burst(|frame| length = frame.length)?;
        if taken > 0 && !self.told {
            self.told = true;
            let allowed = status("Cpus_allowed_list:");
            assert_eq!(allowed, self.opened);
            self.seen.lock().unwrap().push((self.queue.clone(), length, allowed));
        }
        Ok(taken)
    }

    fn idle(&mut self, limit: Duration) {
        self.source.idle(1, limit);
    }

    fn finish(&mut self) -> bool {
        true
    }
}

struct Scripted<T, F> {
    turn: T,
    finish: F,
}

impl<T: FnMut() -> Result<usize, Closed>, F: FnMut() -> bool> Turn for Scripted<T, F> {
    fn turn(&mut self) -> Result<usize, Closed> {
        (self.turn)()
    }

    fn idle(&mut self, limit: Duration) {
        thread::sleep(limit);
    }

    fn finish(&mut self) -> bool {
        (self.finish)()
    }
}

/// Runs with a [`Copier`] per queue; returns how many of them finished, and what the ports counted.
fn run(dpdk: Dpdk, stop: Arc<AtomicBool>, seen: &Seen) -> Result<(u32, Vec<PortStats>), DpdkError> {
    let (seen, finished) = (seen.clone(), Arc::new(Mutex::new(0)));
    let open = {
        let finished = finished.clone();
        move |source, _: &Queue| Copier {
            source,
            seen: seen.clone(),
            finishes: 0,
            finished: finished.clone(),
        }
    };
    let stats = dpdk.run(stop, open)?;
    let finished = *finished.lock().unwrap();
    Ok((finished, stats))
}

/// A flag that a thread sets once `done`, after 20 seconds at the latest.
fn stop_when(done: impl Fn() -> bool + Send + 'static) -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    thread::spawn(move || {
        for _ in 0..4000 {
            if done() {
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        flag.store(true, Ordering::Relaxed);
    });
    stop
}

fn config(ports: Vec<PortConfig>) -> DpdkConfig {
    let main_cpu = cpus()[0];
    DpdkConfig { ports, main_cpu, mempool: 8191, cache: 128, ..Default::default() }
}

fn port(name: &str, device: &str, cpus: &[usize]) -> PortConfig {
    PortConfig {
        name: name.into(),
        device: device.into(),
        cpus: cpus.into(),
        ..PortConfig::default()
    }
}

/// CPUs this process may use, two at most.
fn cpus() -> Vec<usize> {
    let usable = |cpu: &usize| {
        let ports = vec![port("a", "net_null0", &[*cpu])];
        DpdkConfig { ports, main_cpu: *cpu, ..Default::default() }.check().is_ok()
    };
    (0..1024).filter(usable).take(2).collect()
}

/// What the kernel says of the calling thread.
fn status(key: &str) -> String {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix(key));
    value.unwrap().trim().to_owned()
}

fn udp(number: u8, payload: usize) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, number], [2, 0, 0, 0, 1, number])
        .ipv4([10, 0, 0, number], [10, 0, 1, number], 64)
        .udp(4000 + u16::from(number), 53);
    let mut frame = Vec::new();
    builder.write(&mut frame, &vec![number; payload]).unwrap();
    frame
}

/// As long as an Ethernet frame is at least.
fn filled(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame.resize(frame.len().max(60), 0);
    frame
}

/// Writes the frames to a pcap file, in the classic format.
fn write_pcap(frames: &[Vec<u8>]) -> PathBuf {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.extend(word.to_le_bytes());
    }
    for frame in frames {
        let length = frame.len() as u32;
        for word in [1_600_000_000, 0, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(frame);
    }
    let path = env::temp_dir().join(format!("sonde-dpdk-{}.pcap", process::id()));
    fs::write(&path, file).unwrap();
    path
}

/// Runs the test in a process of its own.
fn alone(name: &str, test: fn()) {
    if env::var_os("SONDE_ALONE").is_some() {
        return test();
    }
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env("SONDE_ALONE", "1")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}

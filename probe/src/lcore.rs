//! Bring-up: EAL, mempools, ports, and one pinned thread per CPU, all by capsule.
//!
//! [`Dpdk::bring_up`] must be called once, on the main thread, which it pins: start the threads of
//! the control plane before. Signals are the caller's business, capsule listens to none.

mod check;
mod clock;
mod config;
mod course;
mod memory;
mod pipeline;

use std::error::Error;
use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use capsule::Runtime;
use capsule_ffi::{RTE_VER_MINOR, RTE_VER_MONTH, RTE_VER_YEAR};

pub use self::check::ConfigError;
use self::clock::HeldClock;
pub use self::config::{DpdkConfig, PortConfig, Rss};
use self::course::Course;
pub use self::memory::Memory;
use self::pipeline::Lcore;
use crate::source::Closed;
use crate::source::dpdk::{self, Idle, PortFacts, PortStats, RxQueue, Spread};

/// What an lcore does with a queue, again and again.
pub trait Turn {
    /// Takes a burst and meters it. Returns the number of frames; never waits.
    fn turn(&mut self) -> Result<usize, Closed>;

    /// Called after a turn without frames. Returns after `limit` at the latest.
    fn idle(&mut self, limit: Duration);

    /// Ends all flows and pushes what waits; again and again until nothing is left, then true.
    fn finish(&mut self) -> bool;
}

/// DPDK, initialised, with all ports set up and not yet started.
pub struct Dpdk {
    runtime: Runtime,
    clock: HeldClock,
    config: DpdkConfig,
    memory: Memory,
    ports: Vec<PortInfo>,
}

/// A port that was brought up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInfo {
    /// What it is called in plans and reports.
    pub name: String,
    /// The device as configured, with its arguments.
    pub device: String,
    /// DPDK's number of it, for [`dpdk::port_stats`].
    pub number: u16,
    /// Its PCI address, if it has one.
    pub pci: Option<String>,
    /// The CPUs that poll it: the first polls queue 0, and so on.
    pub cpus: Vec<usize>,
    /// Those of `cpus` that are on another NUMA node than the port, and their nodes: each frame
    /// crosses over to them.
    pub far: Vec<(usize, u16)>,
    /// Whether the directions of a flow may part although [`Rss::Symmetric`] was asked for: a
    /// virtual device, whose frames somebody else spreads.
    pub may_part: bool,
    /// What DPDK says of it. The link may come up later.
    pub facts: PortFacts,
}

/// A queue, as the one who opens it needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Name of the port.
    pub port: String,
    /// DPDK's number of the port.
    pub port_number: u16,
    /// Index of the queue.
    pub queue: u16,
    /// The CPU that polls it.
    pub cpu: usize,
    /// What the CPU does while no frames come.
    pub idle: Idle,
}

/// Why DPDK did not come up, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum DpdkError {
    /// The configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// DPDK or capsule refused; EAL says more on the standard error.
    #[error("DPDK: {stage} failed")]
    Runtime {
        /// What was attempted.
        stage: &'static str,
        /// What capsule says.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A device became no port, or one with another number of queues.
    #[error("DPDK: device {0:?} is no port with the queues it was given")]
    NoPort(String),
    /// A PCI port whose queues would tear flows apart.
    #[error(
        "port {port:?}: RSS over {queues} queues is {spread}, expected symmetric: \
         give it one cpu, or say that any will do"
    )]
    Rss {
        /// The port.
        port: String,
        /// How many queues it was given.
        queues: u16,
        /// What it has instead.
        spread: Spread,
    },
    /// An lcore panicked; the others were stopped.
    #[error("an lcore panicked, all were stopped")]
    Panicked,
    /// Flows were lost at the end because nobody drained the rings.
    #[error("{queues} queues could not push their last flows in time")]
    Unfinished {
        /// How many queues.
        queues: usize,
    },
}

impl Dpdk {
    /// Initialises EAL and sets up all ports.
    pub fn bring_up(config: DpdkConfig) -> Result<Self, DpdkError> {
        config.check()?;
        let nic = config.ports.iter().any(PortConfig::is_pci);
        let memory = Memory::detect(config.mempool, config.nodes().len(), nic);
        let clock = HeldClock::default();
        let runtime = tokio_timer::clock::with_default(&clock.clock(), || {
            Runtime::build(config.runtime(memory))
        })
        .map_err(failed("bring-up"))?;
        let ports = config.ports.iter().map(PortInfo::read).collect::<Result<_, _>>()?;
        Ok(Self { runtime, clock, config, memory, ports })
    }

    /// The ports, in the order of the configuration.
    pub fn ports(&self) -> &[PortInfo] {
        &self.ports
    }

    /// The memory that is used.
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// DPDK's version.
    pub fn version(&self) -> String {
        format!("{RTE_VER_YEAR}.{RTE_VER_MONTH:02}.{RTE_VER_MINOR}")
    }

    /// Starts the ports and polls until `stop` is set or all sources have closed; then each queue
    /// finishes, for 4 seconds at most, and the ports are stopped and closed. Returns what each port
    /// counted, in the order of [`Self::ports`].
    ///
    /// `open` is called for each queue on the lcore that polls it, so that what it allocates is near
    /// that CPU. An lcore that panics stops all.
    pub fn run<T: Turn + 'static>(
        mut self,
        stop: Arc<AtomicBool>,
        open: impl Fn(RxQueue, &Queue) -> T + Send + Sync + 'static,
    ) -> Result<Vec<PortStats>, DpdkError> {
        let course = Course::new(stop);
        let open = Arc::new(open);
        for cpu in self.config.cpus() {
            let (queues, open, place) = (self.queues(cpu), open.clone(), course.place());
            self.runtime
                .add_pipeline_to_core(cpu, move |_| Lcore::new(cpu, queues, open, place))
                .map_err(failed("start of the lcores"))?;
        }
        self.clock.hold(course.clone());
        let outcome = self.runtime.execute().map_err(failed("start of the ports"));
        let stats = self.ports.iter().map(|port| dpdk::port_stats(port.number).unwrap_or_default());
        let stats = stats.collect();
        // A kernel interface behind a virtual device would stay promiscuous.
        self.ports.iter().for_each(|port| dpdk::end_promiscuous(port.number));
        {
            let _held = dpdk::hold_ports();
            drop(self.runtime);
        }
        outcome?;
        match (course.panicked(), course.unfinished()) {
            (true, _) => Err(DpdkError::Panicked),
            (false, 0) => Ok(stats),
            (false, queues) => Err(DpdkError::Unfinished { queues }),
        }
    }

    /// The queues of a CPU.
    fn queues(&self, cpu: usize) -> Vec<Queue> {
        let idle = self.config.idle(cpu);
        let queue = |port: &PortInfo| {
            let queue = port.cpus.iter().position(|&c| c == cpu)?;
            Some(Queue {
                port: port.name.clone(),
                port_number: port.number,
                queue: u16::try_from(queue).ok()?,
                cpu,
                idle,
            })
        };
        self.ports.iter().filter_map(queue).collect()
    }
}

impl PortInfo {
    fn read(config: &PortConfig) -> Result<Self, DpdkError> {
        let missing = || DpdkError::NoPort(config.device.clone());
        let device = CString::new(config.device_name()).map_err(|_| missing())?;
        let number = dpdk::port_number(&device).ok_or_else(missing)?;
        let facts = dpdk::port_facts(number).ok_or_else(missing)?;
        if usize::from(facts.queues) != config.cpus.len() {
            return Err(missing());
        }
        // capsule numbers the queues of a port by its CPUs in order.
        let mut cpus = config.cpus.clone();
        cpus.sort_unstable();
        Ok(Self {
            name: config.name.clone(),
            device: config.device.clone(),
            number,
            pci: config.is_pci().then(|| config.device_name().to_owned()),
            far: far(&cpus, facts.socket, capsule_ffi::node_of_cpu),
            may_part: may_part(config, facts.queues, facts.spread)?,
            cpus,
            facts,
        })
    }
}

/// Whether flows may part that shall not; an error where that is for sure.
fn may_part(config: &PortConfig, queues: u16, spread: Spread) -> Result<bool, DpdkError> {
    let may_part = config.rss == Rss::Symmetric && !spread.keeps_flows_whole();
    if may_part && config.is_pci() {
        return Err(DpdkError::Rss { port: config.name.clone(), queues, spread });
    }
    Ok(may_part)
}

/// The CPUs that are not on the NUMA node of the port, and where they are.
fn far(cpus: &[usize], port: Option<u16>, node_of: impl Fn(usize) -> u16) -> Vec<(usize, u16)> {
    let nodes = cpus.iter().map(|&cpu| (cpu, node_of(cpu)));
    nodes.filter(|(_, node)| port.is_some_and(|port| port != *node)).collect()
}

fn failed<E: Into<Box<dyn Error + Send + Sync>>>(
    stage: &'static str,
) -> impl FnOnce(E) -> DpdkError {
    move |e| DpdkError::Runtime { stage, source: e.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nic_that_tears_flows_apart_is_refused() {
        let config = |device: &str, rss| PortConfig {
            name: "wan".into(),
            device: device.into(),
            rss,
            ..PortConfig::default()
        };
        let nic = config("0000:01:00.0", Rss::Symmetric);
        let refused = may_part(&nic, 2, Spread::Asymmetric).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "port \"wan\": RSS over 2 queues is asymmetric, expected symmetric: \
             give it one cpu, or say that any will do",
        );
        assert!(may_part(&nic, 2, Spread::Unknown).is_err());
        assert!(!may_part(&nic, 1, Spread::Single).unwrap());
        let any = config("0000:01:00.0", Rss::Any);
        assert!(!may_part(&any, 2, Spread::Asymmetric).unwrap());
        let fed = config("net_pcap0,rx_pcap=a,rx_pcap=b", Rss::Symmetric);
        assert!(may_part(&fed, 2, Spread::Unknown).unwrap());
        assert!(!may_part(&fed, 2, Spread::Fanout).unwrap());
    }

    #[test]
    fn lcores_on_another_node_than_the_port_are_named() {
        let node_of = |cpu| if cpu < 4 { 0 } else { 1 };
        assert_eq!(far(&[2, 3, 4, 5], Some(0), node_of), [(4, 1), (5, 1)]);
        assert_eq!(far(&[4, 5], Some(1), node_of), []);
        assert_eq!(far(&[2, 5], None, node_of), [], "the port is on no node");
    }
}

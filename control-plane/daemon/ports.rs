//! The DPDK ports between the planes: the probe's facts become nodes, its lcores run the workers.

#[cfg(feature = "dpdk")]
pub(crate) use dpdk::{Exits, Polled, Ports};
#[cfg(not(feature = "dpdk"))]
pub(crate) use without::{Exits, Ports};

#[cfg(feature = "dpdk")]
mod dpdk {
    use std::collections::BTreeMap;
    use std::io;
    use std::sync::Arc;
    use std::time::Duration;

    use anyhow::Context;
    use serde_json::json;
    use sonde_control_plane::discovery::{self, COUNTERS_EVERY, PortNode, PortStats};
    use sonde_control_plane::graph::SharedGraph;
    use sonde_control_plane::ingest::Lcores;
    use sonde_control_plane::injection::Wire;
    use sonde_probe::lcore::{Dpdk, DpdkConfig, PortConfig, PortInfo, Queue, Rss, Turn};
    use sonde_probe::source::dpdk::{
        Idle, PortSender, RxQueue, Spread, hashes_symmetrically, port_stats, port_xstats,
    };
    use sonde_probe::source::{Closed, wall_clock};
    use sonde_probe::worker::{FlowConfig, Worker};
    use sonde_proto::graph::Metadata;
    use sonde_proto::plan::Point;
    use sonde_proto::record::EndReason;
    use sonde_proto::report::LcoreInfo;
    use sonde_proto::ring::{Announcer, RingSize};
    use tokio::runtime::Runtime;
    use tokio::task::spawn_blocking;
    use tokio::time::Instant;

    use crate::config::{Config, IdleChoice, RssChoice};
    use crate::signals::Stop;

    /// The ports that were brought up, if there are any.
    pub(crate) struct Ports {
        dpdk: Option<Dpdk>,
        announcer: Announcer,
        flow: FlowConfig,
        /// Whether nodes show all that drivers count.
        xstats: bool,
    }

    /// The ways out of the ports: their numbers by name.
    pub(crate) struct Exits(BTreeMap<String, u16>);

    impl Exits {
        /// Sends on the port of that name.
        pub(crate) fn open(&self, name: &str) -> io::Result<Wire> {
            let number = self.0.get(name).ok_or(io::ErrorKind::NotFound)?;
            let mut sender = PortSender::open(*number)?;
            Ok(Box::new(move |frame| sender.send(frame)))
        }
    }

    impl Ports {
        /// Initialises DPDK when the configuration has ports.
        pub(crate) fn bring_up(
            config: &Config,
            announcer: Announcer,
            flow: FlowConfig,
        ) -> anyhow::Result<Self> {
            let dpdk = match config.dpdk.port.as_slice() {
                [] => None,
                _ => Some(Dpdk::bring_up(dpdk_config(config)).context("cannot start DPDK")?),
            };
            if let Some(dpdk) = &dpdk {
                tracing::info!(memory = %dpdk.memory(), ports = dpdk.ports().len(), "DPDK is up");
                dpdk.ports().iter().for_each(warn);
            }
            Ok(Self { dpdk, announcer, flow, xstats: config.dpdk.xstats })
        }

        /// The ports as the topology wants them.
        pub(crate) fn nodes(&self) -> Vec<PortNode> {
            self.infos().iter().map(node).collect()
        }

        /// Where frames of ours leave.
        pub(crate) fn exits(&self) -> Exits {
            Exits(self.infos().iter().map(|port| (port.name.clone(), port.number)).collect())
        }

        /// Keeps the books of the ports, and counters and link state of their nodes, current.
        pub(crate) fn follow(&self, runtime: &Runtime, graph: SharedGraph, lcores: Lcores) {
            let (ports, xstats): (Arc<[PortInfo]>, _) = (self.infos().into(), self.xstats);
            if ports.is_empty() {
                return;
            }
            runtime.spawn(async move {
                // The links come up when the ports start, shortly after now.
                let mut tick = tokio::time::interval_at(Instant::now() + LOST_EVERY, LOST_EVERY);
                let mut looked = wall_clock();
                for n in 0.. {
                    tick.tick().await;
                    let read = ports.clone();
                    let show = n % (COUNTERS_EVERY.as_secs() / LOST_EVERY.as_secs()) == 0;
                    // A driver may wait for its hardware.
                    let stats = spawn_blocking(move || {
                        if n == 0 {
                            read.iter().for_each(check_key);
                        }
                        let extended = |port: &PortInfo| match show && xstats {
                            true => port_xstats(port.number),
                            false => Vec::new(),
                        };
                        let look = |port: &PortInfo| (port_stats(port.number), extended(port));
                        read.iter().map(look).collect::<Vec<_>>()
                    });
                    let Ok(stats) = stats.await else { return };
                    let now = wall_clock();
                    for (PortInfo { name, .. }, (stats, extended)) in ports.iter().zip(stats) {
                        let Some(stats) = stats else { continue };
                        lcores.lost(Point::Port(name.clone()), stats.lost);
                        if show {
                            let counters = PortStats { extended, ..counters(&stats) };
                            discovery::port::update(&graph, name, &counters, looked, now);
                        }
                    }
                    if show {
                        looked = now;
                    }
                }
            });
        }

        /// What the host's node shows of DPDK; nothing when it is not up.
        pub(crate) fn facts(&self) -> Metadata {
            let mut facts = Metadata::new();
            if let Some(dpdk) = &self.dpdk {
                let shown = json!({"Version": dpdk.version(), "Memory": dpdk.memory().to_string()});
                facts.insert("DPDK".into(), shown);
            }
            facts
        }

        /// Polls the ports until `stop`, or until all of them have nothing more to give.
        pub(crate) fn run(self, stop: &Stop, lcores: &Lcores) -> anyhow::Result<()> {
            let names: Vec<_> = self.infos().iter().map(|port| port.name.clone()).collect();
            let Self { dpdk: Some(dpdk), announcer, flow, .. } = self else { return Ok(()) };
            let open = move |queue: RxQueue, which: &Queue| {
                let point = Point::Port(which.port.clone());
                let ring = announcer.open(
                    LcoreInfo {
                        point: point.clone(),
                        queue: which.queue,
                        cpu: u16::try_from(which.cpu).ok(),
                        source: "dpdk",
                    },
                    RingSize::default(),
                );
                let mut worker = Worker::new(queue, point, ring, &flow);
                if !worker.populate() {
                    tracing::warn!(
                        port = which.port,
                        queue = which.queue,
                        "the memory for flows comes page by page, as packets come"
                    );
                }
                Polled::new(worker)
            };
            let stats = dpdk.run(stop.flag(), open).context("DPDK ended badly")?;
            for (name, stats) in names.into_iter().zip(stats) {
                lcores.lost(Point::Port(name), stats.lost);
            }
            Ok(())
        }

        fn infos(&self) -> &[PortInfo] {
            self.dpdk.as_ref().map_or(&[], Dpdk::ports)
        }
    }

    /// A worker on its lcore.
    pub(crate) struct Polled {
        worker: Worker<RxQueue>,
        ending: bool,
    }

    impl Polled {
        /// To be polled until it ends.
        pub(crate) fn new(worker: Worker<RxQueue>) -> Self {
            Self { worker, ending: false }
        }
    }

    impl Turn for Polled {
        fn turn(&mut self) -> Result<usize, Closed> {
            self.worker.turn()
        }

        fn idle(&mut self, limit: Duration) {
            self.worker.idle(limit);
        }

        fn finish(&mut self) -> bool {
            if !std::mem::replace(&mut self.ending, true) {
                self.worker.end(EndReason::Drained);
            }
            self.worker.drain()
        }
    }

    fn dpdk_config(config: &Config) -> DpdkConfig {
        let ports = config.dpdk.port.iter().map(|port| PortConfig {
            name: port.name.clone(),
            device: port.device.clone(),
            cpus: port.cpus.clone(),
            rx_descriptors: port.rx_descriptors,
            promiscuous: port.promiscuous,
            rss: match port.rss {
                RssChoice::Symmetric => Rss::Symmetric,
                RssChoice::Any => Rss::Any,
            },
            idle: port.idle.map(|idle| match idle {
                IdleChoice::Spin => Idle::Spin,
                IdleChoice::Adaptive => Idle::Adaptive,
            }),
        });
        DpdkConfig {
            ports: ports.collect(),
            main_cpu: config.dpdk.main_cpu,
            mempool: config.dpdk.mempool,
            ..DpdkConfig::default()
        }
    }

    /// Says what will work less well than it could.
    fn warn(port: &PortInfo) {
        let PortInfo { name, facts, .. } = port;
        for (cpu, node) in &port.far {
            let socket = facts.socket.unwrap_or_default();
            tracing::warn!(
                "port {name} is on NUMA node {socket}, but cpu {cpu}, which polls it, on node {node}"
            );
        }
        if port.may_part {
            let driver = &facts.driver;
            tracing::warn!(
                "port {name}: {driver} does not spread frames over its {} queues by a symmetric hash; \
                 a flow whose directions come in by different ones will be two. Where what feeds \
                 them keeps flows together, say rss = \"any\"",
                facts.queues,
            );
        }
    }

    /// Says so when a started port does not hash with the key it was given.
    fn check_key(port: &PortInfo) {
        let asked = matches!(port.facts.spread, Spread::Symmetric(_));
        if asked && hashes_symmetrically(port.number) == Some(false) {
            tracing::warn!(
                "port {} hashes with a key of its own: the directions of a flow may part, and each \
                 be one",
                port.name,
            );
        }
    }

    fn node(port: &PortInfo) -> PortNode {
        let facts = &port.facts;
        PortNode {
            name: port.name.clone(),
            id: port.number,
            device: port.device.clone(),
            driver: facts.driver.clone(),
            pci: port.pci.clone(),
            mac: Some(facts.mac),
            mtu: u32::from(facts.mtu),
            speed_mbit: known(facts.speed),
            link_up: facts.link_up,
            socket: facts.socket.map(u32::from),
            queues: facts.queues,
            cpus: port.cpus.iter().filter_map(|&cpu| u32::try_from(cpu).ok()).collect(),
            rss: facts.spread.to_string(),
            rss_headers: facts.spread.headers(),
            promiscuous: facts.promiscuous,
        }
    }

    fn counters(stats: &sonde_probe::source::dpdk::PortStats) -> PortStats {
        PortStats {
            rx_packets: stats.packets,
            rx_bytes: stats.bytes,
            rx_missed: stats.lost.missed,
            rx_errors: stats.lost.errors,
            rx_no_mbuf: stats.lost.no_mbuf,
            link_up: stats.link_up,
            speed_mbit: known(stats.speed),
            ..PortStats::default()
        }
    }

    /// Between two looks at what the ports lost: as often as the lcores report.
    const LOST_EVERY: Duration = Duration::from_secs(1);

    /// A speed in Mbit/s; DPDK says 0 or the largest number when it does not know.
    fn known(speed: u32) -> Option<u32> {
        (speed != 0 && speed != u32::MAX).then_some(speed)
    }
}

#[cfg(not(feature = "dpdk"))]
mod without {
    use std::io;

    use anyhow::ensure;
    use sonde_control_plane::discovery::PortNode;
    use sonde_control_plane::graph::SharedGraph;
    use sonde_control_plane::ingest::Lcores;
    use sonde_control_plane::injection::Wire;
    use sonde_probe::worker::FlowConfig;
    use sonde_proto::graph::Metadata;
    use sonde_proto::ring::Announcer;
    use tokio::runtime::Runtime;

    use crate::config::Config;
    use crate::signals::Stop;

    /// No ports: this build is without DPDK.
    pub(crate) struct Ports;

    /// No ways out.
    pub(crate) struct Exits;

    impl Exits {
        /// There is no port of any name.
        pub(crate) fn open(&self, _: &str) -> io::Result<Wire> {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    impl Ports {
        /// Refuses ports.
        pub(crate) fn bring_up(
            config: &Config,
            _: Announcer,
            _: FlowConfig,
        ) -> anyhow::Result<Self> {
            ensure!(
                config.dpdk.port.is_empty(),
                "dpdk.port: expected none, this sonde was built without the feature dpdk"
            );
            Ok(Self)
        }

        /// None.
        pub(crate) fn nodes(&self) -> Vec<PortNode> {
            Vec::new()
        }

        /// Nothing.
        pub(crate) fn facts(&self) -> Metadata {
            Metadata::new()
        }

        /// None.
        pub(crate) fn exits(&self) -> Exits {
            Exits
        }

        /// Does nothing.
        pub(crate) fn follow(&self, _: &Runtime, _: SharedGraph, _: Lcores) {}

        /// Returns at once.
        pub(crate) fn run(self, _: &Stop, _: &Lcores) -> anyhow::Result<()> {
            Ok(())
        }
    }
}

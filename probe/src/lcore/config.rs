//! What shall be brought up: ports, queues, cores, memory.

use std::collections::BTreeSet;

use capsule::config::{MempoolConfig, PortConfig as CapsulePort, RuntimeConfig};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error as CoreError;

use super::memory::Memory;
use crate::source::dpdk::Idle;

/// All that DPDK does in this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DpdkConfig {
    /// The ports to poll, one at least.
    pub ports: Vec<PortConfig>,
    /// The CPU the main thread is pinned to. It waits there, so that a port's CPU will do.
    pub main_cpu: usize,
    /// Mbufs (2.5 KB each, 4 KB for a NIC on plain pages) per NUMA node that has a CPU or a port of ours.
    pub mempool: usize,
    /// Mbufs that each lcore keeps to itself, 512 at most.
    pub cache: usize,
    /// More arguments for EAL, each a word.
    pub eal: Vec<String>,
}

/// A port to poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// What the port is called in plans and reports.
    pub name: String,
    /// PCI address (`0000:01:00.0`), or virtual device with its arguments
    /// (`net_af_packet0,iface=eth0`).
    pub device: String,
    /// The CPUs that poll it, one queue each. A CPU may poll several ports.
    pub cpus: Vec<usize>,
    /// Frames a queue holds before the port drops some.
    pub rx_descriptors: u16,
    /// Whether to take frames that are not addressed to the port.
    pub promiscuous: bool,
    /// What to ask of its RSS when it has several queues.
    pub rss: Rss,
    /// What to do while no frames come; by default a PCI port spins and a virtual one naps.
    pub idle: Option<Idle>,
}

/// What is asked of how a port spreads frames over its queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rss {
    /// Both directions of a flow meet in one queue: a PCI port that cannot do so is refused.
    #[default]
    Symmetric,
    /// Nothing: the directions may part, or something else keeps them together.
    Any,
}

impl Default for DpdkConfig {
    fn default() -> Self {
        Self { ports: Vec::new(), main_cpu: 0, mempool: 65_535, cache: 256, eal: Vec::new() }
    }
}

impl DpdkConfig {
    /// Every CPU that polls, in order.
    pub fn cpus(&self) -> BTreeSet<usize> {
        self.ports.iter().flat_map(|port| &port.cpus).copied().collect()
    }

    /// NUMA nodes that get a mempool: those with a CPU of ours.
    pub(super) fn nodes(&self) -> BTreeSet<u16> {
        let mut cpus = self.cpus();
        cpus.insert(self.main_cpu);
        cpus.into_iter().map(capsule_ffi::node_of_cpu).collect()
    }

    /// How a CPU idles: one queue that must not wait keeps the others awake.
    pub(super) fn idle(&self, cpu: usize) -> Idle {
        let mut ports = self.ports.iter().filter(|port| port.cpus.contains(&cpu));
        if ports.any(|port| port.idle() == Idle::Spin) { Idle::Spin } else { Idle::Adaptive }
    }

    /// The arguments for EAL that capsule does not make from the ports.
    pub fn eal_arguments(&self, memory: Memory) -> Vec<String> {
        // No telemetry socket: the daemon has an API of its own.
        let mut arguments = vec!["--no-telemetry".to_owned()];
        arguments.push("--log-level=*:warning".to_owned());
        if !self.ports.iter().any(PortConfig::is_pci) {
            arguments.push("--no-pci".to_owned());
        }
        arguments.extend(memory.eal_arguments());
        arguments.extend(self.eal.iter().cloned());
        arguments
    }

    /// The same in capsule's words.
    pub(super) fn runtime(&self, memory: Memory) -> RuntimeConfig {
        RuntimeConfig {
            app_name: "sonde".to_owned(),
            secondary: false,
            app_group: None,
            master_core: core(self.main_cpu),
            cores: Vec::new(),
            mempool: MempoolConfig { capacity: self.mempool, cache_size: self.cache },
            ports: self.ports.iter().map(PortConfig::capsule).collect(),
            dpdk_args: Some(self.eal_arguments(memory).join(" ")),
            duration: Some(super::clock::DURATION),
        }
    }
}

impl Default for PortConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            device: String::new(),
            cpus: Vec::new(),
            rx_descriptors: 1024,
            promiscuous: true,
            rss: Rss::default(),
            idle: None,
        }
    }
}

impl PortConfig {
    /// Whether the device is named by a PCI address, with or without arguments.
    pub fn is_pci(&self) -> bool {
        capsule_ffi::is_pci(self.device.as_bytes())
    }

    /// The device without its arguments: the name DPDK knows it by.
    pub fn device_name(&self) -> &str {
        self.device.split(',').next().unwrap_or_default()
    }

    fn idle(&self) -> Idle {
        self.idle.unwrap_or(if self.is_pci() { Idle::Spin } else { Idle::Adaptive })
    }

    fn capsule(&self) -> CapsulePort {
        let (device, arguments) = match self.device.split_once(',') {
            Some((device, arguments)) => (device, Some(arguments.to_owned())),
            None => (self.device.as_str(), None),
        };
        CapsulePort {
            name: self.name.clone(),
            device: device.to_owned(),
            args: arguments,
            cores: self.cpus.iter().map(|&cpu| core(cpu)).collect(),
            rxd: usize::from(self.rx_descriptors),
            txd: TX_DESCRIPTORS,
            promiscuous: self.promiscuous,
            multicast: true,
            kni: false,
        }
    }
}

/// capsule's id of a CPU, a type it lets nobody name: reading it from a number is the only way.
fn core<T: for<'de> Deserialize<'de>>(cpu: usize) -> T {
    let number: serde::de::value::UsizeDeserializer<CoreError> = cpu.into_deserializer();
    T::deserialize(number).expect("capsule reads a core from a number")
}

/// Of the queues to send from that capsule sets up; little is sent, so the least that drivers take.
const TX_DESCRIPTORS: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, device: &str) -> PortConfig {
        PortConfig { name: name.into(), device: device.into(), cpus: vec![0], ..Default::default() }
    }

    fn config(ports: Vec<PortConfig>) -> DpdkConfig {
        DpdkConfig { ports, ..Default::default() }
    }

    #[test]
    fn a_pci_port_keeps_the_whole_cpu_awake() {
        let virtual_only = config(vec![port("a", "net_null0")]);
        assert_eq!(virtual_only.idle(0), Idle::Adaptive);
        let shared = config(vec![port("a", "net_null0"), port("b", "0000:01:00.0")]);
        assert_eq!(shared.idle(0), Idle::Spin);
    }

    #[test]
    fn devices_are_split_at_the_first_comma() {
        let capsule = port("a", "net_pcap0,rx_pcap=a.pcap,infinite_rx=1").capsule();
        assert_eq!(capsule.device, "net_pcap0");
        assert_eq!(capsule.args.as_deref(), Some("rx_pcap=a.pcap,infinite_rx=1"));
    }
}

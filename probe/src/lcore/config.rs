//! What shall be brought up: ports, queues, cores, memory.

use std::collections::BTreeSet;
use std::fs;

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
    /// Mbufs (2.3 KB each) per NUMA node that has a CPU or a port of ours.
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
    /// What to do while no frames come; by default a PCI port spins and a virtual one naps.
    pub idle: Option<Idle>,
}

/// What is wrong with a [`DpdkConfig`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Nothing to poll.
    #[error("no DPDK port, expected one at least")]
    NoPort,
    /// A port without a usable name or device.
    #[error("port {port:?}: empty {what}")]
    Empty {
        /// The port.
        port: String,
        /// What is empty.
        what: &'static str,
    },
    /// Two ports share what each must have for itself.
    #[error("port {port:?}: {what} {value:?} is another port's")]
    Twice {
        /// The second port.
        port: String,
        /// `name` or `device`.
        what: &'static str,
        /// The value both have.
        value: String,
    },
    /// A CPU polls two queues of one port.
    #[error("port {port:?}: cpu {cpu} named twice, expected one queue per cpu")]
    CpuTwice {
        /// The port.
        port: String,
        /// The CPU.
        cpu: usize,
    },
    /// A CPU that does not exist, or that this process must not use.
    #[error("{whose}: cpu {cpu} is not usable, expected one of {usable}")]
    NoCpu {
        /// The port, or the main thread.
        whose: String,
        /// The CPU.
        cpu: usize,
        /// The CPUs this process may use, as the kernel lists them.
        usable: String,
    },
    /// More descriptors than mbufs.
    #[error("mempool of {mempool} mbufs, expected {needed} at least for all queues")]
    SmallMempool {
        /// What is configured.
        mempool: usize,
        /// What the queues take.
        needed: usize,
    },
    /// DPDK keeps 512 mbufs per lcore at most, and two thirds of the mempool.
    #[error("mempool cache of {cache} mbufs, expected {limit} at most")]
    BigCache {
        /// What is configured.
        cache: usize,
        /// What is possible.
        limit: usize,
    },
}

impl Default for DpdkConfig {
    fn default() -> Self {
        Self {
            ports: Vec::new(),
            main_cpu: 0,
            mempool: 65_535,
            cache: 256,
            eal: Vec::new(),
        }
    }
}

impl DpdkConfig {
    /// Says what is wrong, before DPDK is touched.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.ports.is_empty() {
            return Err(ConfigError::NoPort);
        }
        let usable = usable_cpus();
        check_cpu("main thread", self.main_cpu, usable.as_deref())?;
        let (mut names, mut devices) = (BTreeSet::new(), BTreeSet::new());
        for port in &self.ports {
            port.check(usable.as_deref())?;
            let twice = |what, value: &str| ConfigError::Twice {
                port: port.name.clone(),
                what,
                value: value.to_owned(),
            };
            if !names.insert(&port.name) {
                return Err(twice("name", &port.name));
            }
            if !devices.insert(port.device_name()) {
                return Err(twice("device", port.device_name()));
            }
        }

        let needed = self.ports.iter().map(PortConfig::mbufs).sum();
        if self.mempool < needed {
            return Err(ConfigError::SmallMempool {
                mempool: self.mempool,
                needed,
            });
        }
        let limit = (self.mempool / 3 * 2).min(512);
        if self.cache > limit {
            return Err(ConfigError::BigCache {
                cache: self.cache,
                limit,
            });
        }
        Ok(())
    }

    /// Every CPU that polls, in order.
    pub fn cpus(&self) -> BTreeSet<usize> {
        self.ports
            .iter()
            .flat_map(|port| &port.cpus)
            .copied()
            .collect()
    }

    /// How many NUMA nodes get a mempool.
    pub(super) fn nodes(&self) -> usize {
        let mut cpus = self.cpus();
        cpus.insert(self.main_cpu);
        cpus.into_iter()
            .map(capsule_ffi::node_of_cpu)
            .collect::<BTreeSet<_>>()
            .len()
    }

    /// How a CPU idles: one queue that must not wait keeps the others awake.
    pub(super) fn idle(&self, cpu: usize) -> Idle {
        let mut ports = self.ports.iter().filter(|port| port.cpus.contains(&cpu));
        if ports.any(|port| port.idle() == Idle::Spin) {
            Idle::Spin
        } else {
            Idle::Adaptive
        }
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
            mempool: MempoolConfig {
                capacity: self.mempool,
                cache_size: self.cache,
            },
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
            idle: None,
        }
    }
}

impl PortConfig {
    /// Whether the device is named by a PCI address, with or without arguments.
    pub fn is_pci(&self) -> bool {
        let name = self.device_name().as_bytes();
        name.len() == "0000:00:00.0".len()
            && name.iter().enumerate().all(|(at, byte)| match at {
                4 | 7 => *byte == b':',
                10 => *byte == b'.',
                _ => byte.is_ascii_hexdigit(),
            })
    }

    /// The device without its arguments: the name DPDK knows it by.
    pub fn device_name(&self) -> &str {
        self.device.split(',').next().unwrap_or_default()
    }

    fn idle(&self) -> Idle {
        self.idle.unwrap_or(if self.is_pci() {
            Idle::Spin
        } else {
            Idle::Adaptive
        })
    }

    /// Mbufs that wait in its queues at most.
    fn mbufs(&self) -> usize {
        usize::from(self.rx_descriptors) * self.cpus.len()
    }

    fn check(&self, usable: Option<&str>) -> Result<(), ConfigError> {
        for (what, empty) in [
            ("name", self.name.is_empty()),
            ("device", self.device_name().is_empty()),
            ("list of cpus", self.cpus.is_empty()),
        ] {
            if empty {
                return Err(ConfigError::Empty {
                    port: self.name.clone(),
                    what,
                });
            }
        }
        let mut seen = BTreeSet::new();
        for &cpu in &self.cpus {
            check_cpu(&format!("port {:?}", self.name), cpu, usable)?;
            if !seen.insert(cpu) {
                return Err(ConfigError::CpuTwice {
                    port: self.name.clone(),
                    cpu,
                });
            }
        }
        Ok(())
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

fn check_cpu(whose: &str, cpu: usize, usable: Option<&str>) -> Result<(), ConfigError> {
    match usable {
        Some(list) if !lists(list, cpu) => Err(ConfigError::NoCpu {
            whose: whose.to_owned(),
            cpu,
            usable: list.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// The CPUs this process may use, as in `0-3,8`; `None` where the kernel does not say.
fn usable_cpus() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    Some(list.trim().to_owned())
}

/// Whether a list such as `0-3,8` has a number.
fn lists(list: &str, number: usize) -> bool {
    list.split(',').any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        match (first.parse::<usize>(), last.parse()) {
            (Ok(first), Ok(last)) => (first..=last).contains(&number),
            _ => false,
        }
    })
}

/// Nothing is sent, but capsule sets up a queue to send from; the least that drivers take.
const TX_DESCRIPTORS: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, device: &str) -> PortConfig {
        PortConfig {
            name: name.into(),
            device: device.into(),
            cpus: vec![0],
            ..Default::default()
        }
    }

    fn config(ports: Vec<PortConfig>) -> DpdkConfig {
        DpdkConfig {
            ports,
            ..Default::default()
        }
    }

    #[test]
    fn a_good_configuration_passes() {
        let ports = vec![port("a", "net_null0,size=60"), port("b", "0000:3b:00.0")];
        assert_eq!(config(ports).check(), Ok(()));
    }

    #[test]
    fn each_mistake_is_named() {
        assert_eq!(config(vec![]).check(), Err(ConfigError::NoPort));
        let nameless = config(vec![port("", "net_null0")]).check();
        assert_eq!(nameless.unwrap_err().to_string(), "port \"\": empty name");
        let twice = config(vec![port("a", "net_null0"), port("b", "net_null0,size=60")]).check();
        assert_eq!(
            twice.unwrap_err().to_string(),
            "port \"b\": device \"net_null0\" is another port's",
        );
        let both = config(vec![PortConfig {
            cpus: vec![0, 0],
            ..port("a", "net_null0")
        }])
        .check();
        assert_eq!(
            both,
            Err(ConfigError::CpuTwice {
                port: "a".into(),
                cpu: 0
            })
        );
        let far = config(vec![PortConfig {
            cpus: vec![99_999],
            ..port("a", "net_null0")
        }])
        .check();
        assert!(
            far.unwrap_err()
                .to_string()
                .starts_with("port \"a\": cpu 99999 is not usable")
        );
        let small = DpdkConfig {
            mempool: 1000,
            ..config(vec![port("a", "net_null0")])
        }
        .check();
        assert_eq!(
            small,
            Err(ConfigError::SmallMempool {
                mempool: 1000,
                needed: 1024
            })
        );
        let cache = DpdkConfig {
            cache: 513,
            ..config(vec![port("a", "net_null0")])
        }
        .check();
        assert_eq!(
            cache,
            Err(ConfigError::BigCache {
                cache: 513,
                limit: 512
            })
        );
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
        assert_eq!(
            capsule.args.as_deref(),
            Some("rx_pcap=a.pcap,infinite_rx=1")
        );
    }

    #[test]
    fn lists_of_cpus_are_read() {
        assert!(lists("0-3,8", 2));
        assert!(lists("0-3,8", 8));
        assert!(!lists("0-3,8", 4));
        assert!(!lists("", 0));
    }
}

//! Mistakes in a configuration, told before DPDK is touched.

use std::collections::BTreeSet;
use std::fs;

use super::config::{DpdkConfig, PortConfig};

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
    /// DPDK reads strings that end in NUL.
    #[error("{whose}: NUL in the {what}")]
    Nul {
        /// The port, or `eal`.
        whose: String,
        /// What has it.
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
    /// The port is attached to a NUMA node that gets no mempool.
    #[error("port {port:?}: on NUMA node {node}, expected a cpu of it for the port or as main cpu")]
    FarPort {
        /// The port.
        port: String,
        /// The node it is attached to.
        node: u16,
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

impl DpdkConfig {
    /// Says what is wrong, before DPDK is touched.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.ports.is_empty() {
            return Err(ConfigError::NoPort);
        }
        if self.eal.iter().any(|argument| argument.contains('\0')) {
            return Err(ConfigError::Nul { whose: "eal".to_owned(), what: "arguments" });
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

        let nodes = self.nodes();
        let far = self.ports.iter().find_map(|port| {
            let node = port.node().filter(|node| !nodes.contains(node))?;
            Some(ConfigError::FarPort { port: port.name.clone(), node })
        });
        if let Some(far) = far {
            return Err(far);
        }

        let needed = self.ports.iter().map(PortConfig::mbufs).sum();
        if self.mempool < needed {
            return Err(ConfigError::SmallMempool { mempool: self.mempool, needed });
        }
        let limit = (self.mempool / 3 * 2).min(512);
        if self.cache > limit {
            return Err(ConfigError::BigCache { cache: self.cache, limit });
        }
        Ok(())
    }
}

impl PortConfig {
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
                return Err(ConfigError::Empty { port: self.name.clone(), what });
            }
        }
        for (what, text) in [("name", &self.name), ("device", &self.device)] {
            if text.contains('\0') {
                let whose = format!("port {:?}", self.name);
                return Err(ConfigError::Nul { whose, what });
            }
        }
        let mut seen = BTreeSet::new();
        for &cpu in &self.cpus {
            check_cpu(&format!("port {:?}", self.name), cpu, usable)?;
            if !seen.insert(cpu) {
                return Err(ConfigError::CpuTwice { port: self.name.clone(), cpu });
            }
        }
        Ok(())
    }

    /// The NUMA node a PCI device is attached to, if there is one.
    fn node(&self) -> Option<u16> {
        let path = format!("/sys/bus/pci/devices/{}/numa_node", self.device_name());
        let node = fs::read_to_string(path).ok()?;
        node.trim().parse().ok()
    }
}

fn check_cpu(whose: &str, cpu: usize, usable: Option<&str>) -> Result<(), ConfigError> {
    match usable {
        Some(list) if !lists(list, cpu) => {
            Err(ConfigError::NoCpu { whose: whose.to_owned(), cpu, usable: list.to_owned() })
        }
        _ => Ok(()),
    }
}

/// The CPUs this process may use, as in `0-3,8`; `None` where the kernel does not say.
fn usable_cpus() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A CPU the test may use, whichever that is.
    fn cpu() -> usize {
        let usable = usable_cpus().unwrap();
        (0..).find(|&cpu| lists(&usable, cpu)).unwrap()
    }

    fn port(name: &str, device: &str) -> PortConfig {
        let (name, device) = (name.into(), device.into());
        PortConfig { name, device, cpus: vec![cpu()], ..Default::default() }
    }

    fn config(ports: Vec<PortConfig>) -> DpdkConfig {
        DpdkConfig { ports, main_cpu: cpu(), ..Default::default() }
    }

    #[test]
    fn a_good_configuration_passes() {
        let ports = vec![port("a", "net_null0,size=60"), port("b", "ffff:ff:1f.7")];
        assert_eq!(config(ports).check(), Ok(()));
    }

    #[test]
    fn each_mistake_is_named() {
        assert_eq!(config(vec![]).check(), Err(ConfigError::NoPort));
        let nameless = config(vec![port("", "net_null0")]).check();
        assert_eq!(nameless.unwrap_err().to_string(), "port \"\": empty name");
        let nul = config(vec![port("a", "net_null0,size=6\0")]).check();
        assert_eq!(nul.unwrap_err().to_string(), "port \"a\": NUL in the device");
        let eal = DpdkConfig { eal: vec!["\0".into()], ..config(vec![port("a", "b")]) }.check();
        assert_eq!(eal.unwrap_err().to_string(), "eal: NUL in the arguments");
        let twice = config(vec![port("a", "net_null0"), port("b", "net_null0,size=60")]).check();
        assert_eq!(
            twice.unwrap_err().to_string(),
            "port \"b\": device \"net_null0\" is another port's",
        );
        let both =
            config(vec![PortConfig { cpus: vec![cpu(), cpu()], ..port("a", "net_null0") }]).check();
        assert_eq!(both, Err(ConfigError::CpuTwice { port: "a".into(), cpu: cpu() }));
        let far = config(vec![PortConfig { cpus: vec![99_999], ..port("a", "net_null0") }]).check();
        assert!(far.unwrap_err().to_string().starts_with("port \"a\": cpu 99999 is not usable"));
        let small = DpdkConfig { mempool: 1000, ..config(vec![port("a", "net_null0")]) }.check();
        assert_eq!(small, Err(ConfigError::SmallMempool { mempool: 1000, needed: 1024 }));
        let cache = DpdkConfig { cache: 513, ..config(vec![port("a", "net_null0")]) }.check();
        assert_eq!(cache, Err(ConfigError::BigCache { cache: 513, limit: 512 }));
    }

    #[test]
    fn lists_of_cpus_are_read() {
        assert!(lists("0-3,8", 2));
        assert!(lists("0-3,8", 8));
        assert!(!lists("0-3,8", 4));
        assert!(!lists("", 0));
    }
}

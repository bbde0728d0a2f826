//! Ports as DPDK describes them, and what they count.

use sonde_proto::record::Mac;
use sonde_proto::report::Lost;

use super::{Port, Spread};

/// A port as DPDK describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortFacts {
    /// Name of its driver, such as `net_ixgbe`.
    pub driver: String,
    /// Its Ethernet address.
    pub mac: Mac,
    /// Largest packet in bytes.
    pub mtu: u16,
    /// The NUMA node it is attached to, if it says so.
    pub socket: Option<u16>,
    /// Receive queues that are set up.
    pub queues: u16,
    /// How frames get into its queues.
    pub spread: Spread,
    /// Whether it takes frames that are not addressed to it.
    pub promiscuous: bool,
    /// Speed in Mbit/s, 0 when unknown.
    pub speed: u32,
    /// Whether the link is up.
    pub link_up: bool,
}

/// What a port has counted since it was started, and its link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Frames handed to the queues.
    pub packets: u64,
    /// Bytes of those frames.
    pub bytes: u64,
    /// Frames that never reached a queue.
    pub lost: Lost,
    /// Speed in Mbit/s, 0 when unknown.
    pub speed: u32,
    /// Whether the link is up.
    pub link_up: bool,
}

/// Counters and link of a port, from any thread but a polling lcore: it may wait for another reader
/// or for the hardware. `None` when there is no such port (any more).
pub fn port_stats(port: u16) -> Option<PortStats> {
    let port = Port::hold(port)?;
    let stats = port.stats()?;
    let (speed, link_up) = port.link();
    Some(PortStats {
        packets: stats.ipackets,
        bytes: stats.ibytes,
        lost: Lost { missed: stats.imissed, no_mbuf: stats.rx_nombuf, errors: stats.ierrors },
        speed,
        link_up,
    })
}

/// Every counter that the driver has, by its name (DPDK's `rte_eth_xstats_get`): see [`port_stats`]
/// for when. Empty when there is no such port (any more).
pub fn port_xstats(port: u16) -> Vec<(String, u64)> {
    let (names, values) = Port::hold(port).map(|port| port.xstats()).unwrap_or_default();
    let named = values.iter().filter_map(|value| {
        let name = names.get(usize::try_from(value.id).ok()?)?;
        let bytes = name.name.iter().take_while(|&&byte| byte != 0).map(|&byte| byte as u8);
        Some((String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned(), value.value))
    });
    named.collect()
}

/// Whether the key a port says it hashes with is symmetric. To be asked once it is started: some
/// drivers read the hardware. `None` when it does not say.
pub fn hashes_symmetrically(port: u16) -> Option<bool> {
    Port::hold(port)?.has_symmetric_key()
}

/// Gives the symmetric key once more to a started port that says it has another: a few drivers, such
/// as `net_bonding`, take none with their configuration.
pub(crate) fn insist_on_symmetry(port: u16) {
    if let Some(port) = Port::hold(port)
        && matches!(port.spread(), Spread::Symmetric(_))
        && port.has_symmetric_key() == Some(false)
    {
        port.set_symmetric_key();
    }
}

/// All that DPDK says of a port.
pub(crate) fn port_facts(port: u16) -> Option<PortFacts> {
    let port = Port::hold(port)?;
    let (speed, link_up) = port.link();
    Some(PortFacts {
        driver: port.driver(),
        mac: port.mac(),
        mtu: port.mtu().unwrap_or_default(),
        socket: port.socket(),
        queues: port.info.nb_rx_queues,
        spread: port.spread(),
        promiscuous: port.is_promiscuous(),
        speed,
        link_up,
    })
}

/// Leaves promiscuous mode, if the port was brought into it.
pub(crate) fn end_promiscuous(port: u16) {
    if let Some(port) = Port::hold(port)
        && port.is_promiscuous()
    {
        port.end_promiscuous();
    }
}

impl Port {
    fn spread(&self) -> Spread {
        Spread::of(&self.driver(), &self.info)
    }
}

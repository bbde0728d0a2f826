//! Ports as DPDK describes them, and what they count.

use std::ffi::CStr;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use capsule_ffi as ffi;
use sonde_proto::record::Mac;
use sonde_proto::report::Lost;

use super::spread::Spread;

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
    let _reader = readers();
    let stats = stats(port)?;
    let (speed, link_up) = link(port);
    Some(PortStats {
        packets: stats.ipackets,
        bytes: stats.ibytes,
        lost: lost(&stats),
        speed,
        link_up,
    })
}

/// Whether the key a port says it hashes with is symmetric. To be asked once it is started: some
/// drivers read the hardware. `None` when it does not say.
pub fn hashes_symmetrically(port: u16) -> Option<bool> {
    let _reader = readers();
    has_symmetric_key(port, &device(port)?)
}

/// Gives the symmetric key once more to a started port that says it has another: a few drivers, such
/// as `net_bonding`, take none with their configuration.
pub(crate) fn insist_on_symmetry(port: u16) {
    let _reader = readers();
    let Some(info) = device(port) else { return };
    let symmetric = Spread::of(&driver(&info), &info).hashes();
    if symmetric != 0 && has_symmetric_key(port, &info) == Some(false) {
        let mut rss = ffi::rte_eth_rss_conf {
            rss_key: ffi::symmetric_key(),
            rss_key_len: info.hash_key_size,
            rss_hf: symmetric,
        };
        // SAFETY: the key is longer than any port's, and is never freed. A port that refuses keeps
        // its own, and `hashes_symmetrically` says so.
        unsafe { ffi::rte_eth_dev_rss_hash_update(port, &mut rss) };
    }
}

/// Every counter that the driver has, by its name (DPDK's `rte_eth_xstats_get`): see [`port_stats`]
/// for when. Empty when there is no such port (any more).
pub fn port_xstats(port: u16) -> Vec<(String, u64)> {
    let _reader = readers();
    // SAFETY: with no room given DPDK only says how much there should be.
    let count = unsafe { ffi::rte_eth_xstats_get_names(port, ptr::null_mut(), 0) };
    let count = u32::try_from(count).unwrap_or_default().min(XSTATS);
    let mut names = vec![ffi::rte_eth_xstat_name::default(); count as usize];
    let mut values = vec![ffi::rte_eth_xstat::default(); count as usize];
    // SAFETY: there is room for `count` names.
    let named = unsafe { ffi::rte_eth_xstats_get_names(port, names.as_mut_ptr(), count) };
    // SAFETY: there is room for `count` values.
    let valued = unsafe { ffi::rte_eth_xstats_get(port, values.as_mut_ptr(), count) };
    // More than there is room for: the driver found new ones meanwhile, and wrote none.
    let read = |n: i32| usize::try_from(n).ok().filter(|&n| n <= count as usize).unwrap_or(0);
    let (named, valued) = (read(named), read(valued));
    let named = names.get(..named).unwrap_or_default();
    let values = values.get(..valued).unwrap_or_default().iter();
    values
        .filter_map(|value| {
            let name = named.get(usize::try_from(value.id).ok()?)?;
            let bytes = name.name.iter().take_while(|&&byte| byte != 0).map(|&byte| byte as u8);
            Some((String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned(), value.value))
        })
        .collect()
}

fn has_symmetric_key(port: u16, info: &ffi::rte_eth_dev_info) -> Option<bool> {
    let length = info.hash_key_size;
    let mut key = [0; u8::MAX as usize];
    let mut rss = ffi::rte_eth_rss_conf {
        rss_key: key.as_mut_ptr(),
        rss_key_len: length,
        ..Default::default()
    };
    // SAFETY: the key has room for any length, and both outlive the call; an unknown port is
    // answered with an error.
    let failed = unsafe { ffi::rte_eth_dev_rss_hash_conf_get(port, &mut rss) };
    let known = failed == 0 && length > 0;
    known.then(|| ffi::is_symmetric_key(&key[..usize::from(length)]))
}

/// Keeps [`port_stats`] out while ports are closed.
pub(crate) fn readers() -> MutexGuard<'static, ()> {
    READER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of the port a device became.
pub(crate) fn port_number(device: &CStr) -> Option<u16> {
    let mut port = 0;
    // SAFETY: the name ends in NUL and `port` outlives the call.
    let failed = unsafe { ffi::rte_eth_dev_get_port_by_name(device.as_ptr(), &mut port) };
    (failed == 0).then_some(port)
}

/// All that DPDK says of a port.
pub(crate) fn port_facts(port: u16) -> Option<PortFacts> {
    let info = device(port)?;
    let driver = driver(&info);
    let spread = Spread::of(&driver, &info);
    let mut mac = ffi::rte_ether_addr::default();
    // SAFETY: `mac` outlives the call; an unknown port is answered with an error.
    unsafe { ffi::rte_eth_macaddr_get(port, &mut mac) };
    let mut mtu = 0;
    // SAFETY: as above, for `mtu`.
    unsafe { ffi::rte_eth_dev_get_mtu(port, &mut mtu) };
    // SAFETY: takes a number only; answers -1 when the port does not say.
    let socket = unsafe { ffi::rte_eth_dev_socket_id(port) };
    // SAFETY: takes a number only; answers -1 when the port does not know the mode.
    let promiscuous = unsafe { ffi::rte_eth_promiscuous_get(port) } == 1;
    let (speed, link_up) = link(port);
    Some(PortFacts {
        driver,
        mac: mac.addr_bytes,
        mtu,
        socket: u16::try_from(socket).ok(),
        queues: info.nb_rx_queues,
        spread,
        promiscuous,
        speed,
        link_up,
    })
}

/// Leaves promiscuous mode, if the port was brought into it.
pub(crate) fn end_promiscuous(port: u16) {
    // SAFETY: takes a number only; answers -1 when the port does not know the mode.
    if unsafe { ffi::rte_eth_promiscuous_get(port) } == 1 {
        // SAFETY: takes a number only. A port that cannot has nothing to leave.
        unsafe { ffi::rte_eth_promiscuous_disable(port) };
    }
}

pub(super) fn device(port: u16) -> Option<ffi::rte_eth_dev_info> {
    let mut info = ffi::rte_eth_dev_info::default();
    // SAFETY: `info` outlives the call; an unknown port is answered with an error.
    let failed = unsafe { ffi::rte_eth_dev_info_get(port, &mut info) };
    (failed == 0).then_some(info)
}

fn driver(info: &ffi::rte_eth_dev_info) -> String {
    if info.driver_name.is_null() {
        return String::new();
    }
    // SAFETY: the driver's name is a string that lives as long as the driver.
    unsafe { CStr::from_ptr(info.driver_name) }.to_string_lossy().into_owned()
}

/// Reads the port's counters. Some drivers add up registers that clear when read, so one thread at
/// a time: hold [`READER`].
fn stats(port: u16) -> Option<ffi::rte_eth_stats> {
    let mut stats = ffi::rte_eth_stats::default();
    // SAFETY: `stats` outlives the call; an unknown port is answered with an error.
    let failed = unsafe { ffi::rte_eth_stats_get(port, &mut stats) };
    (failed == 0).then_some(stats)
}

fn lost(stats: &ffi::rte_eth_stats) -> Lost {
    Lost { missed: stats.imissed, no_mbuf: stats.rx_nombuf, errors: stats.ierrors }
}

fn link(port: u16) -> (u32, bool) {
    let (mut speed, mut up) = (0, 0);
    // SAFETY: both outlive the call; an unknown port is answered with an error.
    unsafe { ffi::_rte_eth_link(port, &mut speed, &mut up) };
    (speed, up != 0)
}

/// Held while counters of a port are read. No lcore takes it once it polls.
static READER: Mutex<()> = Mutex::new(());

/// Counters of a driver at most: a few hundred are usual, some for each queue.
const XSTATS: u32 = 4096;

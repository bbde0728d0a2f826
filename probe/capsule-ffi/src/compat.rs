//! What changed between DPDK 19.11, which capsule was written for, and the DPDK that is installed.

use std::ffi::{CStr, CString, c_char, c_int, c_uint};
use std::path::PathBuf;

use crate::bindings;
use crate::bindings::{
    ETH_RSS_IP, ETH_RSS_LEVEL_OUTERMOST, ETH_RSS_SCTP, ETH_RSS_TCP, ETH_RSS_UDP, rte_eth_conf,
    rte_eth_dev_info, rte_mempool,
};

/// The receive modes, with the name that lost its prefix-less spelling in DPDK 21.11.
pub mod rte_eth_rx_mq_mode {
    pub use crate::bindings::rte_eth_rx_mq_mode::*;
    /// Spread frames over the queues by a hash of their addresses and ports.
    pub const ETH_MQ_RX_RSS: Type = RTE_ETH_MQ_RX_RSS;
}

/// `rte_eal_init` for arguments in the words of DPDK 19.11.
///
/// # Safety
///
/// `argv` must point to `argc` pointers to strings that end in NUL.
pub unsafe fn rte_eal_init(argc: c_int, argv: *mut *mut c_char) -> c_int {
    let count = usize::try_from(argc).unwrap_or(0);
    // SAFETY: the caller vouches for `argc` pointers at `argv`.
    let pointers = unsafe { std::slice::from_raw_parts(argv, count) };
    let arguments: Vec<CString> = pointers
        .iter()
        .map(|&argument| {
            // SAFETY: the caller vouches for a NUL-terminated string behind each pointer.
            unsafe { CStr::from_ptr(argument) }.to_owned()
        })
        .collect();

    // EAL keeps pointers into argv for as long as it lives, and permutes the array: both are
    // leaked, once per process.
    let mut argv: Vec<*mut c_char> =
        modernise(arguments).into_iter().map(CString::into_raw).collect();
    argv.push(std::ptr::null_mut());
    let argv = argv.leak().as_mut_ptr();
    // SAFETY: `argv` holds `argc` valid strings, ends in NULL as C demands, and is never freed.
    unsafe { bindings::rte_eal_init(argc, argv) }
}

/// `rte_pktmbuf_pool_create` that packs mbufs on plain pages as on huge ones, unless a device is to
/// write to them.
///
/// For a device two plain pages are not neighbours, so that DPDK lets no mbuf cross from one to the
/// other: each starts a page, and the headers of all compete for the same few lines of the
/// first-level cache. An empty frame took 20 ns that way, where it takes 6.5 on huge pages.
///
/// # Safety
///
/// `name` must point to a string that ends in NUL, and EAL must be initialised.
pub unsafe fn rte_pktmbuf_pool_create(
    name: *const c_char,
    count: c_uint,
    cache: c_uint,
    private_size: u16,
    room: u16,
    socket: c_int,
) -> *mut rte_mempool {
    // SAFETY: reads a setting of EAL, which the caller vouches for.
    let plain = unsafe { bindings::rte_eal_has_hugepages() } == 0;
    // SAFETY: as above.
    let no_device = unsafe { bindings::rte_eal_has_pci() } == 0;
    let create = if plain && no_device {
        bindings::_rte_pktmbuf_pool_packed
    } else {
        bindings::rte_pktmbuf_pool_create
    };
    // SAFETY: the caller vouches for `name`; either copies it.
    unsafe { create(name, count, cache, private_size, room, socket) }
}

/// `rte_eth_dev_configure` that makes RSS symmetric, so that both directions of a flow meet in one
/// queue, where the port can ([`symmetric_rss`]), and leaves RSS out on ports that have none.
///
/// capsule asks for no offload on receive, and there is none to want. VLAN tags are part of what is
/// parsed, so they are not stripped. The parser reads all headers, so a packet type saves it nothing.
/// The RSS hash must not key a flow table: its key is public. A NIC's timestamps count in a unit of
/// its own. On transmit it asks for fast free, which holds for whoever sends mbufs of one pool on a
/// queue, and shares none.
///
/// # Safety
///
/// `conf` must point to a valid configuration.
pub unsafe fn rte_eth_dev_configure(
    port: u16,
    rx_queues: u16,
    tx_queues: u16,
    conf: *const rte_eth_conf,
) -> c_int {
    // SAFETY: the caller vouches for `conf`, which is plain data.
    let mut conf = unsafe { *conf };
    let mut info = rte_eth_dev_info::default();
    // SAFETY: `info` outlives the call; an unknown port is answered with an error.
    let failed = unsafe { bindings::rte_eth_dev_info_get(port, &mut info) };
    if failed != 0 {
        return failed;
    }

    if conf.rxmode.mq_mode == rte_eth_rx_mq_mode::ETH_MQ_RX_RSS {
        let rss = &mut conf.rx_adv_conf.rss_conf;
        let symmetric = symmetric_rss(&info);
        if symmetric != 0 {
            rss.rss_hf = symmetric;
            rss.rss_key = symmetric_key();
            rss.rss_key_len = info.hash_key_size;
        } else {
            rss.rss_hf &= info.flow_type_rss_offloads;
        }
        if rss.rss_hf == 0 {
            conf.rxmode.mq_mode = rte_eth_rx_mq_mode::RTE_ETH_MQ_RX_NONE;
        }
    }
    // SAFETY: `conf` outlives the call, which copies it, and the key it points to is never freed.
    unsafe { bindings::rte_eth_dev_configure(port, rx_queues, tx_queues, &conf) }
}

/// What a port with several queues is made to hash (`ETH_RSS_*`): IP, TCP, UDP and SCTP as far as it
/// offers them, and of tunnels the outer headers where it lets one choose. 0 when it hashes none of
/// them, or takes no key of ours.
///
/// Whatever of addresses and ports it takes in, the hash is the same both ways, for the key repeats
/// 16 bits (Woo, Park: "Scalable TCP session monitoring with symmetric receive-side scaling", 2012).
pub fn symmetric_rss(info: &rte_eth_dev_info) -> u64 {
    let offered = info.flow_type_rss_offloads;
    let headers = offered & (ETH_RSS_IP | ETH_RSS_TCP | ETH_RSS_UDP | ETH_RSS_SCTP);
    let takes_key = (1..=SYMMETRIC_KEY.len()).contains(&usize::from(info.hash_key_size));
    if headers == 0 || !takes_key {
        return 0;
    }
    headers | offered & ETH_RSS_LEVEL_OUTERMOST
}

/// The symmetric key, as long as any NIC takes. It is leaked: DPDK keeps the pointer it is given, and
/// many a driver looks behind it only when the port starts.
pub fn symmetric_key() -> *mut u8 {
    Box::leak(Box::new(SYMMETRIC_KEY)).as_mut_ptr()
}

/// Whether RSS with this key is symmetric.
pub fn is_symmetric_key(key: &[u8]) -> bool {
    key.len() >= 2 && key.iter().zip(&key[2..]).all(|(byte, next)| byte == next)
}

/// The NUMA node of a CPU as the kernel tells it, 0 where it knows no nodes.
pub fn node_of_cpu(cpu: usize) -> u16 {
    let cpu = PathBuf::from(format!("/sys/devices/system/cpu/cpu{cpu}"));
    let Ok(entries) = cpu.read_dir() else {
        return 0;
    };
    entries
        .flatten()
        .find_map(|entry| entry.file_name().to_str()?.strip_prefix("node")?.parse().ok())
        .unwrap_or(0)
}

/// [`node_of_cpu`] in libnuma's place, whose -1 for "no node" would name a socket without memory.
///
/// # Safety
///
/// Safe to call; capsule expects a foreign function.
pub unsafe fn numa_node_of_cpu(cpu: c_int) -> c_int {
    usize::try_from(cpu).map_or(0, node_of_cpu).into()
}

/// Turns arguments of DPDK 19.11 into today's (renamed in 20.11), and mends capsule's reading of
/// PCI addresses as decimal: `0000:3b:00.0` reaches us as a virtual device.
fn modernise(arguments: Vec<CString>) -> Vec<CString> {
    let mut modern: Vec<CString> = Vec::with_capacity(arguments.len());
    let mut arguments = arguments.into_iter().peekable();
    while let Some(argument) = arguments.next() {
        let name = match argument.to_bytes() {
            b"--master-lcore" => c"--main-lcore",
            b"--pci-whitelist" => c"--allow",
            b"--vdev" if arguments.peek().is_some_and(|device| is_pci(device.to_bytes())) => {
                c"--allow"
            }
            _ => &argument,
        };
        modern.push(name.to_owned());
    }
    modern
}

/// Whether a device is named by PCI domain, bus, device and function; arguments may follow.
pub fn is_pci(device: &[u8]) -> bool {
    let address = device.split(|&byte| byte == b',').next().unwrap_or_default();
    address.len() == "0000:00:00.0".len()
        && address.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b':',
            10 => *byte == b'.',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// As long as any NIC takes; 40 bytes are usual, 52 are Intel's newer ones.
const SYMMETRIC_KEY: [u8; 64] = {
    let mut key = [0x6d; 64];
    let mut at = 1;
    while at < key.len() {
        key[at] = 0x5a;
        at += 2;
    }
    key
};

#[cfg(test)]
mod tests {
    use super::*;

    fn modern(arguments: &[&str]) -> Vec<String> {
        let arguments = arguments.iter().map(|a| CString::new(*a).unwrap()).collect();
        modernise(arguments).into_iter().map(|a| a.into_string().unwrap()).collect()
    }

    #[test]
    fn arguments_take_their_new_names() {
        assert_eq!(
            modern(&["sonde", "--master-lcore", "1", "--pci-whitelist", "0000:01:00.0", "-l", "1"]),
            ["sonde", "--main-lcore", "1", "--allow", "0000:01:00.0", "-l", "1"],
        );
    }

    #[test]
    fn hexadecimal_pci_addresses_are_no_virtual_devices() {
        assert_eq!(modern(&["--vdev", "0000:3b:00.0"]), ["--allow", "0000:3b:00.0"]);
        assert_eq!(modern(&["--vdev", "0000:3b:00.1,a=b"]), ["--allow", "0000:3b:00.1,a=b"]);
        assert_eq!(modern(&["--vdev", "net_null0,size=64"]), ["--vdev", "net_null0,size=64"]);
        assert_eq!(modern(&["--vdev"]), ["--vdev"]);
    }

    #[test]
    fn the_key_gives_both_directions_one_hash() {
        let (a, b) = ([10, 0, 0, 1], [192, 168, 7, 9]);
        let (p, q) = (443_u16.to_be_bytes(), 51_515_u16.to_be_bytes());
        let there = [&a[..], &b, &p, &q].concat();
        let back = [&b[..], &a, &q, &p].concat();
        let other = [&a[..], &b, &p, &[0, 53]].concat();
        assert_eq!(toeplitz(&there), toeplitz(&back));
        assert_ne!(toeplitz(&there), toeplitz(&other));
    }

    #[test]
    fn no_more_is_hashed_than_the_port_offers() {
        let asked = |offered, hash_key_size| {
            let info = rte_eth_dev_info {
                flow_type_rss_offloads: offered,
                hash_key_size,
                ..Default::default()
            };
            symmetric_rss(&info)
        };
        let (nvgre, innermost) = (1 << 21, 2 << 50);
        let all = ETH_RSS_IP | ETH_RSS_UDP | ETH_RSS_LEVEL_OUTERMOST;
        assert_eq!(asked(all | nvgre | innermost, 40), all);
        assert_eq!(asked(ETH_RSS_TCP, 64), ETH_RSS_TCP);
        assert_eq!(asked(all, 0), 0, "a key of its own");
        assert_eq!(asked(all, 65), 0, "more than our key has");
        assert_eq!(asked(nvgre | ETH_RSS_LEVEL_OUTERMOST, 40), 0, "no address and no port");
    }

    #[test]
    fn symmetric_keys_repeat_sixteen_bits() {
        assert!(is_symmetric_key(&SYMMETRIC_KEY));
        assert!(!is_symmetric_key(&[]));
        let mut other = SYMMETRIC_KEY;
        other[39] ^= 1;
        assert!(!is_symmetric_key(&other[..40]));
    }

    #[test]
    fn a_cpu_has_a_node() {
        assert_eq!(node_of_cpu(1_000_000), 0);
        assert!(node_of_cpu(0) < 64);
    }

    /// The hash of receive-side scaling, bit by bit.
    fn toeplitz(input: &[u8]) -> u32 {
        let bit = |bytes: &[u8], at: usize| u32::from(bytes[at / 8] >> (7 - at % 8) & 1);
        let window = |at: usize| (at..at + 32).fold(0, |w, i| w << 1 | bit(&SYMMETRIC_KEY, i));
        (0..input.len() * 8).filter(|&at| bit(input, at) == 1).fold(0, |hash, at| hash ^ window(at))
    }
}

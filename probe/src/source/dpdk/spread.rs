//! Who spreads the frames of a port over its queues, and whether a flow stays whole.

use std::fmt;

use capsule_ffi as ffi;

/// What decides in which queue of a port a frame waits.
///
/// Each queue has a flow table of its own: where the directions of a flow part, it is two flows with
/// one direction each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Nothing: there is one queue.
    Single,
    /// RSS that hashes both directions of a flow alike.
    Symmetric(Headers),
    /// The kernel's `PACKET_FANOUT_HASH`, which does so too.
    Fanout,
    /// RSS with a key of the port's own: the directions part.
    Asymmetric,
    /// Not the port: it has no RSS, and whoever feeds it keeps flows whole or does not.
    Unknown,
}

/// What RSS hashes: bits of DPDK (`RTE_ETH_RSS_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers(u64);

impl Spread {
    /// How a port with this driver, and so many receive queues, was set up.
    pub(super) fn of(driver: &str, info: &ffi::rte_eth_dev_info) -> Self {
        let symmetric = ffi::symmetric_rss(info);
        match driver {
            _ if info.nb_rx_queues <= 1 => Self::Single,
            // Its queues are the members of a fanout group.
            "net_af_packet" => Self::Fanout,
            // They offer RSS and spread nothing by it.
            "net_null" | "net_tap" => Self::Unknown,
            _ if symmetric != 0 => Self::Symmetric(Headers(symmetric)),
            _ if info.flow_type_rss_offloads != 0 => Self::Asymmetric,
            _ => Self::Unknown,
        }
    }

    /// Whether both directions of a flow are sure to meet in one queue.
    pub fn keeps_flows_whole(self) -> bool {
        matches!(self, Self::Single | Self::Symmetric(_) | Self::Fanout)
    }

    /// The bits of what is hashed; 0 without symmetric RSS.
    pub(super) fn hashes(self) -> u64 {
        if let Self::Symmetric(Headers(bits)) = self { bits } else { 0 }
    }

    /// What is hashed, in words: `ip`, `tcp`, ...; nothing without symmetric RSS.
    pub fn headers(self) -> Vec<&'static str> {
        let named = HEADERS.iter().filter(|(_, header)| self.hashes() & header != 0);
        named.map(|(name, _)| *name).collect()
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single => "single",
            Self::Symmetric(_) => "symmetric",
            Self::Fanout => "fanout",
            Self::Asymmetric => "asymmetric",
            Self::Unknown => "unknown",
        })
    }
}

/// The name of each header that RSS may take in; `outermost` where a tunnel's outer ones were asked
/// for.
const HEADERS: [(&str, u64); 5] = [
    ("ip", ffi::ETH_RSS_IP),
    ("tcp", ffi::ETH_RSS_TCP),
    ("udp", ffi::ETH_RSS_UDP),
    ("sctp", ffi::ETH_RSS_SCTP),
    ("outermost", ffi::ETH_RSS_LEVEL_OUTERMOST),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(driver: &str, nb_rx_queues: u16, offered: u64, hash_key_size: u8) -> Spread {
        let info = ffi::rte_eth_dev_info {
            nb_rx_queues,
            flow_type_rss_offloads: offered,
            hash_key_size,
            ..Default::default()
        };
        Spread::of(driver, &info)
    }

    #[test]
    fn only_a_port_that_takes_our_key_is_symmetric() {
        let offered = ffi::ETH_RSS_IP | ffi::ETH_RSS_TCP | ffi::ETH_RSS_LEVEL_OUTERMOST;
        let symmetric = spread("net_ice", 2, offered, 52);
        assert_eq!(symmetric.headers(), ["ip", "tcp", "outermost"]);
        assert_eq!(symmetric.to_string(), "symmetric");
        assert_eq!(spread("net_ice", 1, offered, 52), Spread::Single);
        assert_eq!(spread("net_ena", 2, offered, 0), Spread::Asymmetric);
        assert_eq!(spread("net_e1000_em", 2, 0, 0), Spread::Unknown);
        let whole = [symmetric, Spread::Single, Spread::Fanout];
        assert!(whole.iter().all(|spread| spread.keeps_flows_whole()));
        assert!(!Spread::Asymmetric.keeps_flows_whole() && !Spread::Unknown.keeps_flows_whole());
    }

    #[test]
    fn some_virtual_devices_only_say_that_they_spread() {
        let offered = ffi::ETH_RSS_IP;
        assert_eq!(spread("net_null", 2, offered, 40), Spread::Unknown);
        assert_eq!(spread("net_pcap", 2, 0, 0), Spread::Unknown);
        assert_eq!(spread("net_af_packet", 2, 0, 0), Spread::Fanout);
    }
}

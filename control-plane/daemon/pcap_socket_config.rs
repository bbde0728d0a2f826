//! The `[pcap_socket]` section of the configuration: where clients write captures.

use std::net::IpAddr;

use anyhow::ensure;
use serde::{Deserialize, Serialize};
use sonde_control_plane::capture::ListenConfig;

/// Where clients write captures.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PcapSocketSection {
    /// The address that sockets listen on.
    address: IpAddr,
    /// The first port that a socket may have.
    min_port: u16,
    /// The last.
    max_port: u16,
}

impl PcapSocketSection {
    /// What serde cannot see.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let Self { min_port, max_port, .. } = self;
        ensure!(*min_port > 0, "pcap_socket.min_port: expected at least 1, found 0");
        ensure!(
            min_port <= max_port,
            "pcap_socket.max_port: expected at least min_port, {min_port}, found {max_port}"
        );
        Ok(())
    }

    /// Where sockets may listen.
    pub(crate) fn listen(&self) -> ListenConfig {
        ListenConfig { address: self.address, ports: self.min_port..=self.max_port }
    }
}

impl Default for PcapSocketSection {
    fn default() -> Self {
        let ListenConfig { address, ports } = ListenConfig::default();
        Self { address, min_port: *ports.start(), max_port: *ports.end() }
    }
}

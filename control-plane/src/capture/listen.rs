//! Where the sockets of `pcapsocket` captures listen (Skydive API §9.4).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

/// An address, and the TCP ports of it that captures may have. Each capture has a port of its own on
/// each of its nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// The address.
    pub address: IpAddr,
    /// The ports.
    pub ports: RangeInclusive<u16>,
}

impl ListenConfig {
    /// The first port after `last`, or from the beginning, that is not `taken`.
    pub(super) fn next(
        &self,
        last: Option<u16>,
        taken: impl Fn(SocketAddr) -> bool,
    ) -> Option<SocketAddr> {
        let after = last.map_or(*self.ports.start(), |last| last.saturating_add(1));
        let ports = (after..=*self.ports.end()).chain(self.ports.clone());
        ports.map(|port| self.at(port)).find(|address| !taken(*address))
    }

    /// The address with that port.
    pub(super) fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, port)
    }
}

impl Default for ListenConfig {
    /// As in Skydive.
    fn default() -> Self {
        Self { address: Ipv4Addr::LOCALHOST.into(), ports: 8100..=8132 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_round_and_passes_over_what_is_taken() {
        let listen = ListenConfig { ports: 8100..=8103, ..ListenConfig::default() };
        for (last, taken, next) in [
            (None, &[][..], Some(8100)),
            (None, &[8100, 8102], Some(8101)),
            (Some(8100), &[8100], Some(8101)),
            (Some(8101), &[8101, 8102], Some(8103)),
            (Some(8103), &[8103], Some(8100)),
            (Some(8102), &[8100, 8102, 8103], Some(8101)),
            (Some(8100), &[8100, 8101, 8102, 8103], None),
            (Some(65535), &[], Some(8100)),
        ] {
            let found = listen.next(last, |address| taken.contains(&address.port()));
            assert_eq!(found, next.map(|port| listen.at(port)), "after {last:?}, {taken:?}");
        }
    }
}

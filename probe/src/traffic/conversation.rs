//! Who talks to whom: all that the frames of a flow have in common, made from its number.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sonde_proto::record::{Mac, Transport};

use super::random::{GOLDEN, Random, mix};

/// A flow, as its frames show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Conversation {
    pub(super) transport: Transport,
    /// Who began.
    pub(super) client: End,
    pub(super) server: End,
    pub(super) carrier: Carrier,
}

/// One end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) mac: Mac,
    pub(super) address: IpAddr,
    pub(super) port: u16,
}

/// What carries the frames of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// Nothing else.
    Bare,
    /// An 802.1Q tag of this id.
    Vlan(u16),
    /// VXLAN (RFC 7348) between two hosts, over IPv4.
    Vxlan(Vxlan),
}

/// A VXLAN tunnel, and the flow's port on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vxlan {
    pub(super) vni: u32,
    /// The host before the client.
    pub(super) client: Host,
    /// The host before the server.
    pub(super) server: Host,
    /// Source port, both ways: a hash of the flow inside (RFC 7348 §5).
    pub(super) port: u16,
}

/// One end of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) mac: Mac,
    pub(super) address: Ipv4Addr,
}

/// What is decided about a flow before it has a number, so that shares come out even.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Class {
    pub(super) ipv6: bool,
    pub(super) carried: Carried,
}

/// The kind of a [`Carrier`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Carried {
    #[default]
    Bare,
    Vlan,
    Vxlan,
}

impl Conversation {
    /// The flow of that number. No other flow of the same seed and IP version has its client's
    /// address and port.
    #[inline]
    pub(super) fn new(seed: u64, number: u32, transport: Transport, class: Class) -> Self {
        let unique = scatter::<CLIENT_BITS>(seed, number);
        let (host, port) = ((unique >> PORT_BITS) as u32, unique as u16 | EPHEMERAL);
        let mut random = Random::new(seed ^ mix(number.into()));
        let server = random.below(SERVERS);
        let services = if transport == Transport::Tcp { TCP_SERVICES } else { UDP_SERVICES };
        let service = services[random.below(SERVICES as u32) as usize];
        let (client_address, server_address) = if class.ipv6 {
            let address = |network, host: u32| Ipv6Addr::from_bits(network | u128::from(host));
            (address(CLIENTS_V6, host).into(), address(SERVERS_V6, server).into())
        } else {
            let address = |network, host: u32| Ipv4Addr::from_bits(network | host);
            (address(CLIENTS_V4, host).into(), address(SERVERS_V4, server).into())
        };
        let client = End { mac: mac(0, random.below(ROUTERS)), address: client_address, port };
        let mac = mac(1, random.below(ROUTERS));
        let carrier = match class.carried {
            Carried::Bare => Carrier::Bare,
            Carried::Vlan => Carrier::Vlan(100 + random.below(16) as u16),
            Carried::Vxlan => Carrier::Vxlan(Vxlan {
                vni: 5000 + random.below(16),
                client: Host::new(random.below(HOSTS)),
                server: Host::new(HOSTS + random.below(HOSTS)),
                port: 0xc000 | random.below(0x4000) as u16,
            }),
        };
        let server = End { mac, address: server_address, port: service };
        Self { transport, client, server, carrier }
    }

    /// The attacker's flow of that number: address and port are no other's of the same seed.
    #[inline]
    pub(super) fn flood(seed: u64, number: u32) -> Self {
        let unique = scatter::<48>(seed, number);
        let address = Ipv4Addr::from_bits((unique >> 16) as u32).into();
        Self {
            transport: Transport::Tcp,
            client: End { mac: mac(0, 0), address, port: unique as u16 },
            server: End {
                mac: mac(1, 0),
                address: Ipv4Addr::from_bits(SERVERS_V4 | 1).into(),
                port: 443,
            },
            carrier: Carrier::Bare,
        }
    }
}

impl Host {
    fn new(number: u32) -> Self {
        Self { mac: mac(2, number), address: Ipv4Addr::from_bits(HOSTS_V4 + number) }
    }
}

/// Spreads numbers over `BITS` bits, 32 at least; no two numbers of a seed get the same image.
#[inline]
fn scatter<const BITS: u32>(seed: u64, number: u32) -> u64 {
    let mask = (1 << BITS) - 1;
    // Each step can be undone: adding, xor with the own upper half, an odd factor.
    let mut n = u64::from(number).wrapping_add(mix(seed)) & mask;
    for _ in 0..2 {
        n = (n ^ (n >> (BITS / 2))).wrapping_mul(GOLDEN) & mask;
    }
    n
}

/// A locally administered address.
const fn mac(network: u8, host: u32) -> Mac {
    [2, 0, 0, network, (host >> 8) as u8, host as u8]
}

/// Routers that clients, and as many that servers are behind.
const ROUTERS: u32 = 4;
/// Hosts that clients, and as many that servers inside VXLAN run on.
const HOSTS: u32 = 8;
const SERVERS: u32 = 4096;

/// 10.0.0.0/8, 172.16.0.0/20 and 192.168.0.0/24.
const CLIENTS_V4: u32 = 0x0a00_0000;
const SERVERS_V4: u32 = 0xac10_0000;
const HOSTS_V4: u32 = 0xc0a8_0001;
/// 2001:db8::/64 and 2001:db8:0:1::/64.
const CLIENTS_V6: u128 = 0x2001_0db8 << 96;
const SERVERS_V6: u128 = CLIENTS_V6 | 1 << 64;

/// 24 bits of address, and 15 of a port that is no service's.
const CLIENT_BITS: u32 = 24 + PORT_BITS;
const PORT_BITS: u32 = 15;
const EPHEMERAL: u16 = 1 << PORT_BITS;

/// As often as they stand here.
const SERVICES: usize = 8;
const TCP_SERVICES: [u16; SERVICES] = [443, 443, 443, 443, 80, 80, 22, 8080];
const UDP_SERVICES: [u16; SERVICES] = [443, 443, 443, 443, 53, 53, 123, 3478];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_client_is_met_twice() {
        const FLOWS: u32 = 200_000;
        let mixed = |n| Conversation::new(3, n, Transport::Tcp, Class::default());
        let mixed: HashSet<_> = (0..FLOWS).map(mixed).map(client).collect();
        let flood: HashSet<_> = (0..FLOWS).map(|n| Conversation::flood(3, n)).map(client).collect();
        assert_eq!((mixed.len(), flood.len()), (FLOWS as usize, FLOWS as usize));
    }

    fn client(conversation: Conversation) -> (IpAddr, u16) {
        (conversation.client.address, conversation.client.port)
    }
}

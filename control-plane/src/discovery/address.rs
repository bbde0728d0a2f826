//! Addresses of links.

use std::fmt;
use std::net::IpAddr;

use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};

/// An address and the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    pub(super) fn new(address: IpAddr, prefix: u8) -> Self {
        Self { address, prefix }
    }

    /// The link of an address message, and the address it has there.
    pub(super) fn read(message: &AddressMessage) -> Option<(u32, Self)> {
        let mut address = None;
        for attribute in &message.attributes {
            match attribute {
                // On a point-to-point link `Address` is the other end's.
                AddressAttribute::Local(local) => {
                    address = Some(*local);
                    break;
                }
                AddressAttribute::Address(other) => address = Some(*other),
                _ => {}
            }
        }
        Some((message.header.index, Self::new(address?, message.header.prefix_len)))
    }

    pub(super) fn is_ipv4(&self) -> bool {
        self.address.is_ipv4()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(attributes: Vec<AddressAttribute>) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.index = 3;
        message.header.prefix_len = 24;
        message.attributes = attributes;
        message
    }

    #[test]
    fn the_local_end_is_the_links() {
        let local = AddressAttribute::Local("10.0.0.1".parse().unwrap());
        let other = AddressAttribute::Address("10.0.0.2".parse().unwrap());
        for attributes in [vec![local.clone(), other.clone()], vec![other, local]] {
            let (index, cidr) = Cidr::read(&message(attributes)).unwrap();
            assert_eq!((index, cidr.to_string().as_str()), (3, "10.0.0.1/24"));
        }
    }

    #[test]
    fn ipv6_has_but_one() {
        let address = AddressAttribute::Address("fe80::1".parse().unwrap());
        let (_, cidr) = Cidr::read(&message(vec![address])).unwrap();
        assert_eq!(cidr.to_string(), "fe80::1/24");
        assert!(!cidr.is_ipv4());
        assert_eq!(Cidr::read(&message(Vec::new())), None);
    }
}

//! The prefixes of `Ipv4Range` and `Ipv6Range`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::error::Fault;

/// An IP prefix. It holds addresses of its own version only.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Network {
    text: String,
    address: IpAddr,
    length: u32,
}

impl Network {
    pub(super) fn v4(text: String) -> Result<Self, Fault> {
        Self::new(text, |address| address.parse().ok().map(Ipv4Addr::into))
    }

    pub(super) fn v6(text: String) -> Result<Self, Fault> {
        Self::new(text, |address| address.parse().ok().map(Ipv6Addr::into))
    }

    fn new(text: String, address: fn(&str) -> Option<IpAddr>) -> Result<Self, Fault> {
        let prefix = || {
            let (network, length) = text.split_once('/')?;
            let network = address(network)?;
            let bits = if network.is_ipv4() { 32 } else { 128 };
            Some((network, length.parse().ok().filter(|length| *length <= bits)?))
        };
        match prefix() {
            Some((address, length)) => Ok(Self { text, address, length }),
            None => Err(Fault::Argument(format!("invalid CIDR address: {text}").into())),
        }
    }

    /// Whether an address, or one with its prefix length, lies inside.
    pub(super) fn holds(&self, text: &str) -> bool {
        let address = text.split_once('/').map_or(text, |(address, _)| address);
        address.parse().is_ok_and(|address| self.contains(address))
    }

    /// Whether an address lies inside.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let differ = a.to_bits() ^ b.to_bits();
                differ.checked_shr(32 - self.length).unwrap_or(0) == 0
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let differ = a.to_bits() ^ b.to_bits();
                differ.checked_shr(128 - self.length).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_all_lengths_hold() {
        let v4 = |text: &str| Network::v4(text.into()).unwrap();
        assert!(v4("0.0.0.0/0").holds("255.0.0.1"));
        assert!(v4("10.0.0.7/32").holds("10.0.0.7/24"));
        assert!(!v4("10.0.0.7/32").holds("10.0.0.6"));
        assert!(v4("192.168.0.77/26").holds("192.168.0.64"));
        assert!(!v4("0.0.0.0/0").holds("fe80::1"));
        let v6 = |text: &str| Network::v6(text.into()).unwrap();
        assert!(v6("::/0").holds("fe80::1/64"));
        assert!(v6("fe80::/10").holds("febf::1"));
        assert!(!v6("fe80::/10").holds("fec0::1"));
        assert!(!v6("fe80::1/128").holds("fe80::2"));
        assert!(!v6("::/0").holds("10.0.0.1"));
    }

    #[test]
    fn a_prefix_is_of_its_version_and_no_longer() {
        for bad in ["10.0.0.1", "10.0.0.1/33", "10.0.0/8", "::1/64", "10.0.0.1/", ""] {
            assert!(Network::v4(bad.into()).is_err(), "{bad}");
        }
        for bad in ["::1", "::1/129", "10.0.0.1/8", "/64", ""] {
            assert!(Network::v6(bad.into()).is_err(), "{bad}");
        }
    }
}

//! Texts that are kept and compared as what they spell.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::ops::Deref;

use sonde_proto::record::Mac;

use crate::flow::Small;

/// A text that is kept. One that is written as a flow's digest or address is kept as that, however
/// it came: equal texts are equal here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Text {
    Hex(u64),
    Mac(Mac),
    Ip(IpAddr),
    /// Never one that would be any of the others.
    Other(Box<str>),
}

/// A text that is there, or was made to be read once.
pub(super) enum Shown<'a> {
    There(&'a str),
    Made(Small),
}

impl Text {
    pub(super) fn shown(&self) -> Shown<'_> {
        match self {
            Self::Hex(digest) => Shown::Made(Small::hex(*digest)),
            Self::Mac(mac) => Shown::Made(Small::mac(*mac)),
            Self::Ip(ip) => Shown::Made(Small::ip(*ip)),
            Self::Other(text) => Shown::There(text),
        }
    }
}

impl Deref for Shown<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::There(text) => text,
            Self::Made(text) => text.as_str(),
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        let is_so = |made: Small| made.as_str() == text;
        let hex = || u64::from_str_radix(text, 16).ok().filter(|n| is_so(Small::hex(*n)));
        let mac = || mac(text).filter(|mac| is_so(Small::mac(*mac)));
        let ip = || text.parse().ok().filter(|ip| is_so(Small::ip(*ip)));
        let digest = hex().map(Self::Hex);
        let address = || mac().map(Self::Mac).or_else(|| ip().map(Self::Ip));
        digest.or_else(address).unwrap_or_else(|| Self::Other(text.into()))
    }
}

impl Ord for Text {
    /// As the texts are ordered.
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Hex(a), Self::Hex(b)) => by_digits(*a).cmp(&by_digits(*b)),
            (Self::Mac(a), Self::Mac(b)) => a.cmp(b),
            _ => self.shown().cmp(&other.shown()),
        }
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Orders digests as their texts: digit by digit from the left, and then by length.
fn by_digits(digest: u64) -> (u64, u32) {
    let absent = (digest.leading_zeros() / 4).min(15);
    (digest << (4 * absent), 15 - absent)
}

fn mac(text: &str) -> Option<Mac> {
    let mut bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok());
    let mut mac = Mac::default();
    for place in &mut mac {
        *place = bytes.next()??;
    }
    bytes.next().is_none().then_some(mac)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Texts that are near what they could be.
    fn text() -> impl Strategy<Value = String> {
        let mac = any::<Mac>().prop_map(sonde_proto::flow::mac);
        prop_oneof![
            any::<u64>().prop_map(|n| format!("{n:x}")),
            (0..300_u64).prop_map(|n| format!("{n:x}")),
            "[0-9a-f]{0,18}",
            "[+0-9A-F]{1,3}",
            mac.clone(),
            mac.prop_map(|mac| mac.to_uppercase()),
            any::<IpAddr>().prop_map(|ip| ip.to_string()),
            any::<u32>().prop_map(|n| format!("::ffff:{}", std::net::Ipv4Addr::from(n))),
            "([0-9]{1,3}\\.){3}[0-9]{1,3}",
            "([0-9a-f]{1,4}:){1,7}:?[0-9a-f]{1,4}",
            "\\PC{0,20}",
        ]
    }

    proptest! {
        #[test]
        fn texts_stay_the_same_and_in_order(a in text(), b in text()) {
            let (x, y) = (Text::from(a.as_str()), Text::from(b.as_str()));
            prop_assert_eq!(&*x.shown(), a.as_str());
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(x == y, a == b);
        }

        #[test]
        fn digests_and_addresses_are_found(digest: u64, mac: Mac, ip: IpAddr) {
            prop_assert_eq!(Text::from(&*Text::Hex(digest).shown()), Text::Hex(digest));
            prop_assert_eq!(Text::from(&*Text::Mac(mac).shown()), Text::Mac(mac));
            prop_assert_eq!(Text::from(&*Text::Ip(ip).shown()), Text::Ip(ip));
        }
    }
}

//! What the fuzz targets share: frames made of fuzzed bytes, and a worker to meter them.
//!
//! Fuzzed bytes are read from the front, fixed fields first, so that seeds can be written by hand.

pub mod bench;
pub mod reading;

use arbitrary::{Result, Unstructured};
use sonde_probe::source::{Frame, LinkType};
use sonde_proto::time::Timestamp;

/// What stands before the bytes of a fuzzed frame.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// What the bytes start with.
    pub link: LinkType,
    /// Bytes on the wire beyond those captured.
    pub more: u16,
}

impl Head {
    /// The frame with these bytes.
    pub fn frame(self, bytes: &[u8], at: Timestamp) -> Frame<'_> {
        Frame { bytes, length: bytes.len() as u32 + u32::from(self.more), at, link: self.link }
    }
}

impl<'a> arbitrary::Arbitrary<'a> for Head {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> Result<Self> {
        let number: u8 = bytes.arbitrary()?;
        let link = LINKS.get(usize::from(number)).copied();
        let link = link.unwrap_or(LinkType::Unknown(number.into()));
        Ok(Self { link, more: bytes.arbitrary()? })
    }
}

/// Link types by their number in a [`Head`].
const LINKS: [LinkType; 15] = [
    LinkType::Ethernet,
    LinkType::Raw,
    LinkType::Sll,
    LinkType::Sll2,
    LinkType::Null,
    LinkType::Loop,
    LinkType::Ppp,
    LinkType::Hdlc,
    LinkType::FrameRelay,
    LinkType::Ieee80211,
    LinkType::Radiotap,
    LinkType::Fddi,
    LinkType::Ipoib,
    LinkType::Ipnet,
    LinkType::Nflog,
];

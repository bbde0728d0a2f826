//! Where frames come from.

pub mod af_packet;
#[cfg(feature = "dpdk")]
pub mod dpdk;
pub mod pcap;
pub mod pcap_socket;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sonde_proto::report::Lost;
use sonde_proto::time::Timestamp;

/// A queue of frames: one queue of a DPDK port, one member of an AF_PACKET fanout, one file.
pub trait Source {
    /// Takes the frames that wait, [`BURST`] at most, and lends each to `meter`. Returns how many
    /// there were; never waits. The borrow ends with the call, so no frame can be kept.
    fn burst(&mut self, meter: impl FnMut(Frame<'_>)) -> Result<usize, Closed>;

    /// The source's clock: wall time, read once a burst, on live queues; the newest frame's own
    /// time in a file.
    fn now(&self) -> Timestamp;

    /// Frames that the source lost before they could be taken, since it was opened.
    fn lost(&mut self) -> Lost;

    /// Called after `empty` bursts without a frame: spin, nap or wait, as suits the source.
    /// Returns after `limit` at the latest.
    fn idle(&mut self, empty: u32, limit: Duration);
}

/// Frames in a burst at most.
pub const BURST: usize = 64;

/// A frame, lent for the length of a call.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The bytes that were captured, from the link-layer header on.
    pub bytes: &'a [u8],
    /// Bytes on the wire (pcap's `orig_len`), never less than `bytes.len()`.
    pub length: u32,
    /// When it was captured.
    pub at: Timestamp,
    /// What the bytes start with.
    pub link: LinkType,
}

/// The link layer a frame starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkType {
    /// IEEE 802.3 (LINKTYPE 1).
    Ethernet,
    /// IPv4 or IPv6, told by the version nibble (LINKTYPE 101, 12, 14, 228, 229).
    Raw,
    /// Linux cooked capture (LINKTYPE 113).
    Sll,
    /// Linux cooked capture, version 2 (LINKTYPE 276).
    Sll2,
    /// BSD loopback: address family in the writer's byte order (LINKTYPE 0).
    Null,
    /// OpenBSD loopback: address family in network byte order (LINKTYPE 108).
    Loop,
    /// PPP, with its HDLC address or without, or Cisco's HDLC in its place (LINKTYPE 9, 50).
    Ppp,
    /// Cisco's HDLC (LINKTYPE 104).
    Hdlc,
    /// Frame Relay, of RFC 2427 or Cisco (LINKTYPE 107).
    FrameRelay,
    /// IEEE 802.11 (LINKTYPE 105).
    Ieee80211,
    /// IEEE 802.11 behind a radiotap header (LINKTYPE 127).
    Radiotap,
    /// FDDI (LINKTYPE 10).
    Fddi,
    /// IP over InfiniBand (LINKTYPE 242).
    Ipoib,
    /// Solaris IPNET (LINKTYPE 226).
    Ipnet,
    /// Linux netfilter log (LINKTYPE 239).
    Nflog,
    /// One we do not know: its frames are skipped and counted.
    Unknown(u16),
}

impl LinkType {
    /// The LINKTYPE number; of those that say the same, the one to write.
    pub const fn number(self) -> u16 {
        match self {
            Self::Ethernet => 1,
            Self::Raw => 101,
            Self::Sll => 113,
            Self::Sll2 => 276,
            Self::Null => 0,
            Self::Loop => 108,
            Self::Ppp => 9,
            Self::Hdlc => 104,
            Self::FrameRelay => 107,
            Self::Ieee80211 => 105,
            Self::Radiotap => 127,
            Self::Fddi => 10,
            Self::Ipoib => 242,
            Self::Ipnet => 226,
            Self::Nflog => 239,
            Self::Unknown(number) => number,
        }
    }
}

/// Why a source gives no more frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// The file was read to its end.
    #[error("end of file")]
    End,
    /// The file cannot be read on.
    #[error("byte {offset}: {damage}")]
    Damaged {
        /// Offset in the file of what cannot be read.
        offset: u64,
        /// What is wrong with it.
        damage: Damage,
    },
    /// The interface or port is gone; the errno of the call that failed.
    #[error("interface gone (errno {0})")]
    Gone(i32),
}

/// What can be wrong with a capture file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The file ends within a record.
    #[error("file ends within a record, expected {missing} more bytes")]
    Cut {
        /// Bytes that are missing.
        missing: u32,
    },
    /// A length that no capture has.
    #[error("record of {length} bytes, expected at most {max}")]
    TooLong {
        /// The length found.
        length: u32,
        /// The longest that is read.
        max: u32,
    },
    /// A block that breaks the format.
    #[error("malformed block, expected {expected}")]
    Malformed {
        /// What should stand there.
        expected: &'static str,
    },
    /// The operating system could not read; its errno.
    #[error("read failed (errno {0})")]
    Read(i32),
}

/// The wall clock, for sources that live and for what has no source.
#[expect(clippy::disallowed_methods, reason = "here time comes from")]
pub fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp::default().after(since.unwrap_or_default())
}

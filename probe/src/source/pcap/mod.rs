//! Capture files: pcap and pcapng, read as a stream.

mod legacy;
mod ng;
mod stream;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use sonde_proto::report::Lost;
use sonde_proto::time::Timestamp;

use self::legacy::Legacy;
use self::ng::Sections;
use self::stream::{Short, Stream};
use super::{BURST, Closed, Damage, Frame, LinkType, Source};

/// A capture file on disk.
pub type PcapFile = PcapReader<File>;

/// A capture read from `R`: pcap (micro- or nanoseconds, also with Kuznetzov's longer record
/// header) or pcapng, of either byte order. Memory is bounded whatever the capture says: 512 KiB
/// for records, and for pcapng up to 16 MiB when one block is that large.
///
/// A damaged capture gives every frame before the damage, then [`Closed::Damaged`]. The limits
/// are libpcap's: captured bytes may exceed the capture's snap length, but not 262144.
///
/// A burst waits for `R` when that waits: a file does not, a pipe does.
#[derive(Debug)]
pub struct PcapReader<R> {
    stream: Stream<R>,
    format: Format,
    now: Timestamp,
    closed: Option<Closed>,
    /// See [`PcapReader::unsupported`].
    unsupported: Vec<u16>,
}

impl PcapFile {
    /// Opens a file and reads its header.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let file = File::open(path).map_err(OpenError::Open)?;
        Self::new(file).map_err(OpenError::Unreadable)
    }
}

impl<R: Read> PcapReader<R> {
    /// Reads the header of a capture. No capture at all is [`Closed::Damaged`] at byte 0.
    pub fn new(source: R) -> Result<Self, Closed> {
        let mut stream = Stream::new(source);
        let magic = match stream.peek(4) {
            Ok(bytes) => field::<4>(bytes, 0),
            Err(short) => return Err(damaged(0, short.within(legacy::FILE_HEADER as u32))),
        };
        let format = if magic == ng::SECTION_HEADER.to_be_bytes() {
            Format::Ng(Sections::open(&mut stream)?)
        } else {
            Format::Legacy(Legacy::open(magic, &mut stream)?)
        };
        Ok(Self {
            stream,
            format,
            now: Timestamp::default(),
            closed: None,
            unsupported: Vec::new(),
        })
    }

    /// Bytes of the capture that were read, for a progress bar.
    pub fn bytes_read(&self) -> u64 {
        self.stream.offset()
    }

    /// LINKTYPE numbers of the frames read so far that are none of [`LinkType`]'s, each once and 16
    /// at most.
    pub fn unsupported(&self) -> &[u16] {
        &self.unsupported
    }

    fn next(&mut self) -> Result<Frame<'_>, Closed> {
        match &mut self.format {
            Format::Legacy(legacy) => legacy.next(&mut self.stream),
            Format::Ng(sections) => sections.next(&mut self.stream, self.now),
        }
    }
}

impl<R: Read> Source for PcapReader<R> {
    fn burst(&mut self, mut meter: impl FnMut(Frame<'_>)) -> Result<usize, Closed> {
        if let Some(closed) = self.closed {
            return Err(closed);
        }
        let mut now = self.now;
        for taken in 0..BURST {
            match self.next() {
                Ok(frame) => {
                    now = now.max(frame.at);
                    let link = frame.link;
                    meter(frame);
                    self.now = now;
                    if let LinkType::Unknown(number) = link {
                        note(&mut self.unsupported, number);
                    }
                }
                Err(closed) => {
                    self.closed = Some(closed);
                    return if taken == 0 { Err(closed) } else { Ok(taken) };
                }
            }
        }
        Ok(BURST)
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    fn lost(&mut self) -> Lost {
        Lost::default()
    }

    /// Returns at once: a file that gives nothing is closed.
    fn idle(&mut self, _empty: u32, _limit: Duration) {}
}

/// Why a file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refused.
    #[error("cannot open the capture file")]
    Open(#[source] io::Error),
    /// It is no capture, or damaged where it begins.
    #[error("cannot read the capture file: {0}")]
    Unreadable(Closed),
}

#[derive(Debug)]
enum Format {
    Legacy(Legacy),
    Ng(Sections),
}

/// Byte order of a file or section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

impl Order {
    /// The 16-bit field at `at`, which the caller knows to be there.
    fn u16(self, bytes: &[u8], at: usize) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(field(bytes, at)),
            Self::Big => u16::from_be_bytes(field(bytes, at)),
        }
    }

    /// The 32-bit field at `at`, which the caller knows to be there.
    #[inline]
    fn u32(self, bytes: &[u8], at: usize) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(field(bytes, at)),
            Self::Big => u32::from_be_bytes(field(bytes, at)),
        }
    }

    /// The 64-bit field at `at`, which the caller knows to be there.
    fn u64(self, bytes: &[u8], at: usize) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(field(bytes, at)),
            Self::Big => u64::from_be_bytes(field(bytes, at)),
        }
    }
}

/// The `N` bytes at `at`; the caller has peeked that far.
#[inline]
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

/// A LINKTYPE number as it stands in a file. The bits above the lowest 26 say whether and how long
/// an FCS is (draft-ietf-opsawg-pcap §4).
fn link_type(number: u32) -> LinkType {
    match number & 0x03ff_ffff {
        0 => LinkType::Null,
        1 => LinkType::Ethernet,
        9 | 50 => LinkType::Ppp,
        10 => LinkType::Fddi,
        12 | 14 | 101 | 228 | 229 => LinkType::Raw,
        104 => LinkType::Hdlc,
        105 => LinkType::Ieee80211,
        107 => LinkType::FrameRelay,
        108 => LinkType::Loop,
        113 => LinkType::Sll,
        127 => LinkType::Radiotap,
        226 => LinkType::Ipnet,
        239 => LinkType::Nflog,
        242 => LinkType::Ipoib,
        276 => LinkType::Sll2,
        other => LinkType::Unknown(u16::try_from(other).unwrap_or(u16::MAX)),
    }
}

/// Adds a number to those noted, unless it is there or there are many.
fn note(numbers: &mut Vec<u16>, number: u16) {
    if numbers.len() < 16 && !numbers.contains(&number) {
        numbers.push(number);
    }
}

/// Captured bytes in a frame at most (libpcap's `MAXIMUM_SNAPLEN`).
const LONGEST_FRAME: u32 = 262_144;

fn damaged(offset: u64, damage: Damage) -> Closed {
    Closed::Damaged { offset, damage }
}

fn malformed(offset: u64, expected: &'static str) -> Closed {
    damaged(offset, Damage::Malformed { expected })
}

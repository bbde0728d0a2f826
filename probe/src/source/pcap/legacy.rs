//! The pcap format (draft-ietf-opsawg-pcap).

use std::io::Read;

use sonde_proto::time::Timestamp;

use super::{
    Closed, Damage, Frame, LONGEST_FRAME, LinkType, Order, Short, Stream, damaged, link_type,
    malformed,
};

/// What the header of a pcap file says about its records.
#[derive(Debug)]
pub(super) struct Legacy {
    order: Order,
    /// Bytes of a record's header.
    header: usize,
    /// Nanoseconds in a unit of the time's fraction.
    fraction: u64,
    lengths: Lengths,
    link: LinkType,
}

impl Legacy {
    /// Reads the file header, whose first four bytes are `magic`.
    pub(super) fn open<R: Read>(magic: [u8; 4], stream: &mut Stream<R>) -> Result<Self, Closed> {
        let (order, header, fraction) = match magic {
            [0xa1, 0xb2, 0xc3, 0xd4] => (Order::Big, 16, 1_000),
            [0xd4, 0xc3, 0xb2, 0xa1] => (Order::Little, 16, 1_000),
            [0xa1, 0xb2, 0x3c, 0x4d] => (Order::Big, 16, 1),
            [0x4d, 0x3c, 0xb2, 0xa1] => (Order::Little, 16, 1),
            [0xa1, 0xb2, 0xcd, 0x34] => (Order::Big, 24, 1_000),
            [0x34, 0xcd, 0xb2, 0xa1] => (Order::Little, 24, 1_000),
            _ => return Err(malformed(0, "the magic number of pcap or pcapng")),
        };
        let bytes = stream
            .take(FILE_HEADER)
            .map_err(|short| damaged(0, short.within(FILE_HEADER as u32)))?;
        let lengths = match (order.u16(bytes, 4), order.u16(bytes, 6)) {
            (2, 0..=2) | (543, 0) => Lengths::WireFirst,
            (2, 3) => Lengths::Either,
            (2, 4) => Lengths::CapturedFirst,
            _ => return Err(malformed(0, "pcap version 2.0 to 2.4")),
        };
        Ok(Self { order, header, fraction, lengths, link: link_type(order.u32(bytes, 20)) })
    }

    /// Takes the next record.
    #[inline]
    pub(super) fn next<'s, R: Read>(&self, stream: &'s mut Stream<R>) -> Result<Frame<'s>, Closed> {
        let offset = stream.offset();
        let bytes = match stream.peek(self.header) {
            Ok(bytes) => bytes,
            Err(Short::Ended { after: 0 }) => return Err(Closed::End),
            Err(short) => return Err(damaged(offset, short.within(self.header as u32))),
        };
        let seconds = u64::from(self.order.u32(bytes, 0));
        let fraction = u64::from(self.order.u32(bytes, 4));
        let (captured, length) =
            (self.lengths).sort(self.order.u32(bytes, 8), self.order.u32(bytes, 12));
        if captured > LONGEST_FRAME {
            let (length, max) = (captured, LONGEST_FRAME);
            return Err(damaged(offset, Damage::TooLong { length, max }));
        }
        let record = self.header + captured as usize;
        let bytes =
            stream.take(record).map_err(|short| damaged(offset, short.within(record as u32)))?;
        Ok(Frame {
            bytes: &bytes[self.header..],
            length: length.max(captured),
            // 32-bit seconds and fractions cannot overflow 64-bit nanoseconds.
            at: Timestamp::from_nanos(seconds * 1_000_000_000 + fraction * self.fraction),
            link: self.link,
        })
    }
}

/// Which of a record's two lengths comes first. The order changed with version 2.3, and some
/// writers of that version still used the old one.
#[derive(Clone, Copy, Debug)]
enum Lengths {
    CapturedFirst,
    WireFirst,
    Either,
}

impl Lengths {
    /// Captured bytes and bytes on the wire.
    #[inline]
    fn sort(self, first: u32, second: u32) -> (u32, u32) {
        match self {
            Self::CapturedFirst => (first, second),
            Self::WireFirst => (second, first),
            Self::Either => (first.min(second), first.max(second)),
        }
    }
}

/// Bytes of the file header.
pub(super) const FILE_HEADER: usize = 24;

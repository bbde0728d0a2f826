//! The pcapng format (draft-ietf-opsawg-pcapng).

use std::io::Read;

use sonde_proto::time::Timestamp;

use super::{
    Closed, Damage, Frame, LONGEST_FRAME, LinkType, Order, Short, Stream, damaged, field,
    link_type, malformed,
};

/// The section being read: its byte order and the interfaces it has described so far.
#[derive(Debug)]
pub(super) struct Sections {
    order: Order,
    interfaces: Vec<Interface>,
}

impl Sections {
    /// Reads the first section header.
    pub(super) fn open<R: Read>(stream: &mut Stream<R>) -> Result<Self, Closed> {
        let mut sections = Self { order: Order::Little, interfaces: Vec::new() };
        let block = sections.block(stream)?;
        sections.begin(block, stream)?;
        Ok(sections)
    }

    /// Takes blocks up to and with the next that holds a frame. A frame without a time of its own
    /// (simple packet block) gets `newest`.
    #[inline]
    pub(super) fn next<'s, R: Read>(
        &mut self,
        stream: &'s mut Stream<R>,
        newest: Timestamp,
    ) -> Result<Frame<'s>, Closed> {
        let (block, packet) = loop {
            let block = self.block(stream)?;
            match block.kind {
                ENHANCED_PACKET | PACKET | SIMPLE_PACKET => {
                    break (block, self.packet(block, stream, newest)?);
                }
                INTERFACE_DESCRIPTION => self.describe(block, stream)?,
                SECTION_HEADER => self.begin(block, stream)?,
                _ => self.skip(block, stream)?,
            }
        };
        let bytes = stream
            .take(block.length as usize)
            .map_err(|short| damaged(block.offset, short.within(block.length)))?;
        Ok(Frame {
            bytes: &bytes[packet.start..packet.start + packet.captured],
            length: packet.length.max(packet.captured as u32),
            at: packet.at,
            link: packet.link,
        })
    }

    /// Looks at the next block's type and length. A section header sets the byte order first.
    #[inline]
    fn block<R: Read>(&mut self, stream: &mut Stream<R>) -> Result<Block, Closed> {
        let offset = stream.offset();
        let head = match stream.peek(12) {
            Ok(head) => head,
            Err(Short::Ended { after: 0 }) => return Err(Closed::End),
            Err(short) => return Err(damaged(offset, short.within(12))),
        };
        // The section header's type reads the same in both orders.
        if field::<4>(head, 0) == SECTION_HEADER.to_be_bytes() {
            self.order = match field::<4>(head, 8) {
                [0x4d, 0x3c, 0x2b, 0x1a] => Order::Little,
                [0x1a, 0x2b, 0x3c, 0x4d] => Order::Big,
                _ => return Err(malformed(offset, "the byte-order magic 1a2b3c4d")),
            };
        }
        let length = self.order.u32(head, 4);
        if length < 12 || !length.is_multiple_of(4) {
            return Err(malformed(
                offset,
                "a block length that is a multiple of 4 and at least 12",
            ));
        }
        Ok(Block { offset, kind: self.order.u32(head, 0), length })
    }

    /// Begins a section.
    fn begin<R: Read>(&mut self, block: Block, stream: &mut Stream<R>) -> Result<(), Closed> {
        if block.length < 28 {
            return Err(malformed(block.offset, "a section header of 28 bytes"));
        }
        let head =
            stream.peek(16).map_err(|short| damaged(block.offset, short.within(block.length)))?;
        match (self.order.u16(head, 12), self.order.u16(head, 14)) {
            (1, 0 | 2) => {}
            _ => return Err(malformed(block.offset, "pcapng version 1.0")),
        }
        self.interfaces.clear();
        // Its trailer tells nothing that is needed (libpcap does not look at it either).
        stream
            .skip(block.length.into())
            .map_err(|short| damaged(block.offset, short.within(block.length)))
    }

    /// Adds an interface.
    fn describe<R: Read>(&mut self, block: Block, stream: &mut Stream<R>) -> Result<(), Closed> {
        if block.length < 20 {
            return Err(malformed(block.offset, "an interface of 20 bytes or more"));
        }
        if self.interfaces.len() == MOST_INTERFACES {
            return Err(malformed(block.offset, "65536 interfaces at most"));
        }
        let bytes = self.whole(block, stream)?;
        let interface = Interface::read(self.order, &bytes[8..bytes.len() - 4])
            .map_err(|expected| malformed(block.offset, expected))?;
        self.interfaces.push(interface);
        stream
            .skip(block.length.into())
            .map_err(|short| damaged(block.offset, short.within(block.length)))
    }

    /// Finds the frame in a packet block of any of the three kinds, which stays untaken.
    #[inline]
    fn packet<R: Read>(
        &self,
        block: Block,
        stream: &mut Stream<R>,
        newest: Timestamp,
    ) -> Result<Packet, Closed> {
        let order = self.order;
        let start: usize = if block.kind == SIMPLE_PACKET { 12 } else { 28 };
        let Some(room) = (block.length as usize).checked_sub(start + 4) else {
            return Err(malformed(block.offset, "a packet block with its fields"));
        };
        let bytes = self.whole(block, stream)?;
        let id = match block.kind {
            ENHANCED_PACKET => order.u32(bytes, 8) as usize,
            PACKET => order.u16(bytes, 8).into(),
            _ => 0,
        };
        let Some(interface) = self.interfaces.get(id) else {
            return Err(malformed(block.offset, "an interface described before"));
        };
        let (captured, length, at) = if block.kind == SIMPLE_PACKET {
            let length = order.u32(bytes, 8);
            (length.min(interface.snap), length, newest)
        } else {
            let units = u64::from(order.u32(bytes, 12)) << 32 | u64::from(order.u32(bytes, 16));
            let at = interface.clock.at(units);
            (order.u32(bytes, 20), order.u32(bytes, 24), at)
        };
        if captured > LONGEST_FRAME {
            let (length, max) = (captured, LONGEST_FRAME);
            return Err(damaged(block.offset, Damage::TooLong { length, max }));
        }
        let captured = captured as usize;
        if captured > room {
            return Err(malformed(block.offset, "a frame that ends within its block"));
        }
        Ok(Packet { start, captured, length, at, link: interface.link })
    }

    /// Passes over a block of any length.
    fn skip<R: Read>(&self, block: Block, stream: &mut Stream<R>) -> Result<(), Closed> {
        let body = block.length - 4;
        stream
            .skip(body.into())
            .map_err(|short| damaged(block.offset, short.within(block.length)))?;
        let trailer = stream.take(4).map_err(|short| {
            let damage = match short {
                Short::Ended { after } => Short::Ended { after: u64::from(body) + after },
                failed @ Short::Failed(_) => failed,
            };
            damaged(block.offset, damage.within(block.length))
        })?;
        if self.order.u32(trailer, 0) != block.length {
            return Err(malformed(block.offset, TRAILER));
        }
        Ok(())
    }

    /// A block that has to be looked at as a whole, its trailer checked. It stays untaken.
    #[inline]
    fn whole<'s, R: Read>(
        &self,
        block: Block,
        stream: &'s mut Stream<R>,
    ) -> Result<&'s [u8], Closed> {
        let length = block.length;
        if length > LONGEST_BLOCK {
            let max = LONGEST_BLOCK;
            return Err(damaged(block.offset, Damage::TooLong { length, max }));
        }
        let bytes = stream
            .peek(length as usize)
            .map_err(|short| damaged(block.offset, short.within(length)))?;
        if self.order.u32(bytes, bytes.len() - 4) != length {
            return Err(malformed(block.offset, TRAILER));
        }
        Ok(bytes)
    }
}

/// A block whose first eight bytes were read.
#[derive(Clone, Copy, Debug)]
struct Block {
    offset: u64,
    kind: u32,
    /// Of the whole block; at least 12, a multiple of 4.
    length: u32,
}

/// Where a frame is in its block, and what the block says of it.
#[derive(Clone, Copy, Debug)]
struct Packet {
    start: usize,
    captured: usize,
    length: u32,
    at: Timestamp,
    link: LinkType,
}

/// An interface of the section.
#[derive(Clone, Copy, Debug)]
struct Interface {
    link: LinkType,
    /// The longest frame in a simple packet block.
    snap: u32,
    clock: Clock,
}

impl Interface {
    /// Reads the body of an interface description block, at least 8 bytes; else says what was
    /// expected.
    fn read(order: Order, body: &[u8]) -> Result<Self, &'static str> {
        let (mut unit, mut offset) = (6, 0);
        let mut options = &body[8..];
        while options.len() >= 4 {
            let code = order.u16(options, 0);
            let length = usize::from(order.u16(options, 2));
            if code == END_OF_OPTIONS {
                break;
            }
            let value = options.get(4..4 + length).ok_or(OPTION)?;
            match (code, value) {
                (TIME_RESOLUTION, &[n]) => unit = n,
                (TIME_RESOLUTION, _) => return Err("an if_tsresol of 1 byte"),
                (TIME_OFFSET, value) if length == 8 => offset = order.u64(value, 0) as i64,
                (TIME_OFFSET, _) => return Err("an if_tsoffset of 8 bytes"),
                _ => {}
            }
            // The body is a multiple of 4, so the padding is there when the value is.
            options = &options[4 + length.next_multiple_of(4)..];
        }
        Ok(Self {
            link: link_type(order.u16(body, 0).into()),
            snap: match order.u32(body, 4) {
                0 => u32::MAX,
                snap => snap,
            },
            clock: Clock::new(unit, offset),
        })
    }
}

/// How an interface counts time.
#[derive(Clone, Copy, Debug)]
struct Clock {
    unit: Unit,
    /// Nanoseconds between the epoch and the clock's zero.
    offset: i64,
}

impl Clock {
    /// From `if_tsresol` and `if_tsoffset` (seconds).
    fn new(resolution: u8, offset: i64) -> Self {
        let exponent = u32::from(resolution & 0x7f);
        let unit = if resolution & 0x80 != 0 {
            Unit::Binary(exponent)
        } else if exponent <= 9 {
            Unit::Nanos(10_u64.pow(9 - exponent))
        } else {
            // All of 2^64 units that are shorter than 10^-28 s make less than a nanosecond.
            10_u64.checked_pow(exponent - 9).map_or(Unit::Binary(127), Unit::PerNano)
        };
        Self { unit, offset: offset.saturating_mul(1_000_000_000) }
    }

    #[inline]
    fn at(self, units: u64) -> Timestamp {
        let nanos = match self.unit {
            Unit::Nanos(n) => units.saturating_mul(n),
            Unit::PerNano(n) => units / n,
            Unit::Binary(n) => {
                let nanos = (u128::from(units) * 1_000_000_000) >> n;
                u64::try_from(nanos).unwrap_or(u64::MAX)
            }
        };
        Timestamp::from_nanos(nanos.saturating_add_signed(self.offset))
    }
}

#[derive(Clone, Copy, Debug)]
enum Unit {
    /// So many nanoseconds.
    Nanos(u64),
    /// So many units make a nanosecond.
    PerNano(u64),
    /// 2^-n seconds.
    Binary(u32),
}

/// Block type of a section header.
pub(super) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
/// The obsolete packet block.
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const END_OF_OPTIONS: u16 = 0;
const TIME_RESOLUTION: u16 = 9;
const TIME_OFFSET: u16 = 14;

/// Blocks that are looked at as a whole may have so many bytes (as in libpcap).
const LONGEST_BLOCK: u32 = 16 * 1024 * 1024;
/// A limit of ours, so that a file of interfaces alone cannot eat the memory.
const MOST_INTERFACES: usize = 65_536;

const TRAILER: &str = "the block's length repeated at its end";
const OPTION: &str = "an option that ends within its block";

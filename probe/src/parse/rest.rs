//! What is left of a frame while its headers are read.

/// The bytes of a frame that were not read yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest<'a> {
    /// Those that were captured and may be looked at.
    bytes: &'a [u8],
    /// Bytes of the frame before them.
    offset: u32,
    /// Where the data ends on the wire, counted from the start of the frame.
    end: u32,
}

/// Why no further header can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The captured bytes ended; there were more on the wire.
    Cut,
    /// The bytes are no such header.
    Unread,
}

impl<'a> Rest<'a> {
    /// A whole frame, of whose bytes at most `limit` may be looked at. A wire length below the
    /// captured length counts for nothing.
    #[inline]
    pub(super) fn new(bytes: &'a [u8], length: u32, limit: u32) -> Self {
        let seen = bytes.len().min(limit as usize);
        Self { bytes: bytes.get(..seen).unwrap_or(bytes), offset: 0, end: length.max(seen as u32) }
    }

    /// The next header of `N` bytes, and what is left after it.
    #[inline]
    pub(super) fn split<const N: usize>(self) -> Result<(&'a [u8; N], Self), Stop> {
        match self.bytes.split_first_chunk::<N>() {
            Some((header, bytes)) => {
                Ok((header, Self { bytes, offset: self.offset + N as u32, end: self.end }))
            }
            None => Err(self.missing(N)),
        }
    }

    /// What is left after `length` bytes.
    #[inline]
    pub(super) fn skip(self, length: usize) -> Result<Self, Stop> {
        match self.bytes.get(length..) {
            Some(bytes) => Ok(Self { bytes, offset: self.offset + length as u32, end: self.end }),
            None => Err(self.missing(length)),
        }
    }

    /// The first `length` bytes only: what follows is padding or a trailer. No change if there are
    /// fewer.
    #[inline]
    pub(super) fn limit(self, length: u32) -> Self {
        if length >= self.len() {
            return self;
        }
        Self {
            bytes: self.bytes.get(..length as usize).unwrap_or(self.bytes),
            offset: self.offset,
            end: self.offset + length,
        }
    }

    /// Other bytes in the place of these: `length` on the wire, of which `bytes` are there. Of the
    /// frame that they make, at most `limit` bytes may be looked at.
    pub(super) fn replaced<'b>(self, bytes: &'b [u8], length: u32, limit: u32) -> Rest<'b> {
        let seen = bytes.len().min(limit.saturating_sub(self.offset) as usize);
        let end = self.offset.saturating_add(length.max(seen as u32));
        Rest { bytes: bytes.get(..seen).unwrap_or(bytes), offset: self.offset, end }
    }

    /// Why there are no `wanted` bytes.
    #[cold]
    pub(super) fn missing(self, wanted: usize) -> Stop {
        if wanted <= self.len() as usize { Stop::Cut } else { Stop::Unread }
    }

    /// The bytes captured.
    #[inline]
    pub(super) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes on the wire. Never less than were captured.
    #[inline]
    pub(super) fn len(self) -> u32 {
        self.end - self.offset
    }

    /// Where they end on the wire, counted from the start of the frame.
    #[inline]
    pub(super) fn end(self) -> u32 {
        self.end
    }

    /// Bytes of the frame before these.
    #[inline]
    pub(super) fn offset(self) -> u32 {
        self.offset
    }
}

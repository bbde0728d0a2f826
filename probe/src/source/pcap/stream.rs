//! A window that slides over a stream of bytes.

use std::io::{ErrorKind, Read};

use super::Damage;

/// Bytes read ahead of what was taken. It grows only as bytes really arrive, so a length that
/// lies costs no memory.
#[derive(Debug)]
pub(super) struct Stream<R> {
    source: R,
    bytes: Vec<u8>,
    /// `bytes[start..end]` is read and not yet taken.
    start: usize,
    end: usize,
    /// Offset in the stream of `bytes[0]`.
    base: u64,
}

impl<R: Read> Stream<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, bytes: vec![0; CHUNK], start: 0, end: 0, base: 0 }
    }

    /// The next `n` bytes, which stay untaken.
    #[inline]
    pub(super) fn peek(&mut self, n: usize) -> Result<&[u8], Short> {
        if self.end - self.start < n {
            self.fill(n)?;
        }
        Ok(&self.bytes[self.start..self.start + n])
    }

    /// Takes the next `n` bytes.
    #[inline]
    pub(super) fn take(&mut self, n: usize) -> Result<&[u8], Short> {
        if self.end - self.start < n {
            self.fill(n)?;
        }
        self.start += n;
        Ok(&self.bytes[self.start - n..self.start])
    }

    /// Passes over `n` bytes without holding them.
    pub(super) fn skip(&mut self, n: u64) -> Result<(), Short> {
        let mut left = n;
        loop {
            let step = left.min((self.end - self.start) as u64);
            self.start += step as usize;
            left -= step;
            if left == 0 {
                return Ok(());
            }
            match self.fill(1) {
                Err(Short::Ended { .. }) => return Err(Short::Ended { after: n - left }),
                other => other?,
            }
        }
    }

    /// Offset in the stream of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.start as u64
    }

    #[cold]
    fn fill(&mut self, n: usize) -> Result<(), Short> {
        self.bytes.copy_within(self.start..self.end, 0);
        self.base += self.start as u64;
        self.end -= self.start;
        self.start = 0;
        while self.end < n {
            if self.end == self.bytes.len() {
                self.bytes.resize(2 * self.end, 0);
            }
            match self.source.read(&mut self.bytes[self.end..]) {
                Ok(0) => {
                    return Err(Short::Ended { after: self.end as u64 });
                }
                // A reader that claims more than it was lent is not believed.
                Ok(got) => self.end = (self.end + got).min(self.bytes.len()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Short::Failed(error.raw_os_error().unwrap_or(0))),
            }
        }
        Ok(())
    }
}

/// Why there are fewer bytes than asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Short {
    /// The stream ends after so many of them.
    Ended { after: u64 },
    /// The read failed; its errno, 0 when there is none.
    Failed(i32),
}

impl Short {
    /// The damage when a record of `length` bytes was being read from its start.
    pub(super) fn within(self, length: u32) -> Damage {
        match self {
            Self::Ended { after } => Damage::Cut {
                missing: length.saturating_sub(u32::try_from(after).unwrap_or(u32::MAX)),
            },
            Self::Failed(errno) => Damage::Read(errno),
        }
    }
}

/// Bytes that are read at once: two of the longest records, few enough to stay in the L2 cache.
const CHUNK: usize = 512 * 1024;

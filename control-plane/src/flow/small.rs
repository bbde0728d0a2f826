//! Short texts on the stack: what `fmt` would write, without it where it costs.

use std::fmt::Write as _;
use std::net::IpAddr;

use sonde_proto::record::Mac;

/// A text of [`Small::ROOM`] bytes at most.
#[derive(Clone, Copy)]
pub(crate) struct Small {
    bytes: [u8; Self::ROOM],
    len: u8,
}

impl Small {
    /// The longest IPv6 address fits: 39 bytes, 45 with an IPv4 address inside.
    const ROOM: usize = 47;

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    const fn new() -> Self {
        Self { bytes: [0; Self::ROOM], len: 0 }
    }

    /// As [`sonde_proto::flow::hex`].
    pub(crate) fn hex(digest: u64) -> Self {
        let mut text = Self::new();
        let digits = (16 - digest.leading_zeros() / 4).max(1);
        for place in (0..digits).rev() {
            text.push(DIGITS[(digest >> (4 * place)) as usize & 0xf]);
        }
        text
    }

    /// As [`sonde_proto::flow::mac`].
    pub(crate) fn mac(mac: Mac) -> Self {
        let mut text = Self::new();
        for (n, byte) in mac.into_iter().enumerate() {
            if n > 0 {
                text.push(b':');
            }
            text.push(DIGITS[usize::from(byte >> 4)]);
            text.push(DIGITS[usize::from(byte & 0xf)]);
        }
        text
    }

    /// As it is displayed.
    pub(crate) fn ip(ip: IpAddr) -> Self {
        let mut text = Self::new();
        match ip {
            IpAddr::V4(ip) => {
                for (n, byte) in ip.octets().into_iter().enumerate() {
                    if n > 0 {
                        text.push(b'.');
                    }
                    if byte >= 100 {
                        text.push(b'0' + byte / 100);
                    }
                    if byte >= 10 {
                        text.push(b'0' + byte / 10 % 10);
                    }
                    text.push(b'0' + byte % 10);
                }
            }
            // Which zeros are left out is not for us to know.
            IpAddr::V6(ip) => {
                let written = write!(text, "{ip}");
                debug_assert!(written.is_ok(), "{ip} fits");
            }
        }
        text
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len.into()).unwrap_or_default()
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(usize::from(self.len)) {
            *place = byte;
            self.len += 1;
        }
    }
}

impl std::fmt::Debug for Small {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_str().fmt(out)
    }
}

impl std::fmt::Write for Small {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let begin = usize::from(self.len);
        let end = begin + text.len();
        let room = self.bytes.get_mut(begin..end).ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len = end as u8;
        Ok(())
    }
}

const DIGITS: [u8; 16] = *b"0123456789abcdef";

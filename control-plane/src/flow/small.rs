//! Short texts on the stack: what `fmt` would write, without it where it costs.

use std::fmt::Write as _;
use std::net::IpAddr;

use sonde_proto::record::Mac;

/// A text of [`Small::ROOM`] bytes at most.
pub(super) struct Small {
    bytes: [u8; Self::ROOM],
    len: usize,
}

impl Small {
    /// The longest IPv6 address fits: 39 bytes, 45 with an IPv4 address inside.
    const ROOM: usize = 48;

    const fn new() -> Self {
        Self { bytes: [0; Self::ROOM], len: 0 }
    }

    /// As [`sonde_proto::flow::hex`].
    pub(super) fn hex(digest: u64) -> Self {
        let mut text = Self::new();
        let digits = (16 - digest.leading_zeros() / 4).max(1);
        for place in (0..digits).rev() {
            text.push(DIGITS[(digest >> (4 * place)) as usize & 0xf]);
        }
        text
    }

    /// As [`sonde_proto::flow::mac`].
    pub(super) fn mac(mac: Mac) -> Self {
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
    pub(super) fn ip(ip: IpAddr) -> Self {
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
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }
}

impl std::fmt::Write for Small {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        let room = self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

const DIGITS: [u8; 16] = *b"0123456789abcdef";

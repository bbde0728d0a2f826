//! Writes capture files, byte by byte.

/// Writes numbers in one byte order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer {
    pub(crate) big: bool,
}

pub(crate) const ORDERS: [Writer; 2] = [Writer { big: false }, Writer { big: true }];

impl Writer {
    pub(crate) fn u16(self, n: u16) -> Vec<u8> {
        if self.big { n.to_be_bytes().into() } else { n.to_le_bytes().into() }
    }

    pub(crate) fn u32(self, numbers: &[u32]) -> Vec<u8> {
        numbers
            .iter()
            .flat_map(|n| if self.big { n.to_be_bytes() } else { n.to_le_bytes() })
            .collect()
    }

    pub(crate) fn header(self, magic: u32, version: (u16, u16), link: u32) -> Vec<u8> {
        [self.u32(&[magic]), self.u16(version.0), self.u16(version.1), self.u32(&[0, 0, 128, link])]
            .concat()
    }

    pub(crate) fn record(self, seconds: u32, fraction: u32, length: u32, bytes: &[u8]) -> Vec<u8> {
        let captured = bytes.len() as u32;
        [self.u32(&[seconds, fraction, captured, length]), bytes.to_vec()].concat()
    }

    pub(crate) fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let padding = vec![0; body.len().next_multiple_of(4) - body.len()];
        let length = self.u32(&[12 + (body.len() + padding.len()) as u32]);
        [&self.u32(&[kind]), &length, body, &padding, &length].concat()
    }

    pub(crate) fn section(self) -> Vec<u8> {
        let version = [self.u16(1), self.u16(0)].concat();
        self.block(0x0a0d_0d0a, &[self.u32(&[0x1a2b_3c4d]), version, vec![0xff; 8]].concat())
    }

    pub(crate) fn interface(self, link: u16, snap: u32, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = [self.u16(link), self.u16(0), self.u32(&[snap])].concat();
        for (code, value) in options {
            body.extend([self.u16(*code), self.u16(value.len() as u16)].concat());
            body.extend_from_slice(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        self.block(1, &body)
    }

    pub(crate) fn enhanced(self, interface: u32, units: u64, length: u32, bytes: &[u8]) -> Vec<u8> {
        let fields = [interface, (units >> 32) as u32, units as u32, bytes.len() as u32, length];
        self.block(6, &[&self.u32(&fields), bytes].concat())
    }
}

pub(crate) const MICRO: u32 = 0xa1b2_c3d4;
pub(crate) const NANO: u32 = 0xa1b2_3c4d;
pub(crate) const KUZNETZOV: u32 = 0xa1b2_cd34;
pub(crate) const V2_4: (u16, u16) = (2, 4);
pub(crate) const LE: Writer = Writer { big: false };

//! When the ends of a TCP flow said SYN, FIN and RST.

use sonde_proto::record::TcpSide;
use sonde_proto::time::Timestamp;

use crate::parse::tcp_flags::{FIN, RST, SYN};

/// What one end signalled.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Signals {
    /// First SYN.
    syn: Option<Timestamp>,
    /// TTL or hop limit of that SYN.
    syn_ttl: u8,
    /// Last FIN.
    fin: Option<Timestamp>,
    /// Last RST.
    rst: Option<Timestamp>,
}

impl Signals {
    /// Whether a segment with these flags signals anything.
    #[inline]
    pub(crate) fn are_in(flags: u8) -> bool {
        flags & (SYN | FIN | RST) != 0
    }

    /// Takes a segment of this end; several flags count as SYN, else as FIN. Unlike in Skydive a
    /// SYN sent again says nothing of the other end.
    pub(crate) fn take(&mut self, flags: u8, ttl: u8, at: Timestamp) {
        if flags & SYN != 0 {
            if self.syn.is_none() {
                self.syn = Some(at);
                self.syn_ttl = ttl;
            }
        } else if flags & FIN != 0 {
            self.fin = Some(at);
        } else if flags & RST != 0 {
            self.rst = Some(at);
        }
    }

    /// Adds what is known to the record of the end.
    pub(crate) fn report(&self, side: &mut TcpSide) {
        side.syn = self.syn;
        side.syn_ttl = self.syn_ttl;
        side.fin = self.fin;
        side.rst = self.rst;
    }
}

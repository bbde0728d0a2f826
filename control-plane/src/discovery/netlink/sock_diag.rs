//! Requests to sock_diag(7), which tells of sockets.

use rtnetlink::packet_core::{NLM_F_DUMP, NLM_F_REQUEST};

use super::frame::HEADER;

/// The netlink protocol.
pub(in super::super) const PROTOCOL: isize = 4;

/// Asks for all sockets that `body` means: one of the requests of the family.
pub(in super::super) fn request(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(body);
    bytes
}

// linux/sock_diag.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;

//! Which frames of a capture are mirrored.

use std::net::IpAddr;
use std::sync::Arc;

use sonde_proto::plan::BpfInstruction;

use crate::bpf::{self, BpfError};

/// The filter of a capture whose frames are mirrored to `target`: what `wanted` admits, without what
/// [`Mirror`](super::Mirror)s send to anybody and what is said to them by a target that expects none,
/// with a VLAN tag or without. Else frames would be mirrored again and again, by one mirror or by two
/// in turn.
pub fn filter(
    wanted: &[BpfInstruction],
    target: IpAddr,
) -> Result<Arc<[BpfInstruction]>, BpfError> {
    let unreachable = match target {
        IpAddr::V4(_) => "icmp[0] = 3",
        IpAddr::V6(_) => "icmp6 and ip6[40] = 1",
    };
    let ours = format!(
        "(proto 47 and dst host {target}) or ({unreachable} and src host {target}) \
         or {ERSPAN_OVER_IPV4} or {ERSPAN_OVER_IPV6}"
    );
    // `vlan` changes where libpcap looks for all that follows, so it is last.
    let others = bpf::compile(&format!("not ({ours}) and not (vlan and ({ours}))"))?;
    bpf::both(wanted, &others)
}

/// ERSPAN type I in IPv4 without options, as mirrors send it. Of a packet that was too long for its
/// way the first fragment is known by that; the others have no such header, but become shorter each
/// time they are mirrored.
const ERSPAN_OVER_IPV4: &str = "(ip proto 47 and ip[6:2] & 0x1fff = 0 and ip[20:4] = 0x88be)";

/// The same in IPv6, whole or behind a fragment header.
const ERSPAN_OVER_IPV6: &str = "(ip6 proto 47 and \
     ((ip6[6] = 47 and ip6[40:4] = 0x88be) or (ip6[6] = 44 and ip6[48:4] = 0x88be)))";

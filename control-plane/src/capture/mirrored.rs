//! Captures whose frames are mirrored to a target (`TargetType` `erspanv1`, API §9.4).

use std::net::{IpAddr, ToSocketAddrs};

use sonde_proto::capture::Capture;

use crate::resource::Invalid;

/// The name in `TargetType`.
pub(super) const ERSPAN_V1: &str = "erspanv1";

/// Where the capture's frames shall be mirrored to; `None` when they shall not. `Target` is a host, or
/// a host and a port, which means nothing to GRE. May block on DNS.
pub(super) fn target(capture: &Capture) -> Result<Option<IpAddr>, Invalid> {
    if capture.target_type != ERSPAN_V1 {
        return Ok(None);
    }
    let wrong = |why: &str| Invalid::new("Target", format!("Not a valid address{why}"));
    let host = host(&capture.target).ok_or_else(|| wrong(""))?;
    let mut found = (host, 0).to_socket_addrs().map_err(|error| wrong(&format!(": {error}")))?;
    let address = found.next().map(|found| found.ip());
    // The first address counts, as a resolver orders them by how well they are reached.
    address.filter(|address| !address.is_unspecified()).map(Some).ok_or_else(|| wrong(""))
}

/// The host of `host`, `host:port` or `[address]:port`.
fn host(target: &str) -> Option<&str> {
    let is_port = |text: &str| text.parse::<u16>().is_ok();
    if target.parse::<IpAddr>().is_ok() {
        return Some(target);
    }
    if let Some((address, rest)) = target.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let ends = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
        return (ends && address.parse::<IpAddr>().is_ok()).then_some(address);
    }
    let (host, port) = target.split_once(':').unzip();
    let host = host.unwrap_or(target);
    (!host.is_empty() && port.is_none_or(is_port)).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Result<Option<IpAddr>, String> {
        let capture =
            Capture { target: text.into(), target_type: ERSPAN_V1.into(), ..Capture::default() };
        target(&capture).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn a_target_is_a_host_with_a_port_or_without() {
        for (text, address) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:4789", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:1", "2001:db8::1"),
        ] {
            assert_eq!(asked(text), Ok(Some(address.parse().unwrap())), "{text}");
        }
        for text in ["", ":1", "[::1", "host:", "host:x", "host:65536", "a:b:1", "0.0.0.0", "[a]:1"]
        {
            assert_eq!(asked(text), Err("Target: Not a valid address".into()), "{text}");
        }
        assert_eq!(target(&Capture::default()).unwrap(), None);
    }
}

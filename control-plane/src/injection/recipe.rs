//! What an injection sends: its texts read (Skydive API §10).

use std::net::IpAddr;
use std::str::FromStr;

use sonde_proto::injection::PacketInjection;

use crate::gremlin::Query;
use crate::resource::{Invalid, keep, query};

/// The layer above IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Icmp,
    Tcp,
    Udp,
}

/// How packets differ that are not told apart by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Each sending node has a port, or an ICMP identifier, of its own.
    Unique,
    /// So has each packet but the first.
    Random,
}

/// The texts of an injection, read.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) src: Query,
    pub(super) dst: Option<Query>,
    pub(super) transport: Transport,
    pub(super) is_ipv6: bool,
    pub(super) mode: Mode,
    pub(super) src_ip: Option<IpAddr>,
    pub(super) dst_ip: Option<IpAddr>,
    pub(super) src_mac: Option<Mac>,
    pub(super) dst_mac: Option<Mac>,
    /// Of a capture file, to be sent in place of packets of ours.
    pub(super) pcap: Option<Vec<u8>>,
}

pub(super) type Mac = [u8; 6];

impl Recipe {
    /// Reads the texts; or says every rule that is broken. May block on DNS.
    pub(super) fn read(of: &PacketInjection) -> Result<Self, Vec<Invalid>> {
        let mut broken = Vec::new();
        let src = keep(&mut broken, query("Src", &of.src));
        let dst = (!of.dst.is_empty()).then(|| keep(&mut broken, query("Dst", &of.dst))).flatten();
        let kind = keep(&mut broken, kind(&of.kind));
        let mode = keep(&mut broken, mode(&of.mode));
        let src_ip = keep(&mut broken, address("SrcIP", &of.src_ip));
        let dst_ip = keep(&mut broken, address("DstIP", &of.dst_ip));
        let src_mac = keep(&mut broken, mac("SrcMAC", &of.src_mac));
        let dst_mac = keep(&mut broken, mac("DstMAC", &of.dst_mac));
        let pcap = keep(&mut broken, pcap(of.pcap.as_deref()));
        if of.count == 0 {
            broken.push(Invalid::new("Count", "expected at least 1"));
        }
        if !(0..=MORE).contains(&of.increment_payload) {
            broken.push(Invalid::new("IncrementPayload", format!("expected 0 to {MORE}")));
        }
        if of.payload.len() > PAYLOAD {
            broken.push(Invalid::new("Payload", format!("expected {PAYLOAD} bytes at most")));
        }
        match (src, kind, mode, src_ip, dst_ip, src_mac, dst_mac, pcap) {
            (
                Some(src),
                Some((transport, is_ipv6)),
                Some(mode),
                Some(src_ip),
                Some(dst_ip),
                Some(src_mac),
                Some(dst_mac),
                Some(pcap),
            ) if broken.is_empty() => Ok(Self {
                src,
                dst,
                transport,
                is_ipv6,
                mode,
                src_ip,
                dst_ip,
                src_mac,
                dst_mac,
                pcap,
            }),
            _ => Err(broken),
        }
    }
}

fn kind(text: &str) -> Result<(Transport, bool), Invalid> {
    Ok(match text {
        "icmp4" => (Transport::Icmp, false),
        "icmp6" => (Transport::Icmp, true),
        "tcp4" => (Transport::Tcp, false),
        "tcp6" => (Transport::Tcp, true),
        "udp4" => (Transport::Udp, false),
        "udp6" => (Transport::Udp, true),
        _ => return Err(Invalid::whole("given type is not supported")),
    })
}

fn mode(text: &str) -> Result<Mode, Invalid> {
    match text {
        "" | "unique" => Ok(Mode::Unique),
        "random" => Ok(Mode::Random),
        _ => Err(Invalid::whole("given mode is not supported")),
    }
}

fn address(member: &'static str, text: &str) -> Result<Option<IpAddr>, Invalid> {
    if text.is_empty() {
        return Ok(None);
    }
    let address = bare(text);
    address.map(Some).ok_or_else(|| Invalid::new(member, "Not a IP or CIDR address"))
}

/// The address of a text that may say how long its prefix is.
pub(super) fn bare(text: &str) -> Option<IpAddr> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (IpAddr::from_str(address).ok()?, length.parse().ok()?),
        None => (IpAddr::from_str(text).ok()?, 0_u8),
    };
    (length <= if address.is_ipv4() { 32 } else { 128 }).then_some(address)
}

fn mac(member: &'static str, text: &str) -> Result<Option<Mac>, Invalid> {
    if text.is_empty() {
        return Ok(None);
    }
    read_mac(text).map(Some).ok_or_else(|| Invalid::new(member, "Not a MAC address"))
}

/// Six bytes of hex between colons or dashes.
pub(super) fn read_mac(text: &str) -> Option<Mac> {
    let mut bytes = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut bytes {
        let part = parts.next().filter(|part| part.len() == 2)?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(bytes)
}

fn pcap(text: Option<&str>) -> Result<Option<Vec<u8>>, Invalid> {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let decoded = BASE64_STANDARD.decode(text);
    decoded.map(Some).map_err(|why| Invalid::new("Pcap", format!("Not base64: {why}")))
}

/// Bytes of a payload at most: what an IP packet holds.
const PAYLOAD: usize = 65_000;

/// Letters that a packet carries more than the one before it at most.
const MORE: i64 = 1500;

#[cfg(test)]
mod tests {
    use super::*;

    fn injection() -> PacketInjection {
        PacketInjection {
            src: "G.V()".into(),
            kind: "icmp4".into(),
            count: 1,
            ..PacketInjection::default()
        }
    }

    #[test]
    fn every_broken_rule_is_said() {
        let broken = PacketInjection {
            src_ip: "10.0.0".into(),
            dst_ip: "10.0.0.1/33".into(),
            src_mac: "02:00".into(),
            dst_mac: "0g:00:00:00:00:00".into(),
            pcap: Some("???".into()),
            mode: "odd".into(),
            increment_payload: -1,
            ..PacketInjection::default()
        };
        let broken = Recipe::read(&broken).unwrap_err();
        let said: Vec<_> = broken.iter().map(ToString::to_string).collect();
        for (said, expected) in said.iter().zip([
            "Src: ",
            "given type is not supported",
            "given mode is not supported",
            "SrcIP: Not a IP or CIDR address",
            "DstIP: Not a IP or CIDR address",
            "SrcMAC: Not a MAC address",
            "DstMAC: Not a MAC address",
            "Pcap: Not base64",
            "Count: expected at least 1",
            "IncrementPayload: expected 0 to 1500",
        ]) {
            assert!(said.starts_with(expected), "{said}: {expected}");
        }
        assert_eq!(said.len(), 10);
    }

    #[test]
    fn texts_are_read() {
        let recipe = Recipe::read(&PacketInjection {
            src_ip: "10.0.0.1/24".into(),
            dst_ip: "fd00::1".into(),
            src_mac: "02:00:00:00:00:AB".into(),
            dst_mac: "02-00-00-00-00-01".into(),
            kind: "tcp6".into(),
            mode: "random".into(),
            ..injection()
        })
        .unwrap();
        assert_eq!((recipe.transport, recipe.is_ipv6), (Transport::Tcp, true));
        assert_eq!(recipe.mode, Mode::Random);
        assert_eq!(recipe.src_ip, Some("10.0.0.1".parse().unwrap()));
        assert_eq!(recipe.dst_ip, Some("fd00::1".parse().unwrap()));
        assert_eq!(recipe.src_mac, Some([2, 0, 0, 0, 0, 0xab]));
        assert_eq!(recipe.dst_mac, Some([2, 0, 0, 0, 0, 1]));
        let plain = Recipe::read(&injection()).unwrap();
        assert_eq!((plain.mode, plain.src_mac, plain.dst.is_none()), (Mode::Unique, None, true));
    }
}

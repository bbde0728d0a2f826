//! The rules a capture must keep, with Skydive's texts (API §2.3).

use std::net::IpAddr;
use std::sync::Arc;

use sonde_proto::capture::Capture;
use sonde_proto::plan::{BpfInstruction, ExtraLayers, KeyMode, Options};
use sonde_proto::time::Timestamp;

use super::kind::Kind;
use super::{mirrored, target};
use crate::bpf::{self, BpfError};
use crate::export::Export;
use crate::gremlin::Query;
use crate::mirror;
use crate::resource::{Invalid, Resource, keep, query};

/// What of a capture it takes to run it: its texts parsed and compiled.
#[derive(Debug)]
pub struct Runnable {
    /// Which nodes.
    pub(super) query: Query,
    /// Which frames.
    pub(super) filter: Arc<[BpfInstruction]>,
    /// How frames are taken; `None` for the node's default.
    pub(super) kind: Option<Kind>,
    /// Where a socket listens; `None` for any port that is free.
    pub(super) port: Option<u16>,
    /// What is made of the frames.
    pub(super) options: Options,
    /// Where its flows are sent, if anywhere.
    pub(super) export: Option<Export>,
    /// Where its frames are mirrored to, if anywhere.
    pub(super) mirror: Option<IpAddr>,
}

impl Resource for Capture {
    type Parsed = Runnable;
    /// `LayerKeyMode` of captures that name none.
    type Rules = KeyMode;

    const TABLE: &'static str = "captures";

    fn uuid(&mut self) -> &mut String {
        &mut self.uuid
    }

    fn parse(&mut self, default_mode: &KeyMode) -> Result<Runnable, Vec<Invalid>> {
        validate(self, *default_mode)
    }

    /// Skydive's rule: same type and query, and same filter unless the type allows for several.
    fn duplicates(&self, other: &Self) -> bool {
        let several = Kind::named(&self.kind).is_none_or(Kind::several);
        self.kind == other.kind
            && self.gremlin_query == other.gremlin_query
            && (self.bpf_filter == other.bpf_filter || !several)
    }

    fn stamp(&mut self, _before: Option<&Self>, _now: Timestamp) {
        self.count = 0;
    }
}

/// Fills `LayerKeyMode` where it is empty, and parses the capture; or says every rule it breaks.
///
/// A filter may name hosts, so this may block on DNS.
fn validate(capture: &mut Capture, default_mode: KeyMode) -> Result<Runnable, Vec<Invalid>> {
    if capture.layer_key_mode.is_empty() {
        capture.layer_key_mode = key_mode_name(default_mode).to_owned();
    }
    let mut broken = Vec::new();
    let query = keep(&mut broken, query("GremlinQuery", &capture.gremlin_query));
    let filter = keep(&mut broken, compiled(&capture.bpf_filter));
    let kind = keep(&mut broken, kind(capture));
    let header_size = keep(&mut broken, header_size(capture));
    let key_mode = keep(&mut broken, key_mode(capture));
    broken.extend(texts(capture));
    broken.extend(ranges(capture));
    let export = target::export(capture).unwrap_or_else(|wrong| {
        broken.extend(wrong);
        None
    });
    let mirror = mirrored::target(capture).unwrap_or_else(|wrong| {
        broken.push(wrong);
        None
    });
    match (query, filter, kind, header_size, key_mode) {
        (Some(query), Some(filter), Some(kind), Some(header_size), Some(key_mode))
            if broken.is_empty() =>
        {
            let options = options(capture, key_mode, header_size);
            let options = Options { mirror: mirror.is_some(), ..options };
            let port = u16::try_from(capture.port).ok().filter(|port| *port != 0);
            let filter = match mirror {
                Some(target) => {
                    mirror::filter(&filter, target).map_err(|why| vec![no_filter(&why)])?
                }
                None => filter,
            };
            Ok(Runnable { query, filter, kind, port, options, export, mirror })
        }
        _ => Err(broken),
    }
}

fn compiled(filter: &str) -> Result<Arc<[BpfInstruction]>, Invalid> {
    bpf::compile(filter).map_err(|why| no_filter(&why))
}

fn no_filter(why: &BpfError) -> Invalid {
    Invalid::new("BPFFilter", format!("Not a valid BPF expression: {why}"))
}

fn kind(capture: &Capture) -> Result<Option<Kind>, Invalid> {
    if capture.kind.is_empty() {
        return Ok(None);
    }
    Kind::named(&capture.kind).map(Some).ok_or_else(|| {
        let names = Kind::ALL.map(Kind::name).join(" ");
        let asked = &capture.kind;
        Invalid::new(
            "Type",
            format!("Not a valid capture type: {asked}, available types: [{names}]"),
        )
    })
}

fn header_size(capture: &Capture) -> Result<u32, Invalid> {
    match u32::try_from(capture.header_size) {
        Ok(0) => Ok(DEFAULT_HEADER_SIZE),
        Ok(size @ 14..=4096) => Ok(size),
        _ => Err(Invalid::new("HeaderSize", "A valid header size is >= 14 && <= 4096")),
    }
}

/// What a valid capture asks for. Each node adds its own `MPLSUDPPort`.
fn options(capture: &Capture, key_mode: KeyMode, header_size: u32) -> Options {
    Options {
        key_mode,
        header_size,
        sampling: capture.sampling_rate,
        raw_packets: capture.raw_packet_limit.try_into().unwrap_or_default(),
        tcp_metric: capture.extra_tcp_metric,
        reassemble_tcp: capture.reassemble_tcp,
        defragment: capture.ip_defrag,
        // Any bit may be set; those without a layer ask for nothing.
        extra_layers: ExtraLayers(capture.extra_layers.try_into().unwrap_or_default()),
        mpls_udp_port: None,
        mirror: false,
    }
}

/// Bytes looked at when a capture does not say, as Skydive has it.
const DEFAULT_HEADER_SIZE: u32 = 256;

fn key_mode(capture: &Capture) -> Result<KeyMode, Invalid> {
    [KeyMode::L2, KeyMode::L3]
        .into_iter()
        .find(|mode| key_mode_name(*mode) == capture.layer_key_mode)
        .ok_or_else(|| Invalid::new("LayerKeyMode", "Not a valid layer key mode"))
}

const fn key_mode_name(mode: KeyMode) -> &'static str {
    match mode {
        KeyMode::L2 => "L2",
        KeyMode::L3 => "L3",
    }
}

fn texts(capture: &Capture) -> impl Iterator<Item = Invalid> {
    [("Name", &capture.name), ("Description", &capture.description)]
        .into_iter()
        .filter(|(_, text)| text.len() > MAX_TEXT)
        .map(|(member, _)| Invalid::new(member, format!("A valid text has <= {MAX_TEXT} bytes")))
}

/// Bytes of a name or description: every node captured shows them.
const MAX_TEXT: usize = 4096;

fn ranges(capture: &Capture) -> impl Iterator<Item = Invalid> {
    [
        (
            "RawPacketLimit",
            0..=10,
            capture.raw_packet_limit,
            "A valid raw packet limit size is > 0 && <= 10",
        ),
        ("Port", 0..=65535, capture.port, "A valid port is >= 0 && <= 65535"),
        ("ExtraLayers", 0..=255, capture.extra_layers, "A valid mask of layers is >= 0 && <= 255"),
    ]
    .into_iter()
    .filter(|(_, range, value, _)| !range.contains(value))
    .map(|(member, _, _, rule)| Invalid::new(member, rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts_of(change: impl FnOnce(&mut Capture)) -> String {
        let mut capture = Capture { gremlin_query: "G.V()".into(), ..Capture::default() };
        change(&mut capture);
        let broken = validate(&mut capture, KeyMode::L2).map_or_else(|broken| broken, |_| vec![]);
        let texts: Vec<_> = broken.iter().map(Invalid::to_string).collect();
        texts.join(", ")
    }

    #[test]
    fn fills_the_default_mode() {
        let mut capture = Capture { gremlin_query: "G.V()".into(), ..Capture::default() };
        let runnable = validate(&mut capture, KeyMode::L3).unwrap();
        assert_eq!(capture.layer_key_mode, "L3");
        assert_eq!(runnable.options.key_mode, KeyMode::L3);
        assert_eq!(runnable.options.header_size, 256);
    }

    #[test]
    fn every_option_reaches_the_data_plane() {
        let mut capture = Capture {
            gremlin_query: "G.V()".into(),
            raw_packet_limit: 10,
            header_size: 96,
            sampling_rate: 100,
            extra_tcp_metric: true,
            ip_defrag: true,
            reassemble_tcp: true,
            extra_layers: 255,
            ..Capture::default()
        };
        let expected = Options {
            key_mode: KeyMode::L2,
            header_size: 96,
            sampling: 100,
            raw_packets: 10,
            tcp_metric: true,
            reassemble_tcp: true,
            defragment: true,
            extra_layers: ExtraLayers(255),
            mpls_udp_port: None,
            mirror: false,
        };
        assert_eq!(validate(&mut capture, KeyMode::L2).unwrap().options, expected);
    }

    #[test]
    fn takes_what_clients_always_send() {
        assert_eq!(
            texts_of(|capture| {
                capture.sampling_rate = 1;
                capture.polling_interval = 10;
                capture.target_type = "local".into();
                capture.header_size = 14;
                capture.port = 6343;
                capture.kind = "pcap".into();
            }),
            ""
        );
    }

    #[test]
    fn says_what_skydive_says() {
        let error = texts_of(|capture| capture.gremlin_query = "G.V(".into());
        assert!(error.starts_with("GremlinQuery: Not a valid Gremlin expression: "), "{error}");
        let error = texts_of(|capture| capture.bpf_filter = "port".into());
        assert!(error.starts_with("BPFFilter: Not a valid BPF expression: "), "{error}");
        let kinds = "available types: [afpacket dpdk pcap pcapsocket]";
        for kind in ["ebpf", "ovsmirror", "ovsnetflow", "ovssflow", "sflow", "nonsense"] {
            assert_eq!(
                texts_of(|capture| capture.kind = kind.into()),
                format!("Type: Not a valid capture type: {kind}, {kinds}")
            );
        }
        for size in [-1, 1, 13, 4097, i64::MAX] {
            assert_eq!(
                texts_of(|capture| capture.header_size = size),
                "HeaderSize: A valid header size is >= 14 && <= 4096"
            );
        }
        for limit in [-1, 11] {
            assert_eq!(
                texts_of(|capture| capture.raw_packet_limit = limit),
                "RawPacketLimit: A valid raw packet limit size is > 0 && <= 10"
            );
        }
        assert_eq!(
            texts_of(|capture| capture.layer_key_mode = "L7".into()),
            "LayerKeyMode: Not a valid layer key mode"
        );
        assert_eq!(
            texts_of(|capture| capture.name = "x".repeat(4097)),
            "Name: A valid text has <= 4096 bytes"
        );
    }

    #[test]
    fn joins_what_is_wrong() {
        assert_eq!(
            texts_of(|capture| {
                capture.port = 70_000;
                capture.target = "carrier".into();
            }),
            "Port: A valid port is >= 0 && <= 65535, Target: Not a valid address"
        );
    }
}

//! Where a capture's flows are sent (API §2.3, §9.4).

use sonde_proto::capture::Capture;

use super::mirrored::ERSPAN_V1;
use crate::export::{Export, Format};
use crate::resource::{Invalid, keep};

/// What a capture asks for; nothing with the type `local`, whatever its target, or with that of
/// mirrors.
pub(super) fn export(capture: &Capture) -> Result<Option<Export>, Vec<Invalid>> {
    if capture.target_type == ERSPAN_V1 {
        return Ok(None);
    }
    let mut broken = Vec::new();
    let format = keep(&mut broken, format(&capture.target_type));
    let sends = matches!(format, Some(Some(_)));
    if (sends || !capture.target.is_empty()) && !is_address(&capture.target) {
        broken.insert(0, Invalid::new("Target", "Not a valid address"));
    }
    match format {
        Some(format) if broken.is_empty() => Ok(format.map(|format| Export {
            format,
            target: capture.target.clone(),
            sampling: capture.sampling_rate,
            tcp_flags: capture.extra_tcp_metric,
        })),
        _ => Err(broken),
    }
}

/// `None` when nothing is sent.
fn format(name: &str) -> Result<Option<Format>, Invalid> {
    if ["", LOCAL].contains(&name) {
        return Ok(None);
    }
    let format = Format::ALL.into_iter().find(|format| format.name() == name);
    format.map(Some).ok_or_else(|| {
        let mut names = Format::ALL.map(Format::name).to_vec();
        names.extend([LOCAL, ERSPAN_V1]);
        names.sort_unstable();
        let names = names.join(" ");
        Invalid::new(
            "TargetType",
            format!("Not a valid target type: {name}, available types: [{names}]"),
        )
    })
}

/// Whether a text is a host, which is a name or an address, and a port.
fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let bracketed = host.starts_with('[') && host.ends_with(']');
        (1..=LONGEST).contains(&host.len())
            && (bracketed || !host.contains(':'))
            && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

/// Skydive's name for who takes the flows when nobody else does.
const LOCAL: &str = "local";

/// Bytes of a host's name (RFC 1035, section 2.3.4).
const LONGEST: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(target: &str, target_type: &str) -> Result<Option<Export>, String> {
        let capture = Capture {
            target: target.into(),
            target_type: target_type.into(),
            sampling_rate: 10,
            extra_tcp_metric: true,
            ..Capture::default()
        };
        let texts = |broken: Vec<Invalid>| {
            broken.iter().map(Invalid::to_string).collect::<Vec<_>>().join(", ")
        };
        export(&capture).map_err(texts)
    }

    #[test]
    fn a_type_and_an_address_are_an_export() {
        for (target, name, format) in [
            ("collector:2055", "netflowv5", Format::NetflowV5),
            ("192.0.2.1:4739", "ipfix", Format::Ipfix),
            ("[::1]:4739", "ipfix", Format::Ipfix),
        ] {
            let expected = Export { format, target: target.into(), sampling: 10, tcp_flags: true };
            assert_eq!(asked(target, name), Ok(Some(expected)));
        }
    }

    #[test]
    fn nothing_is_sent_without_a_type() {
        for name in ["", "local"] {
            assert_eq!(asked("", name), Ok(None));
            assert_eq!(asked("collector:2055", name), Ok(None));
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let long = format!("{}:2055", "x".repeat(256));
        for target in
            ["", "host", "host:", ":2055", "::1:80", "host:65536", "host:0", "host:x", &long]
        {
            let expected = Err("Target: Not a valid address".to_owned());
            assert_eq!(asked(target, "netflowv5"), expected, "{target}");
            if !target.is_empty() {
                assert_eq!(asked(target, ""), expected, "{target}");
            }
        }
        let types = "available types: [erspanv1 ipfix local netflowv5]";
        for name in ["erspanv2", "carrier pigeon"] {
            let wrong = format!("TargetType: Not a valid target type: {name}, {types}");
            assert_eq!(asked("host:2055", name), Err(wrong.clone()));
            let both = format!("Target: Not a valid address, {wrong}");
            assert_eq!(asked("host", name), Err(both));
        }
    }
}

//! Reads the application layers that captures ask for (`ExtraLayers`), out of messages as they were
//! captured: what is missing at their end is left out.

mod dns;

use sonde_proto::flow::layers::{DhcPv4, VrrPv2};

pub use dns::dns;

/// The fixed fields of DHCPv4 (RFC 2131 §2) that Skydive shows. `None`: shorter than those.
pub fn dhcpv4(message: &[u8]) -> Option<DhcPv4> {
    let (&[_, _, hardware_len, hops, _, _, _, _, s0, s1, f0, f1], _) =
        message.split_first_chunk::<12>()?;
    Some(DhcPv4 {
        hardware_len: hardware_len.into(),
        hardware_opts: hops.into(),
        secs: u16::from_be_bytes([s0, s1]).into(),
        flags: u16::from_be_bytes([f0, f1]).into(),
        server_name: message.get(44..108)?.to_vec(),
        file: message.get(108..236)?.to_vec(),
        ..DhcPv4::default()
    })
}

/// The fields of VRRP version 2 (RFC 3768 §5.1) that Skydive shows. `None`: another version, or
/// cut.
pub fn vrrpv2(message: &[u8]) -> Option<VrrPv2> {
    let (&[version, router, priority, _, _, interval, _, _], _) = message.split_first_chunk()?;
    (version >> 4 == 2).then(|| VrrPv2 {
        version: 2,
        virtual_rtr_id: router.into(),
        priority: priority.into(),
        adver_int: interval.into(),
        ..VrrPv2::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dhcpv4_shows_its_fixed_fields() {
        let mut message = vec![0; 240];
        message[..12].copy_from_slice(&[1, 1, 6, 2, 9, 9, 9, 9, 0, 7, 0x80, 0]);
        message[44..50].copy_from_slice(b"server");
        message[108..112].copy_from_slice(b"file");
        let layer = dhcpv4(&message).unwrap();
        assert_eq!((layer.hardware_len, layer.hardware_opts), (6, 2));
        assert_eq!((layer.secs, layer.flags, layer.xid), (7, 0x8000, 0));
        assert_eq!((layer.server_name.len(), layer.file.len()), (64, 128));
        assert!(layer.server_name.starts_with(b"server") && layer.file.starts_with(b"file"));
        let json = serde_json::to_value(&layer).unwrap();
        assert_eq!(json.as_object().unwrap().len(), 6, "{json}");
        assert_eq!(dhcpv4(&message[..235]), None);
    }

    #[test]
    fn vrrpv2_shows_who_advertises() {
        let layer = vrrpv2(&[0x21, 5, 200, 1, 0, 3, 0xba, 0x52]).unwrap();
        let expected = r#"{"version":2,"virtual_rtrID":5,"priority":200,"adver_int":3}"#;
        assert_eq!(serde_json::to_string(&layer).unwrap(), expected);
        assert_eq!(vrrpv2(&[0x31, 5, 200, 1, 0, 3, 0, 0]), None, "version 3");
        assert_eq!(vrrpv2(&[0x21, 5, 200, 1, 0, 3, 0]), None);
    }
}

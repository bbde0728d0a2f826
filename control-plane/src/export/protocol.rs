//! The IP protocol of a flow, which its record tells by its layers only.

use sonde_proto::record::{FlowRecord, Layer, Transport};

/// IANA's number of the protocol above IP; [`UNKNOWN`] when no layer says it. Where one flow holds IP
/// in IP, that of the packet inside.
pub(super) fn number(record: &FlowRecord) -> u8 {
    if let Some(ends) = &record.transport {
        return match ends.protocol {
            Transport::Tcp => 6,
            Transport::Udp => 17,
            Transport::Sctp => 132,
        };
    }
    let mut above_ip = record.layers.as_slice().iter().skip_while(|layer| !is_ip(**layer)).skip(1);
    let mut number = UNKNOWN;
    for layer in above_ip.by_ref() {
        match layer {
            // What these carry is the protocol, once it is known.
            Layer::Ipv4 => number = 4,
            Layer::Ipv6 => number = 41,
            Layer::Ipv6HopByHop
            | Layer::Ipv6Routing
            | Layer::Ipv6Fragment
            | Layer::Ipv6Destination => {}
            Layer::IpsecAh => number = 51,
            layer => return final_number(*layer).unwrap_or(number),
        }
    }
    number
}

const fn is_ip(layer: Layer) -> bool {
    matches!(layer, Layer::Ipv4 | Layer::Ipv6)
}

/// The number of what nothing else of IP follows.
const fn final_number(layer: Layer) -> Option<u8> {
    Some(match layer {
        Layer::Icmpv4 => 1,
        Layer::Igmp => 2,
        Layer::Tcp => 6,
        Layer::Udp => 17,
        Layer::Rudp => 27,
        Layer::Gre => 47,
        Layer::IpsecEsp => 50,
        Layer::Icmpv6 => 58,
        Layer::Ospf => 89,
        Layer::EtherIp => 97,
        Layer::Vrrp => 112,
        Layer::Sctp => 132,
        Layer::UdpLite => 136,
        Layer::Mpls => 137,
        _ => return None,
    })
}

/// Reserved by IANA: no packet has it.
const UNKNOWN: u8 = 255;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::tests::testing;

    #[test]
    fn layers_tell_the_protocol() {
        for (layers, expected) in [
            (&[Layer::Ethernet, Layer::Ipv4, Layer::Icmpv4] as &[_], 1),
            (&[Layer::Ethernet, Layer::Ipv4, Layer::Gre], 47),
            (&[Layer::Ethernet, Layer::Dot1Q, Layer::Ipv4, Layer::Ipv6, Layer::Icmpv6], 58),
            (&[Layer::Ethernet, Layer::Ipv4, Layer::Ipv6], 41),
            (&[Layer::Ipv6, Layer::Ipv6HopByHop, Layer::Icmpv6, Layer::Icmpv6Echo], 58),
            (&[Layer::Ipv4, Layer::IpsecAh], 51),
            (&[Layer::Ipv4, Layer::IpsecAh, Layer::IpsecEsp], 50),
            (&[Layer::Ethernet, Layer::Ipv4, Layer::Fragment], UNKNOWN),
            (&[Layer::Ethernet, Layer::Ipv4], UNKNOWN),
            (&[Layer::Ethernet, Layer::Arp], UNKNOWN),
        ] {
            let mut record = testing::record();
            (record.transport, record.layers) = (None, testing::layers(layers));
            assert_eq!(number(&record), expected, "{}", record.layers);
        }
    }
}

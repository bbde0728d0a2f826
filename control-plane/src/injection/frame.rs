//! Makes the frames of an injection, one after the other.

use std::io;

use etherparse::PacketBuilder;
use etherparse::err::packet::BuildWriteError;

use super::recipe::{Mode, Transport};
use super::route::{Ips, Route};

/// Makes frames; each is another.
#[derive(Clone, Debug)]
pub(super) struct Frames {
    pub(super) route: Route,
    pub(super) transport: Transport,
    pub(super) mode: Mode,
    /// Identifier of ICMP, or source port.
    pub(super) id: u16,
    pub(super) dst_port: u16,
    pub(super) ttl: u8,
    pub(super) payload: Vec<u8>,
    /// Letters that each frame carries more than the one before it.
    pub(super) more: usize,
    /// Frames made.
    pub(super) made: u64,
}

impl Frames {
    /// The next frame.
    pub(super) fn next(&mut self) -> io::Result<Vec<u8>> {
        if self.made > 0 {
            self.payload.extend(letters(self.more));
            if self.mode == Mode::Random {
                self.id = fastrand::u16(UNPRIVILEGED..);
            }
        }
        let frame = self.frame().map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
        self.made += 1;
        Ok(frame)
    }

    fn frame(&self) -> Result<Vec<u8>, BuildWriteError> {
        let mut frame = Vec::with_capacity(HEADERS + self.payload.len());
        let ip = match (self.route.macs, self.route.ips) {
            (Some((src, dst)), Ips::V4(from, to)) => {
                PacketBuilder::ethernet2(src, dst).ipv4(from.octets(), to.octets(), self.ttl)
            }
            (Some((src, dst)), Ips::V6(from, to)) => {
                PacketBuilder::ethernet2(src, dst).ipv6(from.octets(), to.octets(), HOPS)
            }
            (None, Ips::V4(from, to)) => PacketBuilder::ipv4(from.octets(), to.octets(), self.ttl),
            (None, Ips::V6(from, to)) => PacketBuilder::ipv6(from.octets(), to.octets(), HOPS),
        };
        let sequence = self.made as u16;
        match (self.transport, self.route.ips) {
            (Transport::Icmp, Ips::V4(..)) => {
                ip.icmpv4_echo_request(self.id, sequence).write(&mut frame, &self.payload)
            }
            (Transport::Icmp, Ips::V6(..)) => {
                ip.icmpv6_echo_request(self.id, sequence).write(&mut frame, &self.payload)
            }
            // A connection is asked for, never opened.
            (Transport::Tcp, _) => ip
                .tcp(self.id, self.dst_port, fastrand::u32(..), WINDOW)
                .syn()
                .write(&mut frame, &self.payload),
            (Transport::Udp, _) => ip.udp(self.id, self.dst_port).write(&mut frame, &self.payload),
        }?;
        Ok(frame)
    }
}

/// So many random letters.
pub(super) fn letters(count: usize) -> impl Iterator<Item = u8> {
    std::iter::repeat_with(|| fastrand::alphabetic() as u8).take(count)
}

/// A port, or an identifier, that nobody else is likely to have.
pub(super) fn any_port() -> u16 {
    fastrand::u16(UNPRIVILEGED..)
}

/// The first port that needs no privilege.
const UNPRIVILEGED: u16 = 1024;

/// Hop limit of IPv6.
const HOPS: u8 = 64;

/// Of a TCP that reads nothing.
const WINDOW: u16 = 1024;

/// Bytes of all headers at most.
const HEADERS: usize = 14 + 40 + 20;

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    use super::*;

    fn frames(transport: Transport, ips: Ips, macs: bool) -> Frames {
        Frames {
            route: Route { ips, macs: macs.then_some(([2; 6], [4; 6])) },
            transport,
            mode: Mode::Unique,
            id: 7,
            dst_port: 9,
            ttl: 3,
            payload: b"hello".to_vec(),
            more: 0,
            made: 0,
        }
    }

    const V4: Ips = Ips::V4(std::net::Ipv4Addr::new(10, 0, 0, 1), std::net::Ipv4Addr::LOCALHOST);
    const V6: Ips = Ips::V6(std::net::Ipv6Addr::LOCALHOST, std::net::Ipv6Addr::UNSPECIFIED);

    #[test]
    fn frames_are_what_was_asked_for() {
        for (transport, ips) in [
            (Transport::Icmp, V4),
            (Transport::Tcp, V4),
            (Transport::Udp, V4),
            (Transport::Icmp, V6),
            (Transport::Tcp, V6),
            (Transport::Udp, V6),
        ] {
            let frame = frames(transport, ips, true).next().unwrap();
            let packet = SlicedPacket::from_ethernet(&frame).unwrap();
            let Some(etherparse::LinkSlice::Ethernet2(ether)) = packet.link else { panic!() };
            assert_eq!((ether.source(), ether.destination()), ([2; 6], [4; 6]));
            match (packet.net.unwrap(), ips) {
                (NetSlice::Ipv4(ip), Ips::V4(from, to)) => {
                    let header = ip.header();
                    assert_eq!((header.source_addr(), header.destination_addr()), (from, to));
                    assert_eq!(header.ttl(), 3);
                }
                (NetSlice::Ipv6(ip), Ips::V6(from, to)) => {
                    let header = ip.header();
                    assert_eq!((header.source_addr(), header.destination_addr()), (from, to));
                }
                other => panic!("{other:?}"),
            }
            let payload = match packet.transport.unwrap() {
                TransportSlice::Udp(udp) => {
                    assert_eq!((udp.source_port(), udp.destination_port()), (7, 9));
                    udp.payload().to_vec()
                }
                TransportSlice::Tcp(tcp) => {
                    assert_eq!((tcp.source_port(), tcp.destination_port()), (7, 9));
                    assert!(tcp.syn() && !tcp.ack());
                    tcp.payload().to_vec()
                }
                TransportSlice::Icmpv4(icmp) => icmp.payload().to_vec(),
                TransportSlice::Icmpv6(icmp) => icmp.payload().to_vec(),
                other => panic!("{other:?}"),
            };
            assert_eq!(payload, b"hello");
        }
    }

    #[test]
    fn each_frame_is_another() {
        let mut frames =
            Frames { mode: Mode::Random, more: 10, ..frames(Transport::Udp, V4, false) };
        let first = frames.next().unwrap();
        assert_eq!(first.len(), 20 + 8 + 5, "no link layer");
        let port = |frame: &[u8]| u16::from_be_bytes([frame[20], frame[21]]);
        assert_eq!(port(&first), 7);
        let second = frames.next().unwrap();
        assert_eq!(second.len(), first.len() + 10);
        assert!(port(&second) >= 1024);
        assert!(second[33..].iter().all(u8::is_ascii_alphabetic));
    }

    #[test]
    fn a_frame_too_large_for_ip_is_an_error() {
        let payload = vec![b'x'; 65_530];
        let error = Frames { payload, ..frames(Transport::Udp, V4, true) }.next().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}

//! Frames, byte by byte, outermost header first.

use std::net::{IpAddr, Ipv4Addr};

use sonde_proto::record::{Mac, Transport};

use super::SNAP;
use super::conversation::{Carrier, Conversation, End, Host, Vxlan};

/// What one frame adds to its conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// Which end sends it.
    pub(super) sender: Sender,
    /// Bytes on the wire, before anything carries the frame; more if the headers need more.
    pub(super) size: u32,
    /// Of TCP, as are the others below.
    pub(super) flags: u8,
    pub(super) sequence: u32,
    pub(super) acknowledgement: u32,
    pub(super) options: &'static [u8],
}

/// One end of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Client,
    Server,
}

impl Packet {
    /// A SYN without options.
    pub(super) fn syn(sequence: u64, size: u32) -> Self {
        Self {
            sender: Sender::Client,
            size,
            flags: SYN,
            sequence: sequence as u32,
            acknowledgement: 0,
            options: &[],
        }
    }

    /// Bytes of its headers.
    pub(super) fn headers(&self, conversation: &Conversation) -> u32 {
        let link = if matches!(conversation.carrier, Carrier::Vlan(_)) { 18 } else { 14 };
        let network = if conversation.client.address.is_ipv4() { 20 } else { 40 };
        let transport = match conversation.transport {
            Transport::Tcp => 20 + self.options.len() as u32,
            _ => UDP,
        };
        link + network + transport
    }
}

/// Where a frame is written.
#[derive(Debug)]
pub(super) struct Sheet {
    bytes: [u8; ROOM],
    written: usize,
}

impl Default for Sheet {
    fn default() -> Self {
        Self { bytes: [0; ROOM], written: 0 }
    }
}

impl Sheet {
    /// Writes a frame in place of the last one, and returns its bytes on the wire.
    #[inline]
    pub(super) fn write(&mut self, conversation: &Conversation, packet: &Packet) -> u32 {
        self.bytes = [0; ROOM];
        self.written = 0;
        let headers = packet.headers(conversation);
        let length = packet.size.max(headers);
        // A SYN has no payload: what makes it longer is padding.
        let used = if packet.flags & SYN == 0 { length } else { headers };
        let (from, to) = match packet.sender {
            Sender::Client => (&conversation.client, &conversation.server),
            Sender::Server => (&conversation.server, &conversation.client),
        };
        let (tag, around) = match &conversation.carrier {
            Carrier::Bare => (None, 0),
            Carrier::Vlan(id) => (Some(*id), 0),
            Carrier::Vxlan(tunnel) => {
                self.vxlan(tunnel, packet.sender, length);
                (None, TUNNEL)
            }
        };
        let link = self.ethernet(from.mac, to.mac, tag, from.address.is_ipv4());
        self.network(from, to, conversation.transport, used - link);
        match conversation.transport {
            Transport::Tcp => self.tcp(from.port, to.port, packet),
            _ => self.udp(from.port, to.port, length - headers),
        }
        around + length
    }

    /// What is captured of a frame of that length.
    #[inline]
    pub(super) fn bytes(&self, length: u32) -> &[u8] {
        &self.bytes[..SNAP.min(length as usize)]
    }

    /// All headers around an inner frame.
    fn vxlan(&mut self, tunnel: &Vxlan, sender: Sender, inner: u32) {
        let end = |host: &Host| End { mac: host.mac, address: host.address.into(), port: 0 };
        let (from, to) = match sender {
            Sender::Client => (end(&tunnel.client), end(&tunnel.server)),
            Sender::Server => (end(&tunnel.server), end(&tunnel.client)),
        };
        let link = self.ethernet(from.mac, to.mac, None, true);
        self.network(&from, &to, Transport::Udp, TUNNEL - link + inner);
        self.udp(tunnel.port, VXLAN_PORT, 8 + inner);
        self.put([8, 0, 0, 0]);
        self.put((tunnel.vni << 8).to_be_bytes());
    }

    /// Returns how many bytes it takes.
    fn ethernet(&mut self, from: Mac, to: Mac, tag: Option<u16>, ipv4: bool) -> u32 {
        self.put(to);
        self.put(from);
        if let Some(id) = tag {
            self.put([0x81, 0]);
            self.put(id.to_be_bytes());
        }
        self.put(if ipv4 { [8, 0] } else { [0x86, 0xdd] });
        if tag.is_some() { 18 } else { 14 }
    }

    /// `length` counts from here.
    fn network(&mut self, from: &End, to: &End, transport: Transport, length: u32) {
        let protocol = if transport == Transport::Tcp { 6 } else { 17 };
        match (from.address, to.address) {
            (IpAddr::V4(from), IpAddr::V4(to)) => self.ipv4(from, to, protocol, length as u16),
            (from, to) => {
                self.put([0x60, 0, 0, 0]);
                self.put((length as u16 - 40).to_be_bytes());
                self.put([protocol, 64]);
                for address in [from, to] {
                    if let IpAddr::V6(address) = address {
                        self.put(address.octets());
                    }
                }
            }
        }
    }

    fn ipv4(&mut self, from: Ipv4Addr, to: Ipv4Addr, protocol: u8, length: u16) {
        const DONT_FRAGMENT: u16 = 0x4000;
        let (from, to) = (from.to_bits(), to.to_bits());
        let [from_high, from_low, to_high, to_low] =
            [from >> 16, from & 0xffff, to >> 16, to & 0xffff].map(|half| half as u16);
        let ttl = u16::from_be_bytes([64, protocol]);
        let mut words =
            [0x4500, length, 0, DONT_FRAGMENT, ttl, 0, from_high, from_low, to_high, to_low];
        words[5] = !sum(&words);
        for word in words {
            self.put(word.to_be_bytes());
        }
    }

    fn tcp(&mut self, from: u16, to: u16, packet: &Packet) {
        const WINDOW: u16 = 0xfaf0;
        let header = (20 + packet.options.len()) as u8;
        self.put(from.to_be_bytes());
        self.put(to.to_be_bytes());
        self.put(packet.sequence.to_be_bytes());
        self.put(packet.acknowledgement.to_be_bytes());
        self.put([header / 4 * 16, packet.flags]);
        self.put(WINDOW.to_be_bytes());
        // Checksum and urgent pointer.
        self.put([0; 4]);
        for word in packet.options.as_chunks::<4>().0 {
            self.put(*word);
        }
    }

    fn udp(&mut self, from: u16, to: u16, payload: u32) {
        self.put(from.to_be_bytes());
        self.put(to.to_be_bytes());
        self.put(((UDP + payload) as u16).to_be_bytes());
        self.put([0; 2]);
    }

    #[inline]
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        if let Some(place) = self.bytes[self.written..].first_chunk_mut() {
            *place = bytes;
            self.written += N;
        }
    }
}

/// The Internet checksum's sum (RFC 1071).
fn sum(words: &[u16]) -> u16 {
    let sum: u32 = words.iter().copied().map(u32::from).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum + (sum >> 16)) as u16
}

pub(super) const FIN: u8 = 1;
pub(super) const SYN: u8 = 2;
pub(super) const RST: u8 = 4;
pub(super) const ACK: u8 = 16;

/// Options of a SYN as Linux sends them: segment size, selective acknowledgements, time, scale.
pub(super) const SYN_OPTIONS: &[u8] =
    &[2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
/// Options of all other segments: the time.
pub(super) const OPTIONS: &[u8] = &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1];

/// More than any headers here take: VXLAN around a SYN over IPv6 takes 144 bytes.
const ROOM: usize = 192;
/// Bytes of the headers of a tunnel: Ethernet, IPv4, UDP, VXLAN.
const TUNNEL: u32 = 14 + 20 + UDP + 8;
/// Bytes of a UDP header.
const UDP: u32 = 8;
const VXLAN_PORT: u16 = 4789;

//! Kernel interfaces, through AF_PACKET (packet(7)).

mod ring;
mod sender;
mod socket;

pub use self::sender::PacketSender;

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use sonde_proto::report::Lost;
use sonde_proto::time::Timestamp;

use self::ring::{Packet, Ring};
use self::socket::PacketSocket;
use super::{BURST, Closed, Frame, LinkType, Source, wall_clock};

/// One queue of a kernel interface: a ring that the kernel fills and we read, one member of a
/// fanout when several share the interface.
///
/// Frames are seen in both directions, promiscuously, each once: on a loopback device, where the
/// kernel shows a frame when it leaves and again when it arrives, the first sight is passed over.
/// A VLAN tag that the kernel or the NIC took off is put back. A frame that leaves before
/// segmentation (GSO) is as long as the kernel made it, up to 64 KiB and more.
///
/// A device without Ethernet (tun, PPP, IP tunnels) gives its IP packets without a link layer.
///
/// The interface may go down and up again; only when it is removed, or moved to another network
/// namespace, the source is closed.
#[derive(Debug)]
pub struct AfPacket {
    socket: PacketSocket,
    ring: Ring,
    index: u32,
    device: Device,
    /// A frame whose VLAN tag was put back.
    tagged: Vec<u8>,
    now: Timestamp,
    lost: Lost,
    /// The errno the kernel gave when the interface last went down.
    down: Option<i32>,
    gone: Option<i32>,
}

impl AfPacket {
    /// Opens `members` queues of the interface `index` in the network namespace at `netns` (the
    /// calling thread's when absent). The kernel spreads frames over them by a hash that is equal
    /// for both directions of a flow. Needs CAP_NET_RAW, and CAP_SYS_ADMIN for a namespace.
    pub fn open(
        index: u32,
        netns: Option<&Path>,
        members: u16,
        config: &AfPacketConfig,
    ) -> Result<Vec<Self>, OpenError> {
        in_namespace(netns, || Self::open_here(index, members, config))
    }

    fn open_here(
        index: u32,
        members: u16,
        config: &AfPacketConfig,
    ) -> Result<Vec<Self>, OpenError> {
        let mut fanout = None;
        let mut queues = Vec::new();
        for _ in 0..members.max(1) {
            let queue = Self::open_one(index, config)?;
            if members > 1 {
                fanout = Some(queue.socket.join(fanout)?);
            }
            queues.push(queue);
        }
        // Until all have joined none takes a frame, else one frame would be seen by several.
        for queue in &queues {
            queue.socket.admit(config.snap)?;
        }
        Ok(queues)
    }

    fn open_one(index: u32, config: &AfPacketConfig) -> Result<Self, OpenError> {
        let socket = PacketSocket::open()?;
        let ring = socket.ring(config.block_size, config.blocks, RETIRE)?;
        socket.admit(0)?;
        let device = Device::from_arphrd(socket.bind(index)?);
        socket.promiscuous(index)?;
        Ok(Self {
            socket,
            ring,
            index,
            device,
            tagged: Vec::new(),
            now: wall_clock(),
            lost: Lost::default(),
            down: None,
            gone: None,
        })
    }
}

/// Opens sockets in the network namespace at `netns` (the calling thread's when absent), where they
/// stay.
fn in_namespace<T: Send>(
    netns: Option<&Path>,
    open: impl FnOnce() -> Result<T, OpenError> + Send,
) -> Result<T, OpenError> {
    let Some(netns) = netns else { return open() };
    // A thread of its own enters the namespace and ends in it.
    thread::scope(|scope| {
        thread::Builder::new()
            .name("sonde-netns".into())
            .spawn_scoped(scope, || {
                socket::enter(netns)?;
                open()
            })
            .map_err(|error| OpenError::new("clone", &error))?
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

impl Source for AfPacket {
    fn burst(&mut self, mut meter: impl FnMut(Frame<'_>)) -> Result<usize, Closed> {
        self.now = wall_clock();
        let mut taken = 0;
        while taken < BURST {
            let Some(packet) = self.ring.next() else {
                break;
            };
            if self.device == Device::Loopback && packet.outgoing {
                continue;
            }
            meter(self.device.frame(&packet, &mut self.tagged));
            taken += 1;
        }
        self.ring.settle();
        match self.gone {
            Some(errno) if taken == 0 => Err(Closed::Gone(errno)),
            _ => Ok(taken),
        }
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    fn lost(&mut self) -> Lost {
        // The kernel counts from the last time it was asked.
        self.lost.missed += u64::from(self.socket.drops());
        self.lost.errors = self.ring.malformed();
        self.lost
    }

    /// Waits in `poll(2)` until the kernel hands over a block.
    fn idle(&mut self, _empty: u32, limit: Duration) {
        if self.gone.is_some() {
            return;
        }
        if self.socket.wait(limit) {
            self.down = Some(self.socket.take_error());
        }
        // The kernel tells once that the interface went down, and no more when it is removed
        // after that.
        if let Some(errno) = self.down
            && !self.socket.is_bound_to(self.index)
        {
            // What the kernel has begun to fill comes when the block's time is over.
            thread::sleep(limit.min(2 * RETIRE));
            self.gone = Some(errno);
        }
    }
}

/// How much of an interface's traffic waits for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AfPacketConfig {
    /// Bytes of a block, a multiple of the page size. The kernel hands over whole blocks, and cuts
    /// frames that are longer.
    pub block_size: u32,
    /// Blocks of each queue.
    pub blocks: u32,
    /// Bytes of a frame that are captured at most. Its length stays that on the wire.
    pub snap: u32,
}

impl Default for AfPacketConfig {
    /// 16 MiB for each queue, and 2 KiB of each frame, which no header exceeds.
    fn default() -> Self {
        Self { block_size: 256 * 1024, blocks: 64, snap: 2048 }
    }
}

/// Why an interface could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {}", io::Error::from_raw_os_error(*errno))]
pub struct OpenError {
    /// What was asked of the kernel: a system call or socket option.
    pub call: &'static str,
    /// The errno it gave.
    pub errno: i32,
}

impl OpenError {
    fn new(call: &'static str, error: &io::Error) -> Self {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        Self { call, errno }
    }

    /// From the errno of the calling thread.
    fn last(call: &'static str) -> Self {
        Self::new(call, &io::Error::last_os_error())
    }
}

/// What kind of device gives the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Device {
    Ethernet,
    /// Ethernet framing, each frame shown twice.
    Loopback,
    /// Anything else, by its ARPHRD number: frames are lent from the network header on.
    Other(u16),
}

impl Device {
    fn from_arphrd(number: u16) -> Self {
        match number {
            libc::ARPHRD_ETHER => Self::Ethernet,
            libc::ARPHRD_LOOPBACK => Self::Loopback,
            other => Self::Other(other),
        }
    }

    /// The frame that `packet` is; `tagged` holds it when a VLAN tag has to be put back.
    fn frame<'p>(self, packet: &Packet<'p>, tagged: &'p mut Vec<u8>) -> Frame<'p> {
        let frame = Frame {
            bytes: packet.bytes,
            length: packet.length.max(packet.bytes.len() as u32),
            at: packet.at,
            link: LinkType::Ethernet,
        };
        match (self, packet.vlan, packet.bytes.split_at_checked(MAC_ADDRESSES)) {
            (Self::Other(arphrd), ..) => {
                let header = packet.network.min(packet.bytes.len());
                Frame {
                    bytes: &packet.bytes[header..],
                    length: frame.length - header as u32,
                    link: match i32::from(packet.protocol) {
                        libc::ETH_P_IP | libc::ETH_P_IPV6 => LinkType::Raw,
                        _ => LinkType::Unknown(arphrd),
                    },
                    ..frame
                }
            }
            (_, Some(tag), Some((addresses, rest))) => {
                tagged.clear();
                for part in [addresses, &tag, rest] {
                    tagged.extend_from_slice(part);
                }
                Frame { bytes: tagged, length: frame.length + tag.len() as u32, ..frame }
            }
            _ => frame,
        }
    }
}

/// After this time the kernel hands over a block that is not full.
const RETIRE: Duration = Duration::from_millis(10);

/// Bytes before the VLAN tag of an Ethernet frame.
const MAC_ADDRESSES: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: &[u8] = b"ddddddssssss\x08\x00payload";

    fn packet(bytes: &[u8], vlan: Option<[u8; 4]>) -> Packet<'_> {
        Packet {
            bytes,
            length: 100,
            at: Timestamp::from_nanos(7),
            vlan,
            network: 14,
            protocol: 0x0800,
            outgoing: false,
        }
    }

    #[test]
    fn a_vlan_tag_is_put_back() {
        let mut tagged = Vec::new();
        let packet = packet(BYTES, Some([0x88, 0xa8, 0x20, 0x05]));
        let frame = Device::Ethernet.frame(&packet, &mut tagged);
        assert_eq!(frame.bytes, b"ddddddssssss\x88\xa8\x20\x05\x08\x00payload");
        assert_eq!((frame.length, frame.link), (104, LinkType::Ethernet));
    }

    #[test]
    fn a_tag_without_addresses_stays_away() {
        let mut tagged = Vec::new();
        let packet = packet(&BYTES[..11], Some([0x81, 0, 0, 5]));
        let frame = Device::Ethernet.frame(&packet, &mut tagged);
        assert_eq!((frame.bytes, frame.length), (&BYTES[..11], 100));
    }

    #[test]
    fn other_devices_give_ip() {
        let mut tagged = Vec::new();
        let tun = Device::from_arphrd(libc::ARPHRD_NONE);
        let mut packet = packet(BYTES, None);
        let frame = tun.frame(&packet, &mut tagged);
        assert_eq!((frame.bytes, frame.length), (b"payload".as_slice(), 86));
        assert_eq!(frame.link, LinkType::Raw);
        packet.protocol = 0x88cc;
        packet.network = usize::MAX;
        let frame = tun.frame(&packet, &mut tagged);
        assert_eq!((frame.bytes, frame.link), (b"".as_slice(), LinkType::Unknown(0xfffe)));
    }
}

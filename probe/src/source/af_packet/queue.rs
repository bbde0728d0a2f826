//! Takes frames from a kernel interface.

use std::path::Path;
use std::thread;
use std::time::Duration;

use sonde_proto::report::Lost;
use sonde_proto::time::Timestamp;

use super::device::Device;
use super::ring::Ring;
use super::{OpenError, PacketSocket, in_namespace};
use crate::source::{BURST, Closed, Frame, Source, wall_clock};

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
        let ring = Ring::new(socket.blocks(config.block_size, config.blocks, RETIRE)?);
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

/// After this time the kernel hands over a block that is not full.
const RETIRE: Duration = Duration::from_millis(10);

//! Sends frames on a kernel interface.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use super::{OpenError, PacketSocket, in_namespace};

/// A packet socket that sends on one interface and takes nothing.
#[derive(Debug)]
pub struct PacketSender(File);

impl PacketSender {
    /// Opens the interface `index` in the network namespace at `netns` (the calling thread's when
    /// absent). Needs CAP_NET_RAW, and CAP_SYS_ADMIN for a namespace.
    pub fn open(index: u32, netns: Option<&Path>) -> Result<Self, OpenError> {
        in_namespace(netns, || {
            let socket = PacketSocket::open()?;
            socket.admit(0)?;
            socket.bind(index)?;
            Ok(Self(socket.into()))
        })
    }

    /// Sends a frame, from its link-layer header on; of a device without one, from its IP header on.
    /// May wait for the device. A frame larger than the device's MTU is an error.
    pub fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        // A packet socket takes a frame whole or not at all.
        self.0.write(frame).map(drop)
    }
}

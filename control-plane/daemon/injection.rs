//! How packet injections reach the network: through AF_PACKET and DPDK ports.

use std::io;
use std::sync::Arc;

use sonde_control_plane::injection::{Injector, Wire};
use sonde_control_plane::upload::Damaged;
use sonde_probe::source::af_packet::PacketSender;
use sonde_probe::source::pcap::PcapReader;
use sonde_probe::source::{Closed, LinkType, Source as _};
use sonde_proto::plan::Point;

use crate::ports::Exits;

/// Sends on kernel interfaces, and by `exits` on ports.
pub(crate) fn injector(exits: Exits) -> Injector {
    Injector { open: Arc::new(move |point| open(point, &exits)), read: Arc::new(read) }
}

fn open(point: &Point, exits: &Exits) -> io::Result<Wire> {
    match point {
        Point::Interface { index, netns } => {
            let sender = PacketSender::open(*index, netns.as_deref());
            let mut sender = sender.map_err(io::Error::other)?;
            Ok(Box::new(move |frame| sender.send(frame)))
        }
        Point::Port(name) => exits.open(name),
        // No node is one.
        Point::Socket(_) | Point::File(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// The Ethernet frames of a capture file; others cannot be sent where these can.
fn read(file: &[u8]) -> Result<Vec<Vec<u8>>, Damaged> {
    let mut source = PcapReader::new(file)?;
    let mut frames = Vec::new();
    let closed = loop {
        let taken = source.burst(|frame| {
            if frame.link == LinkType::Ethernet {
                frames.push(frame.bytes.to_vec());
            }
        });
        if let Err(closed) = taken {
            break closed;
        }
    };
    match closed {
        Closed::End if frames.is_empty() => Err("it holds no Ethernet frames".into()),
        Closed::End => Ok(frames),
        damaged => Err(damaged.into()),
    }
}

//! How packet injections reach the network: through AF_PACKET.

use std::io;
use std::sync::Arc;

use sonde_control_plane::injection::{Injector, Wire};
use sonde_control_plane::upload::Damaged;
use sonde_probe::source::af_packet::PacketSender;
use sonde_probe::source::pcap::PcapReader;
use sonde_probe::source::{Closed, LinkType, Source as _};
use sonde_proto::plan::Point;

/// Sends on kernel interfaces.
pub(crate) fn injector() -> Injector {
    Injector { open: Arc::new(open), read: Arc::new(read) }
}

fn open(point: &Point) -> io::Result<Wire> {
    let Point::Interface { index, netns } = point else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let mut sender = PacketSender::open(*index, netns.as_deref()).map_err(io::Error::other)?;
    Ok(Box::new(move |frame| sender.send(frame)))
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

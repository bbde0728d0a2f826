//! Packets that watches want whole (Skydive's `RawPacketLimit` and `ExtraLayers`): set aside while
//! their frame is lent, sent up when their flow is known.

use sonde_proto::plan::{ExtraLayers, Options, Watch};
use sonde_proto::record::Layer;
use sonde_proto::report::{PacketHead, PacketWant};
use sonde_proto::time::Timestamp;

use super::Export;
use crate::parse::{Message, Piece};
use crate::source::Frame;

/// Takes no memory before a watch wants packets; then what it has room for never changes.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    /// Bytes of the frames that were not settled yet.
    bytes: Vec<u8>,
    copies: Vec<Copy>,
    /// For each place of the slab, how many packets of the flow there were sent up whole.
    sent: Vec<u32>,
    /// Bytes of a frame that are looked at by the watch that looks at most.
    longest: usize,
}

/// A piece whose bytes were set aside.
#[derive(Clone, Copy, Debug)]
struct Copy {
    /// Where in [`Copies::bytes`] it begins, and where the bytes end that may be looked at.
    packet: Option<(u32, u32)>,
    /// LINKTYPE of the piece.
    link: u16,
    /// The message in it, if it is wanted, and where in [`Copies::bytes`] it begins and ends.
    message: Option<(ExtraLayers, u32, u32)>,
}

/// A frame whose pieces may be set aside.
#[derive(Debug)]
pub(crate) struct Lent<'a> {
    frame: &'a Frame<'a>,
    /// What the frame's fragment was put together to, and where in the frame that begins.
    datagram: Option<(u32, &'a [u8])>,
    /// Where the bytes are, once they are set aside.
    kept: Option<(u32, u32)>,
    datagram_kept: Option<(u32, u32)>,
}

impl<'a> Lent<'a> {
    #[inline]
    pub(crate) fn new(frame: &'a Frame<'a>) -> Self {
        Self { frame, datagram: None, kept: None, datagram_kept: None }
    }

    /// A frame with the last fragment of a datagram, whose bytes behind the IP header stand at
    /// `start`. The frame is what is served as it is, the datagram is where messages are read.
    pub(crate) fn whole(frame: &'a Frame<'a>, start: u32, datagram: &'a [u8]) -> Self {
        Self { datagram: Some((start, datagram)), ..Self::new(frame) }
    }
}

/// A flow and its packet: what a copy is labelled with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label {
    /// Where the flow lives.
    pub(crate) index: u32,
    pub(crate) uuid: u64,
    /// The packet is the flow's first.
    pub(crate) first: bool,
    pub(crate) at: Timestamp,
    /// Bytes on the wire.
    pub(crate) length: u32,
}

impl Copies {
    /// Makes room for a shard of `flows`, if there is none. Of a frame `longest` bytes are wanted
    /// at most.
    pub(crate) fn reserve(&mut self, flows: usize, longest: u32) {
        self.longest = LONGEST.min(longest as usize);
        if self.sent.is_empty() {
            self.bytes.reserve_exact(SETTLE_BYTES + 3 * LONGEST);
            self.copies.reserve_exact(SETTLE_COPIES + PIECES);
            self.sent.resize(flows, 0);
        }
    }

    /// Whether the next frame may find no room: what was set aside has to be settled first.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() > SETTLE_BYTES || self.copies.len() > SETTLE_COPIES
    }

    /// Sets a piece of a frame aside if a watch with these options wants it, and says where.
    #[inline]
    pub(crate) fn set_aside(
        &mut self,
        lent: &mut Lent<'_>,
        piece: &Piece,
        options: &Options,
    ) -> u32 {
        let message = piece.message.filter(|message| {
            let layer = extra_layer(message.layer);
            layer != ExtraLayers::default() && options.extra_layers.has(layer)
        });
        // Room there always is: a frame that might find none was settled for.
        let full = self.copies.len() == self.copies.capacity();
        if full || options.raw_packets == 0 && message.is_none() {
            return NONE;
        }
        let frame = self.keep(lent.frame.bytes, &mut lent.kept);
        let message = message.map(|Message { layer, start, end }| {
            let (begins, before) = match lent.datagram {
                Some((before, bytes)) => (self.keep(bytes, &mut lent.datagram_kept).0, before),
                None => (frame.0, 0),
            };
            let place = |at: u32| begins + at.min(options.header_size).saturating_sub(before);
            (extra_layer(layer), place(start), place(end))
        });
        let begins = lent.frame.length.saturating_sub(piece.wire_length);
        let end = frame.1.min(frame.0.saturating_add(options.header_size));
        // What a datagram carries in a tunnel is in no frame.
        let framed = lent.datagram.is_none_or(|(before, _)| begins < before);
        self.copies.push(Copy {
            packet: framed.then_some((frame.0 + begins, end)),
            link: link_type(piece, lent.frame),
            message,
        });
        (self.copies.len() - 1) as u32
    }

    /// Where bytes begin and end that are kept once.
    fn keep(&mut self, bytes: &[u8], kept: &mut Option<(u32, u32)>) -> (u32, u32) {
        *kept.get_or_insert_with(|| {
            let begins = self.bytes.len();
            let room = self.longest.min(self.bytes.capacity() - begins);
            self.bytes.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
            (begins as u32, self.bytes.len() as u32)
        })
    }

    /// Sends up what `watch` wants of a piece that was set aside. Returns how many packets there
    /// was no room for.
    pub(crate) fn send(
        &mut self,
        copy: u32,
        watch: &Watch,
        label: Label,
        out: &mut impl Export,
    ) -> u64 {
        let Some(copy) = self.copies.get(copy as usize) else { return 0 };
        let Some(sent) = self.sent.get_mut(label.index as usize) else { return 0 };
        let slice =
            |from: u32, to: u32| self.bytes.get(from as usize..to as usize).unwrap_or_default();
        let head =
            |want| PacketHead::new(watch.id, label.uuid, want, label.at, copy.link, label.length);
        let mut lost = 0;
        if let Some((begins, ends)) = copy.packet
            && *sent < watch.options.raw_packets
        {
            if out.packet(head(PacketWant::Raw(*sent)), slice(begins, ends)) {
                *sent += 1;
            } else {
                lost += 1;
            }
        }
        if let Some((layer, start, end)) = copy.message {
            // Every DNS message replaces the one before; of the others the flow's first counts.
            if (layer == ExtraLayers::DNS || label.first)
                && !out.packet(head(PacketWant::Layer(layer)), slice(start, end))
            {
                lost += 1;
            }
        }
        lost
    }

    /// Forgets what was set aside: it is settled.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.copies.clear();
    }

    /// A flow begins at a place of the slab.
    #[inline]
    pub(crate) fn begin(&mut self, index: u32) {
        if let Some(sent) = self.sent.get_mut(index as usize) {
            *sent = 0;
        }
    }

    /// Packets of the flow at a place of the slab that were sent up whole.
    pub(crate) fn sent(&self, index: u32) -> u32 {
        self.sent.get(index as usize).copied().unwrap_or(0)
    }
}

/// No copy.
pub(crate) const NONE: u32 = u32::MAX;

/// The set with that layer alone; empty when captures cannot ask for it.
fn extra_layer(layer: Layer) -> ExtraLayers {
    match layer {
        Layer::Dns => ExtraLayers::DNS,
        Layer::Dhcpv4 => ExtraLayers::DHCPV4,
        Layer::Vrrp => ExtraLayers::VRRP,
        _ => ExtraLayers::default(),
    }
}

/// LINKTYPE of the bytes of a piece: that of the frame, or what its tunnel carries.
fn link_type(piece: &Piece, frame: &Frame<'_>) -> u16 {
    match piece.layers.as_slice().first() {
        _ if piece.depth == 0 => frame.link.number(),
        Some(Layer::Ethernet) => ETHERNET,
        Some(Layer::Ppp) => PPP,
        _ => RAW,
    }
}

const ETHERNET: u16 = 1;
const PPP: u16 = 9;
const RAW: u16 = 101;

/// Bytes set aside that are settled before the next frame is taken.
const SETTLE_BYTES: usize = 64 * 1024;

/// Bytes of a frame that are set aside at most: the longest IP packet and its link-layer header. A
/// frame may be set aside twice, and beside it the datagram that it completes.
const LONGEST: usize = 64 * 1024 + 64;

/// Copies that are settled before the next frame is taken.
const SETTLE_COPIES: usize = 256;

/// Copies of one frame: its pieces, for as many watches as there can be.
const PIECES: usize = 2 * crate::parse::MAX_PIECES * 256;

//! The messages of a datagram, still as bytes.

use rtnetlink::packet_core::{NLM_F_DUMP_INTR, NetlinkHeader, NetlinkPayload};
use rtnetlink::packet_core::{NetlinkDeserializable, NetlinkMessage};
use rtnetlink::packet_route::RouteNetlinkMessage;
use tracing::debug;

/// A message with the bytes of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Frame<'a> {
    pub(super) header: NetlinkHeader,
    pub(in super::super) body: &'a [u8],
}

/// A datagram that ends within a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Torn;

/// Takes a datagram apart.
pub(super) fn frames(mut datagram: &[u8]) -> impl Iterator<Item = Result<Frame<'_>, Torn>> {
    std::iter::from_fn(move || {
        if datagram.is_empty() {
            return None;
        }
        let frame = first(datagram);
        // Messages begin at multiples of four.
        let length = frame.map_or(datagram.len(), |frame| HEADER + frame.body.len());
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(frame.ok_or(Torn))
    })
}

fn first(datagram: &[u8]) -> Option<Frame<'_>> {
    let word = |at: usize| Some(u32::from_ne_bytes(datagram.get(at..at + 4)?.try_into().ok()?));
    let half = |at: usize| Some(u16::from_ne_bytes(datagram.get(at..at + 2)?.try_into().ok()?));
    let mut header = NetlinkHeader::default();
    header.length = word(0)?;
    header.message_type = half(4)?;
    header.flags = half(6)?;
    header.sequence_number = word(8)?;
    header.port_number = word(12)?;
    let body = datagram.get(HEADER..header.length as usize)?;
    Some(Frame { header, body })
}

impl Frame<'_> {
    /// The dump it belongs to is not of one moment: something changed meanwhile.
    pub(super) fn interrupted(&self) -> bool {
        self.header.flags & NLM_F_DUMP_INTR != 0
    }

    /// What it says of the network. `None` for one that this program is too old to read; asking
    /// again would not help.
    pub(super) fn route(&self) -> Option<RouteNetlinkMessage> {
        let message = RouteNetlinkMessage::deserialize(&self.header, self.body);
        message.inspect_err(|error| debug!(%error, "a netlink message that cannot be read")).ok()
    }
}

/// A request as bytes, complete but for its sequence number.
pub(super) fn request(message: RouteNetlinkMessage, flags: u16) -> Vec<u8> {
    let mut message = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(message));
    message.header.flags = flags;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Bytes of a netlink header (`struct nlmsghdr`).
pub(super) const HEADER: usize = 16;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};

    /// A datagram that tells of new links of these names.
    pub(in super::super) fn datagram(names: &[&str]) -> Vec<u8> {
        let mut datagram = Vec::new();
        for name in names {
            let mut link = LinkMessage::default();
            link.attributes.push(LinkAttribute::IfName(name.to_string()));
            datagram.extend(request(RouteNetlinkMessage::NewLink(link), 0));
            datagram.resize(datagram.len().next_multiple_of(4), 0);
        }
        datagram
    }

    #[test]
    fn a_datagram_holds_several_messages() {
        let datagram = datagram(&["eth0", "a"]);
        let names: Vec<_> = frames(&datagram)
            .map(|frame| match frame.unwrap().route() {
                Some(RouteNetlinkMessage::NewLink(link)) => link.attributes,
                other => panic!("not a link: {other:?}"),
            })
            .collect();
        assert_eq!(
            names,
            [[LinkAttribute::IfName("eth0".into())], [LinkAttribute::IfName("a".into())]]
        );
    }

    #[test]
    fn what_is_cut_off_is_torn() {
        let whole = datagram(&["eth0", "eth1"]);
        for end in 1..whole.len() {
            let torn = frames(&whole[..end]).filter(Result::is_err).count();
            assert_eq!(torn, usize::from(end != whole.len() / 2), "cut at {end}");
        }
        let short = [8, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(frames(&short).collect::<Vec<_>>(), [Err(Torn)], "shorter than its header");
    }
}

//! A frame of `/ws/agent/flow`: Skydive's `flow.Message` (API §4.2). It is read piece by piece, so
//! that few bytes of an enemy never become much memory.

use prost::Message as _;
use prost::bytes::Buf as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use sonde_proto::flow::{Flow, Stats};

/// What is in a frame.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Message<'a> {
    /// The flows, in Protobuf still.
    pub(super) flows: Vec<&'a [u8]>,
    pub(super) stats: Option<Stats>,
}

/// A flow of an agent.
#[derive(Debug, PartialEq)]
pub(super) struct AgentFlow {
    /// Its `UUID` as a number.
    pub(super) uuid: u64,
    pub(super) flow: Flow,
    /// Elements of its lists: bytes in Protobuf say little of those.
    pub(super) elements: usize,
}

/// Why a frame is refused, and the connection with it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadMessage {
    #[error("expected a Protobuf flow.Message: {0}")]
    Protobuf(#[from] prost::DecodeError),
    #[error("a message ends in the middle of a field")]
    Short,
    #[error("a message: expected at most {FIELDS} flows")]
    Fields,
    #[error("a message: expected no group")]
    Group,
    #[error("a flow: expected at most {FLOW} bytes, found {0}")]
    Size(usize),
    #[error("a flow: expected at most {ELEMENTS} packets and DNS records, found {0}")]
    Elements(usize),
    #[error("UUID of a flow: expected 1 to 16 hex digits")]
    Uuid,
    #[error("CaptureID of statistics: expected at most {ID} bytes")]
    Capture,
}

impl<'a> Message<'a> {
    /// Takes a frame apart.
    pub(super) fn read(mut frame: &'a [u8]) -> Result<Self, BadMessage> {
        let (mut message, mut fields) = (Self::default(), 0);
        while frame.has_remaining() {
            fields += 1;
            if fields > FIELDS {
                return Err(BadMessage::Fields);
            }
            match decode_key(&mut frame)? {
                // Its end may be anywhere.
                (_, WireType::StartGroup) => return Err(BadMessage::Group),
                (1, WireType::LengthDelimited) => message.flows.push(piece(&mut frame)?),
                (2, WireType::LengthDelimited) => {
                    let stats = Stats::decode(piece(&mut frame)?)?;
                    if stats.capture_id.len() > ID {
                        return Err(BadMessage::Capture);
                    }
                    message.stats = Some(stats);
                }
                (tag, kind) => skip_field(kind, tag, &mut frame, DecodeContext::default())?,
            }
        }
        Ok(message)
    }
}

impl AgentFlow {
    /// Reads a flow.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, BadMessage> {
        if bytes.len() > FLOW {
            return Err(BadMessage::Size(bytes.len()));
        }
        let flow = Flow::decode(bytes)?;
        let elements = elements(&flow);
        if elements > ELEMENTS {
            return Err(BadMessage::Elements(elements));
        }
        let uuid = Some(flow.uuid.as_str())
            .filter(|uuid| uuid.len() <= 16 && uuid.bytes().all(|c| c.is_ascii_hexdigit()))
            .and_then(|uuid| u64::from_str_radix(uuid, 16).ok());
        Ok(Self { uuid: uuid.ok_or(BadMessage::Uuid)?, flow, elements })
    }
}

/// The bytes of a field that says its length.
fn piece<'a>(frame: &mut &'a [u8]) -> Result<&'a [u8], BadMessage> {
    let length = usize::try_from(decode_varint(frame)?).map_err(|_| BadMessage::Short)?;
    let (piece, rest) = frame.split_at_checked(length).ok_or(BadMessage::Short)?;
    *frame = rest;
    Ok(piece)
}

fn elements(flow: &Flow) -> usize {
    let dns = flow.dns.as_ref().map_or(0, |dns| {
        let records = [&dns.answers, &dns.authorities, &dns.additionals].into_iter().flatten();
        let inside = |record: &_| {
            let sonde_proto::flow::layers::DnsResourceRecord { tx_ts, opt, .. } = record;
            1 + tx_ts.len() + opt.len()
        };
        dns.questions.len() + records.map(inside).sum::<usize>()
    });
    flow.last_raw_packets.len() + dns
}

/// Fields of a message at most, each flow is one.
const FIELDS: usize = 65_536;

/// Bytes of a flow in Protobuf at most: ten packets of `HeaderSize`, or a DNS answer over TCP.
const FLOW: usize = 128 << 10;

/// Packets, DNS records and the like of a flow at most.
const ELEMENTS: usize = 1024;

/// Bytes of a `CaptureID` at most.
const ID: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sonde_proto::flow::{Message as Sent, RawPacket, layers};

    use super::*;

    fn flow(uuid: &str) -> Flow {
        Flow { uuid: uuid.into(), start: 5, ..Flow::default() }
    }

    fn read(frame: &[u8]) -> Result<Vec<AgentFlow>, BadMessage> {
        Message::read(frame)?.flows.into_iter().map(AgentFlow::read).collect()
    }

    #[test]
    fn what_an_agent_sends_is_read() {
        let stats = Stats { capture_id: "c".into(), flow_count: 3, ..Stats::default() };
        let sent = Sent { flows: vec![flow("a"), flow("FF")], stats: Some(stats.clone()) };
        let mut frame = sent.encode_to_vec();
        // A field of a release to come.
        frame.extend([0x1a, 3, 1, 2, 3]);
        assert_eq!(Message::read(&frame).unwrap().stats, Some(stats));
        let flows = read(&frame).unwrap();
        let uuids: Vec<_> = flows.iter().map(|flow| flow.uuid).collect();
        assert_eq!((uuids, &flows[0].flow), (vec![10, 255], &flow("a")));
        assert_eq!(Message::read(&[]).unwrap(), Message::default());
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let one = |flow: Flow| Sent { flows: vec![flow], stats: None }.encode_to_vec();
        let packets = vec![RawPacket::default(); ELEMENTS + 1];
        let record = layers::DnsResourceRecord {
            tx_ts: vec![String::new(); ELEMENTS],
            ..layers::DnsResourceRecord::default()
        };
        let dns = layers::Dns { answers: vec![record], ..layers::Dns::default() };
        let large = "x".repeat(FLOW);
        let capture = Stats { capture_id: "x".repeat(ID + 1), ..Stats::default() };
        for (frame, why) in [
            (b"no message at all".to_vec(), "Protobuf"),
            (b"\x0a\x05abc".to_vec(), "in the middle"),
            (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(), "varint"),
            (b"\x0a".to_vec(), "varint"),
            (b"\x0a\x02\xff\xff".to_vec(), "Protobuf"),
            (b"\x0a\x00".repeat(FIELDS + 1), "at most 65536"),
            (b"\x18\x00".repeat(FIELDS + 1), "at most 65536"),
            (b"\x1b\x20\x00\x1c".to_vec(), "group"),
            (one(flow("")), "hex digits"),
            (one(flow("+a")), "hex digits"),
            (one(flow("0123456789abcdef0")), "hex digits"),
            (one(Flow { application: large, ..flow("a") }), "at most 131072 bytes"),
            (one(Flow { last_raw_packets: packets, ..flow("a") }), "found 1025"),
            (one(Flow { dns: Some(dns), ..flow("a") }), "found 1025"),
            (Sent { flows: vec![], stats: Some(capture) }.encode_to_vec(), "CaptureID"),
        ] {
            let error = read(&frame).unwrap_err().to_string();
            assert!(error.contains(why), "{why}: {error}");
        }
    }
    proptest! {
        #[test]
        fn any_bytes_are_flows_or_refused(
            frame in prop::collection::vec(any::<u8>(), 0..200),
            cut in any::<prop::sample::Index>(),
        ) {
            _ = read(&frame);
            let sent = Sent { flows: vec![flow("a"), flow("b")], stats: Some(Stats::default()) };
            let mut sent = sent.encode_to_vec();
            let at = cut.index(sent.len());
            sent.splice(at..at, frame);
            _ = read(&sent);
        }
    }
}

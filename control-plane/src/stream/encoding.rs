//! The encodings of a message: made once, shared by all who receive it.

use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;
use prost::Message as _;
use sonde_proto::message::Format;

use super::message::{Content, Message};
use crate::envelope::Envelope;
use crate::flow::{LazyFlow, delimited, number};
use crate::json::append;

/// How a message is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// JSON, in UTF-8.
    Json,
    /// JSON in a Protobuf envelope, Skydive's `protobuf`.
    JsonInProtobuf,
    /// Protobuf in a Protobuf envelope, our `X-Flow-Encoding: protobuf`.
    Protobuf,
}

/// The encodings that somebody asked for. The object is written as JSON once, and as Protobuf
/// once, whoever asks.
#[derive(Debug, Default)]
pub(super) struct Forms {
    /// The text, and where in it the object is.
    json: OnceLock<(Bytes, Range<usize>)>,
    json_in_protobuf: OnceLock<Bytes>,
    protobuf: OnceLock<Bytes>,
}

impl Forms {
    /// The message in that encoding.
    pub(super) fn get(&self, encoding: Encoding, message: &Message) -> Bytes {
        let form = match encoding {
            Encoding::Json => &self.json(message).0,
            Encoding::JsonInProtobuf => self.json_in_protobuf.get_or_init(|| {
                let (text, obj) = self.json(message);
                envelope(message).protobuf(Format::Json, text.slice(obj.clone()))
            }),
            Encoding::Protobuf => self.protobuf.get_or_init(|| {
                envelope(message).protobuf(Format::Protobuf, protobuf(message.content()))
            }),
        };
        form.clone()
    }

    fn json(&self, message: &Message) -> &(Bytes, Range<usize>) {
        self.json.get_or_init(|| {
            let content = message.content();
            let room = match content {
                Content::Flows(flows) => flows.len() * JSON,
                Content::Stats(_) => JSON,
            };
            envelope(message).json(room, |text| write_json(content, text))
        })
    }
}

fn envelope(message: &Message) -> Envelope<'_> {
    Envelope {
        namespace: message.namespace(),
        kind: match message.content() {
            Content::Flows(_) => "store",
            Content::Stats(_) => "stats",
        },
        uuid: message.uuid(),
        status: OK,
    }
}

fn write_json(content: &Content, text: &mut Vec<u8>) {
    match content {
        Content::Flows(flows) => {
            text.push(b'[');
            for (n, flow) in flows.iter().enumerate() {
                if n > 0 {
                    text.push(b',');
                }
                flow.write_json(text);
            }
            text.push(b']');
        }
        Content::Stats(stats) => append(text, stats),
    }
}

/// A `FlowSet`: the flows, and the time from the first packet of any to the last of any.
fn protobuf(content: &Content) -> Vec<u8> {
    let flows = match content {
        Content::Flows(flows) => flows,
        Content::Stats(stats) => return stats.encode_to_vec(),
    };
    let mut set = Vec::with_capacity(flows.len() * PROTOBUF);
    for flow in flows {
        delimited(1, &mut set, |set| flow.write_protobuf(set));
    }
    let times = || flows.iter().map(LazyFlow::times);
    number(2, times().map(|(start, _)| start).min().unwrap_or_default(), &mut set);
    number(3, times().map(|(_, last)| last).max().unwrap_or_default(), &mut set);
    set
}

/// Bytes of a flow in JSON, and in Protobuf, with some to spare.
const JSON: usize = 1024;
const PROTOBUF: usize = 512;

/// The status of every message, as in HTTP.
const OK: i64 = 200;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sonde_proto::flow::{Flow, FlowSet};
    use sonde_proto::message::StructMessage;

    use super::super::message::Obj;
    use super::*;

    fn message() -> Message {
        let flow = |uuid: &str, start, last| {
            let flow = Flow { uuid: uuid.into(), start, last, ..Flow::default() };
            LazyFlow::from(Arc::new(flow))
        };
        Message::new("flow".into(), vec![flow("a", 5, 7), flow("b", 3, 6)])
    }

    #[test]
    fn a_form_is_encoded_once() {
        let message = message();
        for encoding in [Encoding::Json, Encoding::JsonInProtobuf, Encoding::Protobuf] {
            let (first, again) = (message.encoded(encoding), message.encoded(encoding));
            assert_eq!(first.as_ptr(), again.as_ptr(), "{encoding:?}");
        }
    }

    #[test]
    fn the_encodings_hold_the_same() {
        let message = message();
        let Obj::Flows(flows) = message.obj() else { panic!("flows are flows") };
        let flows: Vec<Flow> = flows.iter().map(|flow| Flow::clone(flow)).collect();
        let set = FlowSet { flows, start: 3, end: 7 };
        let in_protobuf = |encoding| StructMessage::decode(message.encoded(encoding)).unwrap();

        let binary = in_protobuf(Encoding::Protobuf);
        assert_eq!((binary.format(), binary.obj), (Format::Protobuf, set.encode_to_vec()));
        let text = serde_json::to_vec(&set.flows).unwrap();
        let wrapped = in_protobuf(Encoding::JsonInProtobuf);
        assert_eq!((wrapped.format(), &wrapped.obj), (Format::Json, &text));
        let whole = message.encoded(Encoding::Json);
        let whole: serde_json::Value = serde_json::from_slice(&whole).unwrap();
        assert_eq!(whole["Obj"], serde_json::from_slice::<serde_json::Value>(&text).unwrap());
    }
}

//! The encodings of a message: made once, shared by all who receive it.

use std::sync::OnceLock;

use bytes::Bytes;
use prost::Message as _;
use sonde_proto::flow::{Flow, FlowSet};
use sonde_proto::message::Format;

use super::envelope::{Envelope, json};
use super::message::{Message, Obj};

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

impl Encoding {
    pub(super) fn encode(self, message: &Message) -> Bytes {
        let obj = message.obj();
        let envelope = Envelope {
            namespace: message.namespace(),
            kind: match obj {
                Obj::Flows(_) => "store",
                Obj::Stats(_) => "stats",
            },
            uuid: message.uuid(),
            status: OK,
        };
        match (self, obj) {
            (Self::Json, Obj::Flows(flows)) => envelope.json(flows),
            (Self::Json, Obj::Stats(stats)) => envelope.json(stats),
            (Self::JsonInProtobuf, Obj::Flows(flows)) => {
                envelope.protobuf(Format::Json, json(flows))
            }
            (Self::JsonInProtobuf, Obj::Stats(stats)) => {
                envelope.protobuf(Format::Json, json(stats))
            }
            (Self::Protobuf, Obj::Flows(flows)) => {
                let set = flow_set(flows.iter().map(|flow| Flow::clone(flow)).collect());
                envelope.protobuf(Format::Protobuf, set.encode_to_vec())
            }
            (Self::Protobuf, Obj::Stats(stats)) => {
                envelope.protobuf(Format::Protobuf, stats.encode_to_vec())
            }
        }
    }
}

/// The encodings that somebody asked for.
#[derive(Debug, Default)]
pub(super) struct Forms([OnceLock<Bytes>; 3]);

impl Forms {
    /// What `encode` made the first time.
    pub(super) fn get(&self, encoding: Encoding, encode: impl FnOnce() -> Bytes) -> Bytes {
        let Self([json, json_in_protobuf, protobuf]) = self;
        let form = match encoding {
            Encoding::Json => json,
            Encoding::JsonInProtobuf => json_in_protobuf,
            Encoding::Protobuf => protobuf,
        };
        form.get_or_init(encode).clone()
    }
}

/// The flows, and the time from the first packet of any to the last of any.
fn flow_set(flows: Vec<Flow>) -> FlowSet {
    FlowSet {
        start: flows.iter().map(|flow| flow.start).min().unwrap_or_default(),
        end: flows.iter().map(|flow| flow.last).max().unwrap_or_default(),
        flows,
    }
}

/// The status of every message, as in HTTP.
const OK: i64 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_encoded_once() {
        let forms = Forms::default();
        let first = forms.get(Encoding::Json, || Bytes::from_static(b"first"));
        let again = forms.get(Encoding::Json, || Bytes::from_static(b"again"));
        assert_eq!((first, again), (Bytes::from("first"), Bytes::from("first")));
    }
}

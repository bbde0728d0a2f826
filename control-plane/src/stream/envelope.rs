//! The envelope of every WebSocket message, as text and in Protobuf (Skydive API §7.4).

use bytes::Bytes;
use prost::Message as _;
use serde::Serialize;
use sonde_proto::message::{Format, StructMessage};

/// What is written around an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Envelope<'a> {
    pub(super) namespace: &'a str,
    pub(super) kind: &'a str,
    pub(super) uuid: uuid::Uuid,
    /// As in HTTP.
    pub(super) status: i64,
}

impl Envelope<'_> {
    /// The JSON text of the envelope with `obj` in it.
    pub(super) fn json(&self, obj: &impl Serialize) -> Bytes {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Text<'a, T> {
            namespace: &'a str,
            r#type: &'a str,
            #[serde(rename = "UUID")]
            uuid: uuid::Uuid,
            status: i64,
            obj: &'a T,
        }
        json(&Text {
            namespace: self.namespace,
            r#type: self.kind,
            uuid: self.uuid,
            status: self.status,
            obj,
        })
    }

    /// The Protobuf envelope around an object that is encoded already.
    pub(super) fn protobuf(&self, format: Format, obj: impl Into<Vec<u8>>) -> Bytes {
        let message = StructMessage {
            namespace: self.namespace.to_owned(),
            r#type: self.kind.to_owned(),
            uuid: self.uuid.to_string(),
            status: self.status,
            format: format.into(),
            obj: obj.into(),
        };
        message.encode_to_vec().into()
    }
}

/// The JSON text of `value`.
pub(super) fn json(value: &impl Serialize) -> Bytes {
    match crate::json::text(value) {
        Ok(text) => text.into(),
        Err(error) => unreachable!("flows have string keys, and a Vec takes all: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENVELOPE: Envelope<'_> = Envelope {
        namespace: "flow",
        kind: "store",
        uuid: uuid::Uuid::from_u128(0x0123_4567_89ab_4def_8123_4567_89ab_cdef),
        status: 200,
    };

    #[test]
    fn text_is_as_go_writes_it() {
        let text = ENVELOPE.json(&["a<b>&\u{2028}\"c\u{e9}"]);
        assert_eq!(
            text,
            r#"{"Namespace":"flow","Type":"store","UUID":"01234567-89ab-4def-8123-456789abcdef","Status":200,"Obj":["a\u003cb\u003e\u0026\u2028\"cé"]}"#
        );
    }

    #[test]
    fn protobuf_names_the_format_of_its_object() {
        let bytes = ENVELOPE.protobuf(Format::Protobuf, *b"\x01\x02");
        let message = StructMessage::decode(bytes).unwrap();
        assert_eq!((&*message.namespace, &*message.r#type), ("flow", "store"));
        assert_eq!((message.status, message.format()), (200, Format::Protobuf));
        assert_eq!(message.obj, [1, 2]);
    }
}

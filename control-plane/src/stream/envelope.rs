//! The envelope of every WebSocket message, as text and in Protobuf (Skydive API §7.4).

use std::ops::Range;

use bytes::Bytes;
use prost::Message as _;
use sonde_proto::message::{Format, StructMessage};

use crate::json::{append, append_text};

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
    /// The JSON text of the envelope, with the object that `write` appends to it; and where in it
    /// the object is. `room`: bytes of the object, about.
    pub(super) fn json(
        &self,
        room: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> (Bytes, Range<usize>) {
        let mut text = Vec::with_capacity(room + ROOM);
        let member = |text: &mut Vec<u8>, name: &[u8], value: &str| {
            text.extend_from_slice(name);
            append_text(text, value);
        };
        member(&mut text, b"{\"Namespace\":", self.namespace);
        member(&mut text, b",\"Type\":", self.kind);
        member(&mut text, b",\"UUID\":", self.uuid.hyphenated().encode_lower(&mut [0; 36]));
        text.extend_from_slice(b",\"Status\":");
        append(&mut text, &self.status);
        text.extend_from_slice(b",\"Obj\":");
        let begin = text.len();
        write(&mut text);
        let obj = begin..text.len();
        text.push(b'}');
        (text.into(), obj)
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

/// Bytes of a JSON envelope at most, with a namespace of the usual length.
const ROOM: usize = 256;

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
        let (text, obj) = ENVELOPE.json(0, |text| append(text, &["a<b>&\u{2028}\"c\u{e9}"]));
        assert_eq!(&text[obj], r#"["a\u003cb\u003e\u0026\u2028\"cé"]"#.as_bytes());
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

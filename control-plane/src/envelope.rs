//! The envelope of every WebSocket message, as text and in Protobuf (Skydive API §7.4): written for
//! flows and for the topology, read from clients.

use std::ops::Range;

use bytes::Bytes;
use prost::Message as _;
use serde::Deserialize;
use serde_json::Value;
use sonde_proto::message::{Format, StructMessage};
use sonde_proto::null::null_is_default;

use crate::connections::Hold;
use crate::json::{append, append_text};

/// What is written around an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) uuid: &'a str,
    /// As in HTTP.
    pub(crate) status: i64,
}

impl Envelope<'_> {
    /// The JSON text of the envelope, with the object that `write` appends to it; and where in it
    /// the object is. `room`: bytes of the object, about.
    pub(crate) fn json(
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
        member(&mut text, b",\"UUID\":", self.uuid);
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
    pub(crate) fn protobuf(&self, format: Format, obj: impl Into<Vec<u8>>) -> Bytes {
        let message = StructMessage {
            namespace: self.namespace.to_owned(),
            r#type: self.kind.to_owned(),
            uuid: self.uuid.to_owned(),
            status: self.status,
            format: format.into(),
            obj: obj.into(),
        };
        message.encode_to_vec().into()
    }
}

/// A message that is sent whole: around an object that is JSON already.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) namespace: &'static str,
    pub(crate) kind: &'static str,
    /// A reply repeats that of the request, whatever it is.
    pub(crate) uuid: String,
    /// As in HTTP.
    pub(crate) status: i64,
    /// JSON.
    pub(crate) obj: Vec<u8>,
}

impl Letter {
    /// As text.
    pub(crate) fn json(&self) -> Bytes {
        self.envelope().json(self.obj.len(), |text| text.extend_from_slice(&self.obj)).0
    }

    /// In Protobuf; the object stays JSON.
    pub(crate) fn protobuf(&self) -> Bytes {
        self.envelope().protobuf(Format::Json, self.obj.as_slice())
    }

    fn envelope(&self) -> Envelope<'_> {
        let Self { namespace, kind, uuid, status, .. } = self;
        Envelope { namespace, kind, uuid, status: *status }
    }
}

/// A message from a client.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Received {
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) namespace: String,
    #[serde(rename = "Type", deserialize_with = "null_is_default")]
    pub(crate) kind: String,
    #[serde(rename = "UUID", deserialize_with = "null_is_default")]
    pub(crate) uuid: String,
    /// As in HTTP.
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) status: i64,
    pub(crate) obj: Value,
    /// The room it takes, as long as it is worked on.
    #[serde(skip)]
    pub(crate) hold: Option<Hold>,
}

/// Why a client's message is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("the envelope: {0}")]
    Envelope(#[source] prost::DecodeError),
    #[error("Obj: expected JSON, Format is Protobuf")]
    Format,
    #[error("{0}")]
    Json(#[from] serde_json::Error),
}

impl Received {
    /// Reads a JSON message.
    pub(crate) fn from_json(text: &[u8]) -> Result<Self, Unreadable> {
        Ok(serde_json::from_slice(text)?)
    }

    /// Reads a Protobuf message around JSON.
    pub(crate) fn from_protobuf(bytes: &[u8]) -> Result<Self, Unreadable> {
        let message = StructMessage::decode(bytes).map_err(Unreadable::Envelope)?;
        if message.format() != Format::Json {
            return Err(Unreadable::Format);
        }
        let obj = match message.obj.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&message.obj)?,
        };
        let StructMessage { namespace, r#type: kind, uuid, status, .. } = message;
        Ok(Self { namespace, kind, uuid, status, obj, hold: None })
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
        uuid: "01234567-89ab-4def-8123-456789abcdef",
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

    #[test]
    fn what_is_sent_can_be_read() {
        let letter = Letter {
            namespace: "Graph",
            kind: "SyncReply",
            uuid: "as the client had it".into(),
            status: 200,
            obj: b"{\"Nodes\":[]}".to_vec(),
        };
        let read = Received::from_json(&letter.json()).unwrap();
        assert_eq!((&*read.namespace, &*read.kind), ("Graph", "SyncReply"));
        assert_eq!(read.uuid, "as the client had it");
        assert_eq!(read.obj, serde_json::json!({"Nodes": []}));
        let same = Received::from_protobuf(&letter.protobuf()).unwrap();
        assert_eq!(format!("{same:?}"), format!("{read:?}"));
    }

    #[test]
    fn clients_leave_out_what_they_like() {
        let read = Received::from_json(br#"{"Type": "SyncRequest", "UUID": null}"#).unwrap();
        assert_eq!((&*read.kind, &*read.uuid, read.obj), ("SyncRequest", "", Value::Null));
        let empty = Received::from_protobuf(&[]).unwrap();
        assert_eq!(format!("{empty:?}"), format!("{:?}", Received::default()));
        for (bytes, why) in [
            (ENVELOPE.protobuf(Format::Protobuf, *b"{}"), "expected JSON, Format is Protobuf"),
            (ENVELOPE.protobuf(Format::Json, *b"{"), "EOF"),
            (Bytes::from_static(b"\x07"), "the envelope: "),
        ] {
            let error = Received::from_protobuf(&bytes).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}

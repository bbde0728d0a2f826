//! The envelope of every WebSocket message, as text and in Protobuf (Skydive API §7.4): written for
//! flows and for the topology, read from clients.

use std::ops::Range;

use bytes::Bytes;
use prost::Message as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sonde_proto::message::{Format, StructMessage};
use sonde_proto::null::null_is_default;
use tokio::sync::OwnedSemaphorePermit;

use crate::connections::Hold;
use crate::json::{Shape, append, append_text};

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

/// A message from a client, whose object is not read yet.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) namespace: String,
    pub(crate) kind: String,
    pub(crate) uuid: String,
    /// As in HTTP.
    pub(crate) status: i64,
    pub(crate) obj: Obj,
    /// The room it takes, as long as it is worked on.
    pub(crate) hold: Option<Hold>,
    /// Its turn among the messages of its connection, as long.
    pub(crate) turn: Option<OwnedSemaphorePermit>,
}

/// The object of a message, in JSON, which becomes no more than [`WEIGHT`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Obj {
    place: Place,
    weight: usize,
}

/// Where an object stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// In a JSON message.
    Member(Bytes),
    /// By itself.
    Whole(Bytes),
}

/// Why a client's message is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("the envelope: {0}")]
    Envelope(#[source] prost::DecodeError),
    #[error("Obj: expected JSON, Format is Protobuf")]
    Format,
    #[error("Obj: too many values: {0} bytes in memory, expected at most {WEIGHT}")]
    Heavy(usize),
    #[error("{0}")]
    Json(#[from] serde_json::Error),
}

impl Received {
    /// Reads a JSON message.
    pub(crate) fn from_json(text: &Bytes) -> Result<Self, Unreadable> {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        struct Around {
            #[serde(deserialize_with = "null_is_default")]
            namespace: String,
            #[serde(rename = "Type", deserialize_with = "null_is_default")]
            kind: String,
            #[serde(rename = "UUID", deserialize_with = "null_is_default")]
            uuid: String,
            #[serde(deserialize_with = "null_is_default")]
            status: i64,
        }

        let obj = Obj::new(Place::Member(text.clone()))?;
        let Around { namespace, kind, uuid, status } = serde_json::from_slice(text)?;
        Ok(Self { namespace, kind, uuid, status, obj, hold: None, turn: None })
    }

    /// Reads a Protobuf message around JSON.
    pub(crate) fn from_protobuf(bytes: &[u8]) -> Result<Self, Unreadable> {
        let message = StructMessage::decode(bytes).map_err(Unreadable::Envelope)?;
        if message.format() != Format::Json {
            return Err(Unreadable::Format);
        }
        let StructMessage { namespace, r#type: kind, uuid, status, obj, .. } = message;
        let obj = match obj.is_empty() {
            true => Obj::default(),
            false => Obj::new(Place::Whole(obj.into()))?,
        };
        Ok(Self { namespace, kind, uuid, status, obj, hold: None, turn: None })
    }
}

impl Obj {
    fn new(place: Place) -> Result<Self, Unreadable> {
        match Shape::of(place.text()).weight {
            weight @ ..=WEIGHT => Ok(Self { place, weight }),
            heavy => Err(Unreadable::Heavy(heavy)),
        }
    }

    /// What it is.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Around<T> {
            obj: T,
        }

        match &self.place {
            Place::Member(text) => Ok(serde_json::from_slice::<Around<T>>(text)?.obj),
            Place::Whole(text) => serde_json::from_slice(text),
        }
    }

    /// Bytes of the text it stands in.
    pub(crate) fn len(&self) -> usize {
        self.place.text().len()
    }

    /// Bytes that it takes once it is read, about.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }
}

impl Place {
    fn text(&self) -> &Bytes {
        match self {
            Self::Member(text) | Self::Whole(text) => text,
        }
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::Whole(Bytes::from_static(b"null"))
    }
}

/// Bytes of memory that all objects of clients take at most while they are worked on, and one by
/// itself: twice what a topology of the largest size takes.
pub(crate) const WEIGHT: usize = 256 << 20;

/// Bytes of a JSON envelope at most, with a namespace of the usual length.
const ROOM: usize = 256;

#[cfg(test)]
mod tests {
    use serde_json::Value;

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
        assert_eq!(read.obj.read::<Value>().unwrap(), serde_json::json!({"Nodes": []}));
        let same = Received::from_protobuf(&letter.protobuf()).unwrap();
        assert_eq!((same.namespace, same.kind, same.uuid), (read.namespace, read.kind, read.uuid));
        assert_eq!(same.obj.read::<Value>().unwrap(), read.obj.read::<Value>().unwrap());
    }

    #[test]
    fn clients_leave_out_what_they_like() {
        let read =
            Received::from_json(&Bytes::from_static(br#"{"Type": "SyncRequest", "UUID": null}"#));
        let read = read.unwrap();
        assert_eq!((&*read.kind, &*read.uuid), ("SyncRequest", ""));
        assert_eq!(read.obj.read::<Option<Value>>().unwrap(), None);
        let empty = Received::from_protobuf(&[]).unwrap();
        assert_eq!(format!("{empty:?}"), format!("{:?}", Received::default()));
        for (bytes, why) in [
            (ENVELOPE.protobuf(Format::Protobuf, *b"{}"), "expected JSON, Format is Protobuf"),
            (Bytes::from_static(b"\x07"), "the envelope: "),
        ] {
            let error = Received::from_protobuf(&bytes).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn an_object_is_read_when_it_is_asked_for() {
        let received = Received::from_protobuf(&ENVELOPE.protobuf(Format::Json, *b"{")).unwrap();
        let error = received.obj.read::<Value>().unwrap_err().to_string();
        assert!(error.contains("EOF"), "{error}");
    }

    #[test]
    fn few_bytes_that_become_much_are_refused() {
        let obj = format!("[{}0]", r#"{"":0},"#.repeat(WEIGHT / 700));
        let text = format!(r#"{{"Namespace":"Graph","Type":"Sync","Obj":{obj}}}"#);
        assert!(text.len() < 4 << 20);
        for refused in [
            Received::from_json(&text.into()),
            Received::from_protobuf(&ENVELOPE.protobuf(Format::Json, obj)),
        ] {
            let error = refused.unwrap_err().to_string();
            assert!(error.starts_with("Obj: too many values"), "{error}");
        }
    }
}

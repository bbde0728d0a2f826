//! Takes request bodies, JSON or YAML: bounded in bytes, each and together, and in time.

use std::fmt;
use std::marker::PhantomData;

use axum::body::HttpBody as _;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, header};
use http_body_util::BodyExt as _;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_saphyr::UserMessageFormatter;
use tokio::time::timeout;

use super::{BODY_TIME, Error, MAX_BODY};
use crate::connections::{Hold, Room};
use crate::json::Shape;

/// A request's body as it came.
#[derive(Debug)]
pub(super) struct Body {
    bytes: Vec<u8>,
    language: Language,
    /// As JSON.
    shape: Shape,
    /// Its room, until the request is done.
    hold: Option<Hold>,
}

/// What a body is written in, as its `Content-Type` says: JSON unless it is YAML's (API §1).
#[derive(Clone, Copy, Debug)]
enum Language {
    Json,
    Yaml,
}

/// Why a body cannot be read: line, column and what was expected there.
#[derive(Debug, thiserror::Error)]
pub enum Misread {
    /// It is nested too deep: kept inside a record, it could not be read again.
    #[error("nested {0} deep, expected at most {DEPTH}")]
    Deep(usize),
    /// Its values are so many that they would take too much memory.
    #[error("too many values: {0} bytes in memory, expected at most {WEIGHT}")]
    Heavy(usize),
    /// It was JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// It was YAML.
    #[error("{}", .0.render_with_formatter(&UserMessageFormatter))]
    Yaml(#[source] Box<serde_saphyr::Error>),
}

impl Body {
    /// Reads all of it.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Misread> {
        match self.language {
            Language::Json => match self.shape {
                Shape { depth, .. } if depth > DEPTH => Err(Misread::Deep(depth)),
                Shape { weight, .. } if weight > WEIGHT => Err(Misread::Heavy(weight)),
                _ => Ok(serde_json::from_slice(&self.bytes)?),
            },
            Language::Yaml => yaml(&self.bytes),
        }
    }

    /// All of it.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// All of it, and its room.
    pub(super) fn into_parts(self) -> (Vec<u8>, Option<Hold>) {
        (self.bytes, self.hold)
    }

    /// Whether there is nothing but white space.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.iter().all(u8::is_ascii_whitespace)
    }
}

/// Whether it is of the kind that browsers make of a form.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    kind.starts_with(b"application/x-www-form-urlencoded")
}

/// What stands in an object; serde by itself would also take the members' values in an array.
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members)).map(Object)
            }
        }

        input.deserialize_map(Members(PhantomData))
    }
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let language = match kind {
            Some(kind) if kind == YAML => Language::Yaml,
            _ => Language::Json,
        };
        let hold = request.extensions().get().cloned().map(Room::hold);
        let size = request.body().size_hint().lower();
        if size > MAX_BODY as u64 {
            return Err(Error::LargeBody);
        }
        let read = read(request.into_body(), language, hold);
        timeout(BODY_TIME, read).await.map_err(|_| Error::SlowBody)?
    }
}

/// Reads a body to its end, as far as there is room.
async fn read(
    mut body: axum::body::Body,
    language: Language,
    mut hold: Option<Hold>,
) -> Result<Body, Error> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Error::BrokenBody)?.into_data() else { continue };
        if bytes.len() + data.len() > MAX_BODY {
            return Err(Error::LargeBody);
        }
        if hold.as_mut().is_some_and(|hold| !hold.add(data.len())) {
            return Err(Error::ManyBodies);
        }
        bytes.extend_from_slice(&data);
    }
    // What its values take has its room too; those of one that is too heavy are never read.
    let shape = Shape::of(&bytes);
    let values = if shape.weight > WEIGHT { 0 } else { shape.weight - bytes.len() };
    if hold.as_mut().is_some_and(|hold| !hold.add(values)) {
        return Err(Error::ManyBodies);
    }
    Ok(Body { bytes, language, shape, hold })
}

/// Depth of a document at most; of YAML it is less. serde reads 127.
pub(super) const DEPTH: usize = 100;

/// Bytes of memory that a JSON document and its values take at most, about.
const WEIGHT: usize = 16 << 20;

/// Values of a YAML document at most.
const NODES: usize = 1 << 16;

/// Reads YAML without aliases, which could make much of a small body.
fn yaml<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Misread> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_aliases: 0, max_nodes: NODES },
        with_snippet: false,
    };
    serde_saphyr::from_slice_with_options(bytes, options)
        .map_err(|error| Misread::Yaml(error.into()))
}

/// The kind of a YAML body.
pub(super) const YAML: &str = "application/yaml";

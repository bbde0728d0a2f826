//! Takes request bodies: bounded in bytes, each and together, and in time; JSON only.

use std::fmt;
use std::marker::PhantomData;

use axum::body::HttpBody as _;
use axum::extract::{FromRequest, Request};
use axum::http::header;
use http_body_util::BodyExt as _;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use tokio::time::timeout;

use super::{BODY_TIME, Error, MAX_BODY};
use crate::connections::{Hold, Room};

/// A request's body as it came.
#[derive(Debug)]
pub(super) struct Body {
    bytes: Vec<u8>,
    /// Its room, until the request is done.
    _hold: Option<Hold>,
}

impl Body {
    /// Reads JSON. The error says line, column and what was expected there.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.bytes)
    }

    /// All of it.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether there is nothing but white space.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.iter().all(u8::is_ascii_whitespace)
    }
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
        if request
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind == "application/yaml")
        {
            return Err(Error::Yaml);
        }
        let hold = request.extensions().get().cloned().map(Room::hold);
        let size = request.body().size_hint().lower();
        if size > MAX_BODY as u64 {
            return Err(Error::LargeBody);
        }
        let read = read(request.into_body(), hold);
        timeout(BODY_TIME, read).await.map_err(|_| Error::SlowBody)?
    }
}

/// Reads a body to its end, as far as there is room.
async fn read(mut body: axum::body::Body, mut hold: Option<Hold>) -> Result<Body, Error> {
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
    Ok(Body { bytes, _hold: hold })
}

//! Takes request bodies: bounded in bytes and time, JSON only.

use std::fmt;
use std::marker::PhantomData;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use tokio::time::timeout;

use super::{BODY_TIME, Error};

/// A request's body as it came.
#[derive(Debug)]
pub(super) struct Body(Bytes);

impl Body {
    /// Reads JSON. The error says line, column and what was expected there.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.0)
    }

    /// Whether there is nothing but white space.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(u8::is_ascii_whitespace)
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

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        if request
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind == "application/yaml")
        {
            return Err(Error::Yaml);
        }
        let bytes = timeout(BODY_TIME, Bytes::from_request(request, state));
        Ok(Self(bytes.await.map_err(|_| Error::SlowBody)??))
    }
}

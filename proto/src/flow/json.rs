//! How the members that are not plain serde look in Skydive's JSON.

/// Whether a member has its zero value and is left out.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A Protobuf enumeration number, written as its name.
macro_rules! names {
    ($module:ident, $type:ty) => {
        pub(crate) mod $module {
            use serde::de::Error;
            use serde::{Deserialize, Deserializer, Serializer};

            pub(crate) fn serialize<S: Serializer>(n: &i32, out: S) -> Result<S::Ok, S::Error> {
                match <$type>::try_from(*n) {
                    Ok(value) => out.serialize_str(value.as_str_name()),
                    Err(_) => out.serialize_i32(*n),
                }
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
                input: D,
            ) -> Result<i32, D::Error> {
                let name = std::borrow::Cow::<'_, str>::deserialize(input)?;
                <$type>::from_str_name(&name)
                    .map(Into::into)
                    .ok_or_else(|| D::Error::custom(format_args!("unknown name '{name}'")))
            }
        }
    };
}

names!(protocol, crate::flow::FlowProtocol);
names!(icmp_type, crate::flow::IcmpType);

/// Bytes, written as base64 (RFC 4648 §4).
pub(crate) mod base64 {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>, B: From<Vec<u8>>>(
        input: D,
    ) -> Result<B, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(input)?;
        STANDARD.decode(text.as_bytes()).map(B::from).map_err(D::Error::custom)
    }
}

/// A Protobuf time, written as `{"seconds":…,"nanos":…}` without its zero members.
pub(crate) mod timestamp {
    use prost_types::Timestamp;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Default, Serialize, Deserialize)]
    #[serde(default)]
    struct Form {
        #[serde(skip_serializing_if = "super::is_default")]
        seconds: i64,
        #[serde(skip_serializing_if = "super::is_default")]
        nanos: i32,
    }

    pub(crate) fn serialize<S: Serializer>(
        time: &Option<Timestamp>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(|Timestamp { seconds, nanos }| Form { seconds, nanos }).serialize(out)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        input: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        let form = Option::<Form>::deserialize(input)?;
        Ok(form.map(|Form { seconds, nanos }| Timestamp { seconds, nanos }))
    }
}

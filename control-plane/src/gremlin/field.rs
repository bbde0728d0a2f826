//! What stands under a key of a node, an edge or a JSON object (Skydive API §3.5).

use std::borrow::Cow;
use std::net::IpAddr;

use serde_json::{Map, Value};
use sonde_proto::graph::{Edge, Metadata, Node};
use sonde_proto::record::Mac;

use super::text::{Shown, Text};
use crate::flow::Small;

/// A field that exists.
#[derive(Clone, Debug)]
pub(super) enum Field<'a> {
    One(Scalar<'a>),
    /// Both ends of a flow's layer: a filter matches when either does.
    Pair(Scalar<'a>, Scalar<'a>),
    Json(Cow<'a, Value>),
    /// What a path found behind an array.
    Many(Vec<&'a Value>),
}

/// A single value that predicates compare.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar<'a> {
    Text(&'a str),
    /// A number that is a text of hexadecimal digits.
    Hex(u64),
    /// The text of an address.
    Mac(Mac),
    /// The text of an address.
    Ip(IpAddr),
    Int(i64),
    Float(f64),
    Bool(bool),
    /// A number that also compares as its decimal text.
    Port(i64),
}

/// A node or an edge.
pub(super) trait Element {
    fn id(&self) -> &str;
    fn metadata(&self) -> &Metadata;
    /// The field of that key: a member, as `@ID`, or a dotted path into the metadata.
    fn field(&self, key: &str) -> Option<Field<'_>>;
}

/// Names of the members every element has.
pub(super) const MEMBERS: [&str; 7] =
    ["@ID", "@Host", "@Origin", "@CreatedAt", "@UpdatedAt", "@DeletedAt", "@Revision"];

impl Element for Node {
    fn id(&self) -> &str {
        &self.id
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn field(&self, key: &str) -> Option<Field<'_>> {
        match key {
            "@ID" => Some(Field::text(&self.id)),
            "@Host" => Some(Field::text(&self.host)),
            "@Origin" => Some(Field::text(&self.origin)),
            "@CreatedAt" => self.created_at.map(Field::int),
            "@UpdatedAt" => self.updated_at.map(Field::int),
            "@DeletedAt" => self.deleted_at.map(Field::int),
            "@Revision" => Some(Field::int(self.revision)),
            path => lookup(&self.metadata, unprefixed(path)),
        }
    }
}

impl Element for Edge {
    fn id(&self) -> &str {
        &self.id
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn field(&self, key: &str) -> Option<Field<'_>> {
        match key {
            "@ID" => Some(Field::text(&self.id)),
            "@Host" => Some(Field::text(&self.host)),
            "@Origin" => Some(Field::text(&self.origin)),
            "@CreatedAt" => self.created_at.map(Field::int),
            "@UpdatedAt" => self.updated_at.map(Field::int),
            "@DeletedAt" => self.deleted_at.map(Field::int),
            "@Revision" => Some(Field::int(self.revision)),
            "Parent" => Some(Field::text(&self.parent)),
            "Child" => Some(Field::text(&self.child)),
            path => lookup(&self.metadata, unprefixed(path)),
        }
    }
}

/// Walks a dotted path; where it crosses an array, each element's field counts.
pub(super) fn lookup<'a>(object: &'a Map<String, Value>, path: &str) -> Option<Field<'a>> {
    let (head, rest) = match path.split_once('.') {
        Some((head, rest)) => (head, Some(rest)),
        None => (path, None),
    };
    match (object.get(head)?, rest) {
        (Value::Null, _) => None,
        (value, None) => Some(Field::Json(Cow::Borrowed(value))),
        (Value::Object(inner), Some(rest)) => lookup(inner, rest),
        (Value::Array(items), Some(rest)) => {
            let mut many = Vec::new();
            for field in
                items.iter().filter_map(Value::as_object).filter_map(|item| lookup(item, rest))
            {
                match field {
                    Field::Json(Cow::Borrowed(value)) => many.push(value),
                    Field::Many(values) => many.extend(values),
                    _ => {}
                }
            }
            (!many.is_empty()).then_some(Field::Many(many))
        }
        _ => None,
    }
}

/// The path into the metadata that a key is.
pub(super) fn unprefixed(path: &str) -> &str {
    path.strip_prefix("Metadata.").unwrap_or(path)
}

impl<'a> Field<'a> {
    pub(super) fn text(text: &'a str) -> Self {
        Self::One(Scalar::Text(text))
    }

    pub(super) fn hex(digest: u64) -> Self {
        Self::One(Scalar::Hex(digest))
    }

    pub(super) fn mac(mac: Mac) -> Self {
        Self::One(Scalar::Mac(mac))
    }

    pub(super) fn ip(ip: IpAddr) -> Self {
        Self::One(Scalar::Ip(ip))
    }

    pub(super) fn int(n: i64) -> Self {
        Self::One(Scalar::Int(n))
    }

    /// The same, of nothing that has to live on.
    pub(super) fn into_owned(self) -> Field<'static> {
        match self {
            Self::One(Scalar::Int(n)) => Field::int(n),
            other => Field::Json(Cow::Owned(other.to_value())),
        }
    }

    /// Whether the test holds for any value of the field; arrays count by their elements.
    pub(super) fn any(&self, test: impl Fn(Scalar<'_>) -> bool) -> bool {
        match self {
            Self::One(one) => test(*one),
            Self::Pair(a, b) => test(*a) || test(*b),
            Self::Json(value) => any(value, &test),
            Self::Many(values) => values.iter().any(|value| any(value, &test)),
        }
    }

    /// The integer the field is or holds, as Skydive casts it.
    pub(super) fn as_int(&self) -> Option<i64> {
        match self {
            Self::One(one) => one.as_int(),
            Self::Json(value) => Scalar::of(value)?.as_int(),
            _ => None,
        }
    }

    /// The text it is, to be kept.
    pub(super) fn to_text(&self) -> Option<Text> {
        match self {
            Self::One(one) => one.to_text(),
            Self::Json(value) => value.as_str().map(Text::from),
            _ => None,
        }
    }

    /// The text it is.
    pub(super) fn as_text(&self) -> Option<Shown<'_>> {
        match self {
            Self::One(one) => one.as_text(),
            Self::Json(value) => value.as_str().map(Shown::There),
            _ => None,
        }
    }

    /// As JSON.
    pub(super) fn to_value(&self) -> Value {
        match self {
            Self::One(one) => one.to_value(),
            Self::Pair(a, b) => Value::Array(vec![a.to_value(), b.to_value()]),
            Self::Json(value) => value.as_ref().clone(),
            Self::Many(values) => Value::Array(values.iter().copied().cloned().collect()),
        }
    }
}

fn any(value: &Value, test: &impl Fn(Scalar<'_>) -> bool) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| any(item, test)),
        value => Scalar::of(value).is_some_and(test),
    }
}

impl<'a> Scalar<'a> {
    /// What a plain JSON value is; objects, arrays and null are none.
    pub(super) fn of(value: &'a Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::Text(text)),
            Value::Bool(truth) => Some(Self::Bool(*truth)),
            Value::Number(number) => match number.as_i64() {
                Some(int) => Some(Self::Int(int)),
                None => number.as_f64().map(Self::Float),
            },
            _ => None,
        }
    }

    /// Cast to an integer: numeric text is parsed, fractions are cut off.
    pub(super) fn as_int(self) -> Option<i64> {
        match self {
            Self::Int(n) | Self::Port(n) => Some(n),
            Self::Float(f) => Some(f as i64),
            Self::Bool(truth) => Some(truth.into()),
            // No address is a number.
            Self::Mac(_) | Self::Ip(_) => None,
            Self::Text(_) | Self::Hex(_) => self.as_text()?.parse().ok(),
        }
    }

    /// The text it is.
    pub(super) fn as_text(self) -> Option<Shown<'a>> {
        match self {
            Self::Text(text) => Some(Shown::There(text)),
            Self::Hex(digest) => Some(Shown::Made(Small::hex(digest))),
            Self::Mac(mac) => Some(Shown::Made(Small::mac(mac))),
            Self::Ip(ip) => Some(Shown::Made(Small::ip(ip))),
            _ => None,
        }
    }

    /// The text it is, to be kept.
    fn to_text(self) -> Option<Text> {
        match self {
            Self::Text(text) => Some(text.into()),
            Self::Hex(digest) => Some(Text::Hex(digest)),
            Self::Mac(mac) => Some(Text::Mac(mac)),
            Self::Ip(ip) => Some(Text::Ip(ip)),
            _ => None,
        }
    }

    fn to_value(self) -> Value {
        match self {
            Self::Text(text) => text.into(),
            Self::Hex(digest) => Small::hex(digest).as_str().into(),
            Self::Mac(mac) => Small::mac(mac).as_str().into(),
            Self::Ip(ip) => Small::ip(ip).as_str().into(),
            Self::Int(n) | Self::Port(n) => n.into(),
            Self::Float(f) => f.into(),
            Self::Bool(truth) => truth.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(object: Value, path: &str) -> Option<Value> {
        lookup(object.as_object().unwrap(), path).map(|field| field.to_value())
    }

    #[test]
    fn paths_cross_objects_and_arrays() {
        let tables = json!({"T": [{"R": [{"IP": "a"}, {"IP": "b"}]}, {"R": [{"IP": "c"}]}, 7]});
        assert_eq!(value(tables, "T.R.IP"), Some(json!(["a", "b", "c"])));
        let nested = json!({"A": {"B": {"C": 1}}});
        assert_eq!(value(nested.clone(), "A.B.C"), Some(json!(1)));
        assert_eq!(value(nested.clone(), "A.B"), Some(json!({"C": 1})));
        assert_eq!(value(nested.clone(), "A.C"), None);
        assert_eq!(value(nested, "A.B.C.D"), None);
    }

    #[test]
    fn null_is_no_value() {
        assert_eq!(value(json!({"A": null}), "A"), None);
    }
}

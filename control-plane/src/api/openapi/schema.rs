//! Schemas of what is no type of ours, or is too large to spell out.

use std::collections::HashMap;

use serde_json::Value;
use sonde_proto::graph::{Edge, Node};
use utoipa::openapi::schema::{AnyOfBuilder, SchemaType};
use utoipa::openapi::{
    ArrayBuilder, KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type,
};
use utoipa::{PartialSchema, ToSchema};

use super::operation::{reference, string};

/// A JSON Patch (RFC 6902), of a thousand operations at most.
#[derive(ToSchema)]
#[expect(dead_code, reason = "there for its schema")]
pub(super) struct JsonPatch(Vec<PatchOperation>);

/// An operation of a JSON Patch. Places are JSON Pointers (RFC 6901).
#[derive(ToSchema)]
#[serde(tag = "op", rename_all = "lowercase")]
#[expect(dead_code, reason = "there for its schema")]
enum PatchOperation {
    Add { path: Pointer, value: Value },
    Remove { path: Pointer },
    Replace { path: Pointer, value: Value },
    Move { from: Pointer, path: Pointer },
    Copy { from: Pointer, path: Pointer },
    Test { path: Pointer, value: Value },
}

/// A place in a document.
struct Pointer;

impl ToSchema for Pointer {}

impl PartialSchema for Pointer {
    fn schema() -> RefOr<Schema> {
        string().pattern(Some("^(/.*)?$")).examples(["/Name"]).into()
    }
}

/// A flow as Skydive writes it. Members that are zero or empty are left out.
#[derive(ToSchema)]
#[serde(rename_all = "PascalCase")]
#[expect(dead_code, reason = "there for its schema")]
struct Flow {
    /// The same for all records of the flow, and for nobody else's.
    #[serde(rename = "UUID", default)]
    uuid: String,
    /// Its layers, outermost first: `Ethernet/IPv4/TCP`.
    #[serde(default)]
    layers_path: String,
    /// The last of them.
    #[serde(default)]
    application: String,
    /// Milliseconds since the epoch.
    #[serde(default)]
    start: i64,
    /// Milliseconds since the epoch.
    #[serde(default)]
    last: i64,
    /// `Link`, `Network`, `Transport`, `ICMP`, `Metric`, `TCPMetric` and all the others.
    #[serde(flatten)]
    others: HashMap<String, Value>,
}

/// What a query answers: what its last step makes.
pub(super) struct Answer;

impl ToSchema for Answer {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        for (name, schema) in [
            (Node::name(), Node::schema()),
            (Edge::name(), Edge::schema()),
            (Flow::name(), Flow::schema()),
        ] {
            schemas.push((name.into_owned(), schema));
        }
    }
}

impl PartialSchema for Answer {
    fn schema() -> RefOr<Schema> {
        let any = ObjectBuilder::new().schema_type(SchemaType::AnyValue);
        let object = ObjectBuilder::new().schema_type(Type::Object);
        AnyOfBuilder::new()
            .description(Some("What the last step of the query makes."))
            .item(ArrayBuilder::new().items(reference::<Node>()))
            .item(ArrayBuilder::new().items(reference::<Edge>()))
            .item(ArrayBuilder::new().items(reference::<Flow>()))
            .item(ArrayBuilder::new().items(any))
            .item(ObjectBuilder::new().schema_type(Type::Number))
            .item(object)
            .item(ObjectBuilder::new().schema_type(Type::Null))
            .into()
    }
}

/// The schema of bytes.
pub(super) fn binary() -> ObjectBuilder {
    string().format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)))
}

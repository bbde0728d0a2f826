//! Nodes and edges of the topology, as Skydive writes them (API §8.1).

use std::ops::Deref;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::null::null_is_default;

/// What is known of a node or an edge, by name. Values nest; a dotted path names an inner one.
pub type Metadata = Map<String, Value>;

/// What a node and an edge have in common, at one revision.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(as = Node, examples(json!({"ID": "tor", "Metadata": {"Name": "tor", "Type": "switch"}})))]
pub struct Element {
    /// Unique; a UUID for elements of ours, any text for those of publishers.
    #[serde(rename = "ID", default, deserialize_with = "null_is_default")]
    #[schema(required)]
    pub id: String,
    /// A node's always has `Name` and `Type`, an edge's `RelationType`.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schema(value_type = HashMap<String, Value>, required)]
    pub metadata: Metadata,
    /// The host that discovered the element.
    #[serde(default, deserialize_with = "null_is_default")]
    pub host: String,
    /// Who made the element: `agent.<host>`, `api.<host>`, `<client type>.<client host>`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub origin: String,
    /// Milliseconds since the epoch.
    #[serde(default)]
    pub created_at: Option<i64>,
    /// Milliseconds since the epoch.
    #[serde(default)]
    pub updated_at: Option<i64>,
    /// Milliseconds since the epoch; absent while the element lives.
    #[serde(default)]
    pub deleted_at: Option<i64>,
    /// 1 for a new element, one more with each change of its metadata.
    #[serde(default, deserialize_with = "null_is_default")]
    pub revision: i64,
}

/// A node of the topology: an element, and no more.
pub type Node = Element;

/// An edge of the topology: an element between two nodes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
#[schema(examples(json!({
    "ID": "uplink",
    "Parent": "tor",
    "Child": "spine",
    "Metadata": {"RelationType": "layer2"},
})))]
pub struct Edge {
    /// What a node has too.
    #[serde(flatten)]
    pub element: Element,
    /// ID of the parent node.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schema(required)]
    pub parent: String,
    /// ID of the child node.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schema(required)]
    pub child: String,
}

impl Element {
    /// The text under `key`, empty when there is none.
    pub fn text(&self, key: &str) -> &str {
        self.metadata.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// The element's TID, once it is known and if it is a UUID.
    pub fn tid(&self) -> Option<Uuid> {
        Uuid::try_parse(self.text("TID")).ok()
    }
}

impl Deref for Edge {
    type Target = Element;

    fn deref(&self) -> &Element {
        &self.element
    }
}

/// Relation types that sonde itself makes.
pub mod relation {
    /// Host to namespace, namespace to interface.
    pub const OWNERSHIP: &str = "ownership";
    /// Bridge to port, veth to veth, parent to VLAN.
    pub const LAYER2: &str = "layer2";
}

/// UUIDv5 in the OID namespace over the parts put together: the rule for TIDs and for the IDs of
/// ownership and layer2 edges (Skydive API §8.2).
pub fn uuid_v5(parts: &[&str]) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, parts.concat().as_bytes())
}

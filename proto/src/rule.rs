//! Rules that add to the topology, as REST clients write and read them (API §2.6, §2.7).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::graph::Metadata;
use crate::null::null_is_default;

/// Creates a node, or adds metadata to nodes. Absent members and `null` mean the default; unknown
/// members are ignored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
#[schema(examples(json!({"Action": "create", "Metadata": {"Name": "tor", "Type": "fabric"}})))]
pub struct NodeRule {
    /// Given by the server; a client's own is overwritten.
    #[serde(rename = "UUID", deserialize_with = "null_is_default")]
    #[schema(read_only)]
    pub uuid: String,
    /// For people.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    /// For people.
    #[serde(deserialize_with = "null_is_default")]
    pub description: String,
    /// Of the node that is created, or what is added to nodes.
    #[serde(deserialize_with = "null_is_default")]
    #[schema(value_type = HashMap<String, Value>)]
    pub metadata: Metadata,
    /// `create` or `update`.
    #[serde(deserialize_with = "null_is_default")]
    pub action: String,
    /// Which nodes are updated, in Gremlin.
    #[serde(deserialize_with = "null_is_default")]
    pub query: String,
}

/// Links two nodes. Absent members and `null` mean the default; unknown members are ignored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
#[schema(examples(json!({
    "Src": "G.V().Has('Name', 'tor')",
    "Dst": "G.V().Has('Type', 'host')",
    "Metadata": {"RelationType": "layer2"},
})))]
pub struct EdgeRule {
    /// Given by the server; a client's own is overwritten.
    #[serde(rename = "UUID", deserialize_with = "null_is_default")]
    #[schema(read_only)]
    pub uuid: String,
    /// For people.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    /// For people.
    #[serde(deserialize_with = "null_is_default")]
    pub description: String,
    /// The first node it finds, in Gremlin, is the parent.
    #[serde(deserialize_with = "null_is_default")]
    pub src: String,
    /// The first node it finds, in Gremlin, is the child.
    #[serde(deserialize_with = "null_is_default")]
    pub dst: String,
    /// Of the edge; with its `RelationType`.
    #[serde(deserialize_with = "null_is_default")]
    #[schema(value_type = HashMap<String, Value>)]
    pub metadata: Metadata,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_is_written() {
        let node = serde_json::to_string(&NodeRule::default()).unwrap();
        let members = r#""UUID":"","Name":"","Description":"","#;
        let expected = format!("{{{members}\"Metadata\":{{}},\"Action\":\"\",\"Query\":\"\"}}");
        assert_eq!(node, expected);
        let edge = serde_json::to_string(&EdgeRule::default()).unwrap();
        let expected = format!("{{{members}\"Src\":\"\",\"Dst\":\"\",\"Metadata\":{{}}}}");
        assert_eq!(edge, expected);
    }

    #[test]
    fn null_is_the_default() {
        let text = r#"{"Metadata": null, "Query": null, "Colour": "blue"}"#;
        assert_eq!(serde_json::from_str::<NodeRule>(text).unwrap(), NodeRule::default());
    }
}

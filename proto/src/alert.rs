//! An alert as REST clients write and read it (API §2.4).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::null::null_is_default;

/// The alert resource. Absent members and `null` mean the default; unknown members are ignored.
/// Skydive leaves out `Action` and `Trigger` when they are empty, and its Python client then fails:
/// they are always written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
#[schema(examples(json!({"Name": "down", "Expression": "G.V().Has('State', 'DOWN')"})))]
pub struct Alert {
    /// Given by the server; a client's own is overwritten.
    #[serde(
        rename = "UUID",
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    #[schema(read_only)]
    pub uuid: String,
    /// For people.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// For people.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What is looked at, in Gremlin; JavaScript where it is none. Required.
    #[serde(deserialize_with = "null_is_default")]
    pub expression: String,
    /// Who is told besides WebSocket subscribers: `http://...`, `https://...`, `file://...`, or
    /// empty for nobody.
    #[serde(deserialize_with = "null_is_default")]
    pub action: String,
    /// When it is looked at: `graph` (or empty) for each change, or `duration:5s`.
    #[serde(deserialize_with = "null_is_default")]
    pub trigger: String,
    /// RFC 3339. Output only.
    #[serde(deserialize_with = "null_is_default")]
    #[schema(read_only)]
    pub create_time: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_read_is_written() {
        assert_eq!(
            serde_json::to_string(&Alert::default()).unwrap(),
            r#"{"Expression":"","Action":"","Trigger":"","CreateTime":""}"#
        );
    }
}

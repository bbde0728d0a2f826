//! A workflow as REST clients write, read and call it (API §2.5).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::null::null_is_default;

/// The workflow resource: a JavaScript function, and what people are told of it. Absent members and
/// `null` mean the default; unknown members are ignored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
#[schema(examples(json!({"Name": "count", "Source": "async () => client.gremlin.query('G.V().Count()')"})))]
pub struct Workflow {
    /// Given by the server; a client's own is overwritten.
    #[serde(rename = "UUID", deserialize_with = "null_is_default")]
    #[schema(read_only)]
    pub uuid: String,
    /// No two have the same. Required.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    /// For people.
    #[serde(deserialize_with = "null_is_default")]
    pub title: String,
    /// For people.
    #[serde(rename = "Abstract", deserialize_with = "null_is_default")]
    pub summary: String,
    /// For people.
    #[serde(deserialize_with = "null_is_default")]
    pub description: String,
    /// What the function takes, in its order.
    #[serde(deserialize_with = "null_is_default")]
    pub parameters: Vec<Parameter>,
    /// The text of the function.
    #[serde(deserialize_with = "null_is_default")]
    pub source: String,
}

/// What people are told of a parameter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
pub struct Parameter {
    /// Its name.
    #[serde(deserialize_with = "null_is_default")]
    pub name: String,
    /// What it is for.
    #[serde(deserialize_with = "null_is_default")]
    pub description: String,
    /// How it is asked for: `node`, `string`, `integer`, `boolean`, `choice`, ...
    #[serde(rename = "Type", deserialize_with = "null_is_default")]
    pub kind: String,
    /// What it is when nobody says otherwise.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub default: Value,
    /// What it may be, when it is a choice.
    #[serde(deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Choice>,
}

/// What a parameter may be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
pub struct Choice {
    /// What the function is given.
    pub value: Value,
    /// What it means.
    #[serde(deserialize_with = "null_is_default")]
    pub description: String,
}

/// The body of a call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, rename_all = "PascalCase")]
pub struct WorkflowCall {
    /// What the function is given.
    #[serde(deserialize_with = "null_is_default")]
    pub params: Vec<Value>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_members_are_skydives() {
        let text = json!({
            "UUID": "u", "Name": "n", "Title": "t", "Abstract": "a", "Description": "d",
            "Parameters": [
                {"Name": "from", "Description": "where", "Type": "node"},
                {"Name": "mode", "Description": "", "Type": "choice", "Default": 1,
                 "Values": [{"Value": 1, "Description": "one"}]},
            ],
            "Source": "function () {}",
        });
        let workflow: Workflow = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(serde_json::to_value(workflow).unwrap(), text);
    }

    #[test]
    fn null_is_the_default() {
        let text = r#"{"Name": null, "Parameters": null, "Colour": "blue"}"#;
        assert_eq!(serde_json::from_str::<Workflow>(text).unwrap(), Workflow::default());
        let call = serde_json::from_str::<WorkflowCall>(r#"{"Params": null}"#).unwrap();
        assert_eq!(call, WorkflowCall::default());
    }
}

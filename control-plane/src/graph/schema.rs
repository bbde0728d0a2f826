//! What elements that come from outside must have (Skydive API §8.6).

use serde_json::Value;
use sonde_proto::graph::{Edge, Node};

/// Why an element is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// It has no ID.
    #[error("No ID found for graph element")]
    NoId,
    /// An edge has no node at one of its ends.
    #[error("{0} ID wrong format")]
    NoEnd(&'static str),
    /// It lacks metadata that its kind has to have.
    #[error("invalid schema: {0}")]
    Incomplete(&'static str),
}

pub(super) fn check_node(node: &Node) -> Result<(), SchemaError> {
    identify_node(node)?;
    let has = |key| !node.text(key).is_empty();
    let whole = match node.text("Type") {
        "netns" => has("Path"),
        "ovsport" => has("UUID"),
        "" => has("Path") || has("UUID"),
        _ => true,
    };
    match (has("Name"), whole) {
        (true, true) => Ok(()),
        (true, false) => Err(SchemaError::Incomplete(NO_TYPE)),
        (false, _) => Err(SchemaError::Incomplete(NO_NAME)),
    }
}

pub(super) fn check_edge(edge: &Edge) -> Result<(), SchemaError> {
    identify_edge(edge)?;
    let relation = edge.metadata.get("RelationType").and_then(Value::as_str);
    match relation.is_none_or(str::is_empty) {
        true => Err(SchemaError::Incomplete(NO_RELATION)),
        false => Ok(()),
    }
}

pub(super) fn identify_node(node: &Node) -> Result<(), SchemaError> {
    if node.id.is_empty() { Err(SchemaError::NoId) } else { Ok(()) }
}

pub(super) fn identify_edge(edge: &Edge) -> Result<(), SchemaError> {
    identify_node(edge)?;
    for (end, what) in [(&edge.parent, "parent"), (&edge.child, "child")] {
        if end.is_empty() {
            return Err(SchemaError::NoEnd(what));
        }
    }
    Ok(())
}

/// As Skydive has it, word for word: a test of its clients compares it.
const NO_NAME: &str = "(root): Must validate all the schemas (allOf)\n\
    Metadata: Must validate all the schemas (allOf)\n\
    Metadata: Name is required\n\
    (root): Must validate at least one schema (anyOf)\n";

const NO_TYPE: &str = "(root): Must validate at least one schema (anyOf)\n\
    Metadata: Type is required, or Path for a netns, or UUID for an ovsport\n";

const NO_RELATION: &str = "Metadata: RelationType is required\n";

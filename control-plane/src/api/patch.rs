//! Applies JSON Patches (RFC 6902) of bounded cost.

use json_patch::PatchOperation;
use serde_json::Value;

use super::body::DEPTH;
use super::{Error, MAX_BODY};

/// The document after all operations.
///
/// `copy` and `add` could double a document's size and depth each time, so both are looked at after
/// every operation: a document that a request could not have brought is an error.
pub(super) fn apply(mut document: Value, operations: &[PatchOperation]) -> Result<Value, Error> {
    if operations.len() > OPERATIONS {
        return Err(Error::PatchCost(format!(
            "{} operations, expected at most {OPERATIONS}",
            operations.len()
        )));
    }
    for (at, operation) in operations.iter().enumerate() {
        json_patch::patch(&mut document, std::slice::from_ref(operation))
            .map_err(|error| Error::PatchFailed { at, why: error.kind })?;
        let Size { bytes, depth } = Size::of(&document);
        if bytes > MAX_BODY || depth > DEPTH {
            return Err(Error::PatchCost(format!(
                "operation {at} makes {bytes} bytes, {depth} deep, expected at most {MAX_BODY} and \
                 {DEPTH}"
            )));
        }
    }
    Ok(document)
}

/// Times that a patch is applied anew because another changed what it is for meanwhile.
pub(super) const TRIES: usize = 8;

/// What a document costs to keep and to walk.
struct Size {
    /// Bytes of its text, roughly.
    bytes: usize,
    /// Arrays and objects within one another.
    depth: usize,
}

impl Size {
    fn of(value: &Value) -> Self {
        let inner = |bytes: usize, value: &Value, sum: Self| {
            let size = Self::of(value);
            Self { bytes: sum.bytes + bytes + size.bytes, depth: sum.depth.max(1 + size.depth) }
        };
        let empty = Self { bytes: 2, depth: 1 };
        match value {
            Value::Array(values) => values.iter().fold(empty, |sum, value| inner(1, value, sum)),
            Value::Object(members) => {
                members.iter().fold(empty, |sum, (key, value)| inner(key.len() + 4, value, sum))
            }
            Value::String(text) => Self { bytes: text.len() + 2, depth: 0 },
            Value::Null | Value::Bool(_) | Value::Number(_) => Self { bytes: 8, depth: 0 },
        }
    }
}

/// Operations of a patch at most.
const OPERATIONS: usize = 1000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(document: Value, patch: Value) -> Result<Value, String> {
        let operations: Vec<PatchOperation> = serde_json::from_value(patch).unwrap();
        apply(document, &operations).map_err(|error| error.to_string())
    }

    #[test]
    fn operations_are_done_in_order() {
        let patch = json!([
            {"op": "add", "path": "/a", "value": [1]},
            {"op": "add", "path": "/a/-", "value": 2},
            {"op": "copy", "from": "/a", "path": "/b"},
            {"op": "remove", "path": "/a/0"},
        ]);
        assert_eq!(patched(json!({}), patch), Ok(json!({"a": [2], "b": [1, 2]})));
    }

    #[test]
    fn what_does_not_apply_is_named() {
        let patch =
            json!([{"op": "test", "path": "", "value": {}}, {"op": "remove", "path": "/x"}]);
        let error = patched(json!({}), patch).unwrap_err();
        assert!(error.starts_with("applying JSON patch to resource: operation 1: "), "{error}");
    }

    #[test]
    fn a_document_cannot_be_blown_up() {
        let grow = |path: &str| json!({"op": "copy", "from": "", "path": path});
        let wide: Vec<_> = (0..64).map(|at| grow(&format!("/{at}"))).collect();
        let deep: Vec<_> = (0..8).map(|at| grow(&"/a".repeat(1 << at))).collect();
        for patch in [wide, deep, vec![grow("/a"); 1001]] {
            let error = patched(json!({"k": "v"}), json!(patch)).unwrap_err();
            assert!(error.contains("expected at most"), "{error}");
        }
    }
}

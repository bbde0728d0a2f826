//! Partial updates: what changed in the metadata of an element (Skydive API §7.6).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::map::Entry;
use sonde_proto::graph::{Element, Metadata};
use sonde_proto::null::null_is_default;

/// An element's change from one revision to a later one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PartialUpdate {
    #[serde(rename = "ID")]
    pub(super) id: String,
    #[serde(default)]
    pub(super) updated_at: Option<i64>,
    #[serde(default)]
    pub(super) revision: i64,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) ops: Vec<Operation>,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Operation {
    /// [`SET`] or [`DELETE`].
    r#type: u8,
    /// A dotted path.
    key: String,
    #[serde(default)]
    value: Value,
}

/// Makes the value that of the key.
const SET: u8 = 1;
/// Removes the key.
const DELETE: u8 = 2;
/// Names in a dotted path at most: metadata nests no deeper by it.
const DEPTH: usize = 32;

impl PartialUpdate {
    /// What makes `before` of `after`, by keys of the metadata.
    pub(super) fn between(before: &Element, after: &Element) -> Self {
        let (old, new) = (&before.metadata, &after.metadata);
        let set = new
            .iter()
            .filter(|(key, value)| old.get(*key) != Some(*value))
            .map(|(key, value)| Operation { r#type: SET, key: key.clone(), value: value.clone() });
        let deleted = old.keys().filter(|key| !new.contains_key(*key));
        let deleted =
            deleted.map(|key| Operation { r#type: DELETE, key: key.clone(), value: Value::Null });
        Self {
            id: after.id.clone(),
            updated_at: after.updated_at,
            revision: after.revision,
            ops: set.chain(deleted).collect(),
        }
    }

    /// Does the operations, in their order. The error says which one cannot be done.
    pub(super) fn apply(&self, metadata: &mut Metadata) -> Result<(), String> {
        for Operation { r#type, key, value } in &self.ops {
            if key.split('.').nth(DEPTH).is_some() {
                return Err(format!("Ops: Key: expected at most {DEPTH} names"));
            }
            match *r#type {
                SET => set(metadata, key, value)?,
                DELETE => delete(metadata, key),
                other => return Err(format!("Ops: Type {other}: expected {SET} or {DELETE}")),
            }
        }
        Ok(())
    }
}

/// Objects on the way are made where there are none.
fn set(metadata: &mut Metadata, path: &str, value: &Value) -> Result<(), String> {
    let Some((head, rest)) = path.split_once('.') else {
        metadata.insert(path.to_owned(), value.clone());
        return Ok(());
    };
    let inner = match metadata.entry(head) {
        Entry::Vacant(place) => place.insert(Value::Object(Metadata::new())),
        Entry::Occupied(place) => place.into_mut(),
    };
    match inner {
        Value::Object(inner) => set(inner, rest, value),
        _ => Err(format!("Ops: Key {path}: {head} is no object")),
    }
}

fn delete(metadata: &mut Metadata, path: &str) {
    match path.split_once('.') {
        None => drop(metadata.remove(path)),
        Some((head, rest)) => {
            if let Some(Value::Object(inner)) = metadata.get_mut(head) {
                delete(inner, rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn metadata(value: Value) -> Metadata {
        value.as_object().unwrap().clone()
    }

    fn element(revision: i64, metadata: Metadata) -> Element {
        Element { id: "a".into(), revision, updated_at: Some(9), metadata, ..Element::default() }
    }

    #[test]
    fn says_what_changed_and_no_more() {
        let before = element(1, metadata(json!({"Name": "a", "MTU": 1, "Old": true})));
        let after = element(2, metadata(json!({"Name": "a", "MTU": 2, "New": {"x": 1}})));
        let update = serde_json::to_value(PartialUpdate::between(&before, &after)).unwrap();
        assert_eq!(
            update,
            json!({"ID": "a", "UpdatedAt": 9, "Revision": 2, "Ops": [
                {"Type": 1, "Key": "MTU", "Value": 2},
                {"Type": 1, "Key": "New", "Value": {"x": 1}},
                {"Type": 2, "Key": "Old", "Value": null},
            ]})
        );
    }

    #[test]
    fn dotted_keys_lead_into_objects() {
        let update = |ops: Value| -> PartialUpdate {
            serde_json::from_value(json!({"ID": "a", "Ops": ops})).unwrap()
        };
        let mut held = metadata(json!({"Name": "a", "Deep": {"x": {"y": 1, "z": 2}}}));
        let ops = json!([
            {"Type": 1, "Key": "Deep.x.y", "Value": 7},
            {"Type": 2, "Key": "Deep.x.z"},
            {"Type": 2, "Key": "Not.there"},
            {"Type": 1, "Key": "New.one", "Value": []},
        ]);
        update(ops).apply(&mut held).unwrap();
        let expected = json!({"Name": "a", "Deep": {"x": {"y": 7}}, "New": {"one": []}});
        assert_eq!(held, metadata(expected));
        for (ops, why) in [
            (json!([{"Type": 1, "Key": "Name.x", "Value": 1}]), "Name is no object"),
            (json!([{"Type": 3, "Key": "x"}]), "Type 3: expected 1 or 2"),
            (json!([{"Type": 1, "Key": "x.".repeat(32)}]), "Key: expected at most 32 names"),
        ] {
            let error = update(ops).apply(&mut held.clone()).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    fn values() -> impl Strategy<Value = Metadata> {
        prop::collection::btree_map("[a-d]", 0..3_i64, 0..5)
            .prop_map(|map| map.into_iter().map(|(key, n)| (key, n.into())).collect())
    }

    proptest! {
        #[test]
        fn applied_to_the_first_it_is_the_second(before in values(), after in values()) {
            let update = PartialUpdate::between(&element(1, before.clone()), &element(2, after.clone()));
            let mut held = before;
            update.apply(&mut held).unwrap();
            prop_assert_eq!(held, after);
        }
    }
}

//! What clients were told of resources, and whether the daemon still knows it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::sonde::Sonde;

/// A resource: its kind, as paths name it, and a name that no other has.
pub(super) type Key = (&'static str, String);

/// A change that was asked for: what each resource is then, or `None` when it is gone.
pub(super) type Asked = Vec<(Key, Option<Value>)>;

/// What a client knows.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// What was acknowledged.
    pub(super) kept: BTreeMap<Key, Value>,
    /// What was asked and not answered: it was done as a whole, or not at all.
    pub(super) open: Option<Asked>,
}

impl Ledger {
    /// Notes what was acknowledged.
    pub(super) fn close(&mut self, done: Asked) {
        for (key, after) in done {
            match after {
                Some(after) => drop(self.kept.insert(key, after)),
                None => drop(self.kept.remove(&key)),
            }
        }
    }

    /// Compares with what the daemon serves of this client's, and takes that over. What is wrong
    /// with it is the error.
    pub(super) fn settle(&mut self, served: BTreeMap<Key, Value>) -> Result<(), String> {
        let differs = differs(&self.kept, &served);
        let Some(open) = self.open.take() else { return differs.map_or(Ok(()), Err) };
        if let Some(without) = differs {
            let asked = format!("{open:?}");
            self.close(open);
            if let Some(with) = self::differs(&self.kept, &served) {
                return Err(format!("{without}, and if {asked} was done, {with}"));
            }
        }
        self.kept = served;
        Ok(())
    }
}

/// All that clients created and the daemon has.
pub(super) fn served(sonde: &Sonde) -> BTreeMap<Key, Value> {
    let mut served = BTreeMap::new();
    for kind in KINDS {
        let (status, all) = sonde.get(kind);
        assert_eq!(status, 200, "{kind}: {all}");
        for (_, resource) in all.as_object().unwrap() {
            let name = name(kind, resource);
            if name.starts_with(OURS) {
                let twice = served.insert((kind, name.to_owned()), resource.clone());
                assert_eq!(twice, None, "{kind} {name} is there twice");
            }
        }
    }
    served
}

/// The name of a resource.
pub(super) fn name<'a>(kind: &str, resource: &'a Value) -> &'a str {
    let member = if matches!(kind, "node" | "edge") { "ID" } else { "Name" };
    resource[member].as_str().unwrap_or_default()
}

/// What is not served as it was acknowledged, or is served and was not, if there is any.
fn differs(kept: &BTreeMap<Key, Value>, served: &BTreeMap<Key, Value>) -> Option<String> {
    let lost = kept.iter().find_map(|(key, before)| match served.get(key) {
        None => Some(format!("{key:?} is lost")),
        Some(after) if !agrees(before, after) => Some(format!("{before} became {after}")),
        Some(_) => None,
    });
    let back = || served.keys().find(|key| !kept.contains_key(*key));
    lost.or_else(|| back().map(|key| format!("{key:?} is back")))
}

/// Whether the served resource says all that is expected.
fn agrees(expected: &Value, served: &Value) -> bool {
    match (expected, served) {
        (Value::Object(expected), Value::Object(served)) => expected
            .iter()
            .all(|(key, value)| served.get(key).is_some_and(|there| agrees(value, there))),
        (expected, served) => expected == served,
    }
}

/// What clients create.
pub(super) const KINDS: [&str; 7] =
    ["capture", "alert", "noderule", "edgerule", "workflow", "node", "edge"];

/// How the names of what clients create begin.
pub(super) const OURS: &str = "of-";

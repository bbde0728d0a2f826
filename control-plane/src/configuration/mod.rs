//! The configuration as clients may read it (Skydive API §2.1, §11): no secret is in it.

mod secrets;

use serde_json::Value;

/// A tree of sections and values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configuration(Value);

impl Configuration {
    /// Takes an object, and hides what looks like a secret in it. Keys without a value are left out.
    pub fn new(tree: Value) -> Self {
        Self(secrets::hidden(without_nulls(tree)))
    }

    /// The value of a dotted key, or the section of that name: Skydive does not tell capitals.
    pub fn get(&self, key: &str) -> Option<&Value> {
        key.split('.').try_fold(&self.0, |section, name| {
            let section = section.as_object()?;
            let alike = || section.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
            section.get(name).or_else(|| alike().map(|(_, value)| value))
        })
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(section) => {
            let set = section.into_iter().filter(|(_, value)| !value.is_null());
            set.map(|(name, value)| (name, without_nulls(value))).collect()
        }
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_and_sections_are_found() {
        let tree = json!({
            "listen": "127.0.0.1:8082",
            "state_dir": null,
            "flow": { "update": 60, "ports": { "8080": "http" } },
            "ui": { "Topology": { "topology": 1, "Favorites": { "a": "G.V()" } }, "list": [1] },
        });
        let configuration = Configuration::new(tree);
        for (key, expected) in [
            ("listen", json!("127.0.0.1:8082")),
            ("LISTEN", json!("127.0.0.1:8082")),
            ("flow", json!({ "update": 60, "ports": { "8080": "http" } })),
            ("flow.ports.8080", json!("http")),
            ("ui.topology.favorites", json!({ "a": "G.V()" })),
            ("ui.Topology.topology", json!(1)),
            ("ui.list", json!([1])),
        ] {
            assert_eq!(configuration.get(key), Some(&expected), "{key}");
        }
        for key in ["", ".", "flow.", ".flow", "state_dir", "flow.update.x", "ui.list.0", "nothing"]
        {
            assert_eq!(configuration.get(key), None, "{key}");
        }
    }
}

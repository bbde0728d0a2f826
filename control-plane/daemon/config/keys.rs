//! The keys that there are, as the structure of the configuration has them.

use anyhow::Context;
use serde_json::{Map, Value};

use super::{Config, StartupCapture};

/// Dotted paths of all keys, in the order of the alphabet. Tables whose keys users choose, and lists,
/// are one key.
pub(super) fn keys() -> anyhow::Result<Vec<String>> {
    let all = Config { startup_capture: Some(StartupCapture::default()), ..Config::default() };
    Ok(leaves(&all)?.into_iter().map(|(key, _)| key).collect())
}

/// Dotted paths of the keys that have no value.
pub(crate) fn unset(config: &Config) -> anyhow::Result<Vec<String>> {
    let leaves = leaves(config)?.into_iter();
    Ok(leaves.filter(|(_, value)| value.is_null()).map(|(key, _)| key).collect())
}

/// Dotted paths of all keys, with their values. JSON, because TOML leaves out what has no value.
pub(super) fn leaves(config: &Config) -> anyhow::Result<Vec<(String, Value)>> {
    let tree = serde_json::to_value(config).context("cannot list the keys")?;
    let mut leaves = Vec::new();
    collect("", tree, &mut leaves);
    Ok(leaves)
}

fn collect(path: &str, value: Value, leaves: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(table) if !table.is_empty() => below(path, table, leaves),
        value => leaves.push((path.to_owned(), value)),
    }
}

fn below(path: &str, table: Map<String, Value>, leaves: &mut Vec<(String, Value)>) {
    for (key, value) in table {
        let path = if path.is_empty() { key } else { format!("{path}.{key}") };
        collect(&path, value, leaves);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_structure() {
        let keys = keys().unwrap();
        for key in [
            "listen",
            "state_dir",
            "auth.users",
            "flow.application_ports.tcp",
            "flow.application_timeout",
            "tls.server_key",
            "dpdk.port",
            "startup_capture.gremlin",
            "startup_capture.type",
        ] {
            assert!(keys.iter().any(|found| found == key), "{key} in {keys:?}");
        }
        assert!(!keys.iter().any(|key| key == "flow" || key == "startup_capture"), "{keys:?}");
    }

    #[test]
    fn what_has_no_value_is_unset() {
        let unset = unset(&Config::parse("state_dir = 'a'").unwrap()).unwrap();
        let expected =
            ["auth.file", "startup_capture", "tls.ca_cert", "tls.server_cert", "tls.server_key"];
        assert_eq!(unset, expected);
    }
}

//! Settings in the environment: `SONDE_FLOW_UPDATE=10` is `flow.update = 10`.

use std::collections::BTreeMap;
use std::ffi::OsString;

use anyhow::{Context, bail};
use toml::{Table, Value};

use super::draft::Setting;
use super::keys::keys;
use super::suggestion::did_you_mean;

/// What the variables say, in the order of their names. Those of others are passed over.
pub(super) fn settings(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> anyhow::Result<Vec<Setting>> {
    // Keys hold underscores themselves: only a list says which of them stand for dots.
    let known: BTreeMap<_, _> = keys()?.into_iter().map(|key| (variable(&key), key)).collect();
    let mut ours = BTreeMap::new();
    for (name, value) in variables {
        if let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) {
            ours.insert(name.to_owned(), value);
        }
    }
    let setting = |(name, value): (String, OsString)| {
        let Some(key) = known.get(&name) else {
            let suggestion = did_you_mean(&name, known.keys().map(String::as_str));
            bail!("{name}: no key of the configuration has this name{suggestion}");
        };
        let value = value.into_string().ok();
        let value = value.with_context(|| format!("{name}: expected a text in UTF-8"))?;
        Ok(Setting { origin: name, key: key.clone(), readings: readings(value) })
    };
    ours.into_iter().map(setting).collect()
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_ascii_uppercase())
}

/// A TOML value where it is one; a text in any case, so that a name may look like a number.
fn readings(text: String) -> Vec<Value> {
    let value = toml::from_str::<Table>(&format!("value = {text}")).ok();
    let value = value.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    value.into_iter().chain([Value::String(text)]).collect()
}

/// How the names of our variables begin.
const PREFIX: &str = "SONDE_";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use serde_json::{Value as Json, json};

    use super::{keys, variable};
    use crate::config::{Config, Loaded};

    fn load(variables: &[(&str, &str)]) -> anyhow::Result<Config> {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        Ok(Loaded::new(None, variables)?.config)
    }

    fn at(config: &Config, pointer: &str) -> Json {
        serde_json::to_value(config).unwrap().pointer(pointer).unwrap().clone()
    }

    #[test]
    fn each_variable_sets_its_key() {
        for (name, value, pointer, expected) in [
            ("SONDE_LISTEN", "0.0.0.0:1", "/listen", json!("0.0.0.0:1")),
            ("SONDE_LISTEN", "\"0.0.0.0:1\"", "/listen", json!("0.0.0.0:1")),
            ("SONDE_FLOW_UPDATE", "10", "/flow/update", json!(10)),
            ("SONDE_GRAPH_HISTORY_BYTES", "4096", "/graph/history_bytes", json!(4096)),
            ("SONDE_DISCOVERY_SOCKETS", "true", "/discovery/sockets", json!(true)),
            ("SONDE_HOST_ID", "true", "/host_id", json!("true")),
            ("SONDE_HOST_ID", "42", "/host_id", json!("42")),
            ("SONDE_HOST_ID", "", "/host_id", json!("")),
            ("SONDE_HOST_ID", "1\nlisten = 2", "/host_id", json!("1\nlisten = 2")),
            ("SONDE_STATE_DIR", "/var/lib/x", "/state_dir", json!("/var/lib/x")),
            ("SONDE_RBAC_POLICY", "['g, a, guest']", "/rbac/policy", json!(["g, a, guest"])),
            (
                "SONDE_FLOW_APPLICATION_PORTS_TCP",
                "{ 81 = 'http' }",
                "/flow/application_ports/tcp",
                json!({ "81": "http" }),
            ),
            (
                "SONDE_DPDK_PORT",
                "[{ name = 'a', device = 'net_null0', cpus = [1] }]",
                "/dpdk/port/0/cpus",
                json!([1]),
            ),
            ("SONDE_STARTUP_CAPTURE_GREMLIN", "G.V()", "/startup_capture/gremlin", json!("G.V()")),
            ("OTHER", "1", "/host_id", json!("")),
        ] {
            let config = load(&[(name, value)]).unwrap();
            assert_eq!(at(&config, pointer), expected, "{name}={value}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (name, value, parts) in [
            ("SONDE_FLOW_UPDATE", "soon", vec!["SONDE_FLOW_UPDATE: ", "\"soon\"", "u64"]),
            ("SONDE_FLOW_UPDATE", "-1", vec!["SONDE_FLOW_UPDATE: ", "-1"]),
            ("SONDE_FLOW_UPDATE", "0", vec!["flow.update: expected at least 1 second"]),
            ("SONDE_FLOW_UPDAET", "1", vec!["SONDE_FLOW_UPDAET: ", "`SONDE_FLOW_UPDATE`?"]),
            ("SONDE_UPDATE", "1", vec!["SONDE_UPDATE: ", "`SONDE_FLOW_UPDATE`?"]),
            ("SONDE_FLOW", "{}", vec!["SONDE_FLOW: no key of the configuration"]),
            ("SONDE_AUTH_BACKEND", "basci", vec!["SONDE_AUTH_BACKEND: ", "did you mean `basic`?"]),
            ("SONDE_STARTUP_CAPTURE_BPF", "tcp", vec!["startup_capture.gremlin: expected"]),
        ] {
            let error = format!("{:#}", load(&[(name, value)]).unwrap_err());
            assert!(parts.iter().all(|part| error.contains(part)), "{name}={value}: {error}");
        }
        let bytes = OsString::from_vec(vec![0xff]);
        let error = Loaded::new(None, [("SONDE_HOST_ID".into(), bytes)]).unwrap_err();
        assert_eq!(format!("{error:#}"), "SONDE_HOST_ID: expected a text in UTF-8");
    }

    #[test]
    fn no_error_shows_a_password() {
        for (name, value) in [
            ("SONDE_AUTH_USERS", "ann:hunter2"),
            ("SONDE_AUTH_USERS", "{ ann = ['hunter2'] }"),
            ("SONDE_AUTH_USERS", "{ ann = 'hunter2' }"),
            ("SONDE_AUTH_USERS", "{ ann = 'hunter2"),
            ("SONDE_AUTH_USER", "hunter2"),
            ("SONDE_PASSWORD", "hunter2"),
        ] {
            let error = format!("{:?}", load(&[(name, value)]).unwrap_err());
            assert!(!error.contains("hunter2"), "{name}: {error}");
        }
        let users = [("SONDE_AUTH_BACKEND", "basic"), ("SONDE_AUTH_USERS", "{ ann = 'hunter2' }")];
        let config = load(&users).unwrap();
        let shown = format!("{config:?} {}", toml::to_string(&config).unwrap());
        assert!(shown.contains("***") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn no_two_keys_share_a_variable() {
        let keys = keys().unwrap();
        let names: BTreeSet<_> = keys.iter().map(|key| variable(key)).collect();
        assert_eq!(names.len(), keys.len());
    }
}

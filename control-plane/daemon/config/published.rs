//! The configuration as REST shows it: under our names of keys and under Skydive's.

use anyhow::Context;
use serde_json::{Map, Value as Json};
use sonde_control_plane::configuration::Configuration;
use sonde_control_plane::discovery::COUNTERS_EVERY;
use sonde_control_plane::stream::QueueLimits;
use sonde_control_plane::ws::KeepAlive;
use toml::Value;

use super::{Config, skydive};

/// What clients may read. `host` is the host id that holds.
pub(crate) fn published(config: &Config, host: &str) -> anyhow::Result<Configuration> {
    let mut tree = serde_json::to_value(config).context("cannot show the configuration")?;
    if let Some(tree) = tree.as_object_mut() {
        tree.insert("host_id".to_owned(), host.into());
        tree.insert("ui".to_owned(), Json::Object(table(&config.ui)));
    }
    for (name, key) in skydive::names_of_ours() {
        if let Some(value) = tree.pointer(&pointer(key)).filter(|value| !value.is_null()).cloned() {
            put(&mut tree, name, value);
        }
    }
    for (name, value) in constants(config) {
        put(&mut tree, name, value);
    }
    Ok(Configuration::new(tree))
}

/// Keys of Skydive whose value nobody can change here.
fn constants(config: &Config) -> [(&'static str, Json); 5] {
    let KeepAlive { ping, pong, .. } = KeepAlive::default();
    [
        ("agent.listen", config.listen.to_string().into()),
        ("agent.topology.netlink.metrics_update", COUNTERS_EVERY.as_secs().into()),
        ("http.ws.ping_delay", ping.as_secs().into()),
        // Skydive's is counted from a ping on.
        ("http.ws.pong_timeout", pong.saturating_sub(ping).as_secs().into()),
        ("http.ws.queue_size", QueueLimits::default().messages.into()),
    ]
}

fn pointer(key: &str) -> String {
    format!("/{}", key.replace('.', "/"))
}

/// Puts a value there, unless there is something already.
fn put(tree: &mut Json, key: &str, value: Json) {
    let (name, below) = key.split_once('.').map_or((key, None), |(name, key)| (name, Some(key)));
    let Some(section) = tree.as_object_mut() else { return };
    let place = section.entry(name).or_insert(Json::Null);
    match below {
        Some(below) => {
            if place.is_null() {
                *place = Json::Object(Map::new());
            }
            put(place, below, value);
        }
        None if place.is_null() => *place = value,
        None => {}
    }
}

fn table(table: &toml::Table) -> Map<String, Json> {
    table.iter().map(|(name, value)| (name.clone(), json(value))).collect()
}

/// A value of TOML, whose dates are texts.
fn json(value: &Value) -> Json {
    match value {
        Value::String(text) => text.as_str().into(),
        Value::Integer(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Boolean(is) => (*is).into(),
        Value::Datetime(date) => date.to_string().into(),
        Value::Array(values) => values.iter().map(json).collect(),
        Value::Table(below) => Json::Object(table(below)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::json;

    use super::super::keys::keys;
    use super::*;

    /// Each secret is `hunter2`.
    const SECRETS: &str = r#"
        state_dir = "/a"
        [auth]
        backend = "basic"
        file = "/etc/users"
        users = { hunter2 = "hunter2", bob = "{SHA}hunter2" }
        [tls]
        server_cert = "-----BEGIN CERTIFICATE-----hunter2"
        server_key = "-----BEGIN PRIVATE KEY-----hunter2"
        ca_cert = "/etc/ca.pem"
        [startup_capture]
        gremlin = "G.V().Has('Url', 'http://hunter2:hunter2@a/?token=hunter2')"
        [[dpdk.port]]
        name = "http://a/?api_key=hunter2"
        device = "net_a,password=hunter2"
        cpus = [1]
        [ui]
        password = "hunter2"
        limit = 1.5
        since = 2026-01-02
        topology = { favorites = { all = "G.V()" }, cookies = ["hunter2"] }
        servers = [{ url = "https://ann:hunter2@b", auth_token = "hunter2" }]
    "#;

    /// Dotted paths of all that stands in a tree.
    fn paths(prefix: &str, value: &Json, found: &mut BTreeSet<String>) {
        found.insert(prefix.to_owned());
        for (name, value) in value.as_object().into_iter().flatten() {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            paths(&path, value, found);
        }
    }

    fn shown(config: &Config) -> impl Fn(&str) -> Json {
        let published = published(config, "here").unwrap();
        move |key| published.get(key).cloned().unwrap_or_default()
    }

    #[test]
    fn no_key_shows_a_secret() {
        let config = Config::parse(SECRETS).unwrap();
        let get = shown(&config);
        let mut all: BTreeSet<_> = keys().unwrap().into_iter().collect();
        all.extend(skydive::names_of_ours().map(|(name, _)| name.to_owned()));
        paths("", &serde_json::to_value(&config).unwrap(), &mut all);
        paths("", &json!({ "ui": table(&config.ui) }), &mut all);
        let users = ["hunter2", "bob"].map(|user| format!("auth.users.{user}"));
        all.extend(users);
        // Of each path each part is asked for, too.
        let asked: BTreeSet<&str> =
            all.iter().flat_map(|key| (0..=key.len()).filter_map(|end| key.get(..end))).collect();
        assert!(asked.len() > 500, "{}", asked.len());
        for key in asked {
            let value = get(key).to_string();
            assert!(!value.contains("hunter2"), "{key}: {value}");
        }
        for (key, value) in [
            ("auth.users", json!("***")),
            ("auth.users.bob", Json::Null),
            ("auth.file", json!("/etc/users")),
            ("tls.ca_cert", json!("/etc/ca.pem")),
            ("tls.server_key", json!("***")),
            ("startup_capture.gremlin", json!("***")),
            ("ui.password", json!("***")),
            ("ui.servers", json!([{ "url": "***", "auth_token": "***" }])),
            ("ui.topology", json!({ "favorites": { "all": "G.V()" }, "cookies": "***" })),
        ] {
            assert_eq!(get(key), value, "{key}");
        }
    }

    /// How people write a secret into a text.
    const SPELLINGS: [&str; 12] = [
        "password=hunter2",
        "a b; token: hunter2",
        "Authorization: Bearer hunter2",
        "Basic hunter2",
        "X-Api-Key: hunter2",
        "ann:hunter2@host:80/a",
        "see http://ann:hunter2@host",
        "https://hunter2@host/a",
        "http://host/?a=b&key=hunter2",
        "{\"password\": \"hunter2\"}",
        "G.V().Has('Secret', 'hunter2')",
        "-----BEGIN PRIVATE KEY-----\nhunter2",
    ];

    /// What some keys need besides.
    const BESIDE: [(&str, &str); 5] = [
        ("auth.backend", "'basic'"),
        ("auth.file", "'/a'"),
        ("startup_capture.gremlin", "'G.V()'"),
        ("tls.server_cert", "'/a'"),
        ("tls.server_key", "'/a'"),
    ];

    /// The configuration in which a key has that value, if it can have it.
    fn with(key: &str, value: &str) -> Option<Config> {
        let mut set = BTreeMap::from(BESIDE);
        set.insert(key, value);
        let lines: Vec<_> = set.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        Config::parse(&lines.join("\n")).ok()
    }

    #[test]
    fn no_key_shows_a_secret_in_a_text() {
        let ours = keys().unwrap();
        let all =
            ours.iter().map(String::as_str).chain(skydive::names_of_ours().map(|(key, _)| key));
        // All there is to ask for is part of these.
        let asked: BTreeSet<&str> = all.filter_map(|key| key.split('.').next()).collect();
        let mut free = BTreeSet::new();
        for text in SPELLINGS {
            let text = Value::String(text.to_owned());
            for value in [
                text.to_string(),
                format!("[{text}]"),
                format!("{{ a = {text} }}"),
                format!("{{ a.b = [{{ c = {text} }}], {text} = {text} }}"),
                format!("[{{ name = {text}, device = 'a', cpus = [1] }}]"),
                format!("[{{ name = 'a', device = {text}, cpus = [1] }}]"),
            ] {
                for key in &ours {
                    let Some(config) = with(key, &value) else { continue };
                    free.insert(key.as_str());
                    let published = published(&config, config.host_id("here")).unwrap();
                    for section in &asked {
                        let shown = published.get(section).map(Json::to_string).unwrap_or_default();
                        assert!(!shown.contains("hunter2"), "{key} = {value}: {shown}");
                    }
                }
            }
        }
        let some =
            ["auth.users", "dpdk.port", "host_id", "startup_capture.bpf", "tls.ca_cert", "ui"];
        assert!(free.is_superset(&some.into()), "{free:?}");
    }

    #[test]
    fn keys_have_our_names_and_skydives() {
        let config = Config::parse("[flow]\nmax_flows = 7\n[ui]\nsince = 2026-01-02").unwrap();
        let get = shown(&config);
        for (key, value) in [
            ("host_id", json!("here")),
            ("listen", json!("127.0.0.1:8082")),
            ("analyzer.listen", json!("127.0.0.1:8082")),
            ("agent.listen", json!("127.0.0.1:8082")),
            ("analyzer.auth.api.backend", json!("noauth")),
            ("agent.topology.netns.run_path", json!("/var/run/netns")),
            (
                "agent.topology",
                json!({
                    "netns": { "run_path": "/var/run/netns" }, "netlink": { "metrics_update": 30 },
                }),
            ),
            ("flow.expire", json!(600)),
            ("flow.update", json!(60)),
            ("flow.max_entries", json!(7)),
            ("flow.max_flows", json!(7)),
            ("http.ws", json!({ "ping_delay": 2, "pong_timeout": 5, "queue_size": 10000 })),
            ("rbac.policy", json!([])),
            ("ui", json!({ "since": "2026-01-02" })),
            ("state_dir", Json::Null),
            ("etcd", Json::Null),
            ("startup_capture", Json::Null),
        ] {
            assert_eq!(get(key), value, "{key}");
        }
        for key in keys().unwrap() {
            let unset = ["state_dir", "auth.file", "tls.", "startup_capture"];
            let unset = unset.iter().any(|start| key.starts_with(start));
            assert!(unset || !get(&key).is_null(), "{key}");
        }
    }
}

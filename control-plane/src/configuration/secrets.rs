//! Hides secrets by the names they go by, so that a key that is added later is not shown by mistake;
//! and texts that may tell one, as a whole: where a secret ends in a text nobody knows.

use serde_json::Value;

/// The tree with [`HIDDEN`] in place of each secret.
pub(super) fn hidden(tree: Value) -> Value {
    match tree {
        Value::Object(section) => {
            section.into_iter().map(|(name, value)| hidden_below(name, value)).collect()
        }
        Value::Array(values) => values.into_iter().map(hidden).collect(),
        Value::String(text) if tells_secret(&text) => HIDDEN.into(),
        value => value,
    }
}

fn hidden_below(name: String, value: Value) -> (String, Value) {
    if tells_secret(&name) {
        (HIDDEN.to_owned(), HIDDEN.into())
    } else if is_secret(&name) {
        (name, covered(value))
    } else {
        (name, hidden(value))
    }
}

/// Nothing is seen of a secret, but whether there is one.
fn covered(value: Value) -> Value {
    match value {
        Value::Object(section) if section.is_empty() => Value::Object(section),
        Value::Array(values) if values.is_empty() => Value::Array(values),
        Value::String(text) if text.is_empty() => Value::String(text),
        Value::Null => Value::Null,
        _ => HIDDEN.into(),
    }
}

/// Whether a key, or a word in a text, is the name of a secret.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace(['-', '_', '.'], "");
    WHOLE.contains(&name.as_str())
        || ENDS.iter().any(|end| name.ends_with(end))
        || PARTS.iter().any(|part| name.contains(part))
}

/// Whether a text may hold a secret: a key in PEM, a user and a password before a host, or the name
/// of a secret with anything behind it. In a path, names are those of directories.
fn tells_secret(text: &str) -> bool {
    text.contains(PEM) || text.split_whitespace().any(has_user) || names_secret(text)
}

/// `user:password@host`, with or without a scheme before it; `scheme://token@host`.
fn has_user(word: &str) -> bool {
    word.split_once(':').is_some_and(|(_, rest)| rest.contains('@'))
}

fn names_secret(text: &str) -> bool {
    let mut rest = text;
    while let Some(start) = rest.find(is_word) {
        let from = rest.get(start..).unwrap_or_default();
        let (word, behind) = from.split_at(from.find(|c| !is_word(c)).unwrap_or(from.len()));
        let is_name = is_secret(word) || BEFORE.iter().any(|it| word.eq_ignore_ascii_case(it));
        let is_directory = text.starts_with('/') && behind.starts_with('/');
        if is_name && !is_directory && !behind.trim_end().is_empty() {
            return true;
        }
        rest = behind;
    }
    false
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || "-_.".contains(c)
}

/// What is shown in place of a secret.
const HIDDEN: &str = "***";

/// What begins a key.
const PEM: &str = "-----BEGIN";

/// Names of secrets.
const WHOLE: [&str; 4] = ["users", "pw", "sig", "jwt"];

/// What names of secrets end with.
const ENDS: [&str; 2] = ["pass", "pwd"];

/// What stands before a secret in a text, and is no name of one elsewhere.
const BEFORE: [&str; 4] = ["auth", "basic", "digest", "key"];

/// What is part of names of secrets.
const PARTS: [&str; 13] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "cookie",
    "apikey",
    "accesskey",
    "privatekey",
    "authorization",
    "signature",
    "bearer",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_hidden_by_their_names() {
        let tree = json!({
            "users": { "ann": "hunter2" },
            "file": "/etc/users",
            "cluster": { "username": "sonde", "password": "hunter2", "Pass-Phrase": 7 },
            "list": [{ "api_key": ["hunter2"], "server_key": "/etc/key.pem" }],
            "http_cookie": { "a": "hunter2" },
            "access-token": "",
            "secrets": {},
        });
        let expected = json!({
            "users": "***",
            "file": "/etc/users",
            "cluster": { "username": "sonde", "password": "***", "Pass-Phrase": "***" },
            "list": [{ "api_key": "***", "server_key": "/etc/key.pem" }],
            "http_cookie": "***",
            "access-token": "",
            "secrets": {},
        });
        assert_eq!(hidden(tree), expected);
    }

    #[test]
    fn names_may_hold_secrets_too() {
        let tree = json!({ "servers": { "http://ann:hunter2@host": 1, "http://host": 2 } });
        assert_eq!(hidden(tree), json!({ "servers": { "***": "***", "http://host": 2 } }));
    }

    #[test]
    fn texts_that_may_tell_a_secret_are_hidden_as_a_whole() {
        for text in [
            "http://ann:hunter2@host:80/a",
            "https://hunter2@host",
            "tcp://a:hunter2:@:hunter2@host",
            "ann:hunter2@host/a",
            "see amqp://host or ann:hunter2@host",
            "http://a/?x=1&token=hunter2&y=2",
            "http://a/?X-Auth-Token=hunter2==#z",
            "http://a/#access_token=hunter2",
            "http://a/token/hunter2",
            "http://a/?key=hunter2",
            "host=a password=hunter2 user=b",
            "Server=a;Pwd=hunter2",
            "db_pass: hunter2",
            "password hunter2",
            "PASSWORD\n\thunter2",
            "password%3Dhunter2",
            r#"{"password": "hunter2"}"#,
            "G.V().Has('Password', 'hunter2')",
            "Authorization: hunter2",
            "Proxy-Authorization: Basic hunter2",
            "curl -H 'X-Api-Key: hunter2'",
            "bearer hunter2",
            "Basic hunter2",
            "auth=hunter2",
            "/etc/a?token=hunter2",
            "-----BEGIN PRIVATE KEY-----\nhunter2",
            "ü=ü://ü:hunter2@ü",
        ] {
            assert_eq!(hidden(json!([text])), json!([HIDDEN]), "{text}");
        }
    }

    #[test]
    fn other_texts_are_shown() {
        for text in [
            "",
            "G.V().Has('Name', 'a=b:c')",
            "G.V().HasKey('TID')",
            "net_pcap0,iface=eth0",
            "127.0.0.1:8082",
            "http://host:80/a?c=d",
            "p, ann@example.org, capture, read, allow",
            "/run/secrets/sonde/users",
            "/etc/token.txt",
            "basic",
            "Keyboards: 7",
            "ü=ü",
        ] {
            assert_eq!(hidden(json!(text)), json!(text));
        }
    }
}

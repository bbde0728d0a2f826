//! Hides secrets by the names they go by, so that a key that is added later is not shown by mistake.

use serde_json::Value;

/// The tree with [`HIDDEN`] in place of each secret.
pub(super) fn hidden(tree: Value) -> Value {
    match tree {
        Value::Object(section) => section
            .into_iter()
            .map(|(name, value)| {
                let value = if is_secret(&name) { covered(value) } else { hidden(value) };
                (name, value)
            })
            .collect(),
        Value::Array(values) => values.into_iter().map(hidden).collect(),
        Value::String(text) => Value::String(hidden_in(&text)),
        value => value,
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

/// Whether a key or a parameter of that name holds a secret.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace(['-', '_'], "");
    WHOLE.contains(&name.as_str()) || PARTS.iter().any(|part| name.contains(part))
}

/// The text without the user in a URL, the values of parameters that are secret, and keys in PEM.
fn hidden_in(text: &str) -> String {
    if text.contains("-----BEGIN") {
        return HIDDEN.to_owned();
    }
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['=', ':']) {
        let (before, after) = rest.split_at(at);
        shown.push_str(before);
        let name = before.rsplit(|c: char| !is_word(c)).next().unwrap_or_default();
        let (mark, secret) = match after.strip_prefix("://") {
            Some(authority) => ("://", user(authority)),
            None => (after.get(..1).unwrap_or_default(), None),
        };
        shown.push_str(mark);
        rest = after.get(mark.len()..).unwrap_or_default();
        let secret = secret.or_else(|| (mark == "=" && is_secret(name)).then(|| value(rest)));
        if let Some(length) = secret.filter(|length| *length > 0) {
            shown.push_str(HIDDEN);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
    shown + rest
}

/// Bytes of the user and the password in front of a host, if there are any.
fn user(authority: &str) -> Option<usize> {
    let end = authority.find(|c: char| "/?#".contains(c) || c.is_whitespace());
    authority.get(..end.unwrap_or(authority.len()))?.rfind('@')
}

/// Bytes of the value of a parameter.
fn value(text: &str) -> usize {
    text.find(|c: char| "&;,#".contains(c) || c.is_whitespace()).unwrap_or(text.len())
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

/// What is shown in place of a secret.
const HIDDEN: &str = "***";

/// Names of secrets.
const WHOLE: [&str; 4] = ["users", "pass", "pwd", "sig"];

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
    fn secrets_are_hidden_in_texts() {
        for (text, expected) in [
            ("", ""),
            ("G.V().Has('Name', 'a=b:c')", "G.V().Has('Name', 'a=b:c')"),
            ("net_pcap0,iface=eth0", "net_pcap0,iface=eth0"),
            ("127.0.0.1:8082", "127.0.0.1:8082"),
            ("http://host:80/a@b?c=d", "http://host:80/a@b?c=d"),
            ("http://ann:hunter2@host:80/a", "http://***@host:80/a"),
            ("https://hunter2@host", "https://***@host"),
            ("tcp://a:hunter2:@:hunter2@host", "tcp://***@host"),
            ("a http://x:hunter2@b http://y:hunter2@c", "a http://***@b http://***@c"),
            ("http://a/?x=1&token=hunter2&y=2", "http://a/?x=1&token=***&y=2"),
            ("http://a/?X-Auth-Token=hunter2==#z", "http://a/?X-Auth-Token=***#z"),
            ("http://a/#access_token=hunter2", "http://a/#access_token=***"),
            ("host=a password=hunter2 user=b", "host=a password=*** user=b"),
            ("password=", "password="),
            ("-----BEGIN PRIVATE KEY-----\nhunter2", "***"),
            ("ü=ü://ü:hunter2@ü", "ü=ü://***@ü"),
        ] {
            assert_eq!(hidden_in(text), expected);
        }
    }
}

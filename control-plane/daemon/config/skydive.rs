//! Configuration files of Skydive: YAML, with its names of keys.

use anyhow::{anyhow, bail};
use serde_json::{Map, Value as Json};
use serde_saphyr::UserMessageFormatter;
use toml::Value;

use self::keys::{AUTH_BACKEND, AUTH_KEYS, KEYS, Meaning};
use super::draft::Setting;
use super::suggestion::did_you_mean;

mod keys;
#[cfg(test)]
mod tests;

/// What a file says.
pub(super) struct Reading {
    /// In our words.
    pub(super) settings: Vec<Setting>,
    /// What we have no word for, one line each.
    pub(super) warnings: Vec<String>,
}

/// Reads a file. A key that Skydive does not have is an error.
pub(super) fn read(text: &str) -> anyhow::Result<Reading> {
    let tree: Json = serde_saphyr::from_str(text).map_err(|error| misread(&error))?;
    let mut reading = Reading { settings: Vec::new(), warnings: Vec::new() };
    let backend = tree.pointer("/analyzer/auth/api/backend").and_then(Json::as_str);
    let backend = backend.map(str::to_owned);
    reading.section("", below("the file", tree)?, backend.as_deref())?;
    if let Some(backend) = backend {
        reading.backend(&backend);
    }
    Ok(reading)
}

impl Reading {
    fn section(
        &mut self,
        parent: &str,
        table: Map<String, Json>,
        backend: Option<&str>,
    ) -> anyhow::Result<()> {
        for (name, value) in table {
            let path = if parent.is_empty() { name.clone() } else { format!("{parent}.{name}") };
            match (meaning(&path), value) {
                (None, value) if is_section(&path) => {
                    self.section(&path, below(&path, value)?, backend)?;
                }
                (None, _) => bail!("{}", unknown(&path, &name, names(parent))),
                // A path in place of a name would be another way to say the same.
                (Some(_), _) if name.contains('.') => {
                    bail!("{path}: expected one name a level, found several");
                }
                (Some(Meaning::Ours(key)), value) => self.set(path, key, value),
                (Some(Meaning::Auth), value) => self.auth(below(&path, value)?, backend)?,
                (Some(Meaning::Backend), Json::String(_) | Json::Null) => {}
                (Some(Meaning::Backend), _) => bail!("{path}: expected the name of a section"),
                (Some(Meaning::Unused), value) => self.pass_over(&path, value),
            }
        }
        Ok(())
    }

    /// Takes the section that Skydive's API would use. The others are for other parts of it.
    fn auth(&mut self, sections: Map<String, Json>, backend: Option<&str>) -> anyhow::Result<()> {
        for (name, section) in sections {
            let parent = format!("auth.{name}");
            let chosen = backend == Some(name.as_str());
            for (name, value) in below(&parent, section)? {
                let path = format!("{parent}.{name}");
                match AUTH_KEYS.iter().find(|(key, _)| *key == name) {
                    None => {
                        let names = AUTH_KEYS.iter().map(|(key, _)| *key);
                        bail!("{}", unknown(&path, &name, names));
                    }
                    Some((_, Meaning::Ours(key))) if chosen => self.set(path, key, value),
                    Some(_) => self.pass_over(&path, value),
                }
            }
        }
        Ok(())
    }

    /// A section of `auth` without a type is of the one that its name says.
    fn backend(&mut self, name: &str) {
        if !self.settings.iter().any(|setting| setting.key == AUTH_BACKEND) {
            self.set("analyzer.auth.api.backend".to_owned(), AUTH_BACKEND, name.into());
        }
    }

    fn set(&mut self, path: String, key: &str, value: Json) {
        let Some(value) = said(value) else { return };
        // A name may look like a number, and Skydive fills in the host of `:8082`.
        let text = match &value {
            Json::Number(number) => Some(number.to_string()),
            Json::String(port) if port.starts_with(':') => Some(format!("{LISTEN}{port}")),
            _ => None,
        };
        let readings = Value::try_from(value).ok().into_iter();
        let readings = readings.chain(text.map(Value::String)).collect();
        self.settings.push(Setting { origin: path, key: key.to_owned(), readings });
    }

    fn pass_over(&mut self, path: &str, value: Json) {
        if said(value).is_some() {
            self.warnings.push(format!("{path}: this key of Skydive means nothing here"));
        }
    }
}

/// The names of keys that mean one of ours, and which.
pub(super) fn names_of_ours() -> impl Iterator<Item = (&'static str, &'static str)> {
    KEYS.iter().filter_map(|(name, meaning)| match meaning {
        Meaning::Ours(key) => Some((*name, *key)),
        Meaning::Backend => Some((*name, AUTH_BACKEND)),
        Meaning::Auth | Meaning::Unused => None,
    })
}

fn meaning(path: &str) -> Option<Meaning> {
    KEYS.iter().find(|(key, _)| *key == path).map(|(_, meaning)| *meaning)
}

fn is_section(path: &str) -> bool {
    names(path).next().is_some()
}

/// Names of the keys and sections in a section.
fn names(parent: &str) -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter_map(move |(key, _)| {
        let rest = key.strip_prefix(parent)?;
        let rest = if parent.is_empty() { rest } else { rest.strip_prefix('.')? };
        rest.split('.').next()
    })
}

fn unknown(path: &str, name: &str, names: impl Iterator<Item = &'static str>) -> String {
    format!("{path}: Skydive has no such key{}", did_you_mean(name, names))
}

fn below(path: &str, value: Json) -> anyhow::Result<Map<String, Json>> {
    match value {
        Json::Object(table) => Ok(table),
        Json::Null => Ok(Map::new()),
        _ => Err(anyhow!("{path}: expected keys below it, found a value")),
    }
}

/// The value without what Skydive takes for unset: null, and the empty text.
fn said(value: Json) -> Option<Json> {
    match value {
        Json::Null => None,
        Json::String(text) => (!text.is_empty()).then_some(Json::String(text)),
        Json::Object(table) => {
            let said = |(key, value)| Some((key, said(value)?));
            Some(Json::Object(table.into_iter().filter_map(said).collect()))
        }
        value => Some(value),
    }
}

/// What is wrong, and where, without the lines around it: they may hold passwords.
fn misread(error: &serde_saphyr::Error) -> anyhow::Error {
    anyhow!(error.without_snippet().render_with_formatter(&UserMessageFormatter))
}

/// Where Skydive listens when it is told a port alone.
const LISTEN: &str = "127.0.0.1";

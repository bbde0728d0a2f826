//! Reads a configuration: the defaults, then a file, then the environment.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, anyhow};

use super::draft::Draft;
use super::suggestion::with_suggestion;
use super::{Config, environment, skydive};

/// A configuration, read and checked.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// What of the file means nothing here, one line each.
    pub(crate) warnings: Vec<String>,
}

impl Loaded {
    /// Reads the file, if there is one, and the variables `SONDE_...`. A file that ends in `.yml` or
    /// `.yaml` is one of Skydive's.
    pub(crate) fn new(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> anyhow::Result<Self> {
        let (mut draft, warnings) = file.map(read).transpose()?.unwrap_or_default();
        for setting in environment::settings(variables)? {
            draft.set(setting)?;
        }
        let config = draft.finish()?;
        config.check()?;
        Ok(Self { config, warnings })
    }
}

impl Config {
    /// Reads TOML alone.
    #[cfg(test)]
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let config = from_toml(text)?.finish()?;
        config.check()?;
        Ok(config)
    }
}

fn read(file: &Path) -> anyhow::Result<(Draft, Vec<String>)> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the configuration {}", file.display()))?;
    let yaml = file.extension().is_some_and(|end| end == "yml" || end == "yaml");
    let draft =
        if yaml { from_yaml(&text) } else { from_toml(&text).map(|draft| (draft, Vec::new())) };
    draft.with_context(|| format!("in the configuration {}", file.display()))
}

fn from_toml(text: &str) -> anyhow::Result<Draft> {
    let wrong = |error| misread(text, &error);
    // Twice, because only what is read from a text knows its place in it.
    let _: Config = toml::from_str(text).map_err(wrong)?;
    Ok(Draft::new(toml::from_str(text).map_err(wrong)?))
}

fn from_yaml(text: &str) -> anyhow::Result<(Draft, Vec<String>)> {
    let skydive::Reading { settings, warnings } = skydive::read(text)?;
    let mut draft = Draft::default();
    for setting in settings {
        draft.set(setting)?;
    }
    Ok((draft, warnings))
}

/// What is wrong, and where. By itself the error would show the line too, and in it passwords.
fn misread(text: &str, error: &toml::de::Error) -> anyhow::Error {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    anyhow!("line {line}, column {column}: {}", with_suggestion(error.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_key_is_an_error_with_its_place_and_a_suggestion() {
        for (text, parts) in [
            (
                "listen = \"127.0.0.1:1\"\n[flow]\nupdaet = 3\n",
                vec!["line 3, column 1", "`updaet`, expected one of", "did you mean `update`?"],
            ),
            ("lisen = 'a'", vec!["line 1, column 1", "did you mean `listen`?"]),
            ("[[dpdk.port]]\nnmae = 'a'", vec!["line 2, column 1", "did you mean `name`?"]),
            ("[auth]\nbackend = 'basci'", vec!["line 2, column 11", "did you mean `basic`?"]),
        ] {
            let error = format!("{:#}", Config::parse(text).unwrap_err());
            assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
        }
        let far = format!("{:#}", Config::parse("nothing_like_it = 1").unwrap_err());
        assert!(!far.contains("did you mean"), "{far}");
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        std::fs::write(&file, "host_id = 'file'\n[flow]\nupdate = 3\nexpire = 4\n").unwrap();
        let variables = [("SONDE_FLOW_UPDATE".into(), "7".into())];
        let Loaded { config, warnings } = Loaded::new(Some(file.path()), variables).unwrap();
        assert_eq!((config.flow.update, config.flow.expire), (7, 4));
        assert_eq!((config.host_id.as_str(), warnings.len()), ("file", 0));
    }
}

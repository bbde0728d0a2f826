//! The `[log]` section of the configuration: which lines are logged.

use std::collections::BTreeMap;
use std::env::VarError;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// Which lines are logged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogSection {
    /// Those that are so important, or more.
    level: Level,
    /// The same of single modules, and all below them.
    modules: BTreeMap<String, Level>,
}

/// How important a line is; in capitals as Skydive has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// No line is.
    Off,
    #[serde(alias = "ERROR")]
    Error,
    #[serde(alias = "WARN", alias = "WARNING")]
    Warn,
    #[default]
    #[serde(alias = "INFO")]
    Info,
    #[serde(alias = "DEBUG")]
    Debug,
    Trace,
}

impl LogSection {
    /// What serde cannot see.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        for module in self.modules.keys() {
            let names = module.split("::").all(|name| {
                !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            });
            ensure!(
                names,
                "log.modules: expected the path of a module, such as \
                 'sonde_control_plane::access', found '{module}'"
            );
        }
        Ok(())
    }

    /// The same as a filter. `RUST_LOG` wins, where it is set.
    pub(crate) fn filter(&self) -> anyhow::Result<EnvFilter> {
        match std::env::var(EnvFilter::DEFAULT_ENV) {
            Ok(directives) if !directives.is_empty() => {
                EnvFilter::try_new(directives).context(EnvFilter::DEFAULT_ENV)
            }
            Ok(_) | Err(VarError::NotPresent) => Ok(EnvFilter::try_new(self.directives())?),
            Err(VarError::NotUnicode(_)) => {
                bail!("{}: expected a text in UTF-8", EnvFilter::DEFAULT_ENV)
            }
        }
    }

    fn directives(&self) -> String {
        let mut modules = self.modules.clone();
        // capsule reports each step of its own; its failures come back as errors.
        modules.entry("capsule".to_owned()).or_insert(self.level.min_warn());
        let modules = modules.iter().map(|(module, level)| format!(",{module}={}", level.name()));
        self.level.name().to_owned() + &modules.collect::<String>()
    }
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// This, but nothing less important than a warning.
    const fn min_warn(self) -> Self {
        match self {
            Self::Off | Self::Error => self,
            _ => Self::Warn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn levels_are_directives() {
        for (text, directives) in [
            ("", "info,capsule=warn"),
            ("level = 'error'", "error,capsule=error"),
            ("level = 'off'", "off,capsule=off"),
            (
                "level = 'trace'\nmodules = { hyper = 'off', 'a::b_c' = 'debug', capsule = 'info' }",
                "trace,a::b_c=debug,capsule=info,hyper=off",
            ),
        ] {
            let section: LogSection = toml::from_str(text).unwrap();
            section.check().unwrap();
            assert_eq!(section.directives(), directives);
            EnvFilter::try_new(section.directives()).unwrap();
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("level = 'inof'", "line 2, column 9: unknown variant `inof`, expected one of `off`,"),
            ("level = 'inof'", "; did you mean `info`?"),
            ("levle = 'info'", "did you mean `level`?"),
            ("modules = { hyper = 'debg' }", "did you mean `debug`?"),
            ("modules = { 'a=trace,b' = 'debug' }", "log.modules: expected the path of a module"),
            ("modules = { '' = 'debug' }", "such as 'sonde_control_plane::access', found ''"),
            ("modules = { 'a::' = 'debug' }", "found 'a::'"),
        ] {
            let error = format!("{:#}", Config::parse(&format!("[log]\n{text}")).unwrap_err());
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}

//! `sonde config`: checks and prints the configuration that `sonde run` would take.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;

use crate::cli::{ConfigAction, Configuration};
use crate::config::{Config, Loaded, unset};
use crate::run::rehearse;

/// Exit 2 when the configuration is wrong.
pub(crate) fn config(action: &ConfigAction) -> anyhow::Result<ExitCode> {
    let (ConfigAction::Check(options) | ConfigAction::Show(options)) = action;
    let Some(Loaded { config, warnings }) = load(options) else {
        return Ok(ExitCode::from(WRONG));
    };
    for warning in warnings {
        eprintln!("sonde: warning: {warning}");
    }
    let text = match action {
        ConfigAction::Check(_) => match rehearse(&config) {
            Ok(()) => "ok\n".to_owned(),
            Err(error) => {
                eprintln!("sonde: {error:#}");
                return Ok(ExitCode::from(WRONG));
            }
        },
        ConfigAction::Show(_) => show(&config)?,
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The configuration; `None` when it is wrong, and stderr says why.
fn load(options: &Configuration) -> Option<Loaded> {
    let loaded = Loaded::new(options.config.as_deref(), std::env::vars_os());
    loaded.inspect_err(|error| eprintln!("sonde: {error:#}")).ok()
}

/// TOML, in which keys without a value are comments: it has no word for them.
fn show(config: &Config) -> anyhow::Result<String> {
    let mut text = String::new();
    for key in unset(config)? {
        text += &format!("# {key} is not set\n");
    }
    text += &toml::to_string(config).context("cannot print the configuration")?;
    Ok(text)
}

/// The exit code of a wrong configuration.
pub(crate) const WRONG: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_read_again() {
        for text in [
            "",
            "state_dir = '/a'\n[startup_capture]\ngremlin = 'G.V()'",
            "[flow]\nexpire = 7\napplication_timeout = { dns = 3 }\n\
             [[dpdk.port]]\nname = 'a'\ndevice = 'net_null0'\ncpus = [1]\nidle = 'spin'",
        ] {
            let config = Config::parse(text).unwrap();
            let shown = show(&config).unwrap();
            let again = Config::parse(&shown).unwrap();
            assert_eq!(format!("{again:?}"), format!("{config:?}"), "{shown}");
        }
        let shown = show(&Config::parse("").unwrap()).unwrap();
        for line in
            ["# state_dir is not set", "listen = \"127.0.0.1:8082\"", "[graph]", "update = 60"]
        {
            assert!(shown.lines().any(|found| found == line), "{line} in {shown}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let text = "[auth]\nbackend = 'basic'\nusers = { ann = 'hunter2', 'b@c' = 'hunter3' }";
        let shown = show(&Config::parse(text).unwrap()).unwrap();
        assert!(shown.contains("ann = \"***\"") && !shown.contains("hunter"), "{shown}");
    }
}

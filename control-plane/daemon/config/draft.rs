//! A configuration in the making: a table to which settings are added one by one, so that each error
//! names the one it comes from.

use anyhow::{Context, anyhow, ensure};
use serde::Deserialize;
use toml::{Table, Value};

use super::Config;
use super::suggestion::with_suggestion;

/// One value for one key.
#[derive(Clone, PartialEq)]
pub(super) struct Setting {
    /// Where it was said, for errors.
    pub(super) origin: String,
    /// Dotted path of the key.
    pub(super) key: String,
    /// What it may have meant; the first that is right for the key counts.
    pub(super) readings: Vec<Value>,
}

/// What was said so far. Each part of it is known to be right by itself.
#[derive(Default)]
pub(super) struct Draft(Table);

impl Draft {
    /// Starts with a file that was read as a [`Config`] already.
    pub(super) fn new(table: Table) -> Self {
        Self(table)
    }

    /// Adds a setting, or puts it in the place of what is there.
    pub(super) fn set(&mut self, setting: Setting) -> anyhow::Result<()> {
        let Setting { origin, key, readings } = setting;
        let mut wrong = None;
        for value in readings {
            let mut table = self.0.clone();
            place(&mut table, &key, value).with_context(|| origin.clone())?;
            match read(table.clone()) {
                Ok(_) => {
                    self.0 = table;
                    return Ok(());
                }
                Err(error) => wrong = wrong.or(Some(error)),
            }
        }
        Err(wrong.unwrap_or_else(|| anyhow!("expected a value that TOML can hold")).context(origin))
    }

    /// The configuration, its parts not yet checked against each other.
    pub(super) fn finish(self) -> anyhow::Result<Config> {
        read(self.0)
    }
}

fn read(table: Table) -> anyhow::Result<Config> {
    Config::deserialize(table).map_err(|error| anyhow!(with_suggestion(error.message())))
}

fn place(table: &mut Table, key: &str, value: Value) -> anyhow::Result<()> {
    let Some((section, rest)) = key.split_once('.') else {
        table.insert(key.to_owned(), value);
        return Ok(());
    };
    let below = table.entry(section).or_insert_with(|| Table::new().into());
    let found = below.type_str();
    ensure!(below.is_table(), "{section}: expected a table, found {found}");
    below.as_table_mut().map_or(Ok(()), |below| place(below, rest, value))
}

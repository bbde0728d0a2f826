//! Another configuration for a daemon that runs: what of it holds at once, and what does not.

use std::collections::BTreeMap;

use anyhow::bail;
use serde_json::Value;

use super::Config;
use super::keys::leaves;

/// What becomes of another configuration.
#[derive(Clone, Debug)]
pub(crate) struct Renewal {
    /// The one that holds from now on.
    pub(crate) config: Config,
    /// Keys whose value is another now. Of passwords nothing is told.
    pub(crate) changed: Vec<String>,
    /// Keys that a restart would change.
    pub(crate) stuck: Vec<String>,
}

impl Config {
    /// What holds of `other` when it is read while the daemon runs. An error when that is a danger
    /// that neither is, because a part of `other` would have to wait for a restart.
    pub(crate) fn renewed(&self, other: Self) -> anyhow::Result<Renewal> {
        let wanted = other.clone();
        let config = Self {
            log: other.log,
            auth: other.auth,
            rbac: other.rbac,
            http: other.http,
            tls: self.tls.renewed(other.tls),
            flow: self.flow.renewed(other.flow),
            query: other.query,
            upload: other.upload,
            workflow: other.workflow,
            alert: other.alert,
            ui: other.ui,
            ..self.clone()
        };
        let dangers = |config: &Self| config.access().dangers(config.listen);
        let known = [dangers(self), dangers(&wanted)].concat();
        if let Some(danger) = dangers(&config).iter().find(|danger| !known.contains(danger)) {
            bail!("what is wanted is safe after a restart only: until then, {danger}");
        }
        Ok(Renewal {
            changed: differing(self, &config)?,
            stuck: differing(&wanted, &config)?,
            config,
        })
    }
}

/// Keys that do not have the same value in both, in the order of the alphabet.
fn differing(one: &Config, other: &Config) -> anyhow::Result<Vec<String>> {
    let mut values: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (key, value) in leaves(one)?.into_iter().chain(leaves(other)?) {
        values.entry(key).or_default().push(value);
    }
    let differs = |values: &[Value]| !matches!(values, [one, other] if one == other);
    Ok(values.into_iter().filter(|(_, values)| differs(values)).map(|(key, _)| key).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renewed(before: &str, after: &str) -> Renewal {
        Config::parse(before).unwrap().renewed(Config::parse(after).unwrap()).unwrap()
    }

    #[test]
    fn what_changed_and_what_waits_for_a_restart_is_named() {
        let basic = "[auth]\nbackend = 'basic'\nusers = { ann = 'a' }\n";
        let other = "[auth]\nbackend = 'basic'\nusers = { ann = 'b', bob = 'c' }\n";
        let tls = "[tls]\nserver_cert = 'a'\nserver_key = 'b'\n";
        for (before, after, changed, stuck) in [
            ("", "", &[][..], &[][..]),
            ("listen = '127.0.0.1:1'", "", &[], &["listen"]),
            ("", "state_dir = '/a'\nhost_id = 'b'", &[], &["host_id", "state_dir"]),
            ("", "[log]\nlevel = 'debug'", &["log.level"], &[]),
            (
                "[log.modules]\na = 'off'",
                "[log.modules]\nb = 'off'",
                &["log.modules.a", "log.modules.b"],
                &[],
            ),
            ("", basic, &["auth.backend", "auth.users", "auth.users.ann"], &[]),
            (basic, other, &["auth.users.bob"], &[]),
            ("", "[rbac]\npolicy = ['g, a, guest']", &["rbac.policy"], &[]),
            (
                "",
                "[http]\nallowed_origins = ['http://a']\nmax_connections = 7",
                &["http.allowed_origins", "http.max_connections"],
                &[],
            ),
            ("", tls, &[], &["tls.server_cert", "tls.server_key"]),
            (tls, "[tls]\nserver_cert = 'c'\nserver_key = 'b'", &["tls.server_cert"], &[]),
            (
                "",
                "[flow]\nupdate = 7\napplication_ports.tcp = { 1 = 'a' }",
                &["flow.application_ports.tcp", "flow.application_ports.tcp.1"],
                &["flow.update"],
            ),
            (
                "",
                "[query]\nmax_steps = 7\n[upload]\nmax_bytes = 7\n[workflow]\nat_once = 7",
                &["query.max_steps", "upload.max_bytes", "workflow.at_once"],
                &[],
            ),
            ("", "[alert]\nscripts = true", &["alert.scripts"], &[]),
            ("[ui]\na.b = 1", "[ui]\na.b = 2", &["ui.a.b"], &[]),
            ("", "[[dpdk.port]]\nname = 'a'\ndevice = 'b'\ncpus = [1]", &[], &["dpdk.port"]),
        ] {
            let renewal = renewed(before, after);
            assert_eq!(renewal.changed, changed, "{before} -> {after}");
            assert_eq!(renewal.stuck, stuck, "{before} -> {after}");
        }
    }

    #[test]
    fn nothing_is_open_while_the_rest_waits() {
        let everywhere = "listen = '0.0.0.0:1'\n";
        let basic = "[auth]\nbackend = 'basic'\nfile = 'a'\n";
        let clients = "[tls]\nserver_cert = 'a'\nserver_key = 'b'\nca_cert = 'c'\n\
                       require_client_cert = true\n";
        for (before, after, refused) in [
            (format!("{everywhere}{basic}"), String::new(), true),
            (format!("{everywhere}{basic}"), format!("{everywhere}{clients}"), true),
            (format!("{everywhere}{basic}"), everywhere.to_owned(), false),
            (everywhere.to_owned(), String::new(), false),
            (String::new(), everywhere.to_owned(), false),
        ] {
            let (old, new) = (Config::parse(&before).unwrap(), Config::parse(&after).unwrap());
            let renewed = old.renewed(new);
            assert_eq!(renewed.is_err(), refused, "{before} -> {after}: {renewed:?}");
        }
    }

    #[test]
    fn what_waits_stays_as_it_was() {
        let Renewal { config, .. } = renewed(
            "[flow]\nupdate = 3",
            "listen = '127.0.0.1:1'\n[flow]\nupdate = 7\n[query]\nmax_steps = 7",
        );
        let expected = Config::parse("[flow]\nupdate = 3\n[query]\nmax_steps = 7").unwrap();
        assert_eq!(format!("{config:?}"), format!("{expected:?}"));
    }
}

//! The `[auth]`, `[rbac]`, `[http]` and `[tls]` sections of the configuration: who may, and how
//! clients are spoken to.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{bail, ensure};
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use sonde_control_plane::access::{self, Hosts, Origins, Policy, Secret, UserSource};
use sonde_control_plane::connections::ConnectionLimits;
use sonde_control_plane::tls::{Clients, TlsFiles};

/// How users prove who they are.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AuthSection {
    /// What proves it.
    backend: Backend,
    /// Passwords, or hashes of them, by the user's name.
    users: Users,
    /// An htpasswd file.
    file: Option<PathBuf>,
    /// The role of users whom no line of `rbac.policy` gives one.
    role: String,
}

/// What proves who a user is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Backend {
    /// Nothing: everybody is `admin`.
    #[default]
    NoAuth,
    /// A password.
    Basic,
}

/// Passwords by user, of which nothing shows one.
#[derive(Clone, Debug, Default)]
struct Users(BTreeMap<String, Secret>);

/// What users may.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RbacSection {
    /// Skydive's lines `p, ...` and `g, ...`.
    policy: Vec<String>,
}

/// From which pages browsers may ask, and how many clients there may be.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HttpSection {
    /// Those of other hosts.
    allowed_origins: Vec<String>,
    /// Names of this host, beside its own, where nobody has to prove who he is.
    allowed_hosts: Vec<String>,
    /// Connections in all.
    max_connections: usize,
    /// Connections of one address.
    max_connections_per_address: usize,
}

impl HttpSection {
    /// What serde cannot see.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        for (name, value) in [
            ("max_connections", self.max_connections),
            ("max_connections_per_address", self.max_connections_per_address),
        ] {
            ensure!(value > 0, "http.{name}: expected at least 1, found 0");
        }
        Ok(())
    }

    /// What clients may take.
    pub(crate) fn limits(&self) -> ConnectionLimits {
        ConnectionLimits {
            all: self.max_connections,
            per_address: self.max_connections_per_address,
            ..ConnectionLimits::default()
        }
    }
}

impl Default for HttpSection {
    fn default() -> Self {
        let ConnectionLimits { all, per_address, .. } = ConnectionLimits::default();
        Self {
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            max_connections: all,
            max_connections_per_address: per_address,
        }
    }
}

/// TLS, if there is a certificate.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TlsSection {
    /// Our certificate, and those between it and a root, in PEM.
    server_cert: Option<PathBuf>,
    /// Its key, in PEM.
    server_key: Option<PathBuf>,
    /// Whom clients' certificates may come from, in PEM.
    ca_cert: Option<PathBuf>,
    /// Whether clients without one are refused.
    require_client_cert: bool,
}

/// All of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sections<'a> {
    pub(crate) auth: &'a AuthSection,
    pub(crate) rbac: &'a RbacSection,
    pub(crate) http: &'a HttpSection,
    pub(crate) tls: &'a TlsSection,
}

impl Sections<'_> {
    /// Who may, on a host of that name.
    pub(crate) fn access(self, host: &str) -> anyhow::Result<access::Config> {
        Ok(access::Config {
            backend: self.auth.backend()?,
            policy: Policy::new(&self.auth.role, &self.rbac.policy)?,
            origins: Origins::new(&self.http.allowed_origins)?,
            hosts: Hosts::new(host, &self.http.allowed_hosts)?,
            tls: self.tls.files()?.is_some(),
        })
    }

    /// What others may do to those who listen there, if anything.
    pub(crate) fn dangers(self, listen: SocketAddr) -> Vec<&'static str> {
        let mut dangers = Vec::new();
        if listen.ip().is_loopback() {
            return dangers;
        }
        if self.auth.backend == Backend::NoAuth && !self.tls.require_client_cert {
            dangers.push(
                "anyone who reaches this address may capture, query and change the topology: set \
                 auth.backend, tls.require_client_cert or a loopback address",
            );
        }
        if self.tls.server_cert.is_none() {
            dangers.push(
                "anyone on the way to this address may read passwords, flows and packets: set \
                 tls.server_cert or a loopback address",
            );
        }
        dangers
    }
}

impl AuthSection {
    fn backend(&self) -> anyhow::Result<access::Backend> {
        let none = self.users.0.is_empty() && self.file.is_none();
        match self.backend {
            Backend::NoAuth => {
                ensure!(none, "auth.backend: expected \"basic\" where there are users");
                Ok(access::Backend::NoAuth)
            }
            Backend::Basic => {
                ensure!(!none, "auth: expected users or a file with the backend \"basic\"");
                let (listed, file) = (self.users.0.clone(), self.file.clone());
                Ok(access::Backend::Basic(UserSource { listed, file }))
            }
        }
    }
}

impl TlsSection {
    /// What holds of another one while the daemon runs: other files, but not whether there is TLS.
    pub(crate) fn renewed(&self, other: Self) -> Self {
        match self.server_cert.is_some() == other.server_cert.is_some() {
            true => other,
            false => self.clone(),
        }
    }

    /// The files, if there shall be TLS.
    pub(crate) fn files(&self) -> anyhow::Result<Option<TlsFiles>> {
        let required = self.require_client_cert;
        let clients = self.ca_cert.clone().map(|ca| Clients { ca, required });
        ensure!(
            clients.is_some() || !required,
            "tls.ca_cert: expected a file with require_client_cert"
        );
        match (self.server_cert.clone(), self.server_key.clone()) {
            (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key, clients })),
            (None, None) => {
                ensure!(clients.is_none(), "tls.server_cert: expected a file with ca_cert");
                Ok(None)
            }
            (None, Some(_)) => bail!("tls.server_cert: expected a file with server_key"),
            (Some(_), None) => bail!("tls.server_key: expected a file with server_cert"),
        }
    }
}

impl Default for AuthSection {
    fn default() -> Self {
        Self {
            backend: Backend::default(),
            users: Users::default(),
            file: None,
            role: "admin".to_owned(),
        }
    }
}

impl<'de> Deserialize<'de> for Users {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Users;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of passwords by user")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Users, A::Error> {
                let mut users = BTreeMap::new();
                while let Some((user, password)) = entries.next_entry()? {
                    users.insert(user, password);
                }
                Ok(Users(users))
            }

            // serde would say what was found instead.
            fn visit_bool<E: Error>(self, _: bool) -> Result<Users, E> {
                Err(E::custom("expected a table of passwords by user, found true or false"))
            }

            fn visit_str<E: Error>(self, _: &str) -> Result<Users, E> {
                Err(E::custom("expected a table of passwords by user, found a text"))
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<Users, E> {
                Err(E::custom("expected a table of passwords by user, found a number"))
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Users, E> {
                Err(E::custom("expected a table of passwords by user, found a number"))
            }
        }

        input.deserialize_any(Entries)
    }
}

impl Serialize for Users {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.collect_map(self.0.keys().map(|user| (user, "***")))
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn parse(text: &str) -> anyhow::Result<Config> {
        Config::parse(text)
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("[auth]\nbackend = 'keystone'", "expected `noauth` or `basic`"),
            ("[auth]\nbackend = 'basic'", "auth: expected users or a file"),
            ("[auth]\nfile = 'users'", "auth.backend: expected \"basic\""),
            ("[auth]\nrole = 'chief'", "auth.role: expected admin, guest or a role"),
            ("[rbac]\npolicy = ['p, ann']", "rbac.policy[0]: expected 'p, "),
            ("[http]\nallowed_origins = ['*']", "http.allowed_origins: expected http[s]://"),
            ("[http]\nallowed_hosts = ['a:1']", "http.allowed_hosts: expected the name of a host"),
            ("[tls]\nserver_cert = 'a'", "tls.server_key: expected a file"),
            ("[tls]\nserver_key = 'a'", "tls.server_cert: expected a file"),
            ("[tls]\nca_cert = 'a'", "tls.server_cert: expected a file with ca_cert"),
            ("[tls]\nrequire_client_cert = true", "tls.ca_cert: expected a file"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn no_error_shows_a_password() {
        for text in [
            "[auth]\nusers = { ann = 4711 }",
            "[auth]\nusers = { ann = 47.11 }",
            "[auth]\nusers = { ann = ['4711'] }",
            "[auth]\nusers = 'ann:4711'",
            "[auth]\nusers = 4711",
            "[auth]\nusers = 47.11",
            "[auth]\nusers.ann = '4711",
            "[auth]\nusers.ann = 4711 4711",
            "[auth]\nbackend = 'basic'\nusers = { 'a:n' = '4711' }\nrole = 'chief'",
        ] {
            let error = format!("{:?}", parse(text).unwrap_err());
            assert!(!error.contains("4711"), "{text}: {error}");
        }
        let config = parse("[auth]\nbackend = 'basic'\nusers = { ann = '4711' }").unwrap();
        let shown = format!("{config:?} {:?}", config.access().access("").unwrap());
        assert!(shown.contains("ann") && !shown.contains("4711"), "{shown}");
    }

    #[test]
    fn dangers_are_named() {
        let safe = "[auth]\nbackend = 'basic'\nfile = 'users'\n";
        let tls = "[tls]\nserver_cert = 'a'\nserver_key = 'b'\n";
        let clients = "ca_cert = 'c'\nrequire_client_cert = true\n";
        for (listen, text, dangers) in [
            ("127.0.0.1:8082", String::new(), vec![]),
            ("[::1]:8082", String::new(), vec![]),
            ("0.0.0.0:8082", String::new(), vec!["anyone who reaches", "anyone on the way"]),
            ("[::]:8082", tls.to_owned(), vec!["anyone who reaches"]),
            ("192.0.2.1:8082", safe.to_owned(), vec!["anyone on the way"]),
            ("192.0.2.1:8082", format!("{safe}{tls}"), vec![]),
            ("192.0.2.1:8082", format!("{tls}{clients}"), vec![]),
        ] {
            let config = parse(&text).unwrap();
            let found = config.access().dangers(listen.parse().unwrap());
            assert_eq!(found.len(), dangers.len(), "{listen} {text}");
            assert!(found.iter().zip(dangers).all(|(found, part)| found.starts_with(part)));
        }
    }
}

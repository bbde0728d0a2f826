//! Which daemon a command asks, who asks, and what proves both.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::bail;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use hyper::Uri;
use sonde_control_plane::tls::ClientFiles;

/// Where the daemon is.
#[derive(Debug, Args)]
pub(crate) struct Daemon {
    /// The daemon's address; https:// when it speaks TLS.
    #[arg(
        long,
        global = true,
        value_name = "[http[s]://]HOST:PORT",
        env = "SKYDIVE_ANALYZER",
        default_value = "127.0.0.1:8082"
    )]
    pub(crate) analyzer: Analyzer,
    /// Who asks; the password is taken from SKYDIVE_PASSWORD.
    #[arg(long, global = true, value_name = "USER", env = "SKYDIVE_USERNAME")]
    username: Option<String>,
    /// PEM file with the certificates that the daemon's may come from, in place of those that this
    /// host trusts.
    #[arg(long, global = true, value_name = "FILE", env = "SKYDIVE_TLS_CA_CERT")]
    pub(crate) ca: Option<PathBuf>,
    /// PEM file with the certificate that we show the daemon.
    #[arg(long, global = true, value_name = "FILE", env = "SKYDIVE_TLS_CLIENT_CERT")]
    cert: Option<PathBuf>,
    /// PEM file with its private key.
    #[arg(long, global = true, value_name = "FILE", env = "SKYDIVE_TLS_CLIENT_KEY")]
    key: Option<PathBuf>,
}

impl Daemon {
    /// The header that says who asks, if anybody does. A command line would show the password to
    /// all of the machine.
    pub(crate) fn authorization(&self) -> Option<String> {
        let password = std::env::var("SKYDIVE_PASSWORD").unwrap_or_default();
        let user = self.username.as_ref()?;
        Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
    }

    /// The files of TLS; `None` when it is not spoken.
    pub(crate) fn tls(&self) -> anyhow::Result<Option<ClientFiles>> {
        let identity = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some((cert.clone(), key.clone())),
            (None, None) => None,
            (Some(_), None) => bail!("--key: expected a file with --cert"),
            (None, Some(_)) => bail!("--cert: expected a file with --key"),
        };
        if self.analyzer.is_encrypted() {
            return Ok(Some(ClientFiles { ca: self.ca.clone(), identity }));
        }
        if self.ca.is_some() || identity.is_some() {
            bail!("--analyzer: expected https:// with --ca or --cert, found {}", self.analyzer);
        }
        Ok(None)
    }
}

/// The daemon's address, and whether it speaks TLS.
#[derive(Clone, Debug)]
pub(crate) struct Analyzer {
    encrypted: bool,
    /// Without brackets.
    host: String,
    /// The host, in brackets if it has colons, and the port.
    authority: String,
}

impl Analyzer {
    pub(crate) fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Whether what is sent there cannot be heard on a network.
    pub(crate) fn is_local(&self) -> bool {
        let loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
        self.host.eq_ignore_ascii_case("localhost") || self.host.parse().is_ok_and(loopback)
    }

    /// Its WebSockets, without a path.
    pub(crate) fn websocket(&self) -> String {
        format!("ws{}://{}", if self.encrypted { "s" } else { "" }, self.authority)
    }
}

impl fmt::Display for Analyzer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http{}://{}", if self.encrypted { "s" } else { "" }, self.authority)
    }
}

impl FromStr for Analyzer {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        read(text).ok_or("expected HOST:PORT, http://HOST:PORT or https://HOST:PORT")
    }
}

fn read(text: &str) -> Option<Analyzer> {
    let full = if text.contains("://") { text } else { &format!("http://{text}") };
    let uri: Uri = full.parse().ok()?;
    let encrypted = match uri.scheme_str()? {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let authority = uri.authority()?;
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    let whole = authority.port_u16().is_some() && !host.is_empty();
    // Neither a user nor a path goes anywhere.
    let alone =
        !authority.as_str().contains('@') && ["", "/"].contains(&uri.path_and_query()?.as_str());
    (whole && alone).then(|| Analyzer { encrypted, host, authority: authority.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_say_how_it_speaks() {
        for (text, read, websocket, local) in [
            ("127.0.0.1:8082", "http://127.0.0.1:8082", "ws://127.0.0.1:8082", true),
            ("http://[::1]:8082", "http://[::1]:8082", "ws://[::1]:8082", true),
            ("Localhost:8082", "http://Localhost:8082", "ws://Localhost:8082", true),
            ("https://a.example:8082/", "https://a.example:8082", "wss://a.example:8082", false),
            ("http://192.0.2.1:80", "http://192.0.2.1:80", "ws://192.0.2.1:80", false),
            (
                "127.0.0.1.example:80",
                "http://127.0.0.1.example:80",
                "ws://127.0.0.1.example:80",
                false,
            ),
        ] {
            let analyzer: Analyzer = text.parse().unwrap();
            assert_eq!(
                (analyzer.to_string(), analyzer.websocket()),
                (read.into(), websocket.into())
            );
            assert_eq!(analyzer.is_local(), local, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "localhost",
            "https://localhost",
            ":8082",
            "localhost:",
            "localhost:99999",
            "::1:8082",
            "ftp://localhost:21",
            "https://ann:secret@localhost:8082",
            "https://localhost:8082/api",
            "https://localhost:8082?a",
            "https://",
            "a b:1",
        ] {
            assert!(text.parse::<Analyzer>().is_err(), "{text}");
        }
    }
}

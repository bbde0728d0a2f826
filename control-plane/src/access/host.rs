//! Under which names we may be asked where nobody has to prove who he is. A page may give its own
//! name our address (DNS rebinding): for the browser we are then its own server, and neither CORS nor
//! `Origin` keeps it out. It cannot change that the browser asks for that name.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use axum::http::request::Parts;
use axum::http::{Version, header};

/// Names of this host: its own, and those of `http.allowed_hosts`.
#[derive(Clone, Debug)]
pub struct Hosts {
    /// In lower case.
    names: BTreeSet<String>,
    /// Whether others are allowed, so that those who come through the network need one of them, too.
    listed: bool,
    any: bool,
}

/// `http.allowed_hosts` has an entry that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("http.allowed_hosts: expected the name of a host without a port, or '*', found '{0}'")]
pub struct HostError(String);

impl Hosts {
    /// A host that calls itself `own`, and the entries.
    pub fn new(own: &str, allowed: &[String]) -> Result<Self, HostError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let wrong = |entry: &&String| entry.is_empty() || !entry.chars().all(fits);
        if let Some(entry) = allowed.iter().filter(|entry| *entry != ANY).find(wrong) {
            return Err(HostError(entry.clone()));
        }
        let names = allowed.iter().map(String::as_str).chain(["localhost", own]);
        let names = names.map(str::to_ascii_lowercase).collect();
        let any = allowed.iter().any(|entry| entry == ANY);
        Ok(Self { names, listed: !allowed.is_empty(), any })
    }

    /// The name of somebody else that a client at `peer` asks for. Addresses are no names. On
    /// loopback names are looked at in any case: nothing but a browser's good faith keeps pages away
    /// from there. Who listens elsewhere lets in whoever gets there, by any name, unless some are
    /// listed.
    pub(super) fn strange<'a>(&self, parts: &'a Parts, peer: IpAddr) -> Option<&'a [u8]> {
        if self.any || !self.listed && !peer.to_canonical().is_loopback() {
            return None;
        }
        // What the request line says stands for `Host` (RFC 9112, section 3.2.2).
        if let Some(authority) = parts.uri.authority() {
            let host = authority.host();
            return (!self.knows(host)).then_some(host.as_bytes());
        }
        let known = |host: &[u8]| str::from_utf8(host).is_ok_and(|host| self.knows(host));
        let hosts = parts.headers.get_all(header::HOST).iter();
        hosts.map(|host| host.as_bytes()).find(|host| !known(host))
    }

    fn knows(&self, host: &str) -> bool {
        if let Some(rest) = host.strip_prefix('[') {
            return rest.split_once(']').is_some_and(|(ip, _)| ip.parse::<Ipv6Addr>().is_ok());
        }
        let name = host.split_once(':').map_or(host, |(name, _)| name);
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        name.parse::<IpAddr>().is_ok() || self.names.contains(&name)
    }
}

/// Whether a request has no line `Host`, or several, where HTTP/1.1 wants one (RFC 9112, section 3.2).
pub(super) fn lacks_host(parts: &Parts) -> bool {
    let hosts = parts.headers.get_all(header::HOST).iter().count();
    parts.version == Version::HTTP_11 && hosts != 1
}

impl Default for Hosts {
    /// Any name is ours.
    fn default() -> Self {
        Self { names: BTreeSet::new(), listed: false, any: true }
    }
}

/// An entry that allows all names.
const ANY: &str = "*";

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::http::Request;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn request(target: &str, hosts: &[&str], version: Version) -> Parts {
        let request = Request::builder().uri(target).version(version);
        let request = hosts.iter().fold(request, |request, host| request.header("host", *host));
        request.body(()).unwrap().into_parts().0
    }

    fn passes(hosts: &Hosts, host: &str, peer: IpAddr) -> bool {
        hosts.strange(&request("/api", &[host], Version::HTTP_11), peer).is_none()
    }

    #[test]
    fn own_names_and_addresses_pass() {
        let hosts = Hosts::new("Probe", &[]).unwrap();
        let listed = Hosts::new("probe", &["Probe.example.org".to_owned()]).unwrap();
        let any = Hosts::new("probe", &["a".to_owned(), "*".to_owned()]).unwrap();
        for (host, own, allowed) in [
            ("127.0.0.1:8082", true, true),
            ("192.0.2.7", true, true),
            ("[::1]:8082", true, true),
            ("[2001:db8::1]", true, true),
            ("localhost", true, true),
            ("LocalHost.:8082", true, true),
            ("probe:8082", true, true),
            ("PROBE.", true, true),
            ("probe.example.org:8082", false, true),
            ("probe.evil.example", false, false),
            ("localhost.evil.example", false, false),
            ("127.0.0.1.evil.example", false, false),
            ("evil.example:8082", false, false),
            ("[evil.example]", false, false),
            ("[::1", false, false),
            ("", false, false),
        ] {
            assert_eq!(passes(&hosts, host, HERE), own, "{host}");
            assert!(passes(&hosts, host, THERE), "{host}");
            for peer in [HERE, THERE, "::ffff:127.0.0.1".parse().unwrap()] {
                assert_eq!(passes(&listed, host, peer), allowed, "{host} {peer}");
                assert!(passes(&any, host, peer), "{host} {peer}");
            }
        }
        // Browsers always say it.
        assert_eq!(hosts.strange(&request("/api", &[], Version::HTTP_10), HERE), None);
        let two = request("/api", &["localhost", "evil.example"], Version::HTTP_10);
        assert_eq!(hosts.strange(&two, HERE), Some(&b"evil.example"[..]));
    }

    #[test]
    fn the_request_line_says_more_than_the_header() {
        let hosts = Hosts::new("probe", &[]).unwrap();
        for (target, host, strange) in [
            ("http://evil.example/api", "localhost", Some("evil.example")),
            ("http://localhost@evil.example:8082/api", "localhost", Some("evil.example")),
            ("http://probe:8082/api", "evil.example", None),
            ("http://a:b@probe/api", "probe", None),
            ("http://[::1]:8082/api", "probe", None),
        ] {
            let request = request(target, &[host], Version::HTTP_11);
            let found = hosts.strange(&request, HERE);
            assert_eq!(found, strange.map(str::as_bytes), "{target} {host}");
        }
    }

    #[test]
    fn http_1_1_names_one_host() {
        for (hosts, version, lacks) in [
            (&["probe"][..], Version::HTTP_11, false),
            (&[], Version::HTTP_11, true),
            (&["probe", "probe"], Version::HTTP_11, true),
            (&[], Version::HTTP_10, false),
        ] {
            assert_eq!(
                lacks_host(&request("/api", hosts, version)),
                lacks,
                "{hosts:?} {version:?}"
            );
        }
    }

    #[test]
    fn wrong_entries_are_named() {
        for entry in ["", "probe:8082", "http://probe", "[::1]", "a b", "*.example.org"] {
            let error = Hosts::new("a", &[entry.to_owned()]).unwrap_err().to_string();
            assert!(error.ends_with(&format!("found '{entry}'")), "{error}");
        }
    }
}

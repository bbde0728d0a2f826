//! From which pages browsers may ask (RFC 6454).

use std::collections::BTreeSet;

use axum::http::{HeaderMap, header};

/// Pages that may do what our own may: those of `http.allowed_origins`.
#[derive(Clone, Debug, Default)]
pub struct Origins(BTreeSet<Origin>);

/// `http.allowed_origins` has an entry that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("http.allowed_origins: expected http[s]://<host>[:<port>], found '{0}'")]
pub struct OriginError(String);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Origin {
    secure: bool,
    /// In lower case, and without a port that goes without saying.
    host: String,
}

impl Origins {
    /// Reads the entries.
    pub fn new(entries: &[String]) -> Result<Self, OriginError> {
        let read = |entry: &String| Origin::parse(entry).ok_or_else(|| OriginError(entry.clone()));
        entries.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The origin of a request that comes from a page neither of this host nor of one that is
    /// allowed. Clients other than browsers send none. `tls`: whether we are asked through it.
    pub(super) fn foreign<'a>(&self, headers: &'a HeaderMap, tls: bool) -> Option<&'a [u8]> {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let known = |text: &[u8]| {
            let Some(origin) = str::from_utf8(text).ok().and_then(Origin::parse) else {
                return false;
            };
            let own = host.is_some_and(|host| origin.is_at(host)) && (origin.secure || !tls);
            own || self.0.contains(&origin)
        };
        let mut origins = headers.get_all(header::ORIGIN).iter().map(|origin| origin.as_bytes());
        origins.find(|origin| !known(origin))
    }
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        let host = authority.to_ascii_lowercase();
        let origin = Self { secure, host: origin_host(&host, secure).to_owned() };
        (!origin.host.is_empty() && origin.host.chars().all(fits)).then_some(origin)
    }

    fn is_at(&self, host: &str) -> bool {
        origin_host(&host.to_ascii_lowercase(), self.secure) == self.host
    }
}

/// Without the port that goes without saying.
fn origin_host(host: &str, secure: bool) -> &str {
    host.strip_suffix(if secure { ":443" } else { ":80" }).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_and_allowed_pages_pass() {
        let entries = ["https://ui.example.org".to_owned(), "http://10.0.0.1:3000".to_owned()];
        let origins = Origins::new(&entries).unwrap();
        for (host, origin, tls, passes) in [
            ("probe:8082", "http://probe:8082", false, true),
            ("Probe:8082", "HTTP://pRobe:8082", false, true),
            ("probe", "http://probe:80", false, true),
            ("probe:443", "https://probe", true, true),
            ("probe:8082", "https://probe:8082", false, true),
            ("probe:8082", "http://probe:8082", true, false),
            ("probe:8082", "http://probe:8083", false, false),
            ("probe:8082", "http://probe", false, false),
            ("probe", "http://probe.example.org", false, false),
            ("[::1]:8082", "http://[::1]:8082", false, true),
            ("probe", "https://ui.example.org", true, true),
            ("probe", "https://ui.example.org:443", true, true),
            ("probe", "http://ui.example.org", false, false),
            ("probe", "http://10.0.0.1:3000", true, true),
            ("probe", "null", false, false),
            ("probe", "", false, false),
            ("probe", "http://", false, false),
            ("probe", "chrome-extension://probe", false, false),
        ] {
            let headers = [(header::HOST, host), (header::ORIGIN, origin)];
            let headers: HeaderMap =
                headers.into_iter().map(|(name, value)| (name, value.parse().unwrap())).collect();
            assert_eq!(origins.foreign(&headers, tls).is_none(), passes, "{host} {origin} {tls}");
        }
        assert!(origins.foreign(&HeaderMap::new(), false).is_none());
        let mut two = HeaderMap::new();
        two.append(header::ORIGIN, "https://ui.example.org".parse().unwrap());
        two.append(header::ORIGIN, "https://elsewhere".parse().unwrap());
        assert_eq!(origins.foreign(&two, false), Some(&b"https://elsewhere"[..]));
    }

    #[test]
    fn wrong_entries_are_named() {
        for entry in ["*", "probe", "ftp://probe", "https://", "https://probe/", "https://a b"] {
            let error = Origins::new(&[entry.to_owned()]).unwrap_err().to_string();
            assert!(error.ends_with(&format!("found '{entry}'")), "{error}");
        }
    }
}

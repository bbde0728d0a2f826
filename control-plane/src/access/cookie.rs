//! Cookies: those of a request, and those we set (RFC 6265).

use axum::http::{HeaderMap, HeaderValue, header};

/// The cookie that holds the token.
pub(super) const AUTH_TOKEN: &str = "authtoken";

/// The cookie that tells a page what its user may do.
pub(super) const PERMISSIONS: &str = "permissions";

/// The value of the first cookie of that name.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(known, _)| known.trim() == name)?;
    let value = value.trim();
    Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

/// A cookie for all paths, which browsers send along from no other site. `None` when the value does
/// not fit into a header.
pub(super) fn set(name: &str, value: &str, hidden: bool, secure: bool) -> Option<HeaderValue> {
    let hidden = if hidden { "; HttpOnly" } else { "" };
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/{hidden}; SameSite=Lax{secure}");
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

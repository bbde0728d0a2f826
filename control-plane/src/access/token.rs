//! Tokens, and where requests carry them (Skydive API §1.1).

use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::cookie::{AUTH_TOKEN, cookie};
use super::secret::Secret;

/// What a user says to prove who he is.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: Secret,
}

impl Credentials {
    /// Reads a token: `<user>:<password>` in base64.
    pub(super) fn of_token(token: &Secret) -> Option<Self> {
        let token = token.expose();
        let bytes = (token.len() <= MAX_TOKEN).then(|| LENIENT.decode(token).ok())??;
        let text = String::from_utf8(bytes).ok()?;
        let (user, password) = text.split_once(':')?;
        Some(Self { user: user.to_owned(), password: Secret::new(password) })
    }

    /// The token that says the same.
    pub(super) fn token(&self) -> Secret {
        Secret::new(LENIENT.encode(format!("{}:{}", self.user, self.password.expose())))
    }
}

/// A token as a request carries it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) token: Secret,
    /// Whether a browser put it there by itself.
    pub(super) by_cookie: bool,
}

/// The token of a request: the first that there is of cookie, `Authorization: Basic`,
/// `X-Auth-Token` and the query's `x-auth-token`. Behind it is but the body, see [`in_form`].
pub(super) fn find(parts: &Parts) -> Option<Found> {
    let headers = &parts.headers;
    let found = |token: &str| (!token.is_empty()).then(|| Secret::new(token));
    if let Some(token) = cookie(headers, AUTH_TOKEN).and_then(found) {
        return Some(Found { token, by_cookie: true });
    }
    let token = basic(headers)
        .and_then(found)
        .or_else(|| found(headers.get("x-auth-token")?.to_str().ok()?.trim()))
        .or_else(|| in_form(parts.uri.query()?.as_bytes()))?;
    Some(Found { token, by_cookie: false })
}

/// The token in a form, or in a query.
pub(crate) fn in_form(form: &[u8]) -> Option<Secret> {
    let mut fields = form_urlencoded::parse(form);
    let (_, token) = fields.find(|(name, value)| name == "x-auth-token" && !value.is_empty())?;
    Some(Secret::new(token))
}

fn basic(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then_some(token.trim())
}

/// Clients are not at one about the padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Bytes of a token at most.
const MAX_TOKEN: usize = 4096;

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[test]
    fn the_first_token_counts() {
        let headers = [
            ("cookie", "a=b; authtoken=\"by=cookie=\"; authtoken=second"),
            ("authorization", "basic by-basic"),
            ("x-auth-token", "by-header"),
        ];
        let expected = ["by=cookie=", "by-basic", "by-header", "by query"];
        for (gone, token) in expected.into_iter().enumerate() {
            let mut request = Request::get("/?x=y&x-auth-token=&x-auth-token=by%20query");
            for (name, value) in &headers[gone..] {
                request = request.header(*name, *value);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let found = find(&parts).unwrap();
            assert_eq!((found.token.expose(), found.by_cookie), (token, gone == 0));
        }
    }

    #[test]
    fn what_is_no_token_is_none() {
        for (name, value) in [
            ("cookie", "authtoken="),
            ("cookie", "xauthtoken=a"),
            ("authorization", "Bearer abc"),
            ("authorization", "Basic"),
            ("x-auth-token", " "),
        ] {
            let (parts, ()) = Request::get("/").header(name, value).body(()).unwrap().into_parts();
            assert!(find(&parts).is_none(), "{name}: {value}");
        }
    }

    #[test]
    fn a_token_is_user_and_password() {
        let read = |token: &str| {
            let credentials = Credentials::of_token(&Secret::new(token))?;
            Some((credentials.user, credentials.password.expose().to_owned()))
        };
        for (token, user, password) in
            [("YW5uOmE6Yg==", "ann", "a:b"), ("YW5uOmE6Yg", "ann", "a:b"), ("Og==", "", "")]
        {
            assert_eq!(read(token), Some((user.to_owned(), password.to_owned())));
        }
        let long = "YWFh".repeat(MAX_TOKEN);
        for token in ["", "YW5u", "%%%", "/zr/", &long] {
            assert_eq!(read(token), None, "{token}");
        }
        let credentials = Credentials { user: "ann".into(), password: Secret::new("a:b") };
        assert_eq!(credentials.token().expose(), "YW5uOmE6Yg==");
        assert!(!format!("{credentials:?}").contains("a:b"));
    }
}

//! `/swagger`: the document that describes the API, and the page that shows it.

use std::io::{self, Read as _};
use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::read::GzDecoder;
use utoipa_swagger_ui::{Config, serve};

use super::Error;
use super::answer::blocking;
use super::openapi;
use super::routes::Declared;

/// The document of all routes, as it is served.
#[derive(Clone, Debug)]
pub(super) struct Document(Bytes);

impl Document {
    pub(super) fn new(routes: &[Declared], version: &str) -> Self {
        let document = openapi::document(routes, version);
        let mut text = Vec::new();
        crate::json::append(&mut text, &document);
        Self(text.into())
    }
}

/// Where a browser that names no page is led, and one that has logged in.
pub(super) async fn root() -> Response {
    (StatusCode::FOUND, [(header::LOCATION, "/swagger")]).into_response()
}

/// A browser goes where the page's files are.
pub(super) async fn page() -> Response {
    (StatusCode::FOUND, [(header::LOCATION, "/swagger/index.html")]).into_response()
}

pub(super) async fn document(Extension(Document(text)): Extension<Document>) -> Response {
    ([(header::CONTENT_TYPE, "application/json; charset=UTF-8")], text).into_response()
}

/// A file of Swagger UI. It is kept compressed, and unpacked for those who do not take it so.
pub(super) async fn file(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Error> {
    // No other site is asked whether the document is valid.
    let config = Config::from(DOCUMENT).validator_url("none");
    let file = serve(&name, Arc::new(config)).map_err(|error| {
        tracing::error!(%error, "a file of Swagger UI");
        Error::Defect
    })?;
    let file = file.ok_or(Error::NoPage)?;
    let mut kind = file.content_type;
    if kind.starts_with("text/") {
        kind.push_str("; charset=utf-8");
    }
    let kind = HeaderValue::try_from(kind).map_err(|_| Error::Defect)?;
    let packed = file.gzpipped && takes_gzip(&headers);
    let bytes = match file.gzpipped && !packed {
        true => blocking(move || unpacked(&file.bytes)).await?.map_err(|error| {
            tracing::error!(%error, name, "a file of Swagger UI");
            Error::Defect
        })?,
        false => file.bytes.into_owned(),
    };
    let mut response = (HEADERS, Bytes::from(bytes)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    if packed {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

/// Whether `Accept-Encoding` names gzip, by its name or by `*`, and with a weight above 0
/// (RFC 9110 §12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    let texts = headers.get_all(header::ACCEPT_ENCODING).into_iter();
    let texts = texts.filter_map(|text| text.to_str().ok()).flat_map(|text| text.split(','));
    let weighed: Vec<_> = texts
        .map(|text| {
            let (coding, weight) = text.split_once(';').unwrap_or((text, "q=1"));
            let weight = weight.trim().strip_prefix(['q', 'Q']).and_then(|q| q.strip_prefix('='));
            let weight = weight.and_then(|weight| weight.parse::<f32>().ok());
            (coding.trim(), weight.is_some_and(|weight| weight > 0.0))
        })
        .collect();
    let of = |name| weighed.iter().find(|(coding, _)| coding.eq_ignore_ascii_case(name));
    of("gzip").or_else(|| of("*")).is_some_and(|(_, takes)| *takes)
}

fn unpacked(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut unpacked)?;
    Ok(unpacked)
}

/// Where the page finds the document.
const DOCUMENT: &str = "/swagger/openapi.json";

/// The page asks nobody but us, and stands in no other page. Its files come packed or not.
const HEADERS: [(HeaderName, &str); 3] = [
    (header::VARY, "accept-encoding"),
    (header::CONTENT_SECURITY_POLICY, "connect-src 'self'; frame-ancestors 'none'"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_taken_when_it_is_named() {
        for (given, takes) in [
            (&[][..], false),
            (&["gzip"], true),
            (&["br, GZIP;q=0.5"], true),
            (&["br", "gzip"], true),
            (&["identity, *"], true),
            (&["gzip;q=0, *"], false),
            (&["gzip; Q=0.000"], false),
            (&["gzip;level=9"], false),
            (&["*;q=0"], false),
            (&["deflate, br"], false),
            (&["gzipped"], false),
        ] {
            let given = given.iter().map(|text| HeaderValue::from_static(text));
            let headers: HeaderMap = given.map(|value| (header::ACCEPT_ENCODING, value)).collect();
            let shown = format!("{headers:?}");
            assert_eq!(takes_gzip(&headers), takes, "{shown}");
        }
    }
}

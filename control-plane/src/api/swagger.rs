//! `/swagger`: the document that describes the API, and the page that shows it.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use utoipa_swagger_ui::{Config, serve};

use super::Error;
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

/// A browser goes where the page's files are.
pub(super) async fn page() -> Response {
    (StatusCode::FOUND, [(header::LOCATION, "/swagger/index.html")]).into_response()
}

pub(super) async fn document(Extension(Document(text)): Extension<Document>) -> Response {
    ([(header::CONTENT_TYPE, "application/json; charset=UTF-8")], text).into_response()
}

/// A file of Swagger UI. It is kept compressed, and every browser takes it so.
pub(super) async fn file(Path(name): Path<String>) -> Result<Response, Error> {
    // No other site is asked whether the document is valid.
    let config = Config::from(DOCUMENT).validator_url("none");
    let file = serve(&name, Arc::new(config)).map_err(|error| {
        tracing::error!(%error, "a file of Swagger UI");
        Error::Defect
    })?;
    let file = file.ok_or(Error::NoPage)?;
    let kind = HeaderValue::try_from(file.content_type).map_err(|_| Error::Defect)?;
    let mut response = (HEADERS, Bytes::from(file.bytes.into_owned())).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    if file.gzpipped {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

/// Where the page finds the document.
const DOCUMENT: &str = "/swagger/openapi.json";

/// The page asks nobody but us, and stands in no other page.
const HEADERS: [(HeaderName, &str); 2] = [
    (header::CONTENT_SECURITY_POLICY, "connect-src 'self'; frame-ancestors 'none'"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

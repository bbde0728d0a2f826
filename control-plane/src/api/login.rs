//! `/login` (Skydive API §1.1): a name and a password become a token, in the answer and in a
//! cookie.

use axum::extract::{RawQuery, State as Extract};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Json;
use super::body::{Body, is_form};
use crate::access::{Credentials, Permission, Refusal, Secret};
use crate::state::State;

/// A browser goes where the pages are.
pub(super) async fn page() -> Response {
    (StatusCode::FOUND, [(header::LOCATION, "/")]).into_response()
}

/// The fields come in a form or in the query.
pub(super) async fn log_in(
    Extract(state): Extract<State>,
    RawQuery(query): RawQuery,
    parts: Parts,
    body: Body,
) -> Result<Response, Refusal> {
    let form = if is_form(&parts.headers) { body.bytes() } else { &[] };
    let query = query.unwrap_or_default();
    let field = |name: &str| {
        let fields = form_urlencoded::parse(form).chain(form_urlencoded::parse(query.as_bytes()));
        fields.into_iter().find_map(|(known, value)| (known == name).then(|| value.into_owned()))
    };
    let (user, password) = field("username").zip(field("password")).ok_or(Refusal::NoneGiven)?;
    let credentials = Credentials { user, password: Secret::new(password) };
    let session = state.access.log_in(&parts, &credentials).await?;
    let mut permissions = Vec::new();
    crate::json::append(&mut permissions, &session.permissions);
    let cookies = state.access.cookies(&session.token, &permissions);
    let answer = LogIn { token: session.token.expose(), permissions: &session.permissions };
    let mut response = Json::new(&answer).map_err(|_| Refusal::Defect)?.into_response();
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    if state.access.tls() {
        let two_years = HeaderValue::from_static("max-age=63072000; includeSubDomains");
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, two_years);
    }
    Ok(response)
}

/// What a log-in is answered.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct LogIn<'a> {
    token: &'a str,
    permissions: &'a [Permission],
}

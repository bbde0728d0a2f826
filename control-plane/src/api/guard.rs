//! Stands before each route, and answers those who may not pass (Skydive API §1.1, §1.2).

use axum::body::Body;
use axum::extract::{FromRequest as _, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::body as form;
use super::error::plain;
use super::routes::{Denial, Rule};
use crate::access::{Access, Refusal, Secret, in_form, seconds};
use crate::connections::Hold;

/// Lets through who may.
pub(super) async fn guard(
    State((access, rule)): State<(Access, Rule)>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let (body, form, _hold) = match access.lacks_token(&parts) && is_form(&parts) {
        true => look(&parts, body).await,
        false => (body, None, None),
    };
    let refusal = match access.admit(&parts, form, rule.right()).await {
        Ok(()) => return next.run(Request::from_parts(parts, body)).await,
        Err(refusal) => refusal,
    };
    let mut response = match (&refusal, rule.denial()) {
        (Refusal::Denied { .. }, Denial::Silent) => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        (Refusal::Denied { .. }, Denial::Closed) => StatusCode::FORBIDDEN.into_response(),
        _ => refusal.into_response(),
    };
    if rule.denial() == Denial::Closed {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The token in a form, and the body as it was. One that cannot be taken has none.
async fn look(parts: &Parts, body: Body) -> (Body, Option<Secret>, Option<Hold>) {
    let request = Request::from_parts(parts.clone(), body);
    match form::Body::from_request(request, &()).await {
        Ok(body) => {
            let (bytes, hold) = body.into_parts();
            let token = in_form(&bytes);
            (bytes.into(), token, hold)
        }
        Err(_) => (Body::empty(), None, None),
    }
}

/// Whether the body of a request is a form, as Go sees it.
fn is_form(parts: &Parts) -> bool {
    let takes = matches!(parts.method, Method::POST | Method::PUT | Method::PATCH);
    takes && form::is_form(&parts.headers)
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let text = self.to_string();
        match self {
            // No line, and no `WWW-Authenticate`: browsers would ask for a password themselves.
            Self::Wrong | Self::NoneGiven => (StatusCode::UNAUTHORIZED, text).into_response(),
            Self::Throttled(wait) => {
                let after = [(header::RETRY_AFTER, seconds(&wait))];
                (after, plain(StatusCode::TOO_MANY_REQUESTS, &text)).into_response()
            }
            Self::Busy => plain(StatusCode::SERVICE_UNAVAILABLE, &text),
            Self::Denied { .. } => plain(StatusCode::METHOD_NOT_ALLOWED, &text),
            Self::NoHost => plain(StatusCode::BAD_REQUEST, &text),
            Self::Misdirected(_) => plain(StatusCode::MISDIRECTED_REQUEST, &text),
            Self::Foreign(_) => plain(StatusCode::FORBIDDEN, &text),
            Self::Defect => plain(StatusCode::INTERNAL_SERVER_ERROR, &text),
        }
    }
}

//! Stands before each route, and answers those who may not pass (Skydive API §1.1, §1.2).

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::plain;
use super::routes::{Denial, Rule};
use crate::access::{Access, Refusal, seconds};

/// Lets through who may.
pub(super) async fn guard(
    State((access, rule)): State<(Access, Rule)>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    let refusal = match access.admit(&parts, rule.right()).await {
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
            Self::Foreign(_) => plain(StatusCode::FORBIDDEN, &text),
            Self::Defect => plain(StatusCode::INTERNAL_SERVER_ERROR, &text),
        }
    }
}

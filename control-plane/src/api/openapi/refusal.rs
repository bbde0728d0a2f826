//! Answers that say no: the same for every route, and told apart by status (Skydive API §1).

use axum::http::StatusCode;
use utoipa::openapi::{Content, ContentBuilder, ObjectBuilder, Response, ResponseBuilder, Type};

/// A status that a route may refuse with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// Whether its body is a line of text; otherwise there is none.
    pub(super) told: bool,
}

impl Refusal {
    /// What the document calls it.
    pub(super) fn name(self) -> String {
        let silent = if self.told { "" } else { "-silent" };
        format!("{}{silent}", self.status.as_u16())
    }

    pub(super) fn response(self) -> Response {
        let response = ResponseBuilder::new().description(reason(self.status));
        match self.told {
            true => response.content("text/plain", text()).build(),
            false => response.build(),
        }
    }
}

/// A body of text.
pub(super) fn text() -> Content {
    ContentBuilder::new().schema(Some(ObjectBuilder::new().schema_type(Type::String))).build()
}

/// Why something is refused with a status.
fn reason(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => {
            "The request is wrong. The text says what, where, and what was expected there."
        }
        StatusCode::UNAUTHORIZED => "No credentials, or wrong ones.",
        StatusCode::FORBIDDEN => "A page of another site asks, or the user may not.",
        StatusCode::NOT_FOUND => "There is nothing of that name.",
        StatusCode::METHOD_NOT_ALLOWED => "The user has no right to.",
        StatusCode::NOT_ACCEPTABLE => "The answer has no form that `Accept` asks for.",
        StatusCode::REQUEST_TIMEOUT => "The body did not come in time.",
        StatusCode::CONFLICT => "There is one already.",
        StatusCode::PAYLOAD_TOO_LARGE => "The body is too large.",
        StatusCode::MISDIRECTED_REQUEST => "It was asked for under a name that is not its own.",
        StatusCode::UPGRADE_REQUIRED => "The request asks for no WebSocket.",
        StatusCode::TOO_MANY_REQUESTS => {
            "Too much at once from one client: connections, uploads, wrong credentials. Try later."
        }
        StatusCode::SERVICE_UNAVAILABLE => "Too much at once from all clients. Try later.",
        StatusCode::INSUFFICIENT_STORAGE => "There are too many. Delete some first.",
        _ => "A defect of the daemon, or its state file failed.",
    }
}

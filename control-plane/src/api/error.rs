//! What a request can fail with: a status, and one line of text as Skydive prints it (API §1).

use axum::extract::rejection::PathRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::body::Misread;
use super::upload::UPLOAD_LEAST;
use super::{BODY_TIME, MAX_BODY};
use crate::access::Refusal;
use crate::additions::AdditionError;
use crate::graph::SchemaError;
use crate::gremlin::QueryError;
use crate::resource::ResourceError;
use crate::script::ScriptError;
use crate::store::StoreError;
use crate::upload::{AT_ONCE, Damaged};

/// Why a request is refused. Its text is the body.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such path.
    #[error("404 page not found")]
    NoPage,
    /// No resource of that ID.
    #[error("{title} '{id}' not found")]
    NoResource {
        /// What resources of that kind are called.
        title: &'static str,
        /// The ID asked for.
        id: String,
    },
    /// The path ends where the ID should stand.
    #[error("no ID in the path, expected /api/<resource>/<ID>")]
    NoId,
    /// The path is not UTF-8.
    #[error(transparent)]
    Path(#[from] PathRejection),
    /// The body is larger than [`MAX_BODY`].
    #[error("request body: larger than {MAX_BODY} bytes")]
    LargeBody,
    /// Bodies of others take all the room there is for them.
    #[error("request body: too many are being worked on, try again later")]
    ManyBodies,
    /// The body did not come in time.
    #[error("request body: not complete after {} s", BODY_TIME.as_secs())]
    SlowBody,
    /// An upload that is dripped.
    #[error(
        "request body: fewer than {UPLOAD_LEAST} bytes came in {} s",
        BODY_TIME.as_secs()
    )]
    SlowUpload,
    /// The body is not what is expected.
    #[error("request body: {0}")]
    Body(#[from] Misread),
    /// `X-Resource-TTL` is no duration.
    #[error("invalid ttl: {0}")]
    Ttl(String),
    /// The body is not a JSON Patch.
    #[error("incorrect JSON patch: {0}")]
    Patch(Misread),
    /// An operation of a JSON Patch does not fit the resource.
    #[error("applying JSON patch to resource: operation {at}: {why}")]
    PatchFailed {
        /// The operation, from 0.
        at: usize,
        /// What does not fit.
        why: json_patch::PatchErrorKind,
    },
    /// A JSON Patch asks for more than a request could bring.
    #[error("applying JSON patch to resource: {0}")]
    PatchCost(String),
    /// The patched resource is no resource any more.
    #[error("validating patched resource: {0}")]
    Patched(#[source] Box<Self>),
    /// Others change the resource faster than it is patched.
    #[error("{title} '{id}' changes all the time, try again later")]
    Contended {
        /// What resources of that kind are called.
        title: &'static str,
        /// The ID of the resource.
        id: String,
    },
    /// A node or an edge is none.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The element is not added.
    #[error(transparent)]
    Addition(#[from] AdditionError),
    /// Resources of that kind cannot change.
    #[error("updating resource with patched version: resource not updatable")]
    NotUpdatable,
    /// The query is wrong, or its answer too large.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The answer has no form of the kind that `Accept` asks for.
    #[error("Error while encoding response: {0}")]
    NotAcceptable(&'static str),
    /// The body of an upload is no capture file, or is damaged.
    #[error("not a valid capture file: {0}")]
    Upload(#[source] Damaged),
    /// The body of an upload is larger than is taken.
    #[error("request body: larger than {0} bytes")]
    LargeUpload(u64),
    /// The body ended before its time.
    #[error("request body: {0}")]
    BrokenBody(#[source] axum::Error),
    /// [`AT_ONCE`] uploads are under way.
    #[error("{AT_ONCE} uploads are under way already, try again later")]
    ManyUploads,
    /// The daemon stops.
    #[error("the daemon stops")]
    Stopping,
    /// The resource is refused.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// Others create resources, and wait for DNS.
    #[error("too many resources are being created")]
    Busy,
    /// No workflow of that ID to call.
    #[error("No workflow found with ID: {0}")]
    NoWorkflow(String),
    /// A workflow gives nothing.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// A workflow gives something else than the graph that a query is to be asked of.
    #[error("the workflow gives no graph, expected {{\"nodes\": [...], \"edges\": [...]}}: {0}")]
    NoGraph(#[source] serde_json::Error),
    /// A step of a query wants what its sender may not.
    #[error(transparent)]
    Refused(Refusal),
    /// The state file failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A defect of ours; the log says more.
    #[error("internal error")]
    Defect,
}

impl Error {
    /// The status it is answered with.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Refused(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoPage | Self::NoResource { .. } => StatusCode::NOT_FOUND,
            Self::LargeBody | Self::LargeUpload(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ManyUploads => StatusCode::TOO_MANY_REQUESTS,
            Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Self::SlowBody | Self::SlowUpload => StatusCode::REQUEST_TIMEOUT,
            Self::NotAcceptable(_) => StatusCode::NOT_ACCEPTABLE,
            Self::Busy
            | Self::ManyBodies
            | Self::Contended { .. }
            | Self::Script(ScriptError::Busy(_)) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Addition(AdditionError::TooMany)
            | Self::Resource(ResourceError::TooMany { .. }) => StatusCode::INSUFFICIENT_STORAGE,
            Self::Resource(ResourceError::Duplicate) => StatusCode::CONFLICT,
            Self::Store(_)
            | Self::Addition(AdditionError::Store(_))
            | Self::Resource(ResourceError::Store(_))
            | Self::Script(ScriptError::Process(_) | ScriptError::Dropped)
            | Self::Defect => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NoId
            | Self::Path(_)
            | Self::Body(_)
            | Self::Ttl(_)
            | Self::Patch(_)
            | Self::PatchFailed { .. }
            | Self::PatchCost(_)
            | Self::Patched(_)
            | Self::Schema(_)
            | Self::Addition(AdditionError::Graph(_))
            | Self::NotUpdatable
            | Self::Query(_)
            | Self::NoWorkflow(_)
            | Self::Script(_)
            | Self::NoGraph(_)
            | Self::Upload(_)
            | Self::BrokenBody(_)
            | Self::Resource(ResourceError::Invalid(_)) => StatusCode::BAD_REQUEST,
        }
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Body(error.into())
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(refusal) => refusal.into_response(),
            error => plain(error.status(), &error.to_string()),
        }
    }
}

/// An error as Skydive writes it: one line of text.
pub(super) fn plain(status: StatusCode, text: &str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, format!("{text}\n")).into_response()
}

//! Resources: the same of every kind, told apart by name and schema.

use axum::http::StatusCode;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::Operation;
use super::schema::JsonPatch;

/// `GET /api/<name>`.
pub(in crate::api) fn list<R: ToSchema>() -> Operation {
    Operation::new(format!("{}: all of them", R::name()))
        .json_by_id::<R>(StatusCode::OK, "All of them, by ID.")
}

/// `POST /api/<name>`: of a kind that the state file keeps, of which no two may do the same.
pub(in crate::api) fn create<R: ToSchema>() -> Operation {
    add::<R>("/UUID").refuses(&[StatusCode::CONFLICT])
}

/// `POST /api/<name>`: of a kind that is part of the topology.
pub(in crate::api) fn create_element<K: ToSchema>() -> Operation {
    add::<K>("/ID")
}

/// `GET /api/<name>/<ID>`.
pub(in crate::api) fn show<R: ToSchema>() -> Operation {
    one::<R>("show")
        .json::<R>(StatusCode::OK, "The one of that ID.")
        .refuses(&[StatusCode::NOT_FOUND])
}

/// `DELETE /api/<name>/<ID>`.
pub(in crate::api) fn remove<R: ToSchema>() -> Operation {
    one::<R>("delete")
        .text(StatusCode::OK, "It is gone. The text is empty.")
        .refuses(&[StatusCode::NOT_FOUND])
}

/// `PATCH /api/<name>/<ID>`.
pub(in crate::api) fn update<R: ToSchema>() -> Operation {
    change::<R>("/Description").refuses(&[StatusCode::CONFLICT])
}

/// `PATCH /api/<name>/<ID>`: of a kind that is part of the topology.
pub(in crate::api) fn update_element<K: ToSchema>() -> Operation {
    change::<K>("/Metadata/Zone").empty(StatusCode::NOT_MODIFIED, "Nothing changed.")
}

/// What wants an ID, when there is none.
pub(in crate::api) fn no_id() -> Operation {
    Operation::new("An ID is missing").refuses(&[StatusCode::BAD_REQUEST])
}

fn add<R: ToSchema>(id: &'static str) -> Operation {
    Operation::new(format!("{}: create one", R::name()))
        .header(
            "X-Resource-TTL",
            "After which time it is deleted by itself: `500ms`, `1h2m`. Never, if `0`.",
        )
        .takes::<R>(None, None)
        .creates::<R>(id)
        .refuses(&[StatusCode::INSUFFICIENT_STORAGE])
}

fn change<R: ToSchema>(example: &str) -> Operation {
    let example: Value = json!([{"op": "add", "path": example, "value": "rack 7"}]);
    one::<R>("change")
        .takes::<JsonPatch>(Some("application/json-patch+json"), Some(example))
        .json::<R>(StatusCode::OK, "What it is now.")
        .refuses_silently(StatusCode::NOT_FOUND)
}

fn one<R: ToSchema>(what: &str) -> Operation {
    let name = R::name();
    Operation::new(format!("{name}: {what} one")).path("id", "Its ID.")
}

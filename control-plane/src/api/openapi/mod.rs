//! The API as OpenAPI 3.1 describes it. The table of routes is the source: each is declared with
//! its [`Operation`], and [`document()`] puts them together.

mod document;
mod operation;
mod refusal;
mod schema;

pub(super) mod resource;
pub(super) mod single;
pub(super) mod socket;

pub(super) use document::document;
pub(super) use operation::Operation;

//! Routes that stand alone.

use axum::http::StatusCode;
use serde_json::{Value, json};
use sonde_proto::query::TopologyQuery;
use sonde_proto::status::{Service, Status};
use sonde_proto::workflow::WorkflowCall;
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::{ContentBuilder, HeaderBuilder, ObjectBuilder, Required, ResponseBuilder};

use super::Operation;
use super::operation::{BODY, reference, string};
use super::schema::{Answer, binary};
use crate::api::login::LogIn;
use crate::api::topology::Whole;

/// `GET /api`.
pub(in crate::api) fn service() -> Operation {
    Operation::new("Who this is").json::<Service>(StatusCode::OK, "Who this is.")
}

/// `GET /api/status`.
pub(in crate::api) fn status() -> Operation {
    Operation::new("Clients, queues, and all that was lost or late")
        .json::<Status>(StatusCode::OK, "How it is.")
}

/// `GET /api/config/<key>`.
pub(in crate::api) fn config() -> Operation {
    Operation::new("A value of the configuration")
        .path("key", "Dotted path of a key, or of a section: `flow.update`, `ui`.")
        .json::<Value>(StatusCode::OK, "The value; `\"\"` when there is none.")
}

/// `GET /api/topology`.
pub(in crate::api) fn topology() -> Operation {
    Operation::new("The whole topology").json::<Whole>(StatusCode::OK, "Nodes and edges.")
}

/// `POST /api/topology`. `Accept` is no parameter: OpenAPI has it that the kinds of the answer say
/// what it can be.
pub(in crate::api) fn query() -> Operation {
    let file = |what| ContentBuilder::new().schema(Some(binary())).description(Some(what)).build();
    let graph = "Asked for by exactly that `Accept`, of a query that answers a graph: `G`.";
    let packets = "Asked for by exactly that `Accept`, of a query that ends in `RawPackets()`.";
    let answer = ContentBuilder::new().schema(Some(reference::<Answer>())).build();
    let found = ResponseBuilder::new()
        .description("What the query finds.")
        .content("application/json", answer)
        .content("text/vnd.graphviz", file(graph))
        .content("application/vnd.tcpdump.pcap", file(packets));
    Operation::new("Asks the topology and the flows, in Gremlin")
        .takes::<TopologyQuery>(None, None)
        .or_nothing()
        .knows::<Answer>()
        .answer(StatusCode::OK, found)
        .empty(StatusCode::NO_CONTENT, "The body asks for nothing.")
        .refuses(&[StatusCode::NOT_ACCEPTABLE])
}

/// `POST /api/pcap`.
pub(in crate::api) fn upload() -> Operation {
    let file = ContentBuilder::new().schema(Some(binary())).build();
    let body = RequestBodyBuilder::new()
        .required(Some(Required::True))
        .description(Some("A pcap or pcapng file."))
        .content("application/vnd.tcpdump.pcap", file.clone())
        .content("application/octet-stream", file);
    Operation::new("Meters a capture file")
        .body(body.build())
        .empty(StatusCode::ACCEPTED, "Its flows are streamed, and can be queried.")
        .refuses(&[
            StatusCode::BAD_REQUEST,
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::PAYLOAD_TOO_LARGE,
        ])
}

/// `POST /api/workflow/<ID>/call`.
pub(in crate::api) fn call() -> Operation {
    Operation::new("Calls a workflow")
        .path("id", "The workflow's `UUID`.")
        .ends("/call")
        .takes::<WorkflowCall>(None, None)
        .json::<Value>(StatusCode::OK, "What the function gives.")
        .refuses(&[StatusCode::NOT_FOUND])
}

/// `GET /login`.
pub(in crate::api) fn login_page() -> Operation {
    Operation::new("Leads browsers to where pages are").answer(StatusCode::FOUND, moved())
}

/// `POST /login`. The fields may stand in the query too.
pub(in crate::api) fn log_in() -> Operation {
    let fields = ObjectBuilder::new().property("username", string()).property("password", string());
    let form = ContentBuilder::new()
        .schema(Some(fields))
        .example(Some(json!({"username": "ann", "password": "secret"})));
    let body = RequestBodyBuilder::new().content("application/x-www-form-urlencoded", form.build());
    let what = "Wins over the query.";
    Operation::new("Makes a token of a name and a password")
        .query("username", "If it does not stand in the body.")
        .query("password", "If it does not stand in the body.")
        .body(body.description(Some(what)).build())
        .json::<LogIn<'_>>(StatusCode::OK, "The token, which a cookie holds too, and its rights.")
        .refuses(&[StatusCode::UNAUTHORIZED])
        .refuses(&BODY)
}

/// `GET /`.
pub(in crate::api) fn root() -> Operation {
    Operation::new("Leads to `/swagger`").answer(StatusCode::FOUND, moved())
}

/// `GET /swagger`.
pub(in crate::api) fn page() -> Operation {
    Operation::new("Leads to the page that shows this document").answer(StatusCode::FOUND, moved())
}

/// `GET /swagger/openapi.json`.
pub(in crate::api) fn document() -> Operation {
    let object = ContentBuilder::new().schema(Some(ObjectBuilder::new())).build();
    let document = ResponseBuilder::new().description("OpenAPI 3.1.");
    Operation::new("This document")
        .answer(StatusCode::OK, document.content("application/json", object))
}

/// `GET /swagger/<file>`.
pub(in crate::api) fn file() -> Operation {
    let kinds = ["text/html", "text/css", "text/javascript", "image/png"];
    let file = kinds.iter().fold(ResponseBuilder::new().description("It."), |file, kind| {
        file.content(*kind, ContentBuilder::new().schema(Some(binary())).build())
    });
    Operation::new("A file of the page that shows this document")
        .path("file", "Its name.")
        .answer(StatusCode::OK, file)
        .refuses(&[StatusCode::NOT_FOUND])
}

fn moved() -> ResponseBuilder {
    let place = HeaderBuilder::new().schema(Some(string())).build();
    ResponseBuilder::new().description("It is elsewhere.").header("Location", place)
}

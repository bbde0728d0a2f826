//! The REST API (Skydive API §1, §2), and the way to the WebSockets: `router(State) -> Router`, and
//! no port.

mod alert;
mod answer;
mod body;
mod capture;
mod dot;
mod element;
mod error;
mod guard;
mod injection;
mod login;
mod patch;
mod pcap;
mod resource;
mod routes;
mod rule;
mod script;
mod status;
mod topology;
mod upload;
mod workflow;

use std::time::Duration;

use axum::Router;
use axum::http::{HeaderName, Method, header};
use sonde_proto::alert::Alert;
use sonde_proto::capture::Capture;
use sonde_proto::graph::{Edge, Node};
use sonde_proto::injection::PacketInjection;
use sonde_proto::rule::{EdgeRule, NodeRule};
use sonde_proto::workflow::Workflow;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use self::element::Resource;
use self::resource::Served;
use self::routes::{Routes, Rule};
use crate::access::Access;
use crate::state::State;
use crate::ws;

pub use error::Error;
pub use script::ScriptHost;

/// All paths.
pub fn router(state: State) -> Router {
    let access = &state.access;
    let rest = rest(access).router().merge(calls(access).router());
    let rest = rest.fallback(async || Error::NoPage).layer(cors().allow_origin(Any));
    // A page that logs in may stand anywhere; what it needs is a name and a password.
    let own = cors().allow_origin(AllowOrigin::mirror_request()).allow_credentials(true);
    let open = open(access).router().layer(own);
    let rest = rest.merge(open).layer(CompressionLayer::new());
    rest.merge(sockets(access).router()).with_state(state)
}

/// What users may do, and scripts of theirs.
fn rest(access: &Access) -> Routes {
    let routes = Routes::new(access)
        .get("/api", Rule::User, status::service)
        .get("/api/status", Rule::read("status"), status::status)
        .get("/api/topology", Rule::read("topology"), topology::whole)
        .post("/api/topology", Rule::read("topology"), topology::query)
        .post("/api/pcap", Rule::write("pcap"), upload::upload);
    let routes = resources::<Alert>(routes, "alert");
    let routes = resources::<Capture>(routes, "capture");
    let routes = resources::<NodeRule>(routes, "noderule");
    let routes = resources::<EdgeRule>(routes, "edgerule");
    let routes = resources::<PacketInjection>(routes, "injectpacket");
    let routes = resources::<Workflow>(routes, "workflow");
    let routes = elements::<Node>(routes, "node");
    elements::<Edge>(routes, "edge")
}

/// What users may do, and no script: one that calls itself would never end. The path of a call ends
/// with `/call`.
fn calls(access: &Access) -> Routes {
    let rule = Rule::write("workflow.call");
    Routes::new(access).post("/api/workflow/{*id}", rule, workflow::call)
}

/// How somebody becomes a user.
fn open(access: &Access) -> Routes {
    Routes::new(access).get("/login", Rule::Anyone, login::page).post(
        "/login",
        Rule::Anyone,
        login::log_in,
    )
}

fn sockets(access: &Access) -> Routes {
    Routes::new(access)
        .socket("/ws/subscriber/flow", ws::flow::subscribe)
        .socket("/ws/subscriber", ws::topology::subscribe)
        .socket("/ws/publisher", ws::topology::publish)
        .socket("/ws/pubsub", ws::topology::both)
}

fn resources<R: Served>(routes: Routes, name: &'static str) -> Routes {
    routes
        .resource(name)
        .list(resource::list::<R>)
        .create(resource::create::<R>)
        .show(resource::show::<R>)
        .remove(resource::remove::<R>)
        .patch(resource::update::<R>)
        .done()
}

fn elements<K: Resource>(routes: Routes, name: &'static str) -> Routes {
    routes
        .resource(name)
        .list(element::list::<K>)
        .create(element::create::<K>)
        .show(element::show::<K>)
        .remove(element::remove::<K>)
        .patch(element::patch::<K>)
        .done()
}

fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_headers([
            HeaderName::from_static("x-requested-with"),
            header::CONTENT_TYPE,
            header::AUTHORIZATION,
            HeaderName::from_static("x-auth-token"),
        ])
        .allow_methods([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::OPTIONS,
        ])
}

/// Bytes of a request's body at most.
pub const MAX_BODY: usize = 1024 * 1024;

/// What a client may take to send its body.
pub const BODY_TIME: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;

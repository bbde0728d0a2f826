//! The REST API (Skydive API §1, §2), and the way to the WebSockets: `router(State) -> Router`, and
//! no port.

mod alert;
mod answer;
mod body;
mod capture;
mod config;
mod dot;
mod element;
mod error;
mod guard;
mod injection;
mod login;
mod openapi;
mod patch;
mod pcap;
mod request_id;
mod resource;
mod routes;
mod rule;
mod script;
mod status;
mod swagger;
mod topology;
mod upload;
mod workflow;

use std::time::Duration;

use axum::http::{HeaderName, Method, header};
use axum::middleware::from_fn;
use axum::{Extension, Router};
use sonde_proto::alert::Alert;
use sonde_proto::capture::Capture;
use sonde_proto::graph::{Edge, Node};
use sonde_proto::injection::PacketInjection;
use sonde_proto::rule::{EdgeRule, NodeRule};
use sonde_proto::workflow::Workflow;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use self::element::Resource;
use self::openapi::{resource as describe, single, socket};
use self::request_id::identified;
use self::resource::Served;
use self::routes::{Action, Declared, Routes, Rule};
use self::swagger::Document;
use crate::access::Access;
use crate::state::State;
use crate::ws;

pub use error::Error;
pub use script::ScriptHost;

/// All paths.
pub fn router(state: State) -> Router {
    let tables = tables(&state.access);
    let document = Document::new(&declared(&tables), &state.version);
    let [rest, calls, described, open, sockets] = tables.map(Routes::router);
    let rest = rest.merge(calls).merge(described.layer(Extension(document)));
    let rest = rest.fallback(async || Error::NoPage).layer(cors().allow_origin(Any));
    // A page that logs in may stand anywhere; what it needs is a name and a password.
    let own = cors().allow_origin(AllowOrigin::mirror_request()).allow_credentials(true);
    let rest = rest.merge(open.layer(own)).layer(CompressionLayer::new());
    rest.merge(sockets).layer(from_fn(identified)).with_state(state)
}

/// All routes, apart by what is laid around them.
fn tables(access: &Access) -> [Routes; 5] {
    [rest(access), calls(access), described(access), open(access), sockets(access)]
}

fn declared(tables: &[Routes]) -> Vec<Declared> {
    tables.iter().flat_map(Routes::declared).cloned().collect()
}

/// What users may do, and scripts of theirs.
fn rest(access: &Access) -> Routes {
    let routes = Routes::new(access)
        .get("/api", Rule::User, single::service(), status::service)
        .get("/api/status", Rule::read("status"), single::status(), status::status)
        .get("/api/config/{key}", Rule::read("config"), single::config(), config::value)
        .get("/api/topology", Rule::read("topology"), single::topology(), topology::whole)
        .post("/api/topology", Rule::read("topology"), single::query(), topology::query)
        .post("/api/pcap", Rule::write("pcap"), single::upload(), upload::upload);
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
    Routes::new(access).post("/api/workflow/{*id}", workflow::CALL, single::call(), workflow::call)
}

/// How somebody becomes a user.
fn open(access: &Access) -> Routes {
    Routes::new(access).get("/login", Rule::Anyone, single::login_page(), login::page).post(
        "/login",
        Rule::Anyone,
        single::log_in(),
        login::log_in,
    )
}

/// What the API is, for everybody: how to log in stands there too.
fn described(access: &Access) -> Routes {
    Routes::new(access)
        .get("/", Rule::Anyone, single::root(), swagger::root)
        .get("/swagger", Rule::Anyone, single::page(), swagger::page)
        .get("/swagger/openapi.json", Rule::Anyone, single::document(), swagger::document)
        .get("/swagger/{*file}", Rule::Anyone, single::file(), swagger::file)
}

fn sockets(access: &Access) -> Routes {
    Routes::new(access)
        .socket("/ws/subscriber/flow", socket::flows(), ws::flow::subscribe)
        .socket("/ws/subscriber", socket::subscriber(), ws::topology::subscribe)
        .socket("/ws/publisher", socket::publisher(), ws::topology::publish)
        .socket("/ws/pubsub", socket::pubsub(), ws::topology::both)
        .socket("/ws/agent/topology", socket::agent_topology(), ws::agent::topology)
        .socket("/ws/agent/flow", socket::agent_flow(), ws::agent::flows)
        .socket("/ws/replication", socket::replication(), ws::replication::replicate)
}

fn resources<R: Served>(routes: Routes, name: &'static str) -> Routes {
    routes
        .resource(name)
        .on(Action::List, describe::list::<R>(), resource::list::<R>)
        .on(Action::Create, describe::create::<R>(), resource::create::<R>)
        .on(Action::Show, describe::show::<R>(), resource::show::<R>)
        .on(Action::Remove, describe::remove::<R>(), resource::remove::<R>)
        .on(Action::Patch, describe::update::<R>(), resource::update::<R>)
        .done()
}

fn elements<K: Resource>(routes: Routes, name: &'static str) -> Routes {
    routes
        .resource(name)
        .on(Action::List, describe::list::<K>(), element::list::<K>)
        .on(Action::Create, describe::create_element::<K>(), element::create::<K>)
        .on(Action::Show, describe::show::<K>(), element::show::<K>)
        .on(Action::Remove, describe::remove::<K>(), element::remove::<K>)
        .on(Action::Patch, describe::update_element::<K>(), element::patch::<K>)
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

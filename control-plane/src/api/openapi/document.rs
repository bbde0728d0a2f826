//! The document, made of the table of routes.

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};
use utoipa::openapi::link::LinkBuilder;
use utoipa::openapi::path::{self, HttpMethod, OperationBuilder};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathItem, Paths, Ref,
};

use super::Operation;
use crate::api::routes::{Declared, Rule};

/// The document of these routes, served by that version of the program.
pub(in crate::api) fn document(routes: &[Declared], version: &str) -> OpenApi {
    let mut paths = Paths::new();
    let mut components = ComponentsBuilder::new();
    for (name, scheme) in schemes() {
        components = components.security_scheme(name, scheme);
    }
    let mut refusals = BTreeMap::new();
    for route in routes {
        let operation = route.operation.clone().guarded(route.rule, !route.method.is_safe());
        components = components.schemas_from_iter(operation.schemas.clone());
        refusals.extend(operation.refusals.values().map(|refusal| (refusal.name(), *refusal)));
        let Some(method) = method(&route.method) else { continue };
        let item = paths.paths.entry(path(route)).or_default();
        item.merge_operations(PathItem::new(method, described(route, operation, routes)));
    }
    for (name, refusal) in refusals {
        components = components.response(name, refusal.response());
    }
    let mut license = LicenseBuilder::new().name(LICENSE).build();
    license.identifier = Some(LICENSE.into());
    let info = InfoBuilder::new().title("sonde").version(version).license(Some(license));
    OpenApiBuilder::new()
        .info(info.description(Some(DESCRIPTION)).build())
        .paths(paths)
        .components(Some(components.build()))
        .build()
}

/// The operation of a route, at its place among the others.
fn described(route: &Declared, operation: Operation, routes: &[Declared]) -> path::Operation {
    let Operation { summary, parameters, body, mut answers, refusals, created, .. } = operation;
    if let (Some(pointer), Some(answer)) = (created, answers.get_mut(&StatusCode::CREATED)) {
        let one = format!("{}/{{*id}}", route.path);
        for next in routes.iter().filter(|next| next.path == one) {
            let id = format!("$response.body#{pointer}");
            let link = LinkBuilder::new().operation_id(name(next)).parameter("id", id).build();
            answer.links.insert(next.method.as_str().to_ascii_lowercase(), link.into());
        }
    }
    let mut described = OperationBuilder::new()
        .operation_id(Some(name(route)))
        .summary(Some(summary))
        .request_body(body)
        .tag(tag(route));
    for parameter in parameters {
        described = described.parameter(parameter);
    }
    for (status, answer) in answers {
        described = described.response(status.as_str(), answer);
    }
    for (status, refusal) in refusals {
        described = described.response(status.as_str(), Ref::from_response_name(refusal.name()));
    }
    match route.rule {
        Rule::Anyone => described.build(),
        Rule::User | Rule::Right(..) => {
            let none: [&str; 0] = [];
            let requirement = |(name, _)| SecurityRequirement::new(name, none);
            described.securities(Some(schemes().map(requirement))).build()
        }
    }
}

/// Its path, in OpenAPI's words.
fn path(route: &Declared) -> String {
    route.path.replace("{*", "{") + route.operation.end
}

fn method(method: &Method) -> Option<HttpMethod> {
    Some(match *method {
        Method::GET => HttpMethod::Get,
        Method::POST => HttpMethod::Post,
        Method::PUT => HttpMethod::Put,
        Method::PATCH => HttpMethod::Patch,
        Method::DELETE => HttpMethod::Delete,
        _ => return None,
    })
}

/// What generated clients call it: `get_api_capture_id`.
fn name(route: &Declared) -> String {
    let path = path(route);
    let parts = path.split('/').skip(1).map(|part| match part {
        "" => "none".to_owned(),
        part => part.replace(['{', '}'], "").replace('.', "_"),
    });
    parts.fold(route.method.as_str().to_ascii_lowercase(), |name, part| format!("{name}_{part}"))
}

/// What it is shown under: the resource, or the first part of its path.
fn tag(route: &Declared) -> &str {
    let mut parts = route.path.split('/').skip(1);
    match (parts.next(), parts.next()) {
        (Some("api"), Some(resource)) => resource,
        (first, _) => first.unwrap_or_default(),
    }
}

/// Where a token may stand; the first that is there counts.
fn schemes() -> [(&'static str, SecurityScheme); 4] {
    let basic = HttpBuilder::new().scheme(HttpAuthScheme::Basic).build();
    let token = |name| ApiKeyValue::with_description(name, "What `POST /login` answers.");
    [
        ("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(token("authtoken")))),
        ("basic", SecurityScheme::Http(basic)),
        ("header", SecurityScheme::ApiKey(ApiKey::Header(token("X-Auth-Token")))),
        ("query", SecurityScheme::ApiKey(ApiKey::Query(token("x-auth-token")))),
    ]
}

const LICENSE: &str = "Apache-2.0";

const DESCRIPTION: &str = "A flow probe that speaks Skydive's API. Errors are one line of text. \
    Where no authentication is configured (`auth.backend`), no credentials are needed. A slash at \
    the end of a path without an ID is answered 301.";

//! What `/swagger` says, and that all else keeps to it.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::sync::LazyLock;

use flate2::read::GzDecoder;

use super::*;
use crate::access::{Access, Config};

/// All that is declared.
static ROUTES: LazyLock<Vec<Declared>> =
    LazyLock::new(|| declared(&tables(&Access::open(Config::default()).unwrap())));

/// The document of it.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    serde_json::to_value(super::super::openapi::document(&ROUTES, "0.0.0")).unwrap()
});

/// Checks that the document says that a request may be answered so: each answer of each test here.
pub(super) fn expects(method: &Method, path: &str, status: u16) {
    let method = method.as_str().to_ascii_lowercase();
    let paths = DOCUMENT["paths"].as_object().unwrap().iter();
    let found = paths.filter(|(template, item)| {
        let fits = match template.split_once('{') {
            Some((start, rest)) => {
                let end = rest.split_once('}').unwrap().1;
                path.len() > start.len() + end.len()
                    && path.starts_with(start)
                    && path.ends_with(end)
            }
            None => path == *template,
        };
        fits && item.get(&method).is_some()
    });
    // What is spelt out goes before what is not.
    let Some((template, item)) = found.min_by_key(|(template, _)| template.contains('{')) else {
        return;
    };
    let answers = item[&method]["responses"].as_object().unwrap();
    assert!(answers.contains_key(&status.to_string()), "{method} {template}: {status}");
}

/// Each operation: method, path, and it.
fn operations() -> impl Iterator<Item = (&'static str, &'static str, &'static Value)> {
    let items = DOCUMENT["paths"].as_object().unwrap().iter();
    items.flat_map(|(path, item)| {
        let operations = item.as_object().unwrap().iter();
        operations.map(move |(method, operation)| (method.as_str(), path.as_str(), operation))
    })
}

#[test]
fn what_is_declared_is_described_and_nothing_else() {
    let declared: BTreeSet<_> = (ROUTES.iter())
        .map(|route| {
            let path = route.path.replace("{*", "{");
            // The only path that says more than its pattern does.
            let call = route.method == Method::POST && path == "/api/workflow/{id}";
            let end = if call { "/call" } else { "" };
            (route.method.as_str().to_ascii_lowercase(), path + end)
        })
        .collect();
    let described: BTreeSet<_> =
        operations().map(|(method, path, _)| (method.to_owned(), path.to_owned())).collect();
    assert_eq!(described, declared);
    assert_eq!(declared.len(), ROUTES.len());
}

#[test]
fn every_kind_has_its_schema() {
    let schemas = &DOCUMENT["components"]["schemas"];
    for (name, member) in [
        ("Capture", "BPFFilter"),
        ("Node", "Metadata"),
        ("NodeRule", "Action"),
        ("EdgeRule", "Src"),
        ("Alert", "Expression"),
        ("PacketInjection", "SrcMAC"),
        ("Status", "Overload"),
        ("TopologyQuery", "GremlinQuery"),
        ("Flow", "LayersPath"),
        ("Topology", "Nodes"),
        ("LogIn", "Token"),
        ("Workflow", "Source"),
        ("WorkflowCall", "Params"),
    ] {
        assert!(schemas[name]["properties"][member].is_object(), "{name}");
    }
    let edge = schemas["Edge"]["allOf"].as_array().unwrap();
    for member in ["Revision", "Parent"] {
        let has = |part| resolved(part)["properties"][member].is_object();
        assert!(edge.iter().any(has), "{member}");
    }
    let patch = schemas["PatchOperation"]["oneOf"].as_array().unwrap();
    let names: Vec<_> =
        patch.iter().map(|one| one["properties"]["op"]["enum"][0].as_str().unwrap()).collect();
    assert_eq!(names, ["add", "remove", "replace", "move", "copy", "test"]);
}

/// The rules of OpenAPI 3.1 that its authors can break here.
#[test]
fn the_document_is_openapi() {
    assert_eq!(DOCUMENT["openapi"], "3.1.0");
    assert_eq!(DOCUMENT["info"]["title"], "sonde");
    assert_eq!(DOCUMENT["info"]["version"], "0.0.0");
    let schemes = DOCUMENT["components"]["securitySchemes"].as_object().unwrap();
    let mut names = BTreeSet::new();
    for (method, path, operation) in operations() {
        let case = format!("{method} {path}");
        assert!(names.insert(operation["operationId"].as_str().unwrap()), "{case}");
        assert!(!operation["summary"].as_str().unwrap().is_empty(), "{case}");
        for requirement in operation["security"].as_array().into_iter().flatten() {
            assert!(requirement.as_object().unwrap().keys().all(|name| schemes.contains_key(name)));
        }
        let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
        let places = parameters.iter().filter(|parameter| parameter["in"] == "path");
        let places: Vec<_> = places
            .map(|place| {
                assert_eq!(place["required"], true, "{case}");
                format!("{{{}}}", place["name"].as_str().unwrap())
            })
            .collect();
        let templates: Vec<_> =
            path.split('/').filter(|part| part.starts_with('{')).map(str::to_owned).collect();
        assert_eq!(places, templates, "{case}");
        for parameter in parameters {
            let reserved = ["accept", "content-type", "authorization"];
            let name = parameter["name"].as_str().unwrap().to_ascii_lowercase();
            assert!(!reserved.contains(&&*name), "{case}: OpenAPI ignores {name}");
            assert!(parameter["schema"].is_object(), "{case}");
        }
        if !operation["requestBody"].is_null() {
            assert!(!operation["requestBody"]["content"].as_object().unwrap().is_empty(), "{case}");
        }
        for (status, answer) in operation["responses"].as_object().unwrap() {
            assert!((100..600).contains(&status.parse::<u16>().unwrap()), "{case}: {status}");
            let answer = resolved(answer);
            assert!(!answer["description"].as_str().unwrap().is_empty(), "{case}: {status}");
            for link in answer["links"].as_object().into_iter().flat_map(|links| links.values()) {
                let id = &link["operationId"];
                assert!(operations().any(|(_, _, next)| next["operationId"] == *id), "{case}");
            }
        }
    }
    every_reference_leads_somewhere(&DOCUMENT);
}

fn every_reference_leads_somewhere(value: &Value) {
    match value {
        Value::Array(values) => values.iter().for_each(every_reference_leads_somewhere),
        Value::Object(members) => {
            if members.contains_key("$ref") {
                resolved(value);
            }
            members.values().for_each(every_reference_leads_somewhere);
        }
        _ => {}
    }
}

/// What stands there, or where its reference leads.
fn resolved(value: &Value) -> &Value {
    let Some(reference) = value["$ref"].as_str() else { return value };
    let pointer = reference.strip_prefix('#').unwrap();
    DOCUMENT.pointer(pointer).unwrap_or_else(|| panic!("nothing at {reference}"))
}

#[tokio::test]
async fn everybody_may_read_the_document() {
    let world = access::guarded(|_| {});
    let got = ask(&world, "GET", "/swagger/openapi.json", "").await;
    assert_eq!(got.header("access-control-allow-origin"), "*");
    assert_eq!(got.json(), *DOCUMENT);
}

#[tokio::test]
async fn the_page_that_shows_it_needs_no_other_site() {
    let world = access::guarded(|_| {});
    for (path, location) in
        [("/", "/swagger"), ("/swagger", "/swagger/index.html"), ("/swagger/", "/swagger")]
    {
        assert_eq!(ask(&world, "GET", path, "").await.header("location"), location);
    }
    let page = ask(&world, "GET", "/swagger/index.html", "").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.text.starts_with("<!"), "{}", page.text);
    let policy = page.header("content-security-policy");
    assert_eq!(policy, "connect-src 'self'; frame-ancestors 'none'");
    for file in [
        "swagger-ui.css",
        "index.css",
        "swagger-ui-bundle.js",
        "swagger-ui-standalone-preset.js",
        "favicon-32x32.png",
    ] {
        let path = format!("/swagger/{file}");
        let plain = ask(&world, "GET", &path, "").await;
        assert_eq!((plain.status, plain.header("content-encoding")), (200, ""), "{file}");
        let request = Request::get(&path).header("accept-encoding", "br, gzip");
        let packed = send(&world, request.body(Body::empty()).unwrap()).await;
        assert_eq!((packed.status, packed.header("content-encoding")), (200, "gzip"), "{file}");
        for got in [&plain, &packed] {
            let vary = got.headers.get_all("vary").iter().map(|value| value.to_str().unwrap());
            assert!(vary.flat_map(|vary| vary.split(", ")).any(|one| one == "accept-encoding"));
        }
        let mut unpacked = Vec::new();
        GzDecoder::new(&*packed.body).read_to_end(&mut unpacked).unwrap();
        assert!(plain.body == unpacked, "{file}");
    }
    let start = ask(&world, "GET", "/swagger/swagger-initializer.js", "").await;
    assert_eq!(start.header("content-encoding"), "");
    assert!(start.text.contains("\"/swagger/openapi.json\""), "{}", start.text);
    assert!(start.text.contains("\"validatorUrl\": \"none\""), "{}", start.text);
    ask(&world, "GET", "/swagger/nothing", "").await.is_error(404, "404 page not found");
}

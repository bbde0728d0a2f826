//! The rules that all resources have in common (Skydive API §2.1).

use axum::http::HeaderValue;

use super::*;
use crate::api::resource::ttl;

/// A kind of resource.
struct Kind {
    name: &'static str,
    title: &'static str,
    body: Value,
    /// Where its ID stands, which of elements the client chooses.
    id: &'static str,
    /// What is refused, and why.
    invalid: (Value, &'static str),
    /// What another of the same body is told, if it is refused.
    twice: Option<(u16, &'static str)>,
    /// What a patch that changes nothing is answered; `None`: resources of that kind never change.
    unchanged: Option<u16>,
    /// A patch whose result is invalid, and why.
    breaks: (Value, &'static str),
    /// Those that are always there.
    built_in: usize,
}

fn kinds() -> [Kind; 8] {
    let node = |name: &str| json!({"ID": name, "Metadata": {"Name": name, "Type": "switch"}});
    let edge = json!({
        "ID": "mine", "Parent": "eth0", "Child": "eth1", "Metadata": {"RelationType": "layer2"},
    });
    let remove = |path: &str| json!([{"op": "remove", "path": path}]);
    let rule = json!({
        "UUID": "mine", "Action": "update", "Query": "G.V()", "Metadata": {"Zone": "a"},
    });
    let injection = json!({
        "UUID": "mine", "Src": "G.V('eth0')", "Type": "icmp4", "Pcap": "eA==", "Count": 1,
    });
    let never = (json!([]), "");
    let frozen = |name, title, body, invalid, twice| Kind {
        name,
        title,
        body,
        id: "UUID",
        invalid,
        twice,
        unchanged: None,
        breaks: never.clone(),
        built_in: 0,
    };
    [
        Kind {
            name: "alert",
            title: "Alert",
            body: json!({"UUID": "mine", "Expression": "G.V()"}),
            id: "UUID",
            invalid: (
                json!({"Trigger": "never"}),
                "Expression: zero value, Trigger: regular expression mismatch",
            ),
            twice: None,
            unchanged: Some(200),
            breaks: (
                json!([{"op": "replace", "path": "/Expression", "value": ""}]),
                "Expression: zero value",
            ),
            built_in: 0,
        },
        frozen(
            "capture",
            "Capture",
            json!({"UUID": "mine", "GremlinQuery": "G.V()"}),
            (
                json!({"GremlinQuery": "G.V(", "HeaderSize": 1}),
                "GremlinQuery: Not a valid Gremlin expression: ",
            ),
            Some((409, "duplicated resource\n")),
        ),
        Kind {
            name: "edge",
            title: "Edge",
            body: edge,
            id: "ID",
            invalid: (
                json!({
                    "ID": "a", "Parent": "eth0", "Child": "",
                    "Metadata": {"RelationType": "layer2"},
                }),
                "child ID wrong format",
            ),
            twice: Some((400, "Edge ID conflict\n")),
            unchanged: Some(304),
            breaks: (remove("/Metadata/RelationType"), "invalid schema: "),
            built_in: 0,
        },
        frozen(
            "edgerule",
            "Edgerule",
            json!({
                "UUID": "mine", "Src": "G.V('eth0')", "Dst": "G.V('eth1')",
                "Metadata": {"RelationType": "layer2"},
            }),
            (json!({"Src": "G.V("}), "Src: "),
            None,
        ),
        frozen("injectpacket", "Injectpacket", injection, (json!({"Src": "G.V("}), "Src: "), None),
        Kind {
            name: "node",
            title: "Node",
            body: node("mine"),
            id: "ID",
            invalid: (
                json!({"ID": "", "Metadata": {"Name": "a", "Type": "b"}}),
                "No ID found for graph element",
            ),
            twice: Some((400, "Node ID conflict\n")),
            unchanged: Some(304),
            breaks: (remove("/Metadata/Name"), "invalid schema: "),
            // Those of the world.
            built_in: 3,
        },
        frozen("noderule", "Noderule", rule, (json!({"Action": "x"}), "Action: "), None),
        Kind {
            name: "workflow",
            title: "Workflow",
            body: json!({"UUID": "mine", "Name": "w", "Source": "() => 7"}),
            id: "UUID",
            invalid: (json!({}), "Name: zero value"),
            twice: Some((400, "Duplicate workflow, name=w\n")),
            unchanged: Some(200),
            breaks: (remove("/Name"), "Name: zero value"),
            built_in: 4,
        },
    ]
}

/// Creates the resource and gives its path.
async fn created(world: &World, kind: &Kind) -> String {
    let path = format!("/api/{}", kind.name);
    let got = ask(world, "POST", &path, kind.body.to_string()).await;
    assert_eq!(got.status, 201, "{}: {}", kind.name, got.text);
    format!("{path}/{}", got.json()[kind.id].as_str().unwrap())
}

#[tokio::test]
async fn lists_are_objects_by_id_and_the_server_gives_the_id() {
    for kind in kinds() {
        let world = World::new();
        let path = format!("/api/{}", kind.name);
        let list = ask(&world, "GET", &path, "").await.json();
        assert_eq!(list.as_object().unwrap().len(), kind.built_in, "{}", kind.name);
        let one = created(&world, &kind).await;
        let id = one.rsplit('/').next().unwrap();
        if kind.id == "ID" {
            assert_eq!(id, "mine");
        } else {
            let uuid = uuid::Uuid::try_parse(id).unwrap();
            assert_eq!((uuid.get_version_num(), uuid.to_string().as_str()), (4, id));
        }
        let shown = ask(&world, "GET", &one, "").await;
        assert_eq!((shown.status, &shown.json()[kind.id]), (200, &json!(id)));
        let list = ask(&world, "GET", &path, "").await.json();
        assert_eq!(
            (list.as_object().unwrap().len(), &list[id]),
            (kind.built_in + 1, &shown.json())
        );

        let got = ask(&world, "DELETE", &one, "").await;
        assert_eq!((got.status, &*got.text, got.header("content-type")), (200, "", "text/plain"));
        for method in ["GET", "DELETE"] {
            let text = format!("{} '{id}' not found", kind.title);
            ask(&world, method, &one, "").await.is_error(404, &text);
        }
    }
}

#[tokio::test]
async fn what_is_no_resource_is_refused_and_told_why() {
    for kind in kinds() {
        let (world, path) = (World::new(), format!("/api/{}", kind.name));
        for body in ["", "{", "[]", "7", "{\"UUID\": 7, \"ID\": 7}"] {
            let got = ask(&world, "POST", &path, body).await;
            assert_eq!(got.status, 400, "{path} {body}: {}", got.text);
            assert!(got.text.starts_with("request body: "), "{path} {body}: {}", got.text);
            got.is_plain();
        }
        let (body, why) = &kind.invalid;
        let got = ask(&world, "POST", &path, body.to_string()).await;
        assert_eq!(got.status, 400, "{path}: {}", got.text);
        assert!(got.text.starts_with(why), "{path}: {}", got.text);
        got.is_plain();

        created(&world, &kind).await;
        let got = ask(&world, "POST", &path, kind.body.to_string()).await;
        let (status, text) = kind.twice.unwrap_or((201, ""));
        assert_eq!(got.status, status, "{path}: {}", got.text);
        assert!(status == 201 || got.text == text, "{path}: {}", got.text);
    }
}

#[tokio::test]
async fn resources_end_with_their_time() {
    for kind in kinds() {
        let (world, path) = (World::new(), format!("/api/{}", kind.name));
        let got = ask_with(&world, &path, ("x-resource-ttl", "1"), &kind.body.to_string()).await;
        assert_eq!(got.status, 400, "{path}");
        assert!(got.text.starts_with("invalid ttl: "), "{path}: {}", got.text);
        let got = ask_with(&world, &path, ("x-resource-ttl", "1h2m"), &kind.body.to_string()).await;
        assert_eq!(got.status, 201, "{path}: {}", got.text);
    }
}

#[test]
fn a_time_of_zero_is_none() {
    let nano = Duration::from_nanos(1);
    for (given, expected) in [("0", None), ("0s", None), ("0h0m", None), ("1ns", Some(nano))] {
        let headers = HeaderMap::from_iter([(TTL, HeaderValue::from_static(given))]);
        assert_eq!(ttl(&headers).unwrap(), expected, "{given}");
    }
    assert_eq!(ttl(&HeaderMap::new()).unwrap(), None);
}

#[tokio::test]
async fn a_patch_is_refused_for_the_first_of_its_faults() {
    for kind in kinds() {
        let world = World::new();
        let (path, one) = (format!("/api/{}", kind.name), created(&world, &kind).await);
        let got = ask(&world, "PATCH", &format!("{path}/none"), "[]").await;
        assert_eq!((got.status, &*got.text), (404, ""), "{path}");
        for body in ["", "{}", "[7]", "[{\"op\": \"jump\", \"path\": \"/a\"}]"] {
            let got = ask(&world, "PATCH", &one, body).await;
            assert_eq!(got.status, 400, "{path} {body}: {}", got.text);
            assert!(got.text.starts_with("incorrect JSON patch: "), "{path} {body}: {}", got.text);
        }
        let Some(unchanged) = kind.unchanged else {
            let text = "updating resource with patched version: resource not updatable";
            ask(&world, "PATCH", &one, "[]").await.is_error(400, text);
            continue;
        };
        let got = ask(&world, "PATCH", &one, "[]").await;
        assert_eq!((got.status, got.text.is_empty()), (unchanged, unchanged == 304), "{path}");
        let remove = r#"[{"op": "remove", "path": "/None"}]"#;
        let (breaks, why) = &kind.breaks;
        for (body, start) in [
            (remove.to_owned(), "applying JSON patch to resource: ".to_owned()),
            (breaks.to_string(), format!("validating patched resource: {why}")),
        ] {
            let got = ask(&world, "PATCH", &one, body).await;
            assert_eq!(got.status, 400, "{path}: {}", got.text);
            assert!(got.text.starts_with(&start), "{path}: {}", got.text);
        }
    }
}

#[tokio::test]
async fn an_id_is_all_that_follows_and_there_must_be_one() {
    let world = World::new();
    for kind in kinds() {
        let path = format!("/api/{}", kind.name);
        let text = format!("{} 'a/b c/' not found", kind.title);
        for method in ["GET", "DELETE"] {
            ask(&world, method, &format!("{path}/a/b%20c/"), "").await.is_error(404, &text);
        }
        for method in ["DELETE", "PATCH"] {
            let got = ask(&world, method, &format!("{path}/"), "").await;
            got.is_error(400, "no ID in the path, expected /api/<resource>/<ID>");
        }
        let got = ask(&world, "GET", &format!("{path}/"), "").await;
        assert_eq!((got.status, got.header("location")), (301, &*path));
    }
}

#[tokio::test]
async fn resources_survive_the_process() {
    for kind in kinds() {
        let directory = tempfile::tempdir().unwrap();
        let world = World::open(Some(directory.path())).unwrap();
        let one = created(&world, &kind).await;
        drop(world);
        let world = within_open(directory.path()).await;
        let got = ask(&world, "GET", &one, "").await;
        assert_eq!(got.status, 200, "{one}: {}", got.text);
    }
}

#[tokio::test]
async fn what_is_as_deep_as_can_be_survives_too() {
    let deep = |levels: usize| ["[".repeat(levels), "]".repeat(levels)].concat();
    let node = |levels| {
        let x = deep(levels);
        format!(r#"{{"ID": "a", "Metadata": {{"Name": "a", "Type": "b", "X": {x}}}}}"#)
    };
    let rule = |levels| {
        let x = deep(levels);
        format!(r#"{{"Action": "create", "Metadata": {{"Name": "a", "Type": "b", "X": {x}}}}}"#)
    };
    let workflow = |levels: usize| {
        let x = deep(levels - 1);
        format!(r#"{{"Name": "a", "Source": "() => 1", "Parameters": [{{"Default": {x}}}]}}"#)
    };
    for (path, body) in [
        ("/api/node", &node as &dyn Fn(usize) -> String),
        ("/api/noderule", &rule),
        ("/api/workflow", &workflow),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let world = World::open(Some(directory.path())).unwrap();
        let refused = ask(&world, "POST", path, body(99)).await;
        refused.is_error(400, "request body: nested 101 deep, expected at most 100");
        let created = ask(&world, "POST", path, body(98)).await;
        assert_eq!(created.status, 201, "{path}: {}", created.text);
        drop(world);
        let world = within_open(directory.path()).await;
        assert!(ask(&world, "GET", path, "").await.text.contains("[[[[[["), "{path}");
    }
}

/// A world whose state another had, which may still be ending.
async fn within_open(directory: &std::path::Path) -> World {
    within(|| World::open(Some(directory)).ok()).await
}

const TTL: HeaderName = HeaderName::from_static("x-resource-ttl");

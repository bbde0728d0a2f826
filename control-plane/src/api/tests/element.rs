//! `/api/node` and `/api/edge`.

use super::*;

fn tor() -> Value {
    json!({"ID": "TOR", "Metadata": {"Name": "tor", "Type": "switch"}, "Host": null})
}

fn link(id: &str, parent: &str, child: &str) -> Value {
    let metadata = json!({"RelationType": "layer2"});
    json!({"ID": id, "Parent": parent, "Child": child, "Metadata": metadata})
}

async fn post(world: &World, path: &str, body: &Value) -> Got {
    ask(world, "POST", path, body.to_string()).await
}

async fn patch(world: &World, path: &str, operations: Value) -> Got {
    ask(world, "PATCH", path, operations.to_string()).await
}

#[tokio::test]
async fn elements_are_made_shown_and_deleted() {
    let world = World::new();
    let got = post(&world, "/api/node", &tor()).await;
    assert_eq!(got.status, 201);
    let node = got.json();
    let expected = json!({
        "ID": "TOR", "Metadata": {"Name": "tor", "Type": "switch"}, "Host": "",
        "Origin": "api.here", "CreatedAt": 1_600_000_000_000_i64,
        "UpdatedAt": 1_600_000_000_000_i64, "DeletedAt": null, "Revision": 1,
    });
    assert_eq!(node, expected);
    let got = post(&world, "/api/edge", &link("L", "TOR", "eth0")).await;
    assert_eq!(got.status, 201);
    let edge = got.json();
    assert_eq!((&edge["Parent"], &edge["Origin"]), (&json!("TOR"), &json!("api.here")));

    assert_eq!(ask(&world, "GET", "/api/node/TOR", "").await.json(), node);
    let nodes = ask(&world, "GET", "/api/node", "").await.json();
    assert_eq!((nodes.as_object().unwrap().len(), &nodes["TOR"]), (4, &node));
    assert_eq!(ask(&world, "GET", "/api/edge", "").await.json(), json!({"L": edge}));
    let found = query(&world, "G.V().Has('Name', 'tor').Out().Values('Name')").await;
    assert_eq!(found.json(), json!(["eth0"]));

    let got = ask(&world, "DELETE", "/api/node/TOR", "").await;
    assert_eq!((got.status, got.text.as_str()), (200, ""));
    assert_eq!(ask(&world, "GET", "/api/edge", "").await.json(), json!({}));
    for method in ["GET", "DELETE"] {
        ask(&world, method, "/api/node/TOR", "").await.is_error(404, "Node 'TOR' not found");
        ask(&world, method, "/api/edge/L", "").await.is_error(404, "Edge 'L' not found");
    }
}

#[tokio::test]
async fn what_is_no_element_is_refused() {
    let world = World::new();
    let no_name = "invalid schema: (root): Must validate all the schemas (allOf)\n\
        Metadata: Must validate all the schemas (allOf)\nMetadata: Name is required\n\
        (root): Must validate at least one schema (anyOf)\n";
    let no_type = "invalid schema: (root): Must validate at least one schema (anyOf)\n\
        Metadata: Type is required, or Path for a netns, or UUID for an ovsport\n";
    let no_relation = "invalid schema: Metadata: RelationType is required\n";
    for (metadata, why) in [
        (json!({"Type": "switch"}), no_name),
        (json!({"Type": "switch", "Name": 5}), no_name),
        (json!({"Name": "x"}), no_type),
        (json!({"Name": "x", "Type": "netns"}), no_type),
        (json!({"Name": "x", "Type": "ovsport", "Path": "p"}), no_type),
    ] {
        let got = post(&world, "/api/node", &json!({"ID": "x", "Metadata": metadata})).await;
        got.is_error(400, why);
    }
    for metadata in [json!({"Name": "x", "Path": "p"}), json!({"Name": "x", "UUID": "u"})] {
        let id = metadata.to_string();
        let got = post(&world, "/api/node", &json!({"ID": id, "Metadata": metadata})).await;
        assert_eq!(got.status, 201, "{}", got.text);
    }
    let mut bare = link("x", "eth0", "eth1");
    bare["Metadata"] = json!({});
    let without = |key: &str| {
        let mut body = link("x", "eth0", "eth1");
        body.as_object_mut().unwrap().remove(key);
        body
    };
    for (path, body, why) in [
        ("node", json!({"ID": "", "Metadata": {}}), "No ID found for graph element"),
        ("node", json!({"Metadata": tor()["Metadata"]}), "No ID found for graph element"),
        ("edge", without("ID"), "No ID found for graph element"),
        ("edge", without("Parent"), "parent ID wrong format"),
        ("edge", without("Child"), "child ID wrong format"),
        ("edge", without("Metadata"), no_relation),
        ("node", json!({"ID": "eth0", "Metadata": tor()["Metadata"]}), "Node ID conflict"),
        ("edge", link("", "eth0", "eth1"), "No ID found for graph element"),
        ("edge", link("x", "", "eth1"), "parent ID wrong format"),
        ("edge", link("x", "eth0", ""), "child ID wrong format"),
        ("edge", link("x", "none", "eth1"), "Parent node not found"),
        ("edge", link("x", "eth0", "none"), "Child node not found"),
        ("edge", bare, no_relation),
    ] {
        post(&world, &format!("/api/{path}"), &body).await.is_error(400, why);
    }
    for body in ["", "[]", "{}", r#"{"ID": 5}"#, r#"{"ID": "x"}"#] {
        let got = ask(&world, "POST", "/api/node", body).await;
        assert_eq!(got.status, 400, "{body}");
        got.is_plain();
    }
}

#[tokio::test]
async fn a_patch_changes_metadata_and_nothing_else() {
    let world = World::new();
    post(&world, "/api/node", &tor()).await;
    world.pass(Duration::from_secs(1));
    let operations = json!([
        {"op": "add", "path": "/Metadata/Rack", "value": {"Row": 7}},
        {"op": "replace", "path": "/Metadata/Name", "value": "other"},
        {"op": "add", "path": "/Metadata/TID", "value": "mine"},
        {"op": "replace", "path": "/Host", "value": "elsewhere"},
    ]);
    let got = patch(&world, "/api/node/TOR", operations.clone()).await;
    assert_eq!(got.status, 200, "{}", got.text);
    let node = got.json();
    let metadata = json!({"Name": "tor", "Type": "switch", "Rack": {"Row": 7}});
    assert_eq!((&node["Metadata"], &node["Host"]), (&metadata, &json!("")));
    assert_eq!((&node["Revision"], &node["UpdatedAt"]), (&json!(2), &json!(1_600_000_001_000_i64)));
    let again = patch(&world, "/api/node/TOR", operations).await;
    assert_eq!((again.status, again.text.as_str()), (304, ""));

    post(&world, "/api/edge", &link("L", "TOR", "eth0")).await;
    let cost = json!([{"op": "add", "path": "/Metadata/Cost", "value": 3}]);
    assert_eq!(patch(&world, "/api/edge/L", cost).await.json()["Metadata"]["Cost"], json!(3));

    let mut old = tor();
    old["ID"] = json!("OLD");
    old["Revision"] = json!(i64::MAX);
    post(&world, "/api/node", &old).await;
    let rack = json!([{"op": "add", "path": "/Metadata/Rack", "value": 1}]);
    assert_eq!(patch(&world, "/api/node/OLD", rack).await.json()["Metadata"]["Rack"], json!(1));

    let got = patch(&world, "/api/node/none", json!([])).await;
    assert_eq!((got.status, got.text.as_str()), (404, ""));
    let got = patch(&world, "/api/node/TOR", json!({})).await;
    assert!(got.status == 400 && got.text.starts_with("incorrect JSON patch: "), "{}", got.text);
    let missing = json!([{"op": "remove", "path": "/Metadata/None"}]);
    let got = patch(&world, "/api/node/TOR", missing).await;
    let why = "applying JSON patch to resource: operation 0: ";
    assert!(got.status == 400 && got.text.starts_with(why), "{}", got.text);
    let nameless = json!([{"op": "remove", "path": "/Metadata/Name"}]);
    patch(&world, "/api/node/TOR", nameless).await.is_error(
        400,
        "validating patched resource: invalid schema: \
         (root): Must validate all the schemas (allOf)\n\
         Metadata: Must validate all the schemas (allOf)\nMetadata: Name is required\n\
         (root): Must validate at least one schema (anyOf)\n",
    );
}

#[tokio::test]
async fn an_element_dies_of_its_ttl() {
    let world = World::new();
    let body = tor().to_string();
    let got = ask_with(&world, "/api/node", ("x-resource-ttl", "soon"), &body).await;
    assert_eq!(got.status, 400);
    assert!(got.text.starts_with("invalid ttl: "), "{}", got.text);
    tokio::spawn(world.state.additions.clone().run());
    let got = ask_with(&world, "/api/node", ("x-resource-ttl", "10s"), &body).await;
    assert_eq!(got.status, 201);
    world.pass(Duration::from_secs(10));
    let graph = world.state.graph.clone();
    within(|| graph.read().unwrap().node("TOR").is_none().then_some(())).await;
}

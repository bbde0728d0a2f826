//! `/api/noderule` and `/api/edgerule`.

use super::*;

const BOTH: [(&str, &str); 2] = [("noderule", "Noderule"), ("edgerule", "Edgerule")];

fn rule(path: &str) -> Value {
    match path {
        "noderule" => json!({
            "UUID": "mine", "Name": "n", "Description": "d", "Action": "update",
            "Query": "G.V()", "Metadata": {"Zone": "a"},
        }),
        _ => json!({
            "UUID": "mine", "Name": "n", "Description": "d", "Src": "G.V('eth0')",
            "Dst": "G.V('eth1')", "Metadata": {"RelationType": "layer2"},
        }),
    }
}

#[tokio::test]
async fn the_life_of_a_rule() {
    let world = World::new();
    for (resource, title) in BOTH {
        let path = format!("/api/{resource}");
        assert_eq!(ask(&world, "GET", &path, "").await.json(), json!({}));
        let got = ask(&world, "POST", &path, rule(resource).to_string()).await;
        assert_eq!(got.status, 201, "{}", got.text);
        let created = got.json();
        let id = created["UUID"].as_str().unwrap().to_owned();
        assert_eq!(uuid::Uuid::try_parse(&id).unwrap().get_version_num(), 4);
        let mut expected = rule(resource);
        expected["UUID"] = json!(id);
        assert_eq!(created, expected);
        assert_eq!(ask(&world, "GET", &path, "").await.json(), json!({ &id: created }));

        let one = format!("{path}/{id}");
        assert_eq!(ask(&world, "GET", &one, "").await.json(), created);
        let patch = r#"[{"op": "replace", "path": "/Name", "value": "other"}]"#;
        ask(&world, "PATCH", &one, patch)
            .await
            .is_error(400, "updating resource with patched version: resource not updatable");
        let got = ask(&world, "PATCH", &one, "{}").await;
        assert!(got.text.starts_with("incorrect JSON patch: "), "{}", got.text);
        let got = ask(&world, "DELETE", &one, "").await;
        assert_eq!((got.status, got.text.as_str()), (200, ""));
        assert_eq!(got.header("content-type"), "text/plain");
        for method in ["GET", "DELETE"] {
            let text = format!("{title} '{id}' not found");
            ask(&world, method, &one, "").await.is_error(404, &text);
        }
        let got = ask(&world, "PATCH", &one, patch).await;
        assert_eq!((got.status, got.text.as_str()), (404, ""));
        let got = ask(&world, "GET", &format!("{path}/"), "").await;
        assert_eq!((got.status, got.header("location")), (301, path.as_str()));
        ask_with(&world, &path, ("x-resource-ttl", "1"), &rule(resource).to_string())
            .await
            .is_error(400, "invalid ttl: invalid duration \"1\", expected e.g. 500ms, 5s or 1h2m");
    }
}

#[tokio::test]
async fn a_rule_that_breaks_rules_is_refused() {
    let world = World::new();
    let (gremlin, syntax) =
        ("Not a valid Gremlin expression", "Expected right parenthesis at column 5");
    for (resource, member, value, why) in [
        ("noderule", "Action", json!("delete"), "Action: regular expression mismatch".into()),
        ("noderule", "Action", json!(null), "Action: regular expression mismatch".into()),
        ("noderule", "Query", json!("G.V("), format!("Query: {gremlin}: {syntax}")),
        (
            "noderule",
            "Metadata",
            json!({"Zone": "a", "Name": "x"}),
            "Name and Type fields can not be changed".into(),
        ),
        (
            "noderule",
            "Metadata",
            json!({"Type": "x"}),
            "Name and Type fields can not be changed".into(),
        ),
        (
            "noderule",
            "Metadata",
            json!({"TID": "x"}),
            "TID and Captures fields can not be changed".into(),
        ),
        (
            "noderule",
            "Metadata",
            json!({"Zone": "x".repeat(4096)}),
            "Metadata: A valid metadata has <= 4096 bytes".into(),
        ),
        ("edgerule", "Src", json!("G.V("), format!("Src: {gremlin}: {syntax}")),
        ("edgerule", "Dst", json!("G.V("), format!("Dst: {gremlin}: {syntax}")),
        ("edgerule", "Metadata", json!({}), "Metadata: RelationType is required".into()),
        (
            "edgerule",
            "Metadata",
            json!({"RelationType": ""}),
            "Metadata: RelationType is required".into(),
        ),
    ] {
        let mut body = rule(resource);
        body[member] = value;
        let got = ask(&world, "POST", &format!("/api/{resource}"), body.to_string()).await;
        assert_eq!(got.status, 400, "{body}");
        assert!(got.text.starts_with(&why), "{} is not {why}", got.text);
        got.is_plain();
    }
    for (metadata, part) in [
        (json!({"Name": "tor"}), "Metadata: Type is required"),
        (json!({"Type": "switch"}), "Metadata: Name is required"),
    ] {
        let body = json!({"Action": "create", "Metadata": metadata}).to_string();
        let got = ask(&world, "POST", "/api/noderule", body).await;
        assert_eq!(got.status, 400);
        assert!(got.text.starts_with("Metadata: invalid schema: "), "{}", got.text);
        assert!(got.text.contains(part), "{}", got.text);
    }
    let nothing = format!("{gremlin}: found \"\", expected `G` at column 1");
    let all = format!("Src: {nothing}, Dst: {nothing}, Metadata: RelationType is required");
    ask(&world, "POST", "/api/edgerule", "{}").await.is_error(400, &all);
}

#[tokio::test]
async fn there_is_not_room_for_all() {
    let world = World::new();
    let body = rule("edgerule").to_string();
    for _ in 0..1024 {
        let rule = serde_json::from_str(&body).unwrap();
        world.state.rules.edges.create(rule, None).unwrap();
    }
    ask(&world, "POST", "/api/edgerule", body)
        .await
        .is_error(507, "there are 1024 edgerules already, delete some first");
}

#[tokio::test]
async fn a_rule_shows_in_the_topology() {
    let world = World::new();
    tokio::spawn(world.state.rules.clone().run());
    let tor = json!({"Action": "create", "Metadata": {"Name": "tor", "Type": "fabric"}});
    ask(&world, "POST", "/api/noderule", tor.to_string()).await.json();
    let link = json!({
        "Src": "G.V().Has('Name', 'tor')", "Dst": "G.V().Has('Name', 'eth0')",
        "Metadata": {"RelationType": "layer2"},
    });
    ask(&world, "POST", "/api/edgerule", link.to_string()).await.json();
    let graph = world.state.graph.clone();
    within(|| graph.read().unwrap().edges().next().is_some().then_some(())).await;
    let found = query(&world, "G.V().Has('Name', 'tor').Out().Values('Name')").await;
    assert_eq!(found.json(), json!(["eth0"]));
}

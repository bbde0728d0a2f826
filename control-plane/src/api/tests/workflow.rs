//! `/api/workflow`.

use super::*;
use crate::script::testing::evaluate;

fn workflow(name: &str, source: &str) -> String {
    json!({"UUID": "mine", "Name": name, "Source": source}).to_string()
}

/// Creates a workflow; its UUID.
async fn add(world: &World, name: &str, source: &str) -> String {
    let got = ask(world, "POST", "/api/workflow", workflow(name, source)).await;
    assert_eq!(got.status, 201, "{}", got.text);
    got.json()["UUID"].as_str().unwrap().to_owned()
}

async fn call(world: &World, id: &str, params: Value) -> Got {
    let body = json!({ "Params": params }).to_string();
    ask(world, "POST", &format!("/api/workflow/{id}/call"), body).await
}

#[tokio::test]
async fn four_are_built_in() {
    let world = World::new();
    let list = ask(&world, "GET", "/api/workflow", "").await.json();
    for (name, id) in [
        ("CheckConnectivity", "85757b38-6e21-11e8-b42d-28d2442e1329"),
        ("CheckMTU", "85757b38-6e21-11e8-b42d-28d2442e1325"),
        ("FlowMatrix", "bcc2e200-7a57-11e8-913c-28d2442e1325"),
        ("FlowValidation", "1c79a9d2-6fcb-4e10-7d40-78819b07781c"),
    ] {
        assert_eq!((&list[id]["Name"], &list[id]["UUID"]), (&json!(name), &json!(id)));
        let one = format!("/api/workflow/{id}");
        assert_eq!(ask(&world, "GET", &one, "").await.json(), list[id]);
        let text = format!("Workflow '{id}' not found");
        ask(&world, "DELETE", &one, "").await.is_error(404, &text);
        let got = ask(&world, "PATCH", &one, "[]").await;
        assert_eq!((got.status, got.text.as_str()), (404, ""));
        ask(&world, "POST", "/api/workflow", workflow(name, ""))
            .await
            .is_error(400, &format!("Duplicate workflow, name={name}"));
    }
    assert_eq!(list.as_object().unwrap().len(), 4);
}

#[tokio::test]
async fn the_life_of_a_workflow() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::open(Some(directory.path())).unwrap();
    ask(&world, "POST", "/api/workflow", "{}").await.is_error(400, "Name: zero value");
    let id = add(&world, "double", "function (a) { return 2 * a; }").await;
    assert_eq!(call(&world, &id, json!([4])).await.json(), json!(8));
    ask(&world, "POST", "/api/workflow", workflow("double", ""))
        .await
        .is_error(400, "Duplicate workflow, name=double");

    let one = format!("/api/workflow/{id}");
    let other = add(&world, "other", "not looked at before it is called").await;
    for (name, text) in [
        ("other", "validating patched resource: Duplicate workflow, name=other"),
        ("CheckMTU", "validating patched resource: Duplicate workflow, name=CheckMTU"),
        ("", "validating patched resource: Name: zero value"),
    ] {
        let patch = json!([{"op": "replace", "path": "/Name", "value": name}]).to_string();
        let got = ask(&world, "PATCH", &one, patch).await;
        got.is_error(400, text);
    }
    let patch = r#"[{"op": "replace", "path": "/Source", "value": "(a) => 3 * a"}]"#;
    let patched = ask(&world, "PATCH", &one, patch).await.json();
    assert_eq!((&patched["Source"], &patched["UUID"]), (&json!("(a) => 3 * a"), &json!(id)));
    assert_eq!(call(&world, &id, json!([4])).await.json(), json!(12));

    assert_eq!(ask(&world, "DELETE", &format!("/api/workflow/{other}"), "").await.status, 200);
    drop(world);
    let world = World::open(Some(directory.path())).unwrap();
    assert_eq!(call(&world, &id, json!([5])).await.json(), json!(15));
}

#[tokio::test]
async fn a_call_that_gives_nothing_says_why() {
    let world = World::new();
    let path = "/api/workflow/none/call";
    ask(&world, "POST", path, "{}").await.is_error(400, "No workflow found with ID: none");
    ask(&world, "POST", "/api/workflow/none", "{}").await.is_error(404, "404 page not found");
    let id = add(&world, "w", "function () {\n  throw new Error('why');\n}").await;
    call(&world, &id, json!([])).await.is_error(400, "Error: why at line 2, column 9");
    assert_eq!(call(&world, &id, json!(7)).await.status, 400);
    let got = ask(&world, "POST", &format!("/api/workflow/{id}/call"), "").await;
    assert_eq!(got.status, 400);
    let id = add(&world, "empty", "function () {}").await;
    assert_eq!(call(&world, &id, json!(null)).await.json(), json!(null));
}

#[tokio::test]
async fn a_workflow_reaches_the_api_and_no_workflow() {
    let world = World::new();
    let id = add(
        &world,
        "w",
        "async function (query, fail) {
            const created = await client.captures.create(new Capture({GremlinQuery: query}));
            const shown = await client.captures.get(created.UUID);
            const names = await G.V().Has('Type', 'device').Sort('Name').Values('Name');
            const call = '/api/workflow/x/call';
            const refused = await client.request(call, 'POST', '{}').catch((e) => e.message);
            if (fail) { throw fail; }
            return [shown.GremlinQuery, Gremlin('G.V().Count()'), names, refused];
        }",
    )
    .await;
    let got = call(&world, &id, json!(["G.V('eth0')"])).await.json();
    let expected = json!(["G.V('eth0')", 3, ["eth0", "eth1"], "status 405"]);
    assert_eq!(got, expected);
    assert_eq!(world.state.captures.list().len(), 1);
    // What one that fails created is gone.
    let got = call(&world, &id, json!(["G.V('eth1')", "late"])).await;
    assert_eq!((got.status, got.text.as_str()), (400, "late\n"));
    assert_eq!(world.state.captures.list().len(), 1);
    let wrong = call(&world, &id, json!(["G.V("])).await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.text.starts_with("Error: GremlinQuery: Not a valid Gremlin"), "{}", wrong.text);
}

#[tokio::test]
async fn an_expression_of_an_alert_sees_all_and_changes_nothing() {
    let world = World::new();
    let host = ScriptHost::of_alerts(&world.state).unwrap();
    for (text, expected) in [
        ("Gremlin(\"G.V().Has('Type', 'device')\").length > 1", json!(true)),
        ("G.V().Count().then((n) => n - 3)", json!(0)),
        ("client.captures.list()", json!({})),
        (
            "client.captures.create({GremlinQuery: 'G.V()'}).catch((error) => error.message)",
            json!("scripts of alerts read, and change nothing"),
        ),
    ] {
        let value = evaluate(&world.state.scripts, text, host.clone()).await.unwrap();
        assert_eq!(value, expected, "{text}");
    }
    assert_eq!(world.state.captures.list().len(), 0);
}

#[tokio::test]
async fn a_query_may_begin_with_a_workflow() {
    let world = World::new();
    let node = |id: &str, name: &str| json!({"ID": id, "Metadata": {"Name": name, "Type": "x"}});
    let edge = json!({
        "ID": "e", "Parent": "1", "Child": "2", "Metadata": {"RelationType": "layer2"},
    });
    let graph = json!({"nodes": [node("1", "a"), node("2", "b")], "edges": [edge]});
    let id = add(&world, "made", &format!("() => ({graph})")).await;
    let asks = "(name) => ({nodes: Gremlin(`G.V().Has('Name', '${name}')`)})";
    add(&world, "named", asks).await;
    add(&world, "bad", "() => 7").await;
    add(&world, "deep", "() => ({nodes: Gremlin(\"G.Workflow('made').V()\")})").await;
    for (text, expected) in [
        ("G.Workflow('made').V().Values('Name')", json!(["a", "b"])),
        (&*format!("G.Workflow('{id}').V().Has('Name', 'a').Out().Values('Name')"), json!(["b"])),
        ("G.Workflow('made').E().Count()", json!(1)),
        ("G.Workflow('made').V().Count()", json!(2)),
        ("G.Workflow('named', 'eth0').V().Values('Name')", json!(["eth0"])),
    ] {
        let got = query(&world, text).await;
        assert_eq!(got.status, 200, "{text}: {}", got.text);
        assert_eq!(got.json(), expected, "{text}");
    }
    let got = query(&world, "G.Workflow('made')").await.json();
    assert_eq!((&got[0]["Nodes"][1]["ID"], &got[0]["Edges"][0]["ID"]), (&json!("2"), &json!("e")));
    for (text, error) in [
        ("G.Workflow('none')", "Unknown workflow 'none' at column 3"),
        ("G.V().G.Workflow('made')", "Unknown workflow 'made' at column 9"),
        ("G.Workflow('deep')", "Unknown workflow 'made' at column 3"),
        ("G.Workflow('made', GT(1))", "Workflow parameters have to be strings, numbers"),
        ("G.Workflow('bad')", "the workflow gives no graph, expected {\"nodes\": [...]"),
        ("G.Workflow('CheckMTU')", ""),
    ] {
        let got = query(&world, text).await;
        assert_eq!(got.status, 400, "{text}: {}", got.text);
        assert!(got.text.contains(error), "{text}: {}", got.text);
    }
}

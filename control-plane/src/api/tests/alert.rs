//! `/api/alert`.

use super::*;

#[tokio::test]
async fn the_life_of_an_alert() {
    let world = World::new();
    let body = json!({
        "UUID": "mine", "CreateTime": "2001-01-01T00:00:00Z", "Expression": "G.V()",
        "Name": "n", "Description": "d",
    });
    let got = ask(&world, "POST", "/api/alert", body.to_string()).await;
    assert_eq!(got.status, 201, "{}", got.text);
    let created = got.json();
    let id = created["UUID"].as_str().unwrap().to_owned();
    assert_eq!(uuid::Uuid::try_parse(&id).unwrap().get_version_num(), 4);
    let expected = json!({
        "UUID": id, "Name": "n", "Description": "d", "Expression": "G.V()", "Action": "",
        "Trigger": "", "CreateTime": "2020-09-13T12:26:40Z",
    });
    assert_eq!(created, expected);
    assert_eq!(ask(&world, "GET", "/api/alert", "").await.json(), json!({ &id: created }));

    world.pass(Duration::from_secs(1));
    let one = format!("/api/alert/{id}");
    let patch = json!([
        {"op": "replace", "path": "/Trigger", "value": "duration:5s"},
        {"op": "replace", "path": "/UUID", "value": "mine"},
        {"op": "remove", "path": "/CreateTime"},
        {"op": "remove", "path": "/Name"},
    ]);
    let mut expected = expected;
    expected["Trigger"] = json!("duration:5s");
    expected.as_object_mut().unwrap().remove("Name");
    let got = ask(&world, "PATCH", &one, patch.to_string()).await;
    assert_eq!((got.status, got.json()), (200, expected.clone()));
    let got = ask(&world, "PATCH", &one, "[]").await;
    assert_eq!((got.status, got.json()), (200, expected.clone()), "also when nothing changes");
    assert_eq!(ask(&world, "GET", &one, "").await.json(), expected);

    let bad = json!([{"op": "replace", "path": "/Trigger", "value": "never"}]);
    ask(&world, "PATCH", &one, bad.to_string())
        .await
        .is_error(400, "validating patched resource: Trigger: regular expression mismatch");
    let bad = json!([{"op": "replace", "path": "/Trigger", "value": 5}]);
    let got = ask(&world, "PATCH", &one, bad.to_string()).await;
    assert!(got.text.starts_with("validating patched resource: "), "{}", got.text);
    let bad = json!([{"op": "remove", "path": "/None"}]);
    let got = ask(&world, "PATCH", &one, bad.to_string()).await;
    assert!(got.text.starts_with("applying JSON patch to resource: "), "{}", got.text);
    assert_eq!(ask(&world, "GET", &one, "").await.json(), expected, "as it was");

    assert_eq!(ask(&world, "DELETE", &one, "").await.status, 200);
    ask(&world, "GET", &one, "").await.is_error(404, &format!("Alert '{id}' not found"));
    let got = ask(&world, "PATCH", &one, "[]").await;
    assert_eq!((got.status, got.text.as_str()), (404, ""));
}

#[tokio::test]
async fn an_alert_that_breaks_rules_is_refused() {
    let world = World::new();
    for (member, value, why) in [
        ("Expression", "", "Expression: zero value"),
        ("Trigger", "never", "Trigger: regular expression mismatch"),
        (
            "Trigger",
            "duration:soon",
            "Trigger: invalid duration \"soon\", expected e.g. 500ms, 5s or 1h2m",
        ),
        ("Trigger", "duration:1ms", "Trigger: A valid duration is >= 100ms"),
        ("Action", "file://relative", "Action: Not an absolute path, expected file:///..."),
        (
            "Action",
            "ftp://host/",
            "Action: expected http://..., https://..., file://... or nothing",
        ),
        ("Action", "http://me:pw@host/", "Action: a user in the URL is not supported"),
        ("Action", "http:///path", "Action: Not a valid URL: invalid format"),
    ] {
        let mut body = json!({"Expression": "G.V()"});
        body[member] = json!(value);
        ask(&world, "POST", "/api/alert", body.to_string()).await.is_error(400, why);
    }
    let body = json!({"Trigger": "never"}).to_string();
    ask(&world, "POST", "/api/alert", body)
        .await
        .is_error(400, "Expression: zero value, Trigger: regular expression mismatch");
}

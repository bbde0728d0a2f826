//! The API against its own description: schemathesis makes requests of it, good and bad ones.

use std::fs;

use serde_json::{Value, json};

use crate::support::netns::Netns;
use crate::support::sonde::Sonde;

/// Checks that do not hold of Skydive's API. What keeps to its schema may be refused: no schema knows
/// Gremlin. What does not may be taken: `null` is the default. Paths with a slash at their end lead
/// elsewhere, where more methods are allowed; and the ID of a workflow is all that follows, so what
/// `OPTIONS` tells of one holds for its call too. No authentication is configured here: that nobody
/// gets around it is tested where the router is.
const NOT_HELD: &str = "positive_data_acceptance,negative_data_rejection,unsupported_method,\
    allow_header_conformance,ignored_auth";

/// One of each kind, so that requests find some.
fn resources() -> [(&'static str, Value); 8] {
    let lo = "G.V().Has('Name', 'lo')";
    [
        ("alert", json!({"Expression": "G.V()"})),
        ("capture", json!({"GremlinQuery": lo})),
        ("node", json!({"ID": "tor", "Metadata": {"Name": "tor", "Type": "switch"}})),
        ("node", json!({"ID": "spine", "Metadata": {"Name": "spine", "Type": "switch"}})),
        ("workflow", json!({"Name": "seven", "Source": "() => 7"})),
        ("noderule", json!({"Action": "update", "Query": lo, "Metadata": {"Zone": "a"}})),
        ("edgerule", json!({"Src": lo, "Dst": lo, "Metadata": {"RelationType": "layer2"}})),
        (
            "edge",
            json!({
                "ID": "uplink", "Parent": "tor", "Child": "spine",
                "Metadata": {"RelationType": "layer2"},
            }),
        ),
    ]
}

#[test]
fn answers_are_those_that_are_described() {
    let schemathesis = concat!(env!("CARGO_MANIFEST_DIR"), "/target/python/bin/schemathesis");
    let netns = Netns::new();
    netns.within(|| {
        let directory = tempfile::tempdir().unwrap();
        let sonde = Sonde::start("", directory.path(), Some(&netns));
        let operations = resources().map(|(kind, resource)| {
            let (status, body) = sonde.post(kind, resource.to_string());
            assert_eq!(status, 201, "{kind}: {body}");
            let created: Value = serde_json::from_str(&body).unwrap();
            let id = created["UUID"].as_str().or(created["ID"].as_str()).unwrap().to_owned();
            format!(
                "[[operations]]\ninclude-path = '/api/{kind}/{{id}}'\n\
                 include-method = ['GET', 'PATCH']\nparameters = {{ id = '{id}' }}\n"
            )
        });
        fs::write(directory.path().join("schemathesis.toml"), operations.concat()).unwrap();
        let output = netns
            .command("timeout")
            .args(["300", schemathesis, "--no-color", "run", "--checks", "all"])
            .args(["--exclude-checks", NOT_HELD, "--suppress-health-check", "all"])
            .args(["--max-examples", "15", "--seed", "1", "--generation-database", "none"])
            .args(["--no-shrink", "--warnings", "off"])
            .arg(format!("http://{}/swagger/openapi.json", sonde.address))
            .current_dir(directory.path())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "use scripts/test; {told}{errors}");
        sonde.stop();
    });
}

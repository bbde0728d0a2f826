//! The API against its own description: schemathesis makes requests of it, good and bad ones.

use crate::support::netns::Netns;
use crate::support::sonde::Sonde;

/// What holds of every answer: no 5xx, and a status, a kind, headers and a body that are described.
/// What is created is there, and what is deleted is not. Left out is what Skydive's API does not
/// keep: that all that breaks a schema is refused (members that are not known are ignored, `null` is
/// the default), that all that keeps to it is taken (a schema knows no Gremlin), and `Allow` headers.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,unsupported_method,use_after_free,\
    ensure_resource_availability";

#[test]
fn answers_are_those_that_are_described() {
    let schemathesis = concat!(env!("CARGO_MANIFEST_DIR"), "/target/python/bin/schemathesis");
    let netns = Netns::new();
    netns.within(|| {
        let directory = tempfile::tempdir().unwrap();
        let sonde = Sonde::start("", directory.path(), Some(&netns));
        let output = netns
            .command("timeout")
            .args(["300", schemathesis, "--no-color", "run", "--checks", CHECKS])
            .args(["--max-examples", "10", "--seed", "1", "--generation-database", "none"])
            .args(["--suppress-health-check", "all", "--no-shrink", "--warnings", "off"])
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

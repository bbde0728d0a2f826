//! Skydive's Python client, as it is, against the real binary.

use crate::support::netns::Netns;
use crate::support::sonde::Sonde;

/// Runs every method of the client.
fn every_method(auth: &str, arguments: &[&str]) {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/target/python/bin/python");
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/control-plane/daemon/tests/client.py");
    let netns = Netns::new();
    netns.within(|| {
        let directory = tempfile::tempdir().unwrap();
        let config = format!("{auth}\n[flow]\nupdate = 1\nbulk_delay = 1\n");
        let sonde = Sonde::start(&config, directory.path(), Some(&netns));
        let output = netns
            .command("timeout")
            .args(["120", python, program, &sonde.address.to_string()])
            .args(arguments)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "use scripts/test; {errors}");
        sonde.stop();
    });
}

#[test]
fn every_method_works_without_users() {
    every_method("", &[]);
}

#[test]
fn every_method_works_with_users() {
    every_method("[auth]\nbackend = 'basic'\nusers = { ann = 'secret' }", &["ann", "secret"]);
}

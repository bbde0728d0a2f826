//! Bad input and restarts, as a user meets them.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::netns::Netns;
use crate::support::sonde::{SONDE, Sonde, run};

#[test]
fn bad_requests_say_where_and_what_was_expected_and_the_daemon_goes_on() {
    let netns = Netns::new();
    netns.within(|| {
        let directory = tempfile::tempdir().unwrap();
        let sonde = Sonde::start("", directory.path(), Some(&netns));
        let query = |text: &str| json!({ "GremlinQuery": text }).to_string();
        let capture = |query: &str, filter: &str, kind: &str| {
            json!({ "GremlinQuery": query, "BPFFilter": filter, "Type": kind }).to_string()
        };
        for (resource, body, expected) in [
            ("topology", query("V()"), "expected `G`"),
            ("topology", query("G.V("), "right parenthesis"),
            ("topology", query("G.V().Nonsense()"), "Nonsense"),
            ("topology", query("G.V().Limit('x')"), "Limit"),
            ("topology", "{\"GremlinQuery\":".into(), "line 1 column"),
            ("topology", "[]".into(), "line 1 column"),
            ("capture", capture("G.V(", "", ""), "Not a valid Gremlin expression"),
            ("capture", capture("G.V()", "tcp prt 80", ""), "Not a valid BPF expression"),
            ("capture", capture("G.V()", "", "carrier-pigeon"), "Not a valid capture type"),
            ("capture", "nonsense".into(), "line 1 column"),
        ] {
            let (status, text) = sonde.post(resource, &body);
            assert_eq!(status, 400, "{body}: {text}");
            assert!(text.contains(expected), "{body}: expected '{expected}' in '{text}'");
        }
        assert_eq!(sonde.query("G.V().Has('Type', 'host').Count()"), 1);
        sonde.stop();
    });
}

#[test]
fn commands_reach_the_daemon() {
    let netns = Netns::new();
    netns.within(|| {
        let directory = tempfile::tempdir().unwrap();
        let sonde = Sonde::start("", directory.path(), Some(&netns));
        let address = sonde.address.to_string();
        let ask = |arguments: &[&str]| {
            let output = run(&[arguments, &["--analyzer", &address]].concat());
            let out = String::from_utf8(output.stdout).unwrap();
            (output.status.code(), serde_json::from_str::<Value>(&out).unwrap_or_default())
        };
        let (code, hosts) = ask(&["query", "G.V().Has('Type','host').Values('Name')"]);
        assert_eq!((code, hosts.as_array().unwrap().len()), (Some(0), 1));
        assert_eq!(ask(&["query", "G.V(."]).0, Some(2));

        let create = run(&[
            "capture",
            "--analyzer",
            &address,
            "create",
            "--gremlin",
            "G.V().Has('Name','lo')",
            "--bpf",
            "icmp",
            "--name",
            "pings",
        ]);
        assert!(create.status.success());
        let created: Value = serde_json::from_slice(&create.stdout).unwrap();
        let uuid = created["UUID"].as_str().unwrap();
        let list = run(&["capture", "--analyzer", &address, "list"]);
        let list: Value = serde_json::from_slice(&list.stdout).unwrap();
        assert_eq!(list[uuid]["BPFFilter"], "icmp");
        assert!(run(&["capture", "--analyzer", &address, "delete", uuid]).status.success());
        assert_eq!(
            run(&["capture", "--analyzer", &address, "delete", uuid]).status.code(),
            Some(1)
        );
        sonde.stop();
    });
}

#[test]
fn captures_survive_a_kill() {
    let netns = Netns::new();
    netns.within(|| {
        let directory = tempfile::tempdir().unwrap();
        let config = format!("state_dir = '{}'\n", directory.path().join("state").display());
        let sonde = Sonde::start(&config, directory.path(), Some(&netns));
        let kept = sonde.capture(json!({ "GremlinQuery": "G.V().Has('Name', 'lo')" }));
        let deleted = sonde.capture(json!({ "GremlinQuery": "G.V().Has('Name', 'eth7')" }));
        assert_eq!(sonde.delete(&format!("capture/{deleted}")), 200);
        sonde.kill();

        let mut sonde = Sonde::start(&config, directory.path(), Some(&netns));
        let (_, captures) = sonde.get("capture");
        assert_eq!(captures.as_object().unwrap().keys().collect::<Vec<_>>(), [&kept]);
        sonde.wait("the capture is active again", |sonde| {
            sonde.query(&format!("G.V().Has('Captures.ID', '{kept}').Count()")) == 1
        });
        sonde.stop();
    });
}

#[test]
fn bad_configuration_is_refused_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sonde.toml");
    std::fs::write(&file, "listen = '127.0.0.1:0'\n[flow]\nexpier = 3\n").unwrap();
    for command in [&["run"][..], &["config", "check"], &["config", "show"]] {
        let output = Command::new(SONDE).args(command).arg("--config").arg(&file).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{command:?}");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains("line 3") && errors.contains("expier"), "{errors}");
    }
}

#[test]
fn a_check_refuses_what_a_start_refuses() {
    let netns = Netns::new();
    netns.within(|| {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("sonde.toml");
        let basic = "[auth]\nbackend = 'basic'\n";
        for (text, part) in [
            (format!("{basic}file = '/nope'"), "cannot read the users in /nope: No such file"),
            (format!("{basic}users = {{ ann = '$2y$bogus' }}"), "auth.users: user 'ann': expected"),
            (format!("{basic}users = {{ 'a:b' = 'c' }}"), "auth.users: expected a user name"),
            (
                "[tls]\nserver_cert = '/nope'\nserver_key = '/nope2'".to_owned(),
                "cannot take certificates from /nope: ",
            ),
            ("[startup_capture]\ngremlin = 'G.X('".to_owned(), "startup_capture: GremlinQuery: "),
            (
                "[startup_capture]\ngremlin = 'G.V()'\nbpf = 'a b'".to_owned(),
                "startup_capture: BPFFilter: ",
            ),
            (
                "[startup_capture]\ngremlin = 'G.V()'\ntype = 'sflow'".to_owned(),
                "startup_capture: Type: ",
            ),
        ] {
            std::fs::write(&file, format!("listen = '127.0.0.1:0'\n{text}\n")).unwrap();
            let said = [(&["config", "check"][..], 2), (&["run"], 1)].map(|(command, code)| {
                let output = Command::new(SONDE).args(command).arg("--config").arg(&file).output();
                let output = output.unwrap();
                assert_eq!((output.status.code(), output.stdout.len()), (Some(code), 0), "{text}");
                let errors = String::from_utf8(output.stderr).unwrap();
                errors.lines().last().unwrap_or_default().to_owned()
            });
            let [check, run] = said;
            assert_eq!(check.matches(part).count(), 1, "{text}: {check}");
            assert!(run.ends_with(check.trim_start_matches("sonde: ")), "{check}\n{run}");
        }
        std::fs::write(&file, "state_dir = '/proc/nope'\n").unwrap();
        let output = Command::new(SONDE).arg("run").arg("--config").arg(&file).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        let errors = errors.lines().last().unwrap_or_default();
        assert_eq!(errors.matches("state file /proc/nope").count(), 1, "{errors}");
        assert_eq!(errors.matches("No such file").count(), 1, "{errors}");
    });
}

#[test]
fn configuration_is_checked_and_shown_with_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("skydive.yml");
    std::fs::write(&file, "flow:\n  update: 3\n  expire: 4\nlogging:\n  encoder: json\n").unwrap();
    let ask = |action: &str, variable: &str| {
        let mut command = Command::new(SONDE);
        command.args(["config", action, "--config"]).arg(&file).env(variable, "7");
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, out, errors) = ask("check", "SONDE_FLOW_UPDATE");
    assert_eq!((code, out.as_str()), (Some(0), "ok\n"));
    assert!(errors.contains("warning: logging.encoder: "), "{errors}");
    let (code, out, _) = ask("show", "SONDE_FLOW_UPDATE");
    assert_eq!(code, Some(0));
    assert!(out.contains("\nupdate = 7\n") && out.contains("\nexpire = 4\n"), "{out}");
    let (code, out, errors) = ask("check", "SONDE_FLOW_UPDAET");
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(errors.contains("did you mean `SONDE_FLOW_UPDATE`?"), "{errors}");
}

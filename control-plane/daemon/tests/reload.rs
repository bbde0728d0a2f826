//! SIGHUP: the configuration is read again, all of it or nothing.

use std::fs;

use serde_json::json;

use crate::support::netns::Netns;
use crate::support::sonde::Sonde;

/// Two steps.
const QUERY: &str = r#"{"GremlinQuery": "G.V().Count()"}"#;

#[test]
fn what_changes_holds_at_once_and_the_rest_is_named() {
    let netns = Netns::new();
    netns.within(|| {
        let directory = tempfile::tempdir().unwrap();
        let mut sonde = Sonde::start("[ui]\na = 1\n", directory.path(), Some(&netns));
        assert_eq!(sonde.get("config/ui.a"), (200, json!(1)));
        assert_eq!(sonde.post("topology", QUERY).0, 200);
        assert_eq!(sonde.post("capture", "{}").0, 400);
        let program = r#"{"Expression": "G.V().HasKey('None')", "Action": "file:///bin/true"}"#;
        assert_eq!(sonde.post("alert", program).0, 400);

        sonde.reconfigure(
            "host_id = 'other'\nstate_dir = '/nowhere'\n\
             [ui]\na = 2\n\
             [query]\nmax_steps = 1\n\
             [rbac]\npolicy = ['p, admin, capture, write, deny']\n\
             [alert]\nscripts = true\n[workflow]\ntimeout = 7\n\
             [flow]\nupdate = 7\napplication_ports.tcp = { 81 = 'HTTP' }\n\
             [log]\nmodules = { 'sonde_control_plane::api' = 'debug' }\n",
        );
        sonde.wait("it is read again", |sonde| sonde.get("config/ui.a").1 == json!(2));
        let (status, told) = sonde.post("topology", QUERY);
        assert_eq!((status, told.contains("more than 1 steps")), (400, true), "{told}");
        assert_eq!(sonde.post("capture", "{}").0, 405);
        assert_eq!(sonde.post("alert", program).0, 201);
        // What holds is what is shown.
        assert_eq!(sonde.get("config/flow.update"), (200, json!(60)));
        assert_eq!(sonde.get("config/flow.application_ports.tcp.81"), (200, json!("HTTP")));
        assert_ne!(sonde.get("config/host_id"), (200, json!("other")));
        sonde.wait("requests are logged", |sonde| sonde.log().contains("\"answered\""));
        let log = sonde.log();
        let stuck = "\"keys\":\"flow.update, host_id, state_dir\"";
        assert!(log.lines().any(|line| line.contains("\"WARN\"") && line.contains(stuck)), "{log}");
        let changed = "\"changed\":\"alert.scripts, flow.application_ports.tcp, \
            flow.application_ports.tcp.81, log.modules, log.modules.sonde_control_plane::api, \
            query.max_steps, rbac.policy, ui.a, workflow.timeout\"";
        assert!(log.contains(changed), "{log}");
        sonde.stop();
    });
}

#[test]
fn what_is_broken_changes_nothing() {
    let netns = Netns::new();
    netns.within(|| {
        let directory = tempfile::tempdir().unwrap();
        let users = directory.path().join("users");
        fs::write(&users, "ann:hunter2\n").unwrap();
        let file = users.display();
        let mut sonde = Sonde::start("[ui]\na = 1\n", directory.path(), Some(&netns));
        let good = "[ui]\na = 2\n[rbac]\npolicy = ['p, admin, config, read, deny']\n";
        for (broken, told) in [
            (format!("{good}[query]\nmax_setps = 7\n"), "line 6, column 1"),
            (format!("{good}[query]\nmax_steps = 0\n"), "query.max_steps: expected at least 1"),
            (format!("{good}[log]\nlevel = 'inof'\n"), "did you mean `info`?"),
            (format!("{good}[http]\nallowed_hosts = ['a:1']\n"), "http.allowed_hosts: expected"),
            (format!("{good}[auth]\nbackend = 'basic'\nfile = '{file}'\n"), "line 1: user 'ann'"),
            (format!("{good}[auth]\nbackend = 'basic'\nfile = '/nowhere'\n"), "in /nowhere"),
            (good.replace("deny", "dney"), "rbac.policy[0]: expected"),
        ] {
            let before = sonde.log().len();
            sonde.reconfigure(&broken);
            sonde.wait(told, |sonde| {
                let log = sonde.log();
                let log = log.get(before..).unwrap_or_default();
                log.contains("all stays as it was") && log.contains(told)
            });
            assert_eq!(sonde.get("config/ui.a"), (200, json!(1)), "{broken}");
        }
        assert!(!sonde.log().contains("hunter2"));
        sonde.reconfigure(good);
        sonde.wait("what is right holds", |sonde| sonde.get("config/ui.a").0 == 405);
        sonde.stop();
    });
}

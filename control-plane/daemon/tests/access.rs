//! Users, as the configuration names them and commands show who asks.

use std::fs;
use std::process::{Command, Output, Stdio};

use crate::support::netns::Netns;
use crate::support::sonde::{SONDE, Sonde, run};

/// The password of all is `secret`.
const USERS: &str = "ann:$2a$04$NNCQgZ3qbbEGVZpepKGLquSp.Zl6bV11IraeD34PPgsJaG83XTPd6
bob:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=
";

fn ask(sonde: &Sonde, user: &str, arguments: &[&str]) -> Output {
    Command::new(SONDE)
        .args(arguments)
        .envs([("SKYDIVE_USERNAME", user), ("SKYDIVE_PASSWORD", "secret")])
        .env("SKYDIVE_ANALYZER", sonde.address.to_string())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn users_may_what_their_role_says() {
    let netns = Netns::new();
    netns.within(|| {
        let directory = tempfile::tempdir().unwrap();
        let users = directory.path().join("users");
        fs::write(&users, USERS).unwrap();
        let config = format!(
            "[auth]\nbackend = 'basic'\nfile = '{}'\n[rbac]\npolicy = ['g, bob, guest']\n",
            users.display()
        );
        let mut sonde = Sonde::start(&config, directory.path(), Some(&netns));
        let address = sonde.address.to_string();
        let query = ["query", "G.V().Count()"];
        let create = ["capture", "create", "--gremlin", "G.V().Has('Name', 'lo')"];
        let watch = ["flows", "watch", "--count", "0"];

        let nobody = run(&[&query[..], &["--analyzer", &address]].concat());
        let told = String::from_utf8(nobody.stderr).unwrap();
        assert_eq!((nobody.status.code(), told.contains("401 Unauthorized")), (Some(1), true));
        for (user, arguments, passes) in [
            ("ann", &query[..], true),
            ("ann", &create[..], true),
            ("ann", &watch[..], true),
            ("bob", &query[..], true),
            ("bob", &create[..], false),
            ("bob", &watch[..], false),
            ("cid", &query[..], false),
        ] {
            let output = ask(&sonde, user, arguments);
            assert_eq!(output.status.success(), passes, "{user} {arguments:?}: {output:?}");
        }

        fs::write(&users, USERS.replace("ann:", "cid:")).unwrap();
        sonde.hang_up();
        sonde.wait("the users are read again", |sonde| ask(sonde, "cid", &query).status.success());
        assert!(!ask(&sonde, "ann", &query).status.success());
        sonde.stop();
    });
}

//! Commands at a daemon that speaks TLS.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::authority::Authority;
use crate::support::netns::Netns;
use crate::support::sonde::{SONDE, Sonde};

/// A daemon that speaks TLS, in a namespace of its own, with what its authority issued.
struct Encrypted {
    sonde: Sonde,
    directory: tempfile::TempDir,
}

impl Encrypted {
    fn start(more: &str, netns: &Netns) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("ca.pem"), authority.pem()).unwrap();
        fs::write(path("other-ca.pem"), Authority::new().pem()).unwrap();
        for (name, (cert, key)) in [("server", authority.server()), ("client", authority.client())]
        {
            fs::write(path(&format!("{name}.pem")), cert.pem()).unwrap();
            fs::write(path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        let config = format!(
            "[flow]\nupdate = 1\nbulk_delay = 1\n[tls]\nserver_cert = '{}'\nserver_key = '{}'\n\
             ca_cert = '{}'\n{more}\n",
            path("server.pem").display(),
            path("server.key").display(),
            path("ca.pem").display(),
        );
        let sonde = Sonde::start_encrypted(&config, directory.path(), netns);
        Self { sonde, directory }
    }

    /// Runs a command, by the name that the daemon's certificate is of. Files are named as they
    /// are in our directory.
    fn ask(&self, arguments: &[&str]) -> Output {
        self.ask_with(&[], arguments)
    }

    fn ask_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
        let analyzer = format!("https://localhost:{}", self.sonde.address.port());
        let variables = [&[("SKYDIVE_ANALYZER", &*analyzer)], variables].concat();
        run(self.directory.path(), &variables, arguments)
    }
}

/// Runs a command in a directory, for 30 seconds at most.
fn run(directory: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    Command::new("timeout")
        .args(["30", SONDE])
        .args(arguments)
        .current_dir(directory)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Exit code, and what is on stderr.
fn refused(output: Output) -> (Option<i32>, String) {
    assert!(output.stdout.is_empty(), "{output:?}");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

const QUERY: [&str; 2] = ["query", "G.V().Has('Type','host').Count()"];
const WATCH: [&str; 4] = ["flows", "watch", "--count", "0"];

#[test]
fn every_command_speaks_tls() {
    let netns = Netns::new();
    netns.within(|| {
        let daemon = Encrypted::start("", &netns);
        let ask = |arguments: &[&str]| {
            let output = daemon.ask(&[arguments, &["--ca", "ca.pem"]].concat());
            assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(ask(&QUERY), "1\n");
        let created = ask(&["capture", "create", "--gremlin", "G.V().Has('Name', 'lo')"]);
        let created: Value = serde_json::from_str(&created).unwrap();
        let uuid = created["UUID"].as_str().unwrap();
        assert!(ask(&["capture", "list"]).contains(uuid));
        // What is asked goes through the interface that is captured.
        for encoding in ["json", "protobuf"] {
            let watched = ask(&["flows", "watch", "--count", "1", "--encoding", encoding]);
            let flow: Value = serde_json::from_str(&watched).unwrap();
            assert_eq!(flow["CaptureID"], uuid, "{flow}");
        }
        assert_eq!(ask(&["capture", "delete", uuid]), "");
        daemon.sonde.stop();
    });
}

#[test]
fn a_daemon_that_is_not_known_is_refused() {
    let netns = Netns::new();
    netns.within(|| {
        let daemon = Encrypted::start("", &netns);
        let address = format!("https://{}", daemon.sonde.address);
        for command in [&QUERY[..], &WATCH] {
            for (variables, arguments, why) in [
                (
                    &[][..],
                    &["--ca", "other-ca.pem"][..],
                    Some(["other-ca.pem", "invalid peer certificate"]),
                ),
                (&[("SKYDIVE_TLS_CA_CERT", "ca.pem")], &[], None),
                // Those that this host trusts.
                (&[("SSL_CERT_FILE", "ca.pem")], &[], None),
                (
                    &[("SSL_CERT_FILE", "other-ca.pem")],
                    &[],
                    Some(["trusting what this host does", "invalid peer certificate"]),
                ),
                (
                    &[],
                    &["--ca", "ca.pem", "--analyzer", &address],
                    Some(["not valid for name", "localhost"]),
                ),
            ] {
                let output = daemon.ask_with(variables, &[command, arguments].concat());
                let case = format!("{command:?} {variables:?} {arguments:?}");
                match why {
                    None => assert!(output.status.success(), "{case}: {output:?}"),
                    Some(parts) => {
                        let (code, told) = refused(output);
                        assert_eq!(code, Some(1), "{case}: {told}");
                        assert!(parts.iter().all(|part| told.contains(part)), "{case}: {told}");
                    }
                }
            }
        }
        daemon.sonde.stop();
    });
}

#[test]
fn commands_show_a_certificate() {
    let netns = Netns::new();
    netns.within(|| {
        let daemon = Encrypted::start("require_client_cert = true", &netns);
        for command in [&QUERY[..], &WATCH] {
            let ask = |arguments: &[&str]| {
                daemon.ask(&[command, &["--ca", "ca.pem"], arguments].concat())
            };
            let (code, told) = refused(ask(&[]));
            assert_eq!(code, Some(1), "{told}");
            assert!(told.contains("CertificateRequired"), "{told}");
            let shown = ask(&["--cert", "client.pem", "--key", "client.key"]);
            assert!(shown.status.success(), "{shown:?}");
            let variables = [
                ("SKYDIVE_TLS_CA_CERT", "ca.pem"),
                ("SKYDIVE_TLS_CLIENT_CERT", "client.pem"),
                ("SKYDIVE_TLS_CLIENT_KEY", "client.key"),
            ];
            let shown = daemon.ask_with(&variables, command);
            assert!(shown.status.success(), "{shown:?}");
        }
        daemon.sonde.stop();
    });
}

#[test]
fn what_cannot_be_tls_is_refused_before_anybody_is_asked() {
    let netns = Netns::new();
    netns.within(|| {
        let daemon = Encrypted::start("", &netns);
        let path = |name: &str| daemon.directory.path().join(name);
        fs::write(path("empty.pem"), "").unwrap();
        for (arguments, parts) in [
            (&["--ca", "none.pem"][..], &["certificates from none.pem", "No such file"][..]),
            (&["--ca", "empty.pem"], &["certificates from empty.pem", "no items found"]),
            (&["--ca", "client.key"], &["certificates from client.key", "no items found"]),
            (&["--cert", "client.pem"], &["--key: expected a file with --cert"]),
            (&["--key", "client.key"], &["--cert: expected a file with --key"]),
            (
                &["--ca", "ca.pem", "--cert", "client.pem", "--key", "client.pem"],
                &["a private key from client.pem", "no items found"],
            ),
            (
                &["--ca", "ca.pem", "--cert", "client.pem", "--key", "server.key"],
                &["client.pem", "server.key", "not be consistent"],
            ),
            (
                &["--ca", "ca.pem", "--analyzer", "localhost:1"],
                &["--analyzer: expected https:// with --ca or --cert, found http://localhost:1"],
            ),
            (
                &["--analyzer", "wss://localhost:1"],
                &["--analyzer", "wss://localhost:1", "expected HOST:PORT, http://HOST:PORT or"],
            ),
        ] {
            for command in [&QUERY[..], &["capture", "list"], &WATCH] {
                let (code, told) = refused(daemon.ask(&[command, arguments].concat()));
                assert_eq!(code, Some(2), "{command:?} {arguments:?}: {told}");
                assert!(parts.iter().all(|part| told.contains(part)), "{arguments:?}: {told}");
            }
        }
        daemon.sonde.stop();
    });
}

/// Nobody is there; the network of the namespace ends at its loopback.
#[test]
fn a_password_that_others_could_read_is_warned_of() {
    let netns = Netns::new();
    netns.within(|| {
        let directory = tempfile::tempdir().unwrap();
        let user = [("SKYDIVE_USERNAME", "ann"), ("SKYDIVE_PASSWORD", "hunter2")];
        for (analyzer, variables, warns) in [
            ("192.0.2.1:1", &user[..], true),
            ("http://192.0.2.1:1", &user, true),
            ("https://192.0.2.1:1", &user, false),
            ("127.0.0.1:1", &user, false),
            ("[::1]:1", &user, false),
            ("localhost:1", &user, false),
            ("192.0.2.1:1", &[], false),
        ] {
            for command in [&QUERY[..], &WATCH] {
                let arguments = [command, &["--analyzer", analyzer]].concat();
                let (code, told) = refused(run(directory.path(), variables, &arguments));
                assert_eq!(code, Some(1), "{analyzer}: {told}");
                assert!(told.contains("cannot reach the daemon at http"), "{analyzer}: {told}");
                assert_eq!(told.contains("warning: "), warns, "{analyzer}: {told}");
                assert!(!told.contains("hunter2"), "{told}");
            }
        }
    });
}

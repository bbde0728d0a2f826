//! What the daemon logs: lines of JSON with the IDs of requests, and no secret.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::netns::Netns;
use crate::support::sonde::{SONDE, Sonde};

/// Part of each secret, and of nothing else.
const CANARY: &str = "hunter2";

/// A bcrypt hash of [`CANARY`].
const HASH: &str = "$2b$04$1wQtKQcYxTYsE7lYft5rjeTj1iahP9F/I2EWSOrDTTOMCfroVusA2";

/// Headers that ask for a WebSocket.
const UPGRADE: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

/// Sends a request as it stands and gives the answer.
fn send(sonde: &Sonde, request: &str) -> String {
    let mut stream = TcpStream::connect(sonde.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    // A WebSocket stays open.
    while !answer.starts_with(b"HTTP/1.1 101 ") {
        match stream.read(&mut part) {
            Ok(0) | Err(_) => break,
            Ok(length) => answer.extend_from_slice(&part[..length]),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request for `path` with these headers, and a form as its body.
fn request(method: &str, path: &str, headers: &[&str], form: &str) -> String {
    let close = if headers.contains(&UPGRADE[0]) { &[][..] } else { &["Connection: close"] };
    let headers = headers.iter().chain(close).map(|header| format!("{header}\r\n"));
    let headers: String = headers.collect();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    )
}

fn token(user: &str, password: &str) -> String {
    STANDARD.encode(format!("{user}:{password}"))
}

fn lines(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn lines_are_json_and_name_their_request() {
    let netns = Netns::new();
    netns.within(|| {
        let directory = tempfile::tempdir().unwrap();
        let config = "[auth]\nbackend = 'basic'\nusers = { ann = 'secret' }\n\
            [log]\nlevel = 'warn'\nmodules = { 'sonde_control_plane::api' = 'debug' }\n";
        let mut sonde = Sonde::start(config, directory.path(), Some(&netns));
        let header = format!("Authorization: Basic {}", token("ann", "wrong"));
        let asked = request("GET", "/api/status?a=b", &[&header, "X-Request-Id: mine-1"], "");
        let answer = send(&sonde, &asked);
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert!(answer.contains("\r\nx-request-id: mine-1\r\n"), "{answer}");
        let answered = |line: &Value| {
            line["fields"]["message"] == "answered" && line["span"]["id"] == "mine-1"
        };
        sonde.wait("the request is logged", |sonde| lines(&sonde.log()).iter().any(answered));
        let log = lines(&sonde.log());
        let line = log.iter().find(|line| answered(line)).unwrap();
        assert_eq!((&line["level"], &line["fields"]["status"]), (&json!("DEBUG"), &json!(401)));
        assert_eq!(
            (&line["span"]["method"], &line["span"]["path"]),
            (&json!("GET"), &json!("/api/status"))
        );
        let refused = log.iter().find(|line| line["fields"]["message"] == "wrong credentials");
        let refused = refused.unwrap();
        assert_eq!((&refused["span"]["id"], &refused["level"]), (&json!("mine-1"), &json!("WARN")));
        let ready = log.iter().any(|line| line["fields"]["message"] == "ready");
        assert!(!ready, "info is logged by no other module");
        sonde.stop();
    });
}

#[test]
fn a_line_tells_what_is_behind_an_error() {
    let netns = Netns::new();
    netns.within(|| {
        let directory = tempfile::tempdir().unwrap();
        let users = directory.path().join("users");
        fs::write(&users, format!("ann:{HASH}\n")).unwrap();
        let config = format!("[auth]\nbackend = 'basic'\nfile = '{}'\n", users.display());
        let mut sonde = Sonde::start(&config, directory.path(), Some(&netns));
        fs::write(&users, "ann\n").unwrap();
        let refused =
            |line: &Value| line["fields"]["message"] == "a file that changed is not taken";
        sonde.wait("the users are refused", |sonde| lines(&sonde.log()).iter().any(refused));
        let log = lines(&sonde.log());
        let line = log.iter().find(|line| refused(line)).unwrap();
        let expected =
            format!("the users in {}, line 1: expected <user>:<password hash>", users.display());
        assert_eq!(line["fields"]["error"], json!(expected));
        sonde.stop();
    });
}

/// All that carries secrets is done, at the level that says most.
#[test]
fn no_line_has_a_secret() {
    let netns = Netns::new();
    netns.within(|| {
        let directory = tempfile::tempdir().unwrap();
        let users = directory.path().join("users");
        fs::write(&users, format!("ann:{HASH}\n")).unwrap();
        let config = format!(
            "[auth]\nbackend = 'basic'\nfile = '{}'\nusers = {{ bob = '{CANARY}' }}\n\
             [ui]\npassword = '{CANARY}'\n",
            users.display()
        );
        let variables = [
            ("RUST_LOG", "trace"),
            ("SKYDIVE_PASSWORD", CANARY),
            ("AWS_SECRET_ACCESS_KEY", CANARY),
            ("SONDE_UI", "{ token = 'hunter2' }"),
        ];
        let mut sonde = Sonde::start_with(&variables, &config, directory.path(), &netns);
        for password in [CANARY, "hunter2wrong"] {
            let form = format!("username=ann&password={password}");
            let token = token("ann", password);
            let by_query = format!("/api/status?x-auth-token={token}");
            let by_url = format!("http://ann:{password}@localhost/api/status?password={password}");
            let socket = format!("/ws/subscriber?x-client-type=a&x-auth-token={token}");
            let status = if password == CANARY { "200" } else { "401" };
            for (method, path, headers, form) in [
                ("POST", "/login", vec![], &*form),
                ("POST", &*format!("/login?{form}"), vec![], ""),
                ("GET", "/api/status", vec![format!("Authorization: Basic {token}")], ""),
                ("GET", "/api/status", vec![format!("X-Auth-Token: {token}")], ""),
                ("GET", "/api/status", vec![format!("Cookie: authtoken={token}")], ""),
                ("GET", &by_query, vec![], ""),
                ("GET", &by_url, vec![format!("X-Auth-Token: {token}")], ""),
            ] {
                let headers: Vec<_> = headers.iter().map(String::as_str).collect();
                let answer = send(&sonde, &request(method, path, &headers, form));
                assert_eq!(answer.split(' ').nth(1), Some(status), "{method} {path}: {answer}");
            }
            let broken = format!("GET /api/status HTTP/1.1\r\nAuthorization: {token}\u{1}\r\n\r\n");
            send(&sonde, &broken);
            let answer = send(&sonde, &request("GET", &socket, &UPGRADE, ""));
            let status = if password == CANARY { "101" } else { "401" };
            assert_eq!(answer.split(' ').nth(1), Some(status), "{answer}");
            send(&sonde, &request("GET", "/nothing", &[&format!("X-Auth-Token: {token}")], &form));
        }
        let auth = format!("X-Auth-Token: {}", token("bob", CANARY));
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for address in [closed, sonde.address] {
            let alert = json!({
                "Expression": "G.V()", "Action": format!("http://{address}/?token={CANARY}"),
            });
            let answer = send(&sonde, &request("POST", "/api/alert", &[&auth], &alert.to_string()));
            assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
        }
        let user = json!({ "Expression": "G.V()", "Action": format!("http://a:{CANARY}@b/") });
        send(&sonde, &request("POST", "/api/alert", &[&auth], &user.to_string()));
        sonde.wait("alerts are not delivered", |sonde| {
            sonde.log().matches("an alert was not delivered").count() >= 2
        });
        for broken in [format!("cid:{CANARY}\n"), format!("{CANARY}\n"), format!(":{HASH}\n")] {
            let told = sonde.log().len();
            fs::write(&users, &broken).unwrap();
            sonde.hang_up();
            sonde.wait("the users are refused", |sonde| {
                sonde.log().get(told..).is_some_and(|log| log.contains("the users in"))
            });
        }
        let log = sonde.log();
        assert!(log.contains("wrong credentials") && log.contains("\"TRACE\""), "{log}");
        let tokens = ["ann", "bob"].map(|user| token(user, CANARY));
        for secret in [CANARY, HASH, HASH.rsplit('$').next().unwrap(), &tokens[0], &tokens[1]] {
            let shown = log.lines().find(|line| line.contains(secret.trim_end_matches('=')));
            assert_eq!(shown, None, "{secret}");
        }
        sonde.stop();
    });
}

/// What is broken is named by its place.
#[test]
fn no_start_that_fails_shows_a_secret() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let key = file("key.pem", "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n");
    let users = file("users", "ann:hunter2\n");
    for config in [
        format!("[tls]\nserver_cert = '{key}'\nserver_key = '{key}'\n"),
        format!("[auth]\nbackend = 'basic'\nfile = '{users}'\n"),
        "[auth]\nbackend = 'basic'\nusers = { 'a:b' = 'hunter2' }\n".to_owned(),
        "[auth]\nbackend = 'basic'\nusers = { ann = 'hunter2\n".to_owned(),
    ] {
        let told = start(&file("sonde.toml", &config), &[]);
        assert!(!told.contains(CANARY), "{config}: {told}");
    }
    let empty = file("sonde.toml", "");
    for variable in
        [("SONDE_AUTH_USERS", "hunter2"), ("SONDE_PASSWORD", "hunter2"), ("RUST_LOG", "a=b=c")]
    {
        let told = start(&empty, &[variable]);
        assert!(told.contains(variable.0) && !told.contains(CANARY), "{told}");
    }
}

/// What a start that fails says.
fn start(config: &str, variables: &[(&str, &str)]) -> String {
    let output = Command::new(SONDE)
        .args(["run", "--listen", "127.0.0.1:0", "--config"])
        .arg(Path::new(config))
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{told}");
    told
}

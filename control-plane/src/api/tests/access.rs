//! Who may use which route, and how the others are told.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};

use axum::extract::ConnectInfo;
use axum::http::Version;
use axum::http::request::Builder;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::routes::{Declared, Denial};
use super::*;
use crate::access::{Access, Backend, Config, Hosts, Origins, Policy, Secret, UserSource};

/// Routes that stand alone: method, path, object, action.
const SINGLE: [(&str, &str, &str, &str); 14] = [
    ("GET", "/api", "", ""),
    ("GET", "/api/status", "status", "read"),
    ("GET", "/api/config/{key}", "config", "read"),
    ("GET", "/api/topology", "topology", "read"),
    ("POST", "/api/topology", "topology", "read"),
    ("POST", "/api/pcap", "pcap", "write"),
    ("POST", "/api/workflow/{*id}", "workflow.call", "write"),
    ("GET", "/ws/subscriber/flow", "websocket", "/ws/subscriber/flow"),
    ("GET", "/ws/subscriber", "websocket", "/ws/subscriber"),
    ("GET", "/ws/publisher", "websocket", "/ws/publisher"),
    ("GET", "/ws/pubsub", "websocket", "/ws/pubsub"),
    ("GET", "/ws/agent/topology", "websocket", "/ws/agent/topology"),
    ("GET", "/ws/agent/flow", "websocket", "/ws/agent/flow"),
    ("GET", "/ws/replication", "websocket", "/ws/replication"),
];

/// Resources, each with the routes of [`RESOURCE`].
const RESOURCES: [&str; 8] =
    ["alert", "capture", "edge", "edgerule", "injectpacket", "node", "noderule", "workflow"];

/// The routes of a resource: method, what follows its path, action, whether a denial says it.
const RESOURCE: [(&str, &str, &str, bool); 7] = [
    ("GET", "", "read", false),
    ("POST", "", "write", true),
    ("GET", "/{*id}", "read", true),
    ("DELETE", "/{*id}", "write", true),
    ("DELETE", "/", "write", true),
    ("PATCH", "/{*id}", "write", false),
    ("PATCH", "/", "write", false),
];

/// Routes for everybody.
const OPEN: [(&str, &str); 6] = [
    ("GET", "/login"),
    ("POST", "/login"),
    ("GET", "/"),
    ("GET", "/swagger"),
    ("GET", "/swagger/openapi.json"),
    ("GET", "/swagger/{*file}"),
];

/// Users whose password is `secret`, and what they may: everything for `*`.
const MAY: [(&str, &[(&str, &str)]); 4] = [
    ("ann", &[("*", "*")]),
    ("bob", &[("status", "read"), ("topology", "read"), ("websocket", "/ws/subscriber")]),
    ("cid", &[("capture", "read"), ("node", "write"), ("websocket", "/ws/subscriber/flow")]),
    ("dan", &[("status", "read"), ("pcap", "write"), ("websocket", "/ws/subscriber")]),
];

const LINES: [&str; 9] = [
    "g, bob, guest",
    "g, cid, operator",
    "p, operator, capture, read, allow",
    "p, operator, node, write, allow",
    "p, operator, websocket, /ws/subscriber/flow, allow",
    "g, dan, guest",
    "p, dan, topology, read, deny",
    "p, dan, pcap, write, allow",
    "p, dan, websocket, /ws/publisher, deny",
];

/// One bcrypt hash of `secret`, of the least cost.
const HASH: &str = "$2a$04$NNCQgZ3qbbEGVZpepKGLquSp.Zl6bV11IraeD34PPgsJaG83XTPd6";

pub(super) fn guarded(change: impl FnOnce(&mut Config)) -> World {
    let listed = MAY.map(|(user, _)| (user.to_owned(), Secret::new(HASH))).into();
    let lines = LINES.map(str::to_owned);
    let mut config = Config {
        backend: Backend::Basic(UserSource { listed, file: None }),
        policy: Policy::new("admin", &lines).unwrap(),
        origins: Origins::new(&["https://ui.example.org".to_owned()]).unwrap(),
        ..Config::default()
    };
    change(&mut config);
    World::guarded(Access::open(config).unwrap())
}

pub(super) fn token(user: &str, password: &str) -> String {
    STANDARD.encode(format!("{user}:{password}"))
}

/// A request that comes from that address.
pub(super) fn from(address: impl Into<IpAddr>, method: &str, path: &str) -> Builder {
    let peer = ConnectInfo(SocketAddr::new(address.into(), 1234));
    Request::builder().method(method).uri(path).header("host", "probe:8082").extension(peer)
}

async fn get(world: &World, request: Builder) -> Got {
    send(world, request.body(Body::empty()).unwrap()).await
}

/// A route, how a denial is told, and the right it needs.
fn routes() -> Vec<(&'static str, String, Option<Denial>, &'static str, &'static str)> {
    let single = SINGLE.into_iter().map(|(method, path, object, action)| {
        let denial = if object == "websocket" { Denial::Closed } else { Denial::Silent };
        (method, path.to_owned(), (!object.is_empty()).then_some(denial), object, action)
    });
    let resource = |object: &'static str| {
        RESOURCE.into_iter().map(move |(method, end, action, told)| {
            let denial = if told { Denial::Told } else { Denial::Silent };
            (method, format!("/api/{object}{end}"), Some(denial), object, action)
        })
    };
    single.chain(RESOURCES.into_iter().flat_map(resource)).collect()
}

/// A route that is missing here was added without a thought to who may use it.
#[test]
fn every_route_has_a_rule() {
    let access = Access::open(Config::default()).unwrap();
    let declared = [rest(&access), calls(&access), sockets(&access)];
    let shown = |route: &Declared| {
        let (right, denial) = match route.rule {
            Rule::Right(right, denial) => ((right.object, right.action), Some(denial)),
            Rule::User => (("", ""), None),
            Rule::Anyone => panic!("everybody may {} {}", route.method, route.path),
        };
        (route.method.to_string(), route.path.clone(), denial, right.0, right.1)
    };
    let mut declared: Vec<_> = declared.iter().flat_map(Routes::declared).map(shown).collect();
    let mut expected: Vec<_> = routes()
        .into_iter()
        .map(|(method, path, denial, object, action)| {
            (method.to_owned(), path, denial, object, action)
        })
        .collect();
    declared.sort_by(|a, b| (&a.1, &a.0).cmp(&(&b.1, &b.0)));
    expected.sort_by(|a, b| (&a.1, &a.0).cmp(&(&b.1, &b.0)));
    assert_eq!(declared, expected);

    let open = [open(&access), described(&access)];
    let open = (open.iter().flat_map(Routes::declared))
        .map(|route| (route.method.as_str(), &*route.path, route.rule));
    assert!(open.eq(OPEN.map(|(method, path)| (method, path, Rule::Anyone))));
}

#[tokio::test]
async fn every_route_lets_through_who_may() {
    let world = guarded(|_| {});
    // Neither client nor user fails so often that it would have to wait.
    let mut clients = (0x0a00_0000..).map(Ipv4Addr::from_bits);
    let users = MAY.iter().cycle();
    for ((method, path, denial, object, action), (user, _)) in routes().into_iter().zip(users) {
        let path = path.replace("{*id}", "some/id");
        for wrong in ["", "wrong", "secret", "?"] {
            let client = clients.next().unwrap();
            let wrong = match wrong {
                "" => None,
                "wrong" => Some(token(user, wrong)),
                "secret" => Some(token(&client.to_string(), wrong)),
                other => Some(other.to_owned()),
            };
            let request = from(client, method, &path);
            let request = wrong.iter().fold(request, |request, token| {
                request.header("authorization", format!("Basic {token}"))
            });
            let got = get(&world, request).await;
            assert_eq!((got.status, &*got.text), (401, "Wrong credentials"), "{method} {path}");
            assert_eq!(got.header("content-type"), "text/plain; charset=utf-8");
            assert_eq!(got.header("www-authenticate"), "");
            let connection = if object == "websocket" { "close" } else { "" };
            assert_eq!(got.header("connection"), connection);
        }
        for (user, may) in MAY {
            let token = token(user, "secret");
            let request = from([192, 0, 2, 1], method, &path).header("x-auth-token", token);
            let got = get(&world, request).await;
            let case = format!("{user}: {method} {path}: {} {}", got.status, got.text);
            let may = may.contains(&("*", "*")) || may.contains(&(object, action));
            match denial {
                None | Some(_) if may || object.is_empty() => {
                    assert!(![401, 403, 405, 429].contains(&got.status), "{case}");
                }
                Some(Denial::Told) => {
                    let text = format!("'{user}' has no '{action}' permission on '{object}'");
                    got.is_error(405, &text);
                }
                Some(Denial::Closed) => {
                    assert_eq!((got.status, &*got.text), (403, ""), "{case}");
                    assert_eq!(got.header("connection"), "close");
                }
                _ => assert_eq!((got.status, &*got.text), (405, ""), "{case}"),
            }
        }
    }
}

#[tokio::test]
async fn without_authentication_everybody_is_admin() {
    let world = World::new();
    for (method, path, ..) in routes() {
        let got = get(&world, from([10, 0, 0, 1], method, &path.replace("{*id}", "id"))).await;
        assert!(![401, 403, 405, 429].contains(&got.status), "{method} {path}: {}", got.status);
    }
    let got = log_in(&world, "/login", "username=anybody&password=").await;
    assert_eq!((got.status, &got.json()["Token"]), (200, &json!("")));
    assert_eq!(got.json()["Permissions"].as_array().unwrap().len(), 29);
    let cookies: Vec<_> = got.headers.get_all("set-cookie").iter().collect();
    assert!(matches!(*cookies, [one] if one.to_str().unwrap().starts_with("permissions=")));
}

#[tokio::test]
async fn what_admin_may_can_be_narrowed_without_authentication() {
    let lines = ["p, admin, capture, write, deny".to_owned()];
    let policy = Policy::new("admin", &lines).unwrap();
    let world = World::guarded(Access::open(Config { policy, ..Config::default() }).unwrap());
    let got = ask(&world, "POST", "/api/capture", "{}").await;
    got.is_error(405, "'admin' has no 'write' permission on 'capture'");
    assert_eq!(ask(&world, "GET", "/api/capture", "").await.status, 200);
}

async fn log_in(world: &World, path: &str, form: &str) -> Got {
    let request = from([192, 0, 2, 1], "POST", path)
        .header("origin", "http://elsewhere")
        .header("content-type", "application/x-www-form-urlencoded");
    send(world, request.body(Body::from(form.to_owned())).unwrap()).await
}

#[tokio::test]
async fn a_log_in_gives_a_token_and_says_what_it_is_good_for() {
    let world = guarded(|_| {});
    for (path, form) in [
        ("/login", "username=bob&password=secret"),
        ("/login?username=bob", "password=secret"),
        ("/login?username=bob&password=secret", ""),
        ("/login?username=ann", "username=bob&password=secret"),
    ] {
        let got = log_in(&world, path, form).await;
        assert_eq!((got.status, &got.json()["Token"]), (200, &json!("Ym9iOnNlY3JldA==")));
        assert_eq!(got.header("access-control-allow-origin"), "http://elsewhere");
        assert_eq!(got.header("access-control-allow-credentials"), "true");
        assert_eq!(got.header("strict-transport-security"), "");
        let rows = got.json()["Permissions"].as_array().unwrap().clone();
        assert!(rows.contains(&json!({"Object": "topology", "Action": "read", "Allowed": true})));
        assert!(rows.contains(&json!({"Object": "capture", "Action": "write", "Allowed": false})));
        let socket = json!({"Object": "websocket", "Action": "/ws/subscriber", "Allowed": true});
        assert!(rows.contains(&socket));

        let cookies: Vec<_> = got.headers.get_all("set-cookie").iter().collect();
        let cookies: Vec<_> = cookies.iter().map(|cookie| cookie.to_str().unwrap()).collect();
        let [token, permissions] = *cookies else { panic!("{cookies:?}") };
        assert_eq!(token, "authtoken=Ym9iOnNlY3JldA==; Path=/; HttpOnly; SameSite=Lax");
        let permissions = permissions.strip_prefix("permissions=").unwrap();
        let permissions = permissions.strip_suffix("; Path=/; SameSite=Lax").unwrap();
        let permissions: Value =
            serde_json::from_slice(&STANDARD.decode(permissions).unwrap()).unwrap();
        assert_eq!(permissions, got.json()["Permissions"]);

        let cookie = token.split(';').next().unwrap();
        let request = from([192, 0, 2, 1], "GET", "/api/status").header("cookie", cookie);
        assert_eq!(get(&world, request).await.status, 200);
    }
    let got = get(&world, from([192, 0, 2, 1], "GET", "/login")).await;
    assert_eq!((got.status, got.header("location")), (302, "/"));
}

#[tokio::test]
async fn a_log_in_that_fails_says_why() {
    let world = guarded(|_| {});
    for (path, form, text) in [
        ("/login", "", "No credentials provided"),
        ("/login", "username=bob", "No credentials provided"),
        ("/login", "password=secret", "No credentials provided"),
        ("/login", "username=bob&password=wrong", "Wrong credentials"),
        ("/login", "username=&password=", "Wrong credentials"),
        ("/login", &format!("username=bob&password={}", "x".repeat(5000)), "Wrong credentials"),
    ] {
        let got = log_in(&world, path, form).await;
        assert_eq!((got.status, &*got.text), (401, text), "{form}");
        assert!(!got.headers.contains_key("set-cookie"));
    }
    let json = from([192, 0, 2, 1], "POST", "/login").header("content-type", "application/json");
    let got = send(&world, json.body("username=bob&password=secret".into()).unwrap()).await;
    assert_eq!((got.status, &*got.text), (401, "No credentials provided"));
}

#[tokio::test]
async fn under_tls_cookies_are_secure_and_browsers_told_to_stay() {
    let world = guarded(|config| config.tls = true);
    let got = log_in(&world, "/login", "username=ann&password=secret").await;
    let cookies: Vec<_> = got.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies.len(), 2);
    assert!(cookies.iter().all(|cookie| cookie.to_str().unwrap().ends_with("; Secure")));
    let expected = "max-age=63072000; includeSubDomains";
    assert_eq!(got.header("strict-transport-security"), expected);
}

#[tokio::test]
async fn who_guesses_has_to_wait() {
    let world = guarded(|_| {});
    let guess = async |address: [u8; 4], user: &str, password: &str| {
        let request = from(address, "GET", "/api");
        get(&world, request.header("x-auth-token", token(user, password))).await
    };
    let (guesser, client) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    assert_eq!(guess(guesser, "ann", "secret").await.status, 200);
    for password in 0..10 {
        assert_eq!(guess(guesser, "bob", &password.to_string()).await.status, 401);
    }
    let got = guess(guesser, "bob", "secret").await;
    assert_eq!(got.status, 429);
    let wait: u64 = got.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert!(got.text.starts_with("too many wrong credentials, try again in "), "{}", got.text);
    assert_eq!(log_in_from(&world, guesser).await.status, 429);
    // Those who are known, and those elsewhere, do not.
    assert_eq!(guess(guesser, "ann", "secret").await.status, 200);
    assert_eq!(guess(client, "bob", "secret").await.status, 200);
}

async fn log_in_from(world: &World, address: [u8; 4]) -> Got {
    get(world, from(address, "POST", "/login?username=cid&password=secret")).await
}

#[tokio::test]
async fn only_own_and_allowed_pages_open_websockets() {
    let guarded = guarded(|_| {});
    let ann = token("ann", "secret");
    for world in [&guarded, &World::new()] {
        for (origin, status) in [
            (None, 426),
            (Some("http://probe:8082"), 426),
            (Some("https://ui.example.org"), if std::ptr::eq(world, &guarded) { 426 } else { 403 }),
            (Some("http://elsewhere"), 403),
            (Some("null"), 403),
        ] {
            let request = from([192, 0, 2, 1], "GET", "/ws/subscriber/flow");
            let request = request.header("x-auth-token", &ann);
            let request =
                origin.iter().fold(request, |request, origin| request.header("origin", *origin));
            let got = get(world, request).await;
            assert_eq!(got.status, status, "{origin:?}");
            assert_eq!(got.header("connection"), "close");
        }
    }
}

/// A page of another site makes the browser send the cookie, but does not know what is in it.
#[tokio::test]
async fn foreign_pages_change_nothing_by_the_cookie_of_a_user() {
    let world = guarded(|_| {});
    let ann = token("ann", "secret");
    let (cookie, header) = (("cookie", format!("authtoken={ann}")), ("x-auth-token", ann));
    for (method, origin, credentials, refused) in [
        ("DELETE", "http://elsewhere", &cookie, true),
        ("DELETE", "http://probe:9000", &cookie, true),
        ("DELETE", "null", &cookie, true),
        ("PATCH", "http://elsewhere", &cookie, true),
        ("DELETE", "http://probe:8082", &cookie, false),
        ("DELETE", "https://ui.example.org", &cookie, false),
        ("GET", "http://elsewhere", &cookie, false),
        ("DELETE", "http://elsewhere", &header, false),
    ] {
        let request = from([192, 0, 2, 1], method, "/api/capture/nothing");
        let request = request.header("origin", origin).header(credentials.0, &credentials.1);
        let got = get(&world, request).await;
        let text = format!("pages of {origin} may not do this, see http.allowed_origins");
        match refused {
            true => got.is_error(403, &text),
            false => assert_eq!(got.status, 404, "{method} {origin}: {}", got.text),
        }
    }
    let plain = from([192, 0, 2, 1], "DELETE", "/api/capture/nothing").header(cookie.0, &cookie.1);
    assert_eq!(get(&world, plain).await.status, 404);
}

#[tokio::test]
async fn users_are_read_again_and_the_old_ones_forgotten() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let write = |users: &[&str]| {
        let lines = users.iter().map(|user| format!("{user}:{HASH}\n"));
        std::fs::write(file.path(), lines.collect::<String>()).unwrap();
    };
    write(&["ann"]);
    let source = UserSource { file: Some(file.path().to_owned()), ..UserSource::default() };
    let backend = Backend::Basic(source);
    let config = Config { backend, ..Config::default() };
    let access = Access::open(config.clone()).unwrap();
    let world = World::guarded(access.clone());
    let clients = AtomicU8::new(0);
    let status = async |user: &str| {
        let client = clients.fetch_add(1, Ordering::Relaxed);
        let request = from([192, 0, 2, client], "GET", "/api");
        get(&world, request.header("x-auth-token", token(user, "secret"))).await.status
    };
    assert_eq!((status("ann").await, status("bob").await), (200, 401));
    write(&["bob"]);
    access.renew(access.renewal(config.clone()).unwrap());
    assert_eq!((status("ann").await, status("bob").await), (401, 200));

    std::fs::write(file.path(), "not a user\n").unwrap();
    access.renewal(config).unwrap_err();
    assert_eq!(status("bob").await, 200, "what is broken changes nothing");

    let follow = tokio::spawn(access.clone().follow());
    write(&["cid"]);
    while status("cid").await != 200 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    follow.abort();
}

/// More at once than passwords are checked at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_with_many_connections_is_let_in() {
    let world = guarded(|_| {});
    let requests = (0..40).map(|_| {
        let router = router(world.state.clone());
        let request = from([192, 0, 2, 1], "GET", "/api");
        let request = request.header("x-auth-token", token("ann", "secret"));
        tokio::spawn(router.oneshot(request.body(Body::empty()).unwrap()))
    });
    for request in requests.collect::<Vec<_>>() {
        assert_eq!(request.await.unwrap().unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_workflow_may_what_its_caller_may() {
    let world = guarded(|config| {
        let lines = [&LINES[..], &["p, cid, workflow.call, write, allow"]].concat();
        let lines: Vec<_> = lines.into_iter().map(str::to_owned).collect();
        config.policy = Policy::new("admin", &lines).unwrap();
    });
    let source = "async () => [(await client.captures.list()) instanceof Object, \
        await client.captures.create({GremlinQuery: 'G.V()'}).catch((error) => error.message)]";
    let body = json!({"Name": "w", "Source": source}).to_string();
    let create = from([192, 0, 2, 1], "POST", "/api/workflow");
    let create = create.header("x-auth-token", token("ann", "secret"));
    let created = send(&world, create.body(body.into()).unwrap()).await.json();
    let path = format!("/api/workflow/{}/call", created["UUID"].as_str().unwrap());

    let denied = "'cid' has no 'write' permission on 'capture'";
    let secret = token("cid", "secret");
    let by_query = format!("{path}?x-auth-token={}", secret.trim_end_matches('='));
    for request in [
        from([192, 0, 2, 1], "POST", &path).header("x-auth-token", &secret),
        from([192, 0, 2, 1], "POST", &path).header("cookie", format!("authtoken={secret}")),
        from([192, 0, 2, 1], "POST", &by_query),
    ] {
        let got = send(&world, request.body("{}".into()).unwrap()).await;
        assert_eq!(got.json(), json!([true, denied]));
    }
    let request =
        from([192, 0, 2, 1], "POST", &path).header("x-auth-token", token("bob", "secret"));
    assert_eq!(send(&world, request.body("{}".into()).unwrap()).await.status, 405);

    // Who may ask, but not call, does not call by asking.
    let asked = json!({"GremlinQuery": "G.Workflow('w')"}).to_string();
    for (user, status, text) in [
        ("bob", 405, "'bob' has no 'write' permission on 'workflow.call'"),
        ("ann", 400, "the workflow gives no graph"),
    ] {
        let request = from([192, 0, 2, 1], "POST", "/api/topology");
        let request = request.header("x-auth-token", token(user, "secret"));
        let got = send(&world, request.body(asked.clone().into()).unwrap()).await;
        assert_eq!(got.status, status, "{user}: {}", got.text);
        assert!(got.text.starts_with(text), "{user}: {}", got.text);
    }
}

/// The last place where a token is looked for.
#[tokio::test]
async fn a_form_may_carry_the_token() {
    let world = guarded(|_| {});
    let (ann, bob) = (token("ann", "secret"), token("bob", "secret"));
    let ann_form = format!("a=b&x-auth-token={}", ann.replace('=', "%3D"));
    let form = "application/x-www-form-urlencoded";
    let utf8 = "application/x-www-form-urlencoded; charset=UTF-8";
    let large = format!("{ann_form}&x={}", "x".repeat(MAX_BODY));
    let by_query = format!("?x-auth-token={bob}");
    let empty = format!("x-auth-token=&{ann_form}");
    // What is let in fails for want of JSON; `bob` may not.
    for (method, query, kind, body, status) in [
        ("POST", "", form, &*ann_form, 400),
        ("POST", "", utf8, &ann_form, 400),
        ("POST", "", form, &empty, 400),
        ("PATCH", "/id", form, &ann_form, 404),
        ("POST", &*by_query, form, &ann_form, 405),
        ("POST", "", form, &format!("x-auth-token={bob}"), 405),
        ("POST", "", form, "x-auth-token=wrong", 401),
        ("POST", "", form, "", 401),
        ("POST", "", form, &large, 401),
        ("POST", "", "application/json", &ann_form, 401),
        ("DELETE", "/id", form, &ann_form, 401),
    ] {
        let path = format!("/api/capture{query}");
        let request = from([192, 0, 2, 1], method, &path).header("content-type", kind);
        let got = send(&world, request.body(body.to_owned().into()).unwrap()).await;
        assert_eq!(got.status, status, "{method} {query} {kind}: {}", got.text);
    }
    // The body is still there for who reads it.
    let request = from([192, 0, 2, 1], "POST", "/api/capture").header("content-type", form);
    let got = send(&world, request.body(ann_form.into()).unwrap()).await;
    assert!(
        got.text.starts_with("request body: expected value at line 1 column 1"),
        "{}",
        got.text
    );
}

/// DNS rebinding: a page whose name became our address.
#[tokio::test]
async fn pages_that_give_their_name_our_address_are_refused() {
    let hosts = || Hosts::new("probe", &[]).unwrap();
    let unguarded = Access::open(Config { hosts: hosts(), ..Config::default() }).unwrap();
    let tls = Access::open(Config { hosts: hosts(), tls: true, ..Config::default() }).unwrap();
    let (open, tls) = (World::guarded(unguarded), World::guarded(tls));
    let users = guarded(|config| config.hosts = hosts());
    let here = [127, 0, 0, 1];
    for (world, peer, host, refused) in [
        (&open, here, "localhost:8082", false),
        (&open, here, "probe:8082", false),
        (&open, here, "127.0.0.1:8082", false),
        (&open, here, "evil.example:8082", true),
        (&open, [192, 0, 2, 1], "evil.example:8082", false),
        (&tls, here, "evil.example:8082", false),
        (&users, here, "evil.example:8082", false),
    ] {
        for (method, path) in [("GET", "/api"), ("POST", "/api/topology"), ("GET", "/ws/pubsub")] {
            let peer = ConnectInfo(SocketAddr::new(IpAddr::from(peer), 1234));
            let request = Request::builder().method(method).uri(path).extension(peer);
            let origin = format!("http://{host}");
            let request = request.header("host", host).header("origin", origin);
            let request = request.header("x-auth-token", token("ann", "secret"));
            let got = get(world, request).await;
            let text = format!("'{host}' is no name of this host, see http.allowed_hosts");
            match refused {
                true => got.is_error(421, &text),
                false => assert_ne!(got.status, 421, "{host} {path}: {}", got.text),
            }
        }
    }
}

#[tokio::test]
async fn requests_say_which_host_they_are_meant_for() {
    let world = guarded(|_| ());
    for (version, status) in [(Version::HTTP_11, 400), (Version::HTTP_10, 200)] {
        let request = from([192, 0, 2, 1], "GET", "/api/status").version(version);
        let mut request = request.header("x-auth-token", token("ann", "secret"));
        request.headers_mut().unwrap().remove("host");
        let got = get(&world, request).await;
        assert_eq!(got.status, status, "{version:?}: {}", got.text);
    }
}

#[tokio::test]
async fn another_configuration_holds_at_once() {
    let users = |users: &[&str]| {
        let listed = users.iter().map(|user| ((*user).to_owned(), Secret::new(HASH)));
        Backend::Basic(UserSource { listed: listed.collect(), file: None })
    };
    let access = Access::open(Config { backend: users(&["ann"]), ..Config::default() }).unwrap();
    let world = World::guarded(access.clone());
    let status = async |address: [u8; 4], user: &str| {
        let request = from(address, "GET", "/api/capture");
        get(&world, request.header("x-auth-token", token(user, "secret"))).await.status
    };
    let renew = |backend, lines: &[&str]| {
        let lines: Vec<_> = lines.iter().map(|line| (*line).to_owned()).collect();
        let policy = Policy::new("admin", &lines).unwrap();
        let config = Config { backend, policy, ..Config::default() };
        access.renew(access.renewal(config).unwrap());
    };
    let (client, guesser) = ([192, 0, 2, 1], [192, 0, 2, 2]);
    assert_eq!((status(client, "ann").await, status(client, "bob").await), (200, 401));
    for _ in 0..10 {
        assert_eq!(status(guesser, "cid").await, 401);
    }
    assert_eq!(status(guesser, "cid").await, 429);
    renew(users(&["ann", "bob", "dan"]), &["g, ann, guest"]);
    assert_eq!((status(client, "ann").await, status(client, "bob").await), (405, 200));
    assert_eq!(status(guesser, "dan").await, 429, "failures are not forgotten");
    let wrong = UserSource { file: Some("/nowhere".into()), ..UserSource::default() };
    let wrong = Config { backend: Backend::Basic(wrong), ..Config::default() };
    access.renewal(wrong).unwrap_err();
    assert_eq!((status(client, "ann").await, status(client, "bob").await), (405, 200));
    renew(Backend::NoAuth, &[]);
    assert_eq!(status(client, "nobody").await, 200);
    renew(users(&["bob"]), &[]);
    assert_eq!((status(client, "bob").await, status(client, "ann").await), (200, 401));
}

//! Roles, line by line (Skydive API §1.2).

use std::collections::BTreeSet;

use super::access::{from, guarded, token};
use super::*;
use crate::access::Policy;

/// All that there are permissions for, as the line of `admin` has it.
const ADMIN: [(&str, &[&str]); 14] = [
    ("alert", &["read", "write"]),
    ("capture", &["rawpackets", "read", "write"]),
    ("config", &["read"]),
    ("edge", &["read", "write"]),
    ("edgerule", &["read", "write"]),
    ("injectpacket", &["read", "write"]),
    ("node", &["read", "write"]),
    ("noderule", &["read", "write"]),
    ("pcap", &["write"]),
    ("status", &["read"]),
    ("topology", &["read"]),
    (
        "websocket",
        &[
            "/ws/agent/flow",
            "/ws/agent/topology",
            "/ws/publisher",
            "/ws/pubsub",
            "/ws/replication",
            "/ws/subscriber",
            "/ws/subscriber/flow",
        ],
    ),
    ("workflow", &["read", "write"]),
    ("workflow.call", &["write"]),
];

/// The rest is denied.
const GUEST: [(&str, &str); 3] =
    [("status", "read"), ("topology", "read"), ("websocket", "/ws/subscriber")];

/// What a log-in says that a user may, and what he may not.
async fn permissions(world: &World, user: &str) -> [BTreeSet<(String, String)>; 2] {
    let path = format!("/login?username={user}&password=secret");
    let request = from([192, 0, 2, 1], "POST", &path).body(Body::empty()).unwrap();
    let got = send(world, request).await;
    assert_eq!(got.status, 200, "{user}: {}", got.text);
    let rows = got.json()["Permissions"].as_array().unwrap().clone();
    [true, false].map(|allowed| {
        let rows = rows.iter().filter(|row| row["Allowed"] == allowed);
        let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        rows.map(|row| (text(row, "Object"), text(row, "Action"))).collect()
    })
}

fn all() -> BTreeSet<(String, String)> {
    let pairs = ADMIN.into_iter().flat_map(|(object, actions)| {
        actions.iter().map(move |action| (object.to_owned(), (*action).to_owned()))
    });
    pairs.collect()
}

/// Lines 1 to 4: the roles, who has which by default, and how they are listed.
#[tokio::test]
async fn the_built_in_roles_are_listed_row_by_row() {
    let world = guarded(|_| {});
    assert_eq!(permissions(&world, "ann").await, [all(), BTreeSet::new()], "admin by default");
    let may: BTreeSet<_> = GUEST.map(|(object, action)| (object.into(), action.into())).into();
    let denied = all().difference(&may).cloned().collect();
    assert_eq!(permissions(&world, "bob").await, [may.clone(), denied]);
    let guests = guarded(|config| config.policy = Policy::new("guest", &[]).unwrap());
    assert_eq!(permissions(&guests, "ann").await[0], may, "the default can be another");
}

/// Line 5: what the configuration adds.
#[tokio::test]
async fn lines_add_to_roles_and_take_from_them() {
    let lines = [
        "p, bob, capture, write, allow",
        "p, admin, config, read, deny",
        "g, cid, guest",
        "p, guest, websocket, /ws/pubsub, allow",
        "g, dan, operator",
        "p, operator, alert, read, allow",
    ];
    let lines: Vec<_> = lines.into_iter().map(str::to_owned).collect();
    let world = guarded(|config| config.policy = Policy::new("admin", &lines).unwrap());
    let pair = |object: &str, action: &str| (object.to_owned(), action.to_owned());
    let mut admin = all();
    admin.remove(&pair("config", "read"));
    assert_eq!(permissions(&world, "ann").await[0], admin);
    let mut guest: BTreeSet<_> = GUEST.map(|(object, action)| pair(object, action)).into();
    guest.insert(pair("websocket", "/ws/pubsub"));
    assert_eq!(permissions(&world, "cid").await[0], guest);
    assert_eq!(permissions(&world, "dan").await[0], [pair("alert", "read")].into());
}

/// Line 6: how who may not is told.
#[tokio::test]
async fn a_denial_is_silent_or_told_or_ends_the_connection() {
    let world = guarded(|_| {});
    for (method, path, status, text) in [
        ("GET", "/api/capture", 405, ""),
        ("PATCH", "/api/capture/a", 405, ""),
        ("GET", "/api/config/listen", 405, ""),
        ("POST", "/api/pcap", 405, ""),
        ("GET", "/api/capture/a", 405, "'bob' has no 'read' permission on 'capture'\n"),
        ("POST", "/api/node", 405, "'bob' has no 'write' permission on 'node'\n"),
        ("DELETE", "/api/alert/a", 405, "'bob' has no 'write' permission on 'alert'\n"),
        ("GET", "/ws/publisher", 403, ""),
        ("GET", "/ws/subscriber/flow", 403, ""),
    ] {
        let request = from([192, 0, 2, 1], method, path);
        let request = request.header("x-auth-token", token("bob", "secret"));
        let got = send(&world, request.body(Body::empty()).unwrap()).await;
        assert_eq!((got.status, &*got.text), (status, text), "{method} {path}");
        let connection = if status == 403 { "close" } else { "" };
        assert_eq!(got.header("connection"), connection, "{method} {path}");
    }
    let lines = ["p, ann, topology, read, deny", "p, ann, status, read, deny"];
    let lines = lines.map(str::to_owned);
    let world = guarded(|config| config.policy = Policy::new("admin", &lines).unwrap());
    for (method, path) in
        [("GET", "/api/status"), ("GET", "/api/topology"), ("POST", "/api/topology")]
    {
        let request = from([192, 0, 2, 1], method, path);
        let request = request.header("x-auth-token", token("ann", "secret"));
        let got = send(&world, request.body(Body::empty()).unwrap()).await;
        assert_eq!((got.status, &*got.text), (405, ""), "{method} {path}");
    }
}

/// Line 7: a user has his role from his first request on, without a log-in.
#[tokio::test]
async fn a_role_needs_no_log_in() {
    for (user, path, status) in [
        ("ann", "/api/capture", 200),
        ("ann", "/api/config/listen", 200),
        ("bob", "/api/status", 200),
        ("bob", "/api/capture", 405),
        ("cid", "/api/capture", 200),
        ("cid", "/api/status", 405),
    ] {
        let world = guarded(|_| {});
        let request = from([192, 0, 2, 1], "GET", path);
        let basic = format!("Basic {}", token(user, "secret"));
        let request = request.header("authorization", basic).body(Body::empty()).unwrap();
        assert_eq!(send(&world, request).await.status, status, "{user} {path}");
    }
}

//! Sockets of nodes and of flows.

use serde_json::{Value, json};

use super::{error, graph, value};
use crate::graph::Graph;

fn socket(process: &str, local: (&str, u16), remote: (&str, u16)) -> Value {
    json!({
        "Process": process, "Pid": 7, "Name": process, "Protocol": "TCP", "State": "ESTABLISHED",
        "LocalAddress": local.0, "LocalPort": local.1,
        "RemoteAddress": remote.0, "RemotePort": remote.1,
    })
}

/// Both ends of flow 1 on two hosts, and a socket without a flow.
fn hosts() -> Graph {
    let (a, b) = (("10.0.0.1", 1001), ("10.0.0.2", 80));
    let client = json!({"Sockets": [socket("curl", a, b), socket("sshd", ("0.0.0.0", 22), a)]});
    let server = json!({"Sockets": [socket("nginx", b, a)]});
    graph(&[("client", client), ("server", server), ("none", json!({"Sockets": []}))], &[])
}

#[test]
fn nodes_have_sockets() {
    let graph = hosts();
    let all = value(&graph, "G.V().Sockets()");
    assert_eq!(all[0].as_object().unwrap().len(), 2);
    assert_eq!(all[0]["client"][1]["Process"], "sshd");
    assert_eq!(value(&graph, "G.V('none').Sockets()"), json!([]));
    let some = value(&graph, "G.V().Sockets().Has('Process', 'nginx', 'LocalPort', 80)");
    assert_eq!(some, json!([{"server": [socket("nginx", ("10.0.0.2", 80), ("10.0.0.1", 1001))]}]));
    let either = "G.V().Sockets().HasEither('Process', 'nginx', 'Pid', 7).Values('Process')";
    assert_eq!(value(&graph, either), json!(["curl", "sshd", "nginx"]));
    assert_eq!(value(&graph, "G.V('none').Sockets().Values('Process')"), Value::Null);
    assert!(error(&graph, "G.V().Sockets().Values('Nope')").starts_with("Field not found"));
    let count = error(&graph, "G.V().Sockets().Count()");
    assert!(count.starts_with("Invalid step 'Count' on '*traversal.SocketsTraversalStep'"));
}

#[test]
fn flows_have_the_sockets_of_both_ends() {
    let found = value(&hosts(), "G.Flows().Sockets()");
    assert_eq!(found.as_array().unwrap().len(), 1);
    let flows = found[0].as_object().unwrap();
    assert_eq!(flows.keys().collect::<Vec<_>>(), ["u1"]);
    let processes: Vec<_> =
        found[0]["u1"].as_array().unwrap().iter().map(|s| &s["Process"]).collect();
    assert_eq!(processes, ["curl", "nginx"]);
}

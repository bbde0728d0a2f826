//! The workflows that are always there. They are no stored resources: nobody deletes or changes them.

use std::sync::LazyLock;

use serde_json::{Value, json};
use sonde_proto::workflow::{Choice, Parameter, Workflow};

/// All of them.
pub fn built_in() -> &'static [Workflow] {
    static ALL: LazyLock<[Workflow; 4]> =
        LazyLock::new(|| [check_connectivity(), check_mtu(), flow_matrix(), flow_validation()]);
    ALL.as_slice()
}

fn check_connectivity() -> Workflow {
    Workflow {
        uuid: "85757b38-6e21-11e8-b42d-28d2442e1329".into(),
        name: "CheckConnectivity".into(),
        title: "Check connectivity".into(),
        summary: "Are two nodes connected in layer 2?".into(),
        description:
            "Follows the shortest path between the nodes, and says what is down on it and \
                      where the MTU changes."
                .into(),
        parameters: vec![node("source", "Where it begins"), node("destination", "Where it ends")],
        source: include_str!("check_connectivity.js").into(),
    }
}

fn check_mtu() -> Workflow {
    Workflow {
        uuid: "85757b38-6e21-11e8-b42d-28d2442e1325".into(),
        name: "CheckMTU".into(),
        title: "Check MTU".into(),
        summary: "Where does the MTU change?".into(),
        description: "Compares the MTU of the nodes on the path between two nodes; without a \
                      destination, of a node and its neighbours in layer 2."
            .into(),
        parameters: vec![
            node("source", "Where it begins"),
            Parameter { default: json!(""), ..node("destination", "Where it ends, if anywhere") },
        ],
        source: include_str!("check_mtu.js").into(),
    }
}

fn flow_matrix() -> Workflow {
    let protocols = [("", "All"), ("TCP", "TCP"), ("UDP", "UDP"), ("SCTP", "SCTP")];
    let values =
        protocols.map(|(value, text)| Choice { value: value.into(), description: text.into() });
    Workflow {
        uuid: "bcc2e200-7a57-11e8-913c-28d2442e1325".into(),
        name: "FlowMatrix".into(),
        title: "Flow matrix".into(),
        summary: "Who talks to whom?".into(),
        description:
            "A row for each pair of addresses and port, with hosts and programs where they \
                      are known, and what was sent each way."
                .into(),
        parameters: vec![
            Parameter {
                values: values.into(),
                ..parameter("protocol", "choice", "Only flows of this protocol", json!(""))
            },
            parameter("limit", "integer", "Flows that are looked at", json!(10_000)),
        ],
        source: include_str!("flow_matrix.js").into(),
    }
}

fn flow_validation() -> Workflow {
    Workflow {
        uuid: "1c79a9d2-6fcb-4e10-7d40-78819b07781c".into(),
        name: "FlowValidation".into(),
        title: "Flow validation".into(),
        summary: "Does what leaves one node arrive at the other?".into(),
        description:
            "Captures on both nodes for some seconds, compares the flows, and deletes the \
                      captures."
                .into(),
        parameters: vec![
            node("source", "Where flows leave"),
            node("destination", "Where they arrive"),
            parameter("seconds", "integer", "How long it captures", json!(10)),
            parameter("filter", "string", "Only these frames (libpcap syntax)", json!("")),
        ],
        source: include_str!("flow_validation.js").into(),
    }
}

/// A node by its TID, ID or name.
fn node(name: &str, description: &str) -> Parameter {
    parameter(name, "node", description, Value::Null)
}

fn parameter(name: &str, kind: &str, description: &str, default: Value) -> Parameter {
    Parameter {
        name: name.into(),
        description: description.into(),
        kind: kind.into(),
        default,
        values: Vec::new(),
    }
}

//! What agents are asked to do with nodes of theirs, and what came of it (Skydive API §7.8).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use sonde_proto::graph::Node;

/// What agents can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Task {
    /// Meter the frames of a node, until it is called off.
    Capture,
    /// Send frames on a node. That is begun once, whatever comes of it.
    Injection,
}

/// A resource on a node, by their IDs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Errand {
    /// What is done there.
    pub(crate) task: Task,
    /// ID of the node.
    pub(crate) node: String,
    /// `UUID` of the resource.
    pub(crate) resource: String,
}

/// Who shall do an errand, and with what.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Order {
    /// The agent's host.
    pub(crate) host: String,
    /// The resource, which may hold a whole capture file.
    pub(crate) resource: Arc<Value>,
}

/// All that agents shall do: an errand that is not there any more is called off.
pub(crate) type Orders = BTreeMap<Errand, Order>;

/// What came of errands that agents were asked to do.
pub(crate) type Outcomes = BTreeMap<Errand, Outcome>;

/// What came of an errand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The agent has not answered yet.
    Asked,
    /// The agent has begun.
    Begun,
    /// It has not, and why; or it began and left.
    Failed(String),
}

/// What an agent is sent.
#[derive(Serialize)]
struct Request<'a> {
    #[serde(rename = "NodeID")]
    node: &'a str,
    #[serde(rename = "Resource")]
    resource: &'a Value,
}

/// The host of the agent that has that node, if it is not ours, which is `host`.
pub(crate) fn agent_of<'a>(node: &'a Node, host: &str) -> Option<&'a str> {
    let agent = node.origin.strip_prefix("agent.")?;
    (agent != host && agent == node.host).then_some(agent)
}

impl Task {
    /// Every namespace.
    pub(crate) const NAMESPACES: [&str; 2] =
        [Self::Capture.namespace(), Self::Injection.namespace()];

    /// Where it is spoken of.
    pub(super) const fn namespace(self) -> &'static str {
        match self {
            Self::Capture => "OnDemandCapture",
            Self::Injection => "OnDemandPacketInjection",
        }
    }

    /// Whether it is tried again when it failed, and begun again when the agent is back.
    pub(super) const fn is_lasting(self) -> bool {
        match self {
            Self::Capture => true,
            Self::Injection => false,
        }
    }
}

impl Outcome {
    /// Why it failed, if it did.
    pub(crate) fn error(&self) -> Option<&str> {
        match self {
            Self::Asked | Self::Begun => None,
            Self::Failed(why) => Some(why),
        }
    }
}

impl Order {
    /// The object of a request to begin or to end.
    pub(super) fn request(&self, errand: &Errand) -> Vec<u8> {
        let mut text = Vec::new();
        let request = Request { node: &errand.node, resource: &self.resource };
        crate::json::append(&mut text, &request);
        text
    }
}

//! The rules that a node rule must keep (Skydive API §2.6), and what it asks for.

use serde_json::Value;
use sonde_proto::graph::{Metadata, Node, uuid_v5};
use sonde_proto::rule::NodeRule;

use crate::graph::Kind as _;
use crate::gremlin::Query;
use crate::resource::{Invalid, Resource, keep, query};

/// What a node rule asks for.
#[derive(Debug)]
pub enum NodeAction {
    /// This node.
    Create(Node),
    /// The metadata on all nodes that the query finds; on none without one.
    Update(Option<Query>, Metadata),
}

impl Resource for NodeRule {
    type Parsed = NodeAction;
    /// Who makes nodes.
    type Rules = String;

    const TABLE: &'static str = "noderules";

    fn uuid(&mut self) -> &mut String {
        &mut self.uuid
    }

    fn parse(&mut self, origin: &String) -> Result<NodeAction, Vec<Invalid>> {
        let mut broken = Vec::new();
        let query = match self.query.as_str() {
            "" => None,
            text => keep(&mut broken, query("Query", text)),
        };
        let action = match self.action.as_str() {
            "create" => create(self, origin),
            "update" => update(self, query),
            _ => Err(Invalid::new("Action", "regular expression mismatch")),
        };
        keep(&mut broken, action).filter(|_| broken.is_empty()).ok_or(broken)
    }
}

fn create(rule: &NodeRule, origin: &str) -> Result<NodeAction, Invalid> {
    let mut metadata = rule.metadata.clone();
    let text = |key| rule.metadata.get(key).and_then(Value::as_str).unwrap_or_default();
    let kind = text("Type");
    let id = uuid_v5(&[kind, "/", text("Name")]).to_string();
    metadata.insert("TID".into(), id.clone().into());
    if kind == "fabric" {
        metadata.insert("Probe".into(), kind.into());
    }
    let node = Node { id, metadata, origin: origin.to_owned(), ..Node::default() };
    match node.check() {
        Ok(()) => Ok(NodeAction::Create(node)),
        Err(why) => Err(Invalid::new("Metadata", why.to_string().trim_end())),
    }
}

fn update(rule: &NodeRule, query: Option<Query>) -> Result<NodeAction, Invalid> {
    let has = |keys: [&str; 2]| keys.into_iter().any(|key| rule.metadata.contains_key(key));
    if has(["Name", "Type"]) {
        return Err(Invalid::whole("Name and Type fields can not be changed"));
    }
    if has(["TID", "Captures"]) {
        // Captures follow the one, and write the other anew all the time.
        return Err(Invalid::whole("TID and Captures fields can not be changed"));
    }
    if serde_json::to_vec(&rule.metadata).is_ok_and(|text| text.len() > MAX_MARK) {
        let fault = format!("A valid metadata has <= {MAX_MARK} bytes");
        return Err(Invalid::new("Metadata", fault));
    }
    Ok(NodeAction::Update(query, rule.metadata.clone()))
}

/// Bytes of what a rule adds: it may find every node of the graph.
const MAX_MARK: usize = 4096;

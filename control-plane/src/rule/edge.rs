//! The rules that an edge rule must keep (Skydive API §2.7), and what it asks for.

use serde_json::Value;
use sonde_proto::graph::{Edge, Element, Metadata, Node, relation, uuid_v5};
use sonde_proto::rule::EdgeRule;

use crate::gremlin::Query;
use crate::resource::{Invalid, Resource, keep, query};

/// What an edge rule asks for.
#[derive(Debug)]
pub struct Link {
    /// Finds the parent.
    pub(super) src: Query,
    /// Finds the child.
    pub(super) dst: Query,
    relation: String,
    metadata: Metadata,
    origin: String,
}

impl Link {
    /// The edge between two nodes, as the rule of that UUID makes it.
    pub(super) fn edge(&self, rule: &str, parent: &Node, child: &Node) -> Edge {
        let id = match self.relation.as_str() {
            relation::LAYER2 | relation::OWNERSHIP => {
                uuid_v5(&[&parent.id, &child.id, &self.relation])
            }
            _ => uuid_v5(&[rule, &parent.id, &child.id]),
        };
        Edge {
            element: Element {
                id: id.to_string(),
                metadata: self.metadata.clone(),
                origin: self.origin.clone(),
                ..Element::default()
            },
            parent: parent.id.clone(),
            child: child.id.clone(),
        }
    }
}

impl Resource for EdgeRule {
    type Parsed = Link;
    /// Who makes edges.
    type Rules = String;

    const TABLE: &'static str = "edgerules";

    fn uuid(&mut self) -> &mut String {
        &mut self.uuid
    }

    fn parse(&mut self, origin: &String) -> Result<Link, Vec<Invalid>> {
        let mut broken = Vec::new();
        let src = keep(&mut broken, query("Src", &self.src));
        let dst = keep(&mut broken, query("Dst", &self.dst));
        let relation = self.metadata.get("RelationType").and_then(Value::as_str);
        let relation = relation.filter(|relation| !relation.is_empty());
        let relation = relation.ok_or(Invalid::new("Metadata", "RelationType is required"));
        match (src, dst, keep(&mut broken, relation)) {
            (Some(src), Some(dst), Some(relation)) => Ok(Link {
                src,
                dst,
                relation: relation.to_owned(),
                metadata: self.metadata.clone(),
                origin: origin.clone(),
            }),
            _ => Err(broken),
        }
    }
}

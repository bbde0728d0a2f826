//! How discovery writes nodes and edges, and leaves alone what others wrote on them.

use std::sync::{PoisonError, RwLockWriteGuard};

use serde_json::Value;
use sonde_proto::graph::{Edge, Element, Metadata, Node, uuid_v5};
use uuid::Uuid;

use crate::graph::{Graph, SharedGraph};

/// Signs the elements of one host.
#[derive(Clone, Debug)]
pub(super) struct Author {
    host: String,
    origin: String,
}

/// The node that owns others: its ID makes edges, its TID makes theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) id: String,
    pub(super) tid: String,
}

impl Author {
    /// The agent on `host`.
    pub(super) fn new(host: &str) -> Self {
        Self { host: host.to_owned(), origin: format!("agent.{host}") }
    }

    /// A new node, with an ID of its own.
    pub(super) fn node(&self, metadata: Metadata) -> Node {
        Node { id: Uuid::new_v4().to_string(), ..self.element(metadata) }
    }

    fn element(&self, metadata: Metadata) -> Element {
        let (host, origin) = (self.host.clone(), self.origin.clone());
        Element { metadata, host, origin, ..Element::default() }
    }

    /// The edge of that relation between two nodes; its ID follows from them (API §8.2).
    pub(super) fn edge(
        &self,
        parent: &str,
        child: &str,
        relation: &str,
        kind: Option<&str>,
    ) -> Edge {
        let mut metadata = Metadata::new();
        metadata.insert("RelationType".into(), relation.into());
        if let Some(kind) = kind {
            metadata.insert("Type".into(), kind.into());
        }
        Edge {
            element: Element {
                id: uuid_v5(&[parent, child, relation]).to_string(),
                ..self.element(metadata)
            },
            parent: parent.to_owned(),
            child: child.to_owned(),
        }
    }
}

/// The graph for a short section. A panic of another writer does not stop discovery: each change
/// of the graph is whole or absent.
pub(super) fn lock(graph: &SharedGraph) -> RwLockWriteGuard<'_, Graph> {
    graph.write().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the `owned` keys of `metadata` those of `fresh`; keys of others stay.
pub(super) fn renew(metadata: &mut Metadata, owned: &[&str], fresh: &Metadata) {
    for key in owned {
        if !fresh.contains_key(*key) {
            metadata.remove(*key);
        }
    }
    for (key, value) in fresh {
        metadata.insert(key.clone(), value.clone());
    }
}

/// Writes `value` under `key`, unless there is nothing to say.
pub(super) fn put(metadata: &mut Metadata, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        metadata.insert(key.to_owned(), value.into());
    }
}

/// A link-layer address as colon-separated hex. `None` for an address of zeros, which is nobody's.
pub(super) fn mac_text(address: &[u8]) -> Option<String> {
    (address.iter().any(|byte| *byte != 0)).then(|| hex_text(address))
}

/// Bytes as colon-separated hex.
pub(super) fn hex_text(address: &[u8]) -> String {
    let bytes: Vec<String> = address.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(pairs: &[(&str, &str)]) -> Metadata {
        pairs.iter().map(|(key, value)| (key.to_string(), Value::from(*value))).collect()
    }

    #[test]
    fn keys_of_others_survive_and_own_keys_vanish() {
        let mut held = metadata(&[("Name", "a"), ("MAC", "m"), ("Captures", "theirs")]);
        let fresh = metadata(&[("Name", "b"), ("State", "UP")]);
        renew(&mut held, &["Name", "MAC", "State"], &fresh);
        assert_eq!(held, metadata(&[("Name", "b"), ("State", "UP"), ("Captures", "theirs")]));
    }

    #[test]
    fn edge_id_is_skydives() {
        let edge = Author::new("h").edge("p", "c", "layer2", Some("veth"));
        assert_eq!(edge.id, Uuid::new_v5(&Uuid::NAMESPACE_OID, b"pclayer2").to_string());
        assert_eq!(edge.origin, "agent.h");
        assert_eq!(edge.metadata["Type"], "veth");
    }

    #[test]
    fn zero_addresses_are_nobodys() {
        assert_eq!(mac_text(&[0; 6]), None);
        assert_eq!(mac_text(&[]), None);
        assert_eq!(mac_text(&[2, 0, 0, 0, 0, 0xab]).unwrap(), "02:00:00:00:00:ab");
    }
}

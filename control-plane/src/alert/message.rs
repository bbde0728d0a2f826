//! What an alert says when it fires (Skydive API §2.4).

use std::hash::{DefaultHasher, Hasher as _};

use bytes::Bytes;
use serde::Serialize;
use sonde_proto::time::Timestamp;

use crate::clock::rfc3339;
use crate::gremlin::Answer;
use crate::json;

/// The JSON text of the message, `None` when it has more than [`MESSAGE`] bytes.
pub(super) fn message(uuid: &str, at: Timestamp, answer: &Answer) -> Option<Bytes> {
    let fired = Fired { uuid, timestamp: rfc3339(at), reason_data: answer };
    json::text_within(&fired, MESSAGE).map(Bytes::from)
}

/// What tells an answer from another, whatever the order of its items: the graph has none.
pub(super) fn fingerprint(answer: &Answer) -> u64 {
    match answer {
        Answer::Graph { nodes, edges } => sum(nodes).wrapping_add(sum(edges)),
        Answer::Nodes(nodes) => sum(nodes),
        Answer::Edges(edges) => sum(edges),
        Answer::Paths(paths) => sum(paths),
        Answer::Flows(flows) => sum(flows),
        Answer::Values(values) => sum(values),
        Answer::Metrics(metrics) => sum(&Vec::from_iter(metrics.pairs())),
        Answer::Groups(groups) => sum(&Vec::from_iter(groups.pairs())),
        Answer::Keyed(lists) => sum(lists),
        Answer::RawPackets(packets) => sum(packets),
        Answer::Number(_) | Answer::Value(_) => hash(answer),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Fired<'a> {
    #[serde(rename = "UUID")]
    uuid: &'a str,
    timestamp: String,
    reason_data: &'a Answer,
}

fn sum(items: &[impl Serialize]) -> u64 {
    items.iter().map(hash).fold(items.len() as u64, u64::wrapping_add)
}

fn hash(item: &impl Serialize) -> u64 {
    let mut text = Vec::new();
    json::append(&mut text, item);
    let mut hasher = DefaultHasher::new();
    hasher.write(&text);
    hasher.finish()
}

/// Bytes of a message at most: alerts are for what is little.
pub(super) const MESSAGE: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use sonde_proto::graph::Node;

    use super::*;

    fn nodes(ids: &[&str]) -> Answer {
        let node = |id: &&str| Arc::new(Node { id: (*id).into(), ..Node::default() });
        Answer::Nodes(ids.iter().map(node).collect())
    }

    #[test]
    fn a_message_says_who_when_and_why() {
        let text = message("u", Timestamp::from_millis(0), &Answer::Values(vec![json!(7)]));
        let expected = r#"{"UUID":"u","Timestamp":"1970-01-01T00:00:00Z","ReasonData":[7]}"#;
        assert_eq!(text.unwrap(), expected);
        let large = Answer::Value(json!("x".repeat(MESSAGE)));
        assert_eq!(message("u", Timestamp::default(), &large), None);
    }

    #[test]
    fn the_order_of_nodes_is_no_difference_and_all_else_is() {
        let ab = fingerprint(&nodes(&["a", "b"]));
        assert_eq!(ab, fingerprint(&nodes(&["b", "a"])));
        for other in [&["a"] as &[&str], &["a", "c"], &["a", "b", "b"]] {
            assert_ne!(ab, fingerprint(&nodes(other)), "{other:?}");
        }
        let number = |n: u64| fingerprint(&Answer::Number(n.into()));
        assert_ne!(number(1), number(2));
    }
}

//! Writes a graph for graphviz (Skydive API §2.2).

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Value;
use sonde_proto::graph::{Edge, Node, relation};

/// A digraph `g`. Edges whose nodes are not both there are left out.
pub(super) fn digraph(nodes: &[Arc<Node>], edges: &[Arc<Edge>]) -> String {
    let titles: HashMap<_, _> =
        (nodes.iter()).map(|node| (node.id.as_str(), title(node))).collect();
    let mut text = "digraph g {\n".to_owned();
    for node in nodes {
        let title = title(node);
        let label = label(node, &title);
        let _ = writeln!(text, "{} [label={}]", quoted(&title), quoted(&label));
    }
    for edge in edges {
        if let (Some(parent), Some(child)) =
            (titles.get(edge.parent.as_str()), titles.get(edge.child.as_str()))
        {
            let kind =
                edge.metadata.get("RelationType").and_then(Value::as_str).unwrap_or_default();
            let dir = if kind == relation::LAYER2 { "both" } else { "forward" };
            let (parent, child) = (quoted(parent), quoted(child));
            let _ = writeln!(text, "{parent} -> {child} [label={},dir={dir}]", quoted(kind));
        }
    }
    text + "}\n"
}

fn title(node: &Node) -> String {
    let id: String = node.id.chars().take(8).collect();
    format!("{}-{id}", node.text("Name"))
}

fn label(node: &Node, title: &str) -> String {
    let shown = ["Type", "IfIndex", "State", "TID", "IPV4", "IPV6"];
    let lines = shown.iter().filter_map(|key| {
        let value = node.metadata.get(*key)?;
        Some(match value.as_str() {
            Some(text) => format!("\n{key} = {text}"),
            None => format!("\n{key} = {value}"),
        })
    });
    std::iter::once(title.to_owned()).chain(lines).collect()
}

/// A quoted string of the DOT language.
fn quoted(text: &str) -> String {
    let mut out = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(id: &str, name: &str) -> Arc<Node> {
        let metadata =
            json!({"Name": name, "Type": "device", "IfIndex": 2, "IPV4": ["10.0.0.1/8"]});
        Arc::new(Node {
            id: id.into(),
            metadata: metadata.as_object().unwrap().clone(),
            ..Node::default()
        })
    }

    #[test]
    fn draws_nodes_and_edges() {
        let edge = |child: &str| {
            Arc::new(Edge {
                element: Node {
                    metadata: json!({"RelationType": "layer2"}).as_object().unwrap().clone(),
                    ..Node::default()
                },
                parent: "0123456789".into(),
                child: child.into(),
            })
        };
        let nodes = [node("0123456789", "eth0"), node("b", "a\"; evil\\\n")];
        assert_eq!(
            digraph(&nodes, &[edge("b"), edge("elsewhere")]),
            r#"digraph g {
"eth0-01234567" [label="eth0-01234567\nType = device\nIfIndex = 2\nIPV4 = [\"10.0.0.1/8\"]"]
"a\"; evil\\\n-b" [label="a\"; evil\\\n-b\nType = device\nIfIndex = 2\nIPV4 = [\"10.0.0.1/8\"]"]
"eth0-01234567" -> "a\"; evil\\\n-b" [label="layer2",dir=both]
}
"#
        );
    }
}

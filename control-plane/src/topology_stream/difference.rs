//! What has to be told to somebody who knows one state of the topology and shall know another.

use std::collections::HashMap;
use std::sync::Arc;

use super::seen::Seen;
use crate::graph::{Change, Event, Kind};

/// The changes from `before` to `after`: edges go before their nodes, and come after them.
pub(super) fn difference(before: &Seen, after: &Seen) -> Vec<Event> {
    let mut events = Vec::new();
    gone(&before.edges, &after.edges, &mut events);
    gone(&before.nodes, &after.nodes, &mut events);
    come(&before.nodes, &after.nodes, &mut events);
    come(&before.edges, &after.edges, &mut events);
    events
}

type Elements<K> = HashMap<String, Arc<K>>;

/// An element of the same ID that was made anew meanwhile is gone, and another has come.
fn gone<K: Kind>(before: &Elements<K>, after: &Elements<K>, events: &mut Vec<Event>) {
    for (id, element) in before {
        if after.get(id).is_none_or(|now| !is_same::<K>(element, now)) {
            events.push(K::event(Change::Deleted(element.clone())));
        }
    }
}

fn come<K: Kind>(before: &Elements<K>, after: &Elements<K>, events: &mut Vec<Event>) {
    for (id, element) in after {
        match before.get(id) {
            Some(known) if Arc::ptr_eq(known, element) => {}
            Some(known) if is_same::<K>(known, element) => {
                let (before, after) = (known.clone(), element.clone());
                events.push(K::event(Change::Updated { before, after }));
            }
            _ => events.push(K::event(Change::Added(element.clone()))),
        }
    }
}

/// Whether both are revisions of one element.
fn is_same<K: Kind>(before: &K, after: &K) -> bool {
    let (before, after) = (before.element(), after.element());
    before.created_at == after.created_at && before.revision <= after.revision
}

#[cfg(test)]
mod tests {
    use sonde_proto::graph::{Edge, Node};

    use super::*;

    fn node(id: &str, created: i64, revision: i64) -> Arc<Node> {
        let created_at = Some(created);
        Arc::new(Node { id: id.into(), created_at, revision, ..Node::default() })
    }

    fn edge(id: &str) -> Arc<Edge> {
        Arc::new(Edge {
            element: Node { id: id.into(), revision: 1, ..Node::default() },
            ..Edge::default()
        })
    }

    fn told(before: &Seen, after: &Seen) -> Vec<String> {
        fn say<K: Kind>(change: &Change<K>) -> String {
            match change {
                Change::Added(now) => format!("+{}", now.element().id),
                Change::Updated { before, after } => {
                    let (before, after) = (before.element(), after.element());
                    format!("{}:{}->{}", after.id, before.revision, after.revision)
                }
                Change::Deleted(last) => format!("-{}", last.element().id),
            }
        }
        let events = difference(before, after);
        let say = |event: &Event| match event {
            Event::Node(change) => say(change),
            Event::Edge(change) => say(change),
        };
        events.iter().map(say).collect()
    }

    #[test]
    fn edges_go_first_and_come_last() {
        let full = Seen::new([node("a", 1, 1)], [edge("e")]);
        assert_eq!(told(&full, &Seen::default()), ["-e", "-a"]);
        assert_eq!(told(&Seen::default(), &full), ["+a", "+e"]);
        assert!(told(&full, &full).is_empty());
    }

    #[test]
    fn revisions_between_are_skipped_and_namesakes_are_others() {
        let before = Seen::new([node("a", 1, 1), node("b", 1, 5)], []);
        assert_eq!(
            told(&before, &Seen::new([node("a", 1, 4), before.nodes["b"].clone()], [])),
            ["a:1->4"]
        );
        let remade = Seen::new([before.nodes["a"].clone(), node("b", 2, 9)], []);
        assert_eq!(told(&before, &remade), ["-b", "+b"]);
    }
}

//! Hears the graph for one client: no change is missed, and no change is kept for long.

use std::mem::take;
use std::sync::Arc;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::graph::{Event, Graph, Topology};

/// What happened since the client was told last.
#[derive(Debug)]
pub(super) struct Ears {
    events: Receiver<Event>,
    heard: Vec<Event>,
    /// More happened than was heard.
    lost: bool,
    /// The graph as it was when the client was told last.
    told: Arc<Topology>,
}

/// What the client has to be told.
#[derive(Debug)]
pub(super) enum News {
    /// Each change.
    Events(Vec<Event>),
    /// Changes were lost: the difference since this state.
    Since(Arc<Topology>),
}

impl Ears {
    pub(super) fn new(graph: &Graph) -> Self {
        let (events, told) = (graph.subscribe(), graph.snapshot());
        Self { events, heard: Vec::new(), lost: false, told }
    }

    /// The graph as it was when the client was told last.
    pub(super) fn told(&self) -> &Arc<Topology> {
        &self.told
    }

    /// Waits for a change. It is kept when the future is dropped.
    pub(super) async fn listen(&mut self) {
        if !self.heard.is_empty() || self.lost {
            return;
        }
        match self.events.recv().await {
            Ok(event) => self.heard.push(event),
            Err(RecvError::Lagged(_)) => self.lost = true,
            // There is no graph any more that could change.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }

    /// All that happened until now: the graph must not change meanwhile.
    pub(super) fn news(&mut self, graph: &Graph) -> News {
        self.hear();
        let before = std::mem::replace(&mut self.told, graph.snapshot());
        let heard = take(&mut self.heard);
        match take(&mut self.lost) {
            true => News::Since(before),
            false => News::Events(heard),
        }
    }

    /// Lets `change` change the graph without hearing it.
    pub(super) fn deaf<T>(&mut self, graph: &mut Graph, change: impl FnOnce(&mut Graph) -> T) -> T {
        self.hear();
        let result = change(graph);
        self.events = graph.subscribe();
        if !self.lost {
            self.told = graph.snapshot();
        }
        result
    }

    fn hear(&mut self) {
        loop {
            match self.events.try_recv() {
                Ok(event) if !self.lost => self.heard.push(event),
                Ok(_) => {}
                Err(TryRecvError::Lagged(_)) => {
                    self.lost = true;
                    self.heard.clear();
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sonde_proto::graph::Node;
    use sonde_proto::time::Timestamp;

    use super::*;
    use crate::graph::Change;

    const NOW: Timestamp = Timestamp::from_millis(1);

    fn add(graph: &mut Graph, id: &str) {
        graph.add(Node { id: id.into(), ..Node::default() }, NOW).unwrap();
    }

    fn heard(ears: &mut Ears, graph: &Graph) -> Vec<String> {
        match ears.news(graph) {
            News::Events(events) => events
                .into_iter()
                .map(|event| match event {
                    Event::Node(Change::Added(node)) => node.id.clone(),
                    other => panic!("{other:?}"),
                })
                .collect(),
            News::Since(_) => panic!("nothing was lost"),
        }
    }

    #[tokio::test]
    async fn hears_all_but_what_it_does_itself() {
        let mut graph = Graph::new();
        let mut ears = Ears::new(&graph);
        add(&mut graph, "a");
        ears.listen().await;
        add(&mut graph, "b");
        ears.deaf(&mut graph, |graph| add(graph, "mine"));
        add(&mut graph, "c");
        assert_eq!(heard(&mut ears, &graph), ["a", "b", "c"]);
        assert_eq!(ears.told().len(), 4);
        assert!(heard(&mut ears, &graph).is_empty());
    }

    #[tokio::test]
    async fn who_sleeps_too_long_knows_since_when() {
        let mut graph = Graph::new();
        add(&mut graph, "known");
        let mut ears = Ears::new(&graph);
        (0..10_000).for_each(|n| add(&mut graph, &n.to_string()));
        ears.deaf(&mut graph, |graph| add(graph, "mine"));
        ears.listen().await;
        match ears.news(&graph) {
            News::Since(before) => assert_eq!(before.len(), 1),
            News::Events(events) => panic!("{} events", events.len()),
        }
        add(&mut graph, "later");
        assert_eq!(heard(&mut ears, &graph), ["later"]);
    }
}

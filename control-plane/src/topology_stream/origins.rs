//! Whose elements are whose, between analyzers: those that are told here, and those that a peer
//! tells of (Skydive API §7.9). An origin has one place where it is told.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::graph::Topology;

/// The origins of elements, and where they are told. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    places: Mutex<Places>,
    released: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Places {
    /// Told here: by ourselves, by publishers and by agents.
    here: HashSet<String>,
    /// Told by the peer of that host.
    peers: HashMap<String, String>,
}

impl Origins {
    /// The origin is told here from now on. Whether a peer told of it until now.
    pub(super) fn take(&self, origin: &str) -> bool {
        let mut places = self.places();
        places.keep(origin);
        places.peers.remove(origin).is_some()
    }

    /// The origin is not told here any more.
    pub(super) fn leave(&self, origin: &str) {
        self.places().here.remove(origin);
        self.0.released.send_replace(());
    }

    /// Whether the peer of that host tells of the origin: if nobody does yet, and nothing of it is
    /// in `topology`, it does from now on.
    pub(super) fn admit(&self, origin: &str, peer: &str, topology: &Topology) -> bool {
        let mut places = self.places();
        if let Some(known) = places.peers.get(origin) {
            return known == peer;
        }
        if places.here.contains(origin) || places.peers.len() >= ORIGINS {
            return false;
        }
        let nodes = topology.nodes().map(|node| &**node);
        let mut all = nodes.chain(topology.edges().map(|edge| &edge.element));
        if all.any(|element| element.origin == origin) {
            places.keep(origin);
            return false;
        }
        places.peers.insert(origin.to_owned(), peer.to_owned());
        true
    }

    /// Whether the peer of that host tells of the origin.
    pub(super) fn is_of(&self, origin: &str, peer: &str) -> bool {
        self.places().peers.get(origin).is_some_and(|known| known == peer)
    }

    /// Whether any peer tells of the origin.
    pub(super) fn is_replicated(&self, origin: &str) -> bool {
        self.places().peers.contains_key(origin)
    }

    /// The peer of that host tells of nothing any more.
    pub(super) fn part(&self, peer: &str) {
        self.places().peers.retain(|_, known| known != peer);
        self.0.released.send_replace(());
    }

    /// Changes whenever an origin is not told any more where it was: another peer may have told of
    /// it before, in vain.
    pub(super) fn released(&self) -> watch::Receiver<()> {
        self.0.released.subscribe()
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    /// Spares a look through the topology; where there are too many, that is what is left.
    fn keep(&mut self, origin: &str) {
        if self.here.len() < ORIGINS {
            self.here.insert(origin.to_owned());
        }
    }
}

/// Origins that are kept at most, of peers and of here.
const ORIGINS: usize = 4096;

#[cfg(test)]
mod tests {
    use sonde_proto::graph::Node;
    use sonde_proto::time::Timestamp;

    use super::*;
    use crate::graph::Graph;

    #[test]
    fn an_origin_is_told_in_one_place() {
        let mut graph = Graph::new();
        let ours = Node { id: "a".into(), origin: "api.here".into(), ..Node::default() };
        graph.add(ours, Timestamp::default()).unwrap();
        let origins = Origins::default();
        assert!(!origins.admit("api.here", "b", &graph), "it is in the graph");
        assert!(origins.admit("agent.x", "b", &graph));
        assert!(origins.admit("agent.x", "b", &graph));
        assert!(!origins.admit("agent.x", "c", &graph), "b tells of it");
        assert!(origins.is_of("agent.x", "b") && !origins.is_of("agent.x", "c"));
        assert!(origins.take("agent.x"), "its agent came to us");
        assert!(!origins.is_replicated("agent.x"));
        assert!(!origins.take("agent.x") && !origins.admit("agent.x", "b", &graph));
        origins.leave("agent.x");
        assert!(origins.admit("agent.x", "c", &graph));
        origins.part("c");
        assert!(!origins.is_replicated("agent.x"));
    }

    #[test]
    fn peers_tell_of_so_many_origins() {
        let (graph, origins) = (Graph::new(), Origins::default());
        let told = (0..ORIGINS + 5).filter(|n| origins.admit(&n.to_string(), "b", &graph));
        assert_eq!(told.count(), ORIGINS);
        assert!(!origins.take("agent.x"), "ours are ours all the same");
    }
}

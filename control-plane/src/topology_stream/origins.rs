//! Whose elements are whose, between analyzers: those that are told here, and those that a peer
//! tells of (Skydive API §7.9). An origin has one place where it is told.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sonde_proto::graph::Element;
use tokio::sync::watch;

use super::publication::Refusal;
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
    pub(super) fn take(&self, origin: &str, topology: &Topology) -> bool {
        let mut places = self.places();
        if places.here.len() >= ORIGINS {
            let there = origins_in(topology);
            places.here.retain(|origin| there.contains(&**origin));
        }
        places.keep(origin);
        places.peers.remove(origin).is_some()
    }

    /// The origin is not told here any more.
    pub(super) fn leave(&self, origin: &str) {
        self.places().here.remove(origin);
        self.0.released.send_replace(());
    }

    /// Whether the peer of that host tells of the origin: if nobody does yet, and nothing of it is
    /// in `topology`, it does from now on. An error when it would, and there are too many.
    pub(super) fn admit(
        &self,
        origin: &str,
        peer: &str,
        topology: &Topology,
    ) -> Result<bool, Refusal> {
        let mut places = self.places();
        if let Some(known) = places.peers.get(origin) {
            return Ok(known == peer);
        }
        if places.here.contains(origin) {
            return Ok(false);
        }
        if places.peers.len() >= ORIGINS {
            return Err(Refusal::Origins);
        }
        if elements(topology).any(|element| element.origin == origin) {
            places.keep(origin);
            return Ok(false);
        }
        places.peers.insert(origin.to_owned(), peer.to_owned());
        Ok(true)
    }

    /// Where there are as many origins as may be, forgets those of the peer of which nothing is in
    /// `topology`, which has all that the peer told.
    pub(super) fn tidy(&self, peer: &str, topology: &Topology) {
        if self.places().peers.len() < ORIGINS {
            return;
        }
        let there = origins_in(topology);
        let mut places = self.places();
        places.peers.retain(|origin, known| known != peer || there.contains(&**origin));
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
        let mut places = self.places();
        let before = places.peers.len();
        places.peers.retain(|_, known| known != peer);
        let told = places.peers.len() < before;
        drop(places);
        if told {
            self.0.released.send_replace(());
        }
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

fn elements(topology: &Topology) -> impl Iterator<Item = &Element> {
    let nodes = topology.nodes().map(|node| &**node);
    nodes.chain(topology.edges().map(|edge| &edge.element))
}

fn origins_in(topology: &Topology) -> HashSet<&str> {
    elements(topology).map(|element| &*element.origin).collect()
}

/// Origins that are kept at most, of peers and of here.
pub(super) const ORIGINS: usize = 4096;

#[cfg(test)]
mod tests {
    use sonde_proto::graph::Node;
    use sonde_proto::time::Timestamp;

    use super::*;
    use crate::graph::Graph;

    fn node(id: &str, origin: &str) -> Node {
        Node { id: id.into(), origin: origin.into(), ..Node::default() }
    }

    #[test]
    fn an_origin_is_told_in_one_place() {
        let mut graph = Graph::new();
        graph.add(node("a", "api.here"), Timestamp::default()).unwrap();
        let origins = Origins::default();
        let admit = |origin, peer| origins.admit(origin, peer, &graph).unwrap();
        assert!(!admit("api.here", "b"), "it is in the graph");
        assert!(admit("agent.x", "b"));
        assert!(admit("agent.x", "b"));
        assert!(!admit("agent.x", "c"), "b tells of it");
        assert!(origins.is_of("agent.x", "b") && !origins.is_of("agent.x", "c"));
        assert!(origins.take("agent.x", &graph), "its agent came to us");
        assert!(!origins.is_replicated("agent.x"));
        assert!(!origins.take("agent.x", &graph) && !admit("agent.x", "b"));
        origins.leave("agent.x");
        assert!(admit("agent.x", "c"));
        let released = origins.released();
        origins.part("b");
        assert!(!released.has_changed().unwrap(), "it told of nothing");
        origins.part("c");
        assert!(released.has_changed().unwrap() && !origins.is_replicated("agent.x"));
    }

    #[test]
    fn peers_tell_of_so_many_origins() {
        let (mut graph, origins) = (Graph::new(), Origins::default());
        let admit = |graph: &Graph, origin: &str, peer| origins.admit(origin, peer, graph).is_ok();
        assert!(admit(&graph, "c's", "c"));
        let told = (0..ORIGINS + 5).filter(|n| admit(&graph, &n.to_string(), "b"));
        assert_eq!(told.count(), ORIGINS - 1);
        assert!(!origins.take("agent.x", &graph), "ours are ours all the same");

        // It tells of one still.
        graph.add(node("a", "7"), Timestamp::default()).unwrap();
        origins.tidy("b", &graph);
        let known = ["7", "8", "c's"].map(|origin| origins.is_replicated(origin));
        assert_eq!(known, [true, false, true]);
        assert!(admit(&graph, "new", "b"));
        origins.tidy("b", &graph);
        assert!(origins.is_replicated("new"), "there is room");
    }

    #[test]
    fn origins_of_here_that_are_over_make_room() {
        let (mut graph, origins) = (Graph::new(), Origins::default());
        graph.add(node("a", "7"), Timestamp::default()).unwrap();
        for n in 0..ORIGINS {
            origins.take(&n.to_string(), &graph);
        }
        origins.take("new", &graph);
        for (origin, admitted) in [("7", false), ("8", true), ("new", false)] {
            assert_eq!(origins.admit(origin, "b", &graph).unwrap(), admitted, "{origin}");
        }
    }
}

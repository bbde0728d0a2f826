//! All network namespaces of the host, and how they are kept in the graph.

mod functions;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rtnetlink::packet_route::link::LinkMessage;
use sonde_proto::graph::{Edge, Metadata, Node, relation};
use sonde_proto::time::Timestamp;
use tracing::{debug, warn};

use super::device::SYSFS;
use super::element::{Author, Owner, lock, renew};
use super::followed::Followed;
use super::metric;
use super::namespace::{self, Gone, Identity, Namespace, NetnsKey};
use super::other_end::{OtherEnd, Port};
use crate::graph::{Graph, SharedGraph};
use functions::VIRTUAL_FUNCTION;

/// The namespaces as their followers share them. Sections are short and never await.
#[derive(Clone)]
pub(super) struct SharedNamespaces(Arc<Mutex<Namespaces>>);

/// What is known of all namespaces.
pub(super) struct Namespaces {
    graph: SharedGraph,
    author: Author,
    /// The host's node.
    host: Owner,
    /// DPDK ports, some of which stand on links.
    ports: Vec<Port>,
    clock: fn() -> Timestamp,
    /// Where sysfs is.
    sys: Arc<Path>,
    known: BTreeMap<NetnsKey, Namespace>,
    /// When the counters of a namespace were read last.
    counted: HashMap<NetnsKey, Timestamp>,
    /// How often a namespace came or went.
    census: u32,
}

/// A link, by its namespace and its interface index there.
type Place = (NetnsKey, u32);

impl SharedNamespaces {
    pub(super) fn lock(&self) -> MutexGuard<'_, Namespaces> {
        // Each change is whole or absent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Namespaces {
    pub(super) fn new(
        graph: SharedGraph,
        author: Author,
        host: Owner,
        ports: Vec<Port>,
        clock: fn() -> Timestamp,
    ) -> Self {
        Self {
            graph,
            author,
            host,
            ports,
            clock,
            sys: Path::new(SYSFS).into(),
            known: BTreeMap::new(),
            counted: HashMap::new(),
            census: 0,
        }
    }

    pub(super) fn share(self) -> SharedNamespaces {
        SharedNamespaces(Arc::new(Mutex::new(self)))
    }

    /// The host's node.
    pub(super) fn host(&self) -> &Owner {
        &self.host
    }

    /// Takes in a namespace.
    pub(super) fn add(&mut self, identity: Identity) -> NetnsKey {
        let key = NetnsKey(self.census);
        self.recount();
        self.known.insert(key, Namespace::new(identity, self.sys.clone()));
        key
    }

    /// Takes in a namespace with a node of its own.
    pub(super) fn add_node(
        &mut self,
        node: Node,
        name: Option<String>,
        file: Option<Arc<File>>,
    ) -> NetnsKey {
        let owner = Owner { id: node.id.clone(), tid: node.text("TID").to_owned() };
        let edge = self.author.edge(&self.host.id, &node.id, relation::OWNERSHIP, None);
        let now = (self.clock)();
        let mut graph = lock(&self.graph);
        if let Err(error) = graph.add(node, now) {
            warn!(%error, "cannot add a network namespace to the graph");
        }
        add_edge(&mut graph, edge, now);
        drop(graph);
        self.add(Identity { owner, name, file })
    }

    /// Deletes all that is known of a namespace, and its node.
    pub(super) fn remove(&mut self, key: NetnsKey) {
        let Some(gone) = self.known.remove(&key) else {
            return;
        };
        self.counted.remove(&key);
        let now = (self.clock)();
        let Namespace { identity, links, gone, .. } = gone;
        let links = links.into_iter().map(|(index, followed)| followed.gone(index));
        let gone: Vec<Gone> = links.chain(gone).collect();
        for node in gone.iter().map(|gone| &gone.node).chain([&identity.owner.id]) {
            lock(&self.graph).delete::<Node>(node, now);
        }
        for namespace in self.known.values_mut() {
            namespace.forget_peer(key);
        }
        for place in self.on_nics_of(key, &BTreeSet::new(), &gone) {
            self.join(place, now);
        }
        self.recount();
    }

    /// Changes with each namespace that comes or goes.
    pub(super) fn census(&self) -> u32 {
        self.census
    }

    fn recount(&mut self) {
        self.census += 1;
        self.known.values().for_each(|namespace| namespace.poke.notify_one());
    }

    pub(super) fn get(&self, key: NetnsKey) -> Option<&Namespace> {
        self.known.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: NetnsKey) -> Option<&mut Namespace> {
        self.known.get_mut(&key)
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<(NetnsKey, Identity)> {
        let all = self.known.iter();
        all.map(|(key, namespace)| (*key, namespace.identity.clone())).collect()
    }

    /// Makes the `owned` keys of the node that owns a namespace's links those of `fresh`.
    pub(super) fn renew_owner(&self, key: NetnsKey, owned: &[&str], fresh: &Metadata) {
        if let Some(namespace) = self.known.get(&key) {
            let now = (self.clock)();
            lock(&self.graph).update::<Node>(&namespace.identity.owner.id, now, |held| {
                renew(held, owned, fresh);
            });
        }
    }

    /// All others, the host's own first: most namespaces have their peers there.
    pub(super) fn others(&self, key: NetnsKey) -> Vec<(NetnsKey, Identity)> {
        self.all().into_iter().filter(|(other, _)| *other != key).collect()
    }

    /// Makes an author's node.
    pub(super) fn node(&self, metadata: Metadata) -> Node {
        self.author.node(metadata)
    }

    /// Writes the counters of links that are known already.
    pub(super) fn count(&mut self, key: NetnsKey, messages: &[LinkMessage]) {
        let Some(namespace) = self.known.get_mut(&key) else {
            return;
        };
        let links = namespace::read(messages);
        namespace.take_vfs(&links);
        let now = (self.clock)();
        let looked = self.counted.insert(key, now);
        for link in links {
            if let Some(followed) = namespace.links.get(&link.index) {
                lock(&self.graph).update::<Node>(&followed.node, now, |metadata| {
                    metric::write(metadata, link.counters, looked, now);
                });
            }
        }
    }

    /// Brings the graph up to date with what was told of a namespace, a slice of it. True when there
    /// is more.
    pub(super) fn settle(&mut self, key: NetnsKey) -> bool {
        let Some(namespace) = self.known.get_mut(&key) else {
            return false;
        };
        let dirty: Vec<u32> = namespace.dirty.iter().take(SLICE).copied().collect();
        let mut moved = BTreeSet::new();
        for index in &dirty {
            namespace.dirty.remove(index);
            moved.extend(namespace.moved.take(index));
        }
        let gone: Vec<_> = namespace.gone.drain(..namespace.gone.len().min(SLICE)).collect();
        let more = !namespace.dirty.is_empty() || !namespace.gone.is_empty();
        let now = (self.clock)();
        for Gone { node, .. } in &gone {
            lock(&self.graph).delete::<Node>(node, now);
        }
        for index in dirty {
            if self.write(key, index, now) {
                moved.insert(index);
            }
        }
        // Edges last, when both their ends are there.
        let mut concerned = self.concerned(key, &moved);
        concerned.extend(self.on_nics_of(key, &moved, &gone));
        for place in concerned {
            self.join(place, now);
        }
        self.doubt(key, &moved, &gone.into_iter().map(|gone| gone.index).collect());
        more
    }

    /// Finds the links that must be read again, because what they refer to is gone, or because the
    /// other end of a veth that is here now is not known to them.
    fn doubt(&mut self, key: NetnsKey, moved: &BTreeSet<u32>, gone: &BTreeSet<u32>) {
        let mut doubtful: BTreeSet<Place> = BTreeSet::new();
        if let Some(namespace) = self.known.get(&key) {
            let ends = moved.iter().filter_map(|index| Some((*index, namespace.links.get(index)?)));
            doubtful.extend(ends.filter_map(|(index, Followed { link, .. })| {
                let peer = namespace.parent_of(key, link)?;
                let known = link.kind_name() == "veth" && self.followed(peer).is_some();
                (known && !self.points_back(peer, (key, index))).then_some(peer)
            }));
        }
        if !gone.is_empty() {
            doubtful.extend(self.referring(key, gone));
        }
        for (netns, index) in doubtful {
            if let Some(namespace) = self.known.get_mut(&netns) {
                namespace.doubt(index);
            }
        }
    }

    /// Writes the node of a link. True if it is a new one, because the link is new or because
    /// somebody deleted its node.
    fn write(&mut self, key: NetnsKey, index: u32, now: Timestamp) -> bool {
        let Some(followed) = self.followed((key, index)) else {
            return false;
        };
        let mut metadata = self.metadata(key, followed);
        let mut graph = lock(&self.graph);
        let written =
            graph.update::<Node>(&followed.node, now, |held| Followed::renew(held, &metadata));
        if written.is_some() {
            return false;
        }
        metric::write(&mut metadata, followed.link.counters, None, now);
        let node = self.author.node(metadata);
        let id = node.id.clone();
        if let Err(error) = graph.add(node, now) {
            warn!(%error, link = followed.link.name, "cannot add a link to the graph");
        }
        drop(graph);
        if let Some(followed) = self.followed_mut((key, index)) {
            followed.node = id;
        }
        true
    }

    fn metadata(&self, key: NetnsKey, followed: &Followed) -> Metadata {
        let Some(namespace) = self.known.get(&key) else {
            return Metadata::new();
        };
        let link = &followed.link;
        let peer = link.parent_netns.and_then(|id| namespace.peers.get(&id));
        let peer = peer.and_then(|peer| self.known.get(peer));
        let peer = peer.and_then(|peer| peer.identity.name.as_deref());
        followed.metadata(&namespace.around(link, peer))
    }

    /// The links whose edges may change with those of `moved`: these, those that refer to them, and
    /// those they refer to.
    fn concerned(&self, key: NetnsKey, moved: &BTreeSet<u32>) -> BTreeSet<Place> {
        let mut concerned: BTreeSet<Place> = moved.iter().map(|index| (key, *index)).collect();
        if moved.is_empty() {
            return concerned;
        }
        let Some(namespace) = self.known.get(&key) else {
            return concerned;
        };
        for (index, Followed { link, .. }) in &namespace.links {
            if moved.contains(&link.master) {
                concerned.insert((key, *index));
            }
            if moved.contains(index) {
                concerned.extend(namespace.parent_of(key, link));
            }
        }
        concerned.extend(self.referring(key, moved));
        concerned
    }

    /// The links anywhere that have one of these under them, or as their peer.
    fn referring<'a>(
        &'a self,
        key: NetnsKey,
        to: &'a BTreeSet<u32>,
    ) -> impl Iterator<Item = Place> + 'a {
        self.known.iter().flat_map(move |(netns, namespace)| {
            namespace.links.iter().filter_map(move |(index, Followed { link, .. })| {
                let (other, parent) = namespace.parent_of(*netns, link)?;
                (other == key && to.contains(&parent)).then_some((*netns, *index))
            })
        })
    }

    /// Makes the edges that are up to a link those it should have.
    fn join(&mut self, place: Place, now: Timestamp) {
        let Some(followed) = self.followed(place) else {
            return;
        };
        let wanted = self.edges(place, followed);
        let ids: Vec<String> = wanted.iter().map(|edge| edge.id.clone()).collect();
        let mut graph = lock(&self.graph);
        for gone in followed.edges.iter().filter(|id| !ids.contains(id)) {
            graph.delete::<Edge>(gone, now);
        }
        for edge in wanted {
            add_edge(&mut graph, edge, now);
        }
        drop(graph);
        if let Some(followed) = self.followed_mut(place) {
            followed.edges = ids;
        }
    }

    fn edges(&self, place: Place, followed: &Followed) -> Vec<Edge> {
        let Followed { link, node, .. } = followed;
        let Some(namespace) = self.known.get(&place.0) else {
            return Vec::new();
        };
        let layer2 = |parent: &str, child: &str, kind: Option<&str>| {
            self.author.edge(parent, child, relation::LAYER2, kind)
        };
        let owner = &namespace.identity.owner;
        let mut edges = vec![self.author.edge(&owner.id, node, relation::OWNERSHIP, None)];
        if let Some(master) = self.written((place.0, link.master))
            && master.link.switches()
        {
            edges.push(layer2(&master.node, node, None));
        }
        let under = namespace.parent_of(place.0, link);
        if let Some((under, there)) = under.and_then(|under| Some((under, self.written(under)?))) {
            match link.kind.as_deref() {
                // Both have to say so: the other end may have moved on, and another link got its
                // index. The lower one is the parent.
                Some("veth") if self.points_back(under, place) => {
                    let lower = (under.1, under.0) < (place.1, place.0);
                    let (parent, child) =
                        if lower { (&there.node, node) } else { (node, &there.node) };
                    edges.push(layer2(parent, child, Some("veth")));
                }
                Some("veth") | None => {}
                Some(_) => edges.push(layer2(&there.node, node, Some(link.kind_name()))),
            }
        }
        if let Some(upstream) = self.upstream(&followed.device) {
            edges.push(layer2(&upstream.node, node, Some(VIRTUAL_FUNCTION)));
        }
        let own = namespace.identity.name.is_none();
        let ports = self.ports.iter().filter_map(|port| match port.end.as_ref()? {
            OtherEnd::Link(name) if own && *name == link.name => Some((port, None)),
            OtherEnd::Function(device) => Some((port, self.carries(followed, device)?)),
            _ => None,
        });
        edges.extend(ports.map(|(port, kind)| layer2(node, &port.node, kind)));
        edges
    }

    /// Whether the veth at `from` has its other end at `to`, as far as it is known.
    fn points_back(&self, from: Place, to: Place) -> bool {
        let Some(Followed { link, .. }) = self.followed(from) else {
            return false;
        };
        let known = self.known.get(&from.0).and_then(|known| known.parent_of(from.0, link));
        let unnamed = || link.parent == to.1 && link.parent_netns.is_some() && from.0 != to.0;
        link.kind_name() == "veth" && known.map_or_else(unnamed, |known| known == to)
    }

    /// A link that has a node.
    fn written(&self, place: Place) -> Option<&Followed> {
        self.followed(place).filter(|followed| !followed.node.is_empty())
    }

    fn followed(&self, (netns, index): Place) -> Option<&Followed> {
        self.known.get(&netns)?.links.get(&index)
    }

    fn followed_mut(&mut self, (netns, index): Place) -> Option<&mut Followed> {
        self.known.get_mut(&netns)?.links.get_mut(&index)
    }
}

fn add_edge(graph: &mut Graph, edge: Edge, now: Timestamp) {
    if graph.edge(&edge.id).is_some() {
        return;
    }
    // A node deleted by somebody comes back with its next change, and its edges with it.
    if let Err(error) = graph.add(edge, now) {
        debug!(%error, "cannot add an edge to the graph");
    }
}

/// Links that are written at once: nobody waits longer for the lock.
const SLICE: usize = 256;

#[cfg(test)]
mod tests;

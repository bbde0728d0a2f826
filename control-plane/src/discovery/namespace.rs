//! The links of one network namespace, kept in the graph as the kernel changes them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::LinkMessage;
use sonde_proto::graph::{Edge, Node, relation, uuid_v5};
use sonde_proto::time::Timestamp;
use tracing::{debug, warn};

use super::address::Cidr;
use super::device::Device;
use super::element::{Author, Owner, lock, renew};
use super::link::{self, Link};
use super::metric;
use super::netlink::Dump;
use super::port::Lower;
use crate::graph::{Graph, SharedGraph};

/// What is known of one namespace. The daemon follows the one it runs in; each further one needs
/// its own, fed by a thread that has entered it.
pub(super) struct Namespace {
    graph: SharedGraph,
    author: Author,
    /// The node that owns the links: the host, for its own namespace.
    owner: Owner,
    /// DPDK ports that take their frames from links of this namespace.
    ports: Vec<Lower>,
    clock: fn() -> Timestamp,
    /// By interface index.
    links: BTreeMap<u32, Followed>,
    /// By interface index; the kernel may tell of them before it tells of the link.
    addresses: HashMap<u32, Vec<Cidr>>,
    /// VLAN for untagged frames, by the interface index of a bridge's port.
    pvids: HashMap<u32, u16>,
    /// When counters were read last.
    counted: Option<Timestamp>,
}

/// A link with its elements in the graph.
struct Followed {
    link: Link,
    device: Device,
    /// ID of its node.
    node: String,
    /// IDs of the edges that are up to this link: those to its owner, its master, the link under
    /// it, its veth peer of lower index, and the DPDK ports on it.
    edges: Vec<String>,
}

impl Namespace {
    pub(super) fn new(
        graph: SharedGraph,
        author: Author,
        owner: Owner,
        ports: Vec<Lower>,
        clock: fn() -> Timestamp,
    ) -> Self {
        Self {
            graph,
            author,
            owner,
            ports,
            clock,
            links: BTreeMap::new(),
            addresses: HashMap::new(),
            pvids: HashMap::new(),
            counted: None,
        }
    }

    /// Makes the graph what the dump shows.
    pub(super) fn resynchronise(&mut self, dump: Dump) {
        self.addresses.clear();
        for (index, cidr) in dump.addresses.iter().filter_map(Cidr::read) {
            self.addresses.entry(index).or_default().push(cidr);
        }
        self.pvids = dump
            .bridge
            .iter()
            .filter_map(link::read_pvid)
            .filter_map(|(index, pvid)| Some((index, pvid?)))
            .collect();
        let links: BTreeMap<u32, Link> =
            dump.links.iter().filter_map(Link::read).map(|link| (link.index, link)).collect();
        let held: Vec<u32> = self.links.keys().copied().collect();
        for gone in held.iter().filter(|index| !links.contains_key(index)) {
            self.forget(*gone);
        }
        let indices: Vec<u32> = links.keys().copied().collect();
        for link in links.into_values() {
            self.hold(link);
        }
        // Edges last, when both their ends are there.
        for index in indices {
            self.join(index);
        }
    }

    /// Takes over changes, in the order the kernel told them.
    pub(super) fn apply(&mut self, messages: &[RouteNetlinkMessage]) {
        for message in messages {
            match message {
                RouteNetlinkMessage::NewLink(message) => {
                    if let Some((index, pvid)) = link::read_pvid(message) {
                        self.set_pvid(index, pvid);
                    } else if let Some(link) = Link::read(message) {
                        self.update(link);
                    }
                }
                RouteNetlinkMessage::DelLink(message) => {
                    // The bridge family tells that a port left its bridge, not that it is gone.
                    if let Some((index, _)) = link::read_pvid(message) {
                        self.set_pvid(index, None);
                    } else {
                        self.remove(message.header.index);
                    }
                }
                RouteNetlinkMessage::NewAddress(message) => {
                    if let Some((index, cidr)) = Cidr::read(message) {
                        let held = self.addresses.entry(index).or_default();
                        if !held.contains(&cidr) {
                            held.push(cidr);
                            self.refresh(index);
                        }
                    }
                }
                RouteNetlinkMessage::DelAddress(message) => {
                    if let Some((index, cidr)) = Cidr::read(message)
                        && let Some(held) = self.addresses.get_mut(&index)
                    {
                        held.retain(|other| *other != cidr);
                        self.refresh(index);
                    }
                }
                _ => {}
            }
        }
    }

    /// Writes the counters of links that are known already.
    pub(super) fn count(&mut self, messages: &[LinkMessage]) {
        let now = (self.clock)();
        let mut graph = lock(&self.graph);
        for link in messages.iter().filter_map(Link::read) {
            if let Some(followed) = self.links.get(&link.index) {
                graph.update::<Node>(&followed.node, now, |metadata| {
                    metric::write(metadata, link.counters, self.counted, now);
                });
            }
        }
        self.counted = Some(now);
    }

    fn set_pvid(&mut self, index: u32, pvid: Option<u16>) {
        let before = match pvid {
            Some(pvid) => self.pvids.insert(index, pvid),
            None => self.pvids.remove(&index),
        };
        if before != pvid {
            self.refresh(index);
        }
    }

    /// Takes over a link that is new or may have changed, with the edges it has a part in.
    fn update(&mut self, link: Link) {
        let index = link.index;
        self.hold(link);
        self.join_around(index);
    }

    /// Takes over a link, without edges.
    fn hold(&mut self, link: Link) {
        let index = link.index;
        let device = Device::look(Path::new("/sys"), &link);
        match self.links.get_mut(&index) {
            Some(followed) => {
                followed.link = link;
                followed.device = device;
            }
            None => {
                let followed = Followed { link, device, node: String::new(), edges: Vec::new() };
                self.links.insert(index, followed);
            }
        }
        self.rewrite(index);
    }

    /// Writes a link of which something is known anew.
    fn refresh(&mut self, index: u32) {
        if self.rewrite(index) {
            self.join_around(index);
        }
    }

    /// Makes the edges between a link and those that may refer to it.
    fn join_around(&mut self, index: u32) {
        let referring = self.links.values().map(|followed| &followed.link);
        let referring: Vec<u32> = referring
            .filter(|link| link.master == index || link.parent == index)
            .map(|link| link.index)
            .chain([index])
            .collect();
        for index in referring {
            self.join(index);
        }
    }

    /// Writes the node of a link. True if it is a new one, because the link is new or because
    /// somebody deleted its node.
    fn rewrite(&mut self, index: u32) -> bool {
        let Some(followed) = self.links.get_mut(&index) else {
            return false;
        };
        let addresses = self.addresses.get(&index).map_or(&[][..], Vec::as_slice);
        let pvid = self.pvids.get(&index).copied();
        let link = &followed.link;
        let mut metadata = link.metadata(&followed.device, addresses, pvid);
        let tid = uuid_v5(&[&self.owner.tid, &link.name, link.kind_name()]);
        metadata.insert("TID".into(), tid.to_string().into());
        let now = (self.clock)();
        let mut graph = lock(&self.graph);
        let written = graph.update::<Node>(&followed.node, now, |held| {
            renew(held, link::KEYS, &metadata);
        });
        let new = written.is_none();
        if new {
            metric::write(&mut metadata, link.counters, None, now);
            let node = self.author.node(metadata);
            followed.node.clone_from(&node.id);
            if let Err(error) = graph.add(node, now) {
                warn!(%error, link = followed.link.name, "cannot add a link to the graph");
            }
        }
        new
    }

    /// Makes the edges that are up to a link those it should have.
    fn join(&mut self, index: u32) {
        let Some(followed) = self.links.get(&index) else {
            return;
        };
        let wanted = self.edges(followed);
        let ids: Vec<String> = wanted.iter().map(|edge| edge.id.clone()).collect();
        let now = (self.clock)();
        let mut graph = lock(&self.graph);
        for gone in followed.edges.iter().filter(|id| !ids.contains(id)) {
            graph.delete::<Edge>(gone, now);
        }
        for edge in wanted {
            add_edge(&mut graph, edge, now);
        }
        drop(graph);
        if let Some(followed) = self.links.get_mut(&index) {
            followed.edges = ids;
        }
    }

    fn edges(&self, followed: &Followed) -> Vec<Edge> {
        let Followed { link, node, .. } = followed;
        let edge = |parent: &str, kind| self.author.edge(parent, node, relation::LAYER2, kind);
        let ownership = self.author.edge(&self.owner.id, node, relation::OWNERSHIP, None);
        let mut edges = vec![ownership];
        if let Some(master) = self.links.get(&link.master)
            && master.link.switches()
        {
            edges.push(edge(&master.node, None));
        }
        let under = self.links.get(&link.parent);
        if let Some(under) = under.filter(|_| link.parent_netns.is_none()) {
            match link.kind_name() {
                // One edge for both ends, from the lower index. Both have to say so: an index
                // means another link in another namespace.
                "veth" if under.link.parent == link.index && under.link.index < link.index => {
                    edges.push(edge(&under.node, Some("veth")));
                }
                "vlan" => edges.push(edge(&under.node, Some("vlan"))),
                _ => {}
            }
        }
        for port in self.ports.iter().filter(|port| port.link == link.name) {
            edges.push(self.author.edge(node, &port.node, relation::LAYER2, None));
        }
        edges
    }

    /// Drops all that is known of a link that is gone.
    fn remove(&mut self, index: u32) {
        self.addresses.remove(&index);
        self.pvids.remove(&index);
        self.forget(index);
    }

    /// Deletes the node of a link, and with it its edges.
    fn forget(&mut self, index: u32) {
        if let Some(followed) = self.links.remove(&index) {
            lock(&self.graph).delete::<Node>(&followed.node, (self.clock)());
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use rtnetlink::packet_route::AddressFamily;
    use rtnetlink::packet_route::link::{
        AfSpecBridge, BridgeVlanInfo, BridgeVlanInfoFlags, InfoKind, LinkAttribute, LinkInfo,
    };
    use sonde_proto::graph::{Metadata, Node};
    use std::sync::Arc;

    /// A namespace whose links nobody else has, with the DPDK port `tap` on the link `lower`.
    fn namespace() -> Namespace {
        let author = Author::new("h");
        let mut graph = Graph::new();
        let mut add = |name: &str| {
            let mut metadata = Metadata::new();
            metadata.insert("Name".into(), name.into());
            let node = author.node(metadata);
            let id = node.id.clone();
            graph.add(node, Timestamp::default()).unwrap();
            id
        };
        let owner = Owner { id: add("h"), tid: "owner".into() };
        let port = Lower { link: "lower".into(), node: add("tap") };
        let graph = SharedGraph::new(graph.into());
        Namespace::new(graph, author, owner, vec![port], Timestamp::default)
    }

    fn link(index: u32, name: &str, kind: &str, more: &[LinkAttribute]) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        let kind = LinkInfo::Kind(InfoKind::from(kind));
        message.attributes =
            vec![LinkAttribute::IfName(name.into()), LinkAttribute::LinkInfo(vec![kind])];
        message.attributes.extend_from_slice(more);
        message
    }

    fn new(message: LinkMessage) -> RouteNetlinkMessage {
        RouteNetlinkMessage::NewLink(message)
    }

    fn node(namespace: &Namespace, name: &str) -> Option<Arc<Node>> {
        let graph = namespace.graph.read().unwrap();
        let mut nodes = graph.nodes();
        nodes.find(|node| node.text("Name") == name).cloned()
    }

    /// The layer2 edges as text, in order.
    fn layer2(namespace: &Namespace) -> Vec<String> {
        let graph = namespace.graph.read().unwrap();
        let name = |id: &str| graph.node(id).unwrap().text("Name").to_owned();
        let edges = graph.edges().filter(|edge| edge.metadata["RelationType"] == "layer2");
        let mut edges: Vec<String> = edges
            .map(|edge| {
                let kind = edge.metadata.get("Type").and_then(|kind| kind.as_str());
                let (parent, child) = (name(&edge.parent), name(&edge.child));
                format!("{parent} -> {child} {}", kind.unwrap_or_default())
            })
            .collect();
        edges.sort();
        edges
    }

    #[test]
    fn edges_come_with_the_second_end_whichever_it_is() {
        let messages = [
            new(link(1, "parent", "ifb", &[])),
            new(link(2, "parent.7", "vlan", &[LinkAttribute::Link(1)])),
            new(link(3, "br", "bridge", &[])),
            new(link(4, "va", "veth", &[LinkAttribute::Link(5), LinkAttribute::Controller(3)])),
            new(link(5, "vb", "veth", &[LinkAttribute::Link(4)])),
            new(link(6, "red", "vrf", &[])),
            new(link(7, "routed", "ifb", &[LinkAttribute::Controller(6)])),
            new(link(8, "lower", "ifb", &[])),
        ];
        let expected = ["br -> va ", "lower -> tap ", "parent -> parent.7 vlan", "va -> vb veth"];
        let mut forward = namespace();
        forward.apply(&messages);
        assert_eq!(layer2(&forward), expected);
        let mut backward = namespace();
        for message in messages.iter().rev() {
            backward.apply(std::slice::from_ref(message));
        }
        assert_eq!(layer2(&backward), expected);
    }

    #[test]
    fn a_port_stays_on_the_link_of_that_name() {
        let mut namespace = namespace();
        namespace.apply(&[new(link(8, "lower", "ifb", &[]))]);
        namespace.apply(&[new(link(8, "other", "ifb", &[]))]);
        assert_eq!(layer2(&namespace), [""; 0]);
        namespace.apply(&[new(link(9, "lower", "ifb", &[]))]);
        assert_eq!(layer2(&namespace), ["lower -> tap "]);
    }

    #[test]
    fn a_port_that_leaves_its_bridge_is_not_gone() {
        let mut namespace = namespace();
        let mut port = link(4, "va", "veth", &[]);
        namespace.apply(&[new(port.clone())]);
        port.header.interface_family = AddressFamily::Bridge;
        let vlan = |vid, flags| AfSpecBridge::VlanInfo(BridgeVlanInfo { flags, vid });
        let vlans = vec![
            vlan(2, BridgeVlanInfoFlags::Untagged),
            vlan(9, BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged),
        ];
        port.attributes.push(LinkAttribute::AfSpecBridge(vlans));
        namespace.apply(&[new(port.clone())]);
        assert_eq!(node(&namespace, "va").unwrap().metadata["Vlan"], 9);
        namespace.apply(&[RouteNetlinkMessage::DelLink(port.clone())]);
        assert!(!node(&namespace, "va").unwrap().metadata.contains_key("Vlan"));
        port.header.interface_family = AddressFamily::Unspec;
        namespace.apply(&[RouteNetlinkMessage::DelLink(port)]);
        assert_eq!(node(&namespace, "va"), None);
    }

    #[test]
    fn a_dump_repairs_what_was_lost() {
        let mut namespace = namespace();
        namespace.apply(&[
            new(link(1, "gone", "ifb", &[])),
            new(link(3, "br", "bridge", &[])),
            new(link(4, "port", "ifb", &[LinkAttribute::Controller(3)])),
        ]);
        let before = node(&namespace, "port").unwrap();
        namespace.resynchronise(Dump {
            links: vec![
                link(4, "port", "ifb", &[LinkAttribute::Mtu(1400)]),
                link(8, "lower", "ifb", &[LinkAttribute::Controller(9)]),
                link(9, "br1", "bridge", &[]),
            ],
            bridge: Vec::new(),
            addresses: Vec::new(),
        });
        let after = node(&namespace, "port").unwrap();
        assert_eq!(after.id, before.id);
        assert_eq!(after.metadata["MTU"], 1400);
        assert_eq!(node(&namespace, "gone"), None);
        assert_eq!(node(&namespace, "br"), None);
        assert_eq!(layer2(&namespace), ["br1 -> lower ", "lower -> tap "]);
    }
}

use super::*;
use rtnetlink::packet_route::link::{
    AfSpecBridge, BridgeVlanInfo, BridgeVlanInfoFlags, InfoKind, LinkAttribute, LinkInfo,
};
use rtnetlink::packet_route::nsid::{NsidAttribute, NsidMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::discovery::device::Device;
use crate::discovery::device::tests::pci_functions;
use crate::discovery::netlink::Dump;

/// The host's own namespace and others, with the DPDK port `tap` on the link `lower`.
struct World {
    namespaces: Namespaces,
    own: NetnsKey,
}

impl World {
    fn new() -> Self {
        let end = OtherEnd::Link("lower".into());
        Self::with(&[("tap", end)], Path::new(SYSFS))
    }

    /// With these ports, and sysfs there.
    fn with(ports: &[(&str, OtherEnd)], sys: &Path) -> Self {
        let author = Author::new("h");
        let mut graph = Graph::new();
        let mut add = |name: &str| {
            let node = author.node(named(name));
            let id = node.id.clone();
            graph.add(node, Timestamp::default()).unwrap();
            id
        };
        let host = Owner { id: add("h"), tid: "owner".into() };
        let ports =
            ports.iter().map(|(name, end)| Port { node: add(name), end: Some(end.clone()) });
        let ports = ports.collect();
        let graph = SharedGraph::new(graph.into());
        let clock = Timestamp::default;
        let mut namespaces = Namespaces::new(graph, author, host.clone(), ports, clock);
        namespaces.sys = sys.into();
        let own = namespaces.add(Identity { owner: host, name: None, file: None });
        Self { namespaces, own }
    }

    fn netns(&mut self, name: &str) -> NetnsKey {
        let node = self.namespaces.node(named(name));
        self.namespaces.add_node(node, Some(name.to_owned()), None)
    }

    fn tell_to(&mut self, key: NetnsKey, messages: &[RouteNetlinkMessage]) {
        self.namespaces.get_mut(key).unwrap().apply(messages);
        self.settle(key);
    }

    fn settle(&mut self, key: NetnsKey) {
        while self.namespaces.settle(key) {}
    }

    fn tell(&mut self, messages: &[RouteNetlinkMessage]) {
        self.tell_to(self.own, messages);
    }

    fn node(&self, name: &str) -> Option<Arc<Node>> {
        let graph = self.namespaces.graph.read().unwrap();
        let mut nodes = graph.nodes();
        nodes.find(|node| node.text("Name") == name).cloned()
    }

    /// The edges of that relation as text, in order.
    fn edges(&self, relation: &str) -> Vec<String> {
        let graph = self.namespaces.graph.read().unwrap();
        let name = |id: &str| graph.node(id).unwrap().text("Name").to_owned();
        let edges = graph.edges().filter(|edge| edge.metadata["RelationType"] == relation);
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

    fn layer2(&self) -> Vec<String> {
        self.edges("layer2")
    }
}

fn named(name: &str) -> Metadata {
    [("Name".to_owned(), name.into()), ("TID".to_owned(), name.into())].into_iter().collect()
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

/// A veth whose other end has the index `peer` in the namespace of the number `netns`.
fn veth(index: u32, name: &str, peer: u32, netns: Option<i32>) -> RouteNetlinkMessage {
    let mut attributes = vec![LinkAttribute::Link(peer)];
    attributes.extend(netns.map(LinkAttribute::LinkNetNsId));
    new(link(index, name, "veth", &attributes))
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
        new(link(9, "vx", "vxlan", &[LinkAttribute::Link(1)])),
        new(link(10, "mac", "macvlan", &[LinkAttribute::Link(1)])),
        new(link(11, "bond", "bond", &[])),
        new(link(12, "slave", "ifb", &[LinkAttribute::Controller(11)])),
    ];
    let expected = [
        "bond -> slave ",
        "br -> va ",
        "lower -> tap ",
        "parent -> mac macvlan",
        "parent -> parent.7 vlan",
        "parent -> vx vxlan",
        "va -> vb veth",
    ];
    let mut forward = World::new();
    forward.tell(&messages);
    assert_eq!(forward.layer2(), expected);
    let mut backward = World::new();
    for message in messages.iter().rev() {
        backward.tell(std::slice::from_ref(message));
    }
    assert_eq!(backward.layer2(), expected);
}

#[test]
fn links_that_are_written_in_slices_find_each_other() {
    let mut world = World::new();
    let pairs = 2 * SLICE as u32;
    // The ends of a pair are far apart.
    let ends = |n| [veth(n, &format!("a{n}"), n + pairs, None), veth(n + pairs, "b", n, None)];
    world.tell(&(1..=pairs).flat_map(ends).collect::<Vec<_>>());
    assert_eq!(world.layer2().len(), pairs as usize);
    let gone = |n| RouteNetlinkMessage::DelLink(link(n, "", "veth", &[]));
    world.tell(&(1..=2 * pairs).map(gone).collect::<Vec<_>>());
    assert_eq!(world.namespaces.graph.read().unwrap().nodes().count(), 2);
}

#[test]
fn a_port_stays_on_the_link_of_that_name() {
    let mut world = World::new();
    let other = world.netns("other");
    world.tell_to(other, &[new(link(3, "lower", "ifb", &[]))]);
    assert_eq!(world.layer2(), [""; 0], "a link of the host's own namespace");
    world.tell(&[new(link(8, "lower", "ifb", &[]))]);
    world.tell(&[new(link(8, "renamed", "ifb", &[]))]);
    assert_eq!(world.layer2(), [""; 0]);
    world.tell(&[new(link(9, "lower", "ifb", &[]))]);
    assert_eq!(world.layer2(), ["lower -> tap "]);
}

/// The physical function of a NIC, and its virtual ones.
const PHYSICAL: &str = "0000:3b:00.0";
const VIRTUAL: [&str; 3] = ["0000:3b:00.2", "0000:3b:00.3", "0000:3b:00.4"];

/// A link on the PCI function at an address.
fn on(index: u32, name: &str, address: &str) -> LinkMessage {
    let bus = LinkAttribute::ParentDevBusName("pci".into());
    let mut link = link(index, name, "", &[bus, LinkAttribute::ParentDevName(address.into())]);
    link.attributes.retain(|attribute| !matches!(attribute, LinkAttribute::LinkInfo(_)));
    link
}

/// A link that is a port in the switch of the NIC.
fn representor(index: u32, name: &str, port: &str) -> LinkMessage {
    let mut link = on(index, name, PHYSICAL);
    link.attributes.push(LinkAttribute::PhysPortName(port.into()));
    link
}

#[test]
fn functions_of_a_nic_hang_together_across_namespaces() {
    let sys = tempfile::tempdir().unwrap();
    pci_functions(sys.path(), PHYSICAL, &VIRTUAL);
    let port = |address| OtherEnd::Function(Device::at(sys.path(), address));
    // One port shares its function with the kernel, one has a virtual function for itself.
    let ports = [("shared", port(PHYSICAL)), ("dpdk", port(VIRTUAL[2]))];
    let mut world = World::with(&ports, sys.path());
    let red = world.netns("red");
    world.tell_to(red, &[new(on(2, "vf1", VIRTUAL[1]))]);
    // Ports of the NIC's switch that lead elsewhere, and are found before the function's own link.
    world.tell(&[new(representor(1, "host", "pf0hpf")), new(representor(4, "sf", "pf0sf88"))]);
    world.tell(&[new(on(3, "vf0", VIRTUAL[0])), new(on(5, "pf", PHYSICAL))]);
    assert_eq!(world.node("vf1").unwrap().metadata["VfID"], 1);
    let legacy = ["pf -> dpdk vf", "pf -> shared ", "pf -> vf0 vf", "pf -> vf1 vf"];
    assert_eq!(world.layer2(), legacy);

    // The NIC becomes a switch.
    world.tell(&[new(representor(7, "rep1", "pf0vf1")), new(representor(6, "rep2", "c0pf0vf2"))]);
    let switched = ["pf -> shared ", "pf -> vf0 vf", "rep1 -> vf1 vf", "rep2 -> dpdk vf"];
    assert_eq!(world.layer2(), switched);

    // And no switch again.
    world.tell(&[6, 7].map(|index| RouteNetlinkMessage::DelLink(on(index, "", PHYSICAL))));
    assert_eq!(world.layer2(), legacy);
}

#[test]
fn functions_find_another_way_when_a_namespace_goes() {
    let sys = tempfile::tempdir().unwrap();
    pci_functions(sys.path(), PHYSICAL, &VIRTUAL);
    let port = OtherEnd::Function(Device::at(sys.path(), VIRTUAL[2]));
    let mut world = World::with(&[("dpdk", port)], sys.path());
    let red = world.netns("red");
    world.tell(&[new(on(1, "pf", PHYSICAL)), new(on(3, "vf0", VIRTUAL[0]))]);
    let representors = [representor(5, "rep0", "pf0vf0"), representor(6, "rep2", "pf0vf2")];
    world.tell_to(red, &representors.map(new));
    assert_eq!(world.layer2(), ["rep0 -> vf0 vf", "rep2 -> dpdk vf"]);
    world.namespaces.remove(red);
    assert_eq!(world.layer2(), ["pf -> dpdk vf", "pf -> vf0 vf"]);
}

#[test]
fn a_device_is_looked_for_until_it_is_found() {
    let sys = tempfile::tempdir().unwrap();
    let mut world = World::with(&[], sys.path());
    let bus = |world: &World| world.node("vf0").unwrap().metadata.get("BusInfo").cloned();
    world.tell(&[new(on(3, "vf0", VIRTUAL[0]))]);
    assert_eq!(bus(&world), None);
    pci_functions(sys.path(), PHYSICAL, &VIRTUAL);
    world.tell(&[new(on(3, "vf0", VIRTUAL[0]))]);
    assert_eq!(bus(&world), Some(VIRTUAL[0].into()));
    drop(sys);
    world.tell(&[new(on(3, "vf0", VIRTUAL[0]))]);
    assert_eq!(bus(&world), Some(VIRTUAL[0].into()), "nothing says that it is another");
    world.tell(&[new(on(3, "vf0", VIRTUAL[1]))]);
    assert_eq!(bus(&world), None);
}

#[test]
fn a_port_that_leaves_its_bridge_is_not_gone() {
    let mut world = World::new();
    let mut port = link(4, "va", "veth", &[]);
    world.tell(&[new(port.clone())]);
    port.header.interface_family = AddressFamily::Bridge;
    let vlan = |vid, flags| AfSpecBridge::VlanInfo(BridgeVlanInfo { flags, vid });
    let vlans = vec![
        vlan(2, BridgeVlanInfoFlags::Untagged),
        vlan(9, BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged),
    ];
    port.attributes.push(LinkAttribute::AfSpecBridge(vlans));
    world.tell(&[new(port.clone())]);
    assert_eq!(world.node("va").unwrap().metadata["Vlan"], 9);
    world.tell(&[RouteNetlinkMessage::DelLink(port.clone())]);
    assert!(!world.node("va").unwrap().metadata.contains_key("Vlan"));
    port.header.interface_family = AddressFamily::Unspec;
    world.tell(&[RouteNetlinkMessage::DelLink(port)]);
    assert_eq!(world.node("va"), None);
}

#[test]
fn a_dump_repairs_what_was_lost() {
    let mut world = World::new();
    world.tell(&[
        new(link(1, "gone", "ifb", &[])),
        new(link(3, "br", "bridge", &[])),
        new(link(4, "port", "ifb", &[LinkAttribute::Controller(3)])),
    ]);
    let before = world.node("port").unwrap();
    world.namespaces.get_mut(world.own).unwrap().resynchronise(&Dump {
        links: vec![
            link(4, "port", "ifb", &[LinkAttribute::Mtu(1400)]),
            link(8, "lower", "ifb", &[LinkAttribute::Controller(9)]),
            link(9, "br1", "bridge", &[]),
        ],
        ..Dump::default()
    });
    world.settle(world.own);
    let after = world.node("port").unwrap();
    assert_eq!(after.id, before.id);
    assert_eq!(after.metadata["MTU"], 1400);
    assert_eq!(world.node("gone"), None);
    assert_eq!(world.node("br"), None);
    assert_eq!(world.layer2(), ["br1 -> lower ", "lower -> tap "]);
}

#[test]
fn what_changes_at_once_is_one_revision() {
    let mut world = World::new();
    let mtu = |mtu| new(link(4, "port", "ifb", &[LinkAttribute::Mtu(mtu)]));
    world.tell(&[mtu(1500)]);
    world.tell(&(1000..1400).map(mtu).collect::<Vec<_>>());
    assert_eq!(world.node("port").unwrap().revision, 2);
    let gone = RouteNetlinkMessage::DelLink(link(4, "port", "ifb", &[]));
    world.tell(&[gone, new(link(4, "other", "ifb", &[]))]);
    assert_eq!(world.node("port"), None);
    assert_eq!(world.node("other").unwrap().revision, 1);
}

#[test]
fn peers_are_found_in_other_namespaces_by_their_number() {
    let mut world = World::new();
    let (red, blue) = (world.netns("red"), world.netns("blue"));
    world.tell(&[veth(7, "host", 2, Some(0)), new(link(3, "eth", "ifb", &[]))]);
    // Both have a link of that index which says that its peer is number 7 of number 0.
    world.tell_to(red, &[veth(2, "red0", 7, Some(0))]);
    world.tell_to(blue, &[veth(2, "blue0", 7, Some(0))]);
    world.tell_to(
        blue,
        &[new(link(5, "mac", "macvlan", &[LinkAttribute::Link(3), LinkAttribute::LinkNetNsId(0)]))],
    );
    assert_eq!(world.layer2(), [""; 0], "nobody knows whose numbers these are");
    let own = world.own;
    world.namespaces.get_mut(own).unwrap().take_peers(&[(0, red)]);
    world.settle(own);
    assert_eq!(world.layer2(), ["red0 -> host veth"]);
    assert_eq!(world.node("host").unwrap().text("LinkNetNsName"), "red");
    world.namespaces.get_mut(blue).unwrap().take_peers(&[(0, own)]);
    world.settle(blue);
    assert_eq!(world.layer2(), ["eth -> mac macvlan", "red0 -> host veth"]);

    // The number is given to another namespace.
    let mut message = NsidMessage::default();
    message.attributes.push(NsidAttribute::Id(0));
    world.tell(&[RouteNetlinkMessage::DelNsId(message)]);
    assert!(!world.node("host").unwrap().metadata.contains_key("LinkNetNsName"));
    world.namespaces.get_mut(own).unwrap().take_peers(&[(0, blue)]);
    world.settle(own);
    assert_eq!(world.layer2(), ["blue0 -> host veth", "eth -> mac macvlan"]);
}

#[test]
fn a_namespace_goes_with_all_that_is_in_it() {
    let mut world = World::new();
    let red = world.netns("red");
    world.tell_to(red, &[veth(2, "red0", 7, Some(0)), new(link(3, "br", "bridge", &[]))]);
    world.tell(&[veth(7, "host", 2, Some(0))]);
    let own = world.own;
    world.namespaces.get_mut(own).unwrap().take_peers(&[(0, red)]);
    world.settle(own);
    let owned = ["h -> host ", "h -> red ", "red -> br ", "red -> red0 "];
    assert_eq!(world.edges("ownership"), owned);
    assert_eq!(world.layer2(), ["red0 -> host veth"]);
    world.namespaces.remove(red);
    world.settle(own);
    assert_eq!(world.edges("ownership"), ["h -> host "]);
    assert_eq!(world.layer2(), [""; 0]);
    let host = world.node("host").unwrap();
    assert!(!host.metadata.contains_key("LinkNetNsName"));
    assert_eq!(world.namespaces.graph.read().unwrap().nodes().count(), 3);
    assert_eq!(world.namespaces.known.len(), 1);
}

//! Discovery against a real kernel, in network namespaces of the tests' own. Needs root and `ip`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod many;
mod namespaces;
mod netns;
mod tables;

use netns::{Netns, edge, gone, host_tid, node, tid, within_a_second};
use serde_json::json;
use sonde_control_plane::discovery::{MacTids, PortNode};
use sonde_control_plane::graph::Graph;
use sonde_proto::graph::{Node, uuid_v5};
use sonde_proto::time::Timestamp;

#[test]
fn host_and_loopback_are_there() {
    let netns = Netns::new("host");
    netns.discover(Vec::new(), async |graph| {
        let lo = within_a_second(&graph, "lo", |graph| node(graph, "lo")).await;
        assert_eq!(lo.text("TID"), tid("lo", "device"));
        assert_eq!(lo.text("EncapType"), "loopback");
        assert_eq!(lo.metadata["LinkFlags"], json!(["LOOPBACK"]));
        assert_eq!((lo.host.as_str(), lo.origin.as_str()), ("lab", "agent.lab"));
        assert!(!lo.metadata.contains_key("MAC"), "zeros are nobody's");

        let host = within_a_second(&graph, "host", |graph| node(graph, "lab")).await;
        assert_eq!(host.text("Type"), "host");
        assert_eq!(host.text("TID"), host_tid());
        let cpus = host.metadata["CPU"].as_array();
        assert!(cpus.is_some_and(|cpus| !cpus.is_empty()));
    });
}

#[test]
fn links_appear_with_their_edges_and_vanish() {
    let netns = Netns::new("links");
    netns.discover(Vec::new(), async |graph| {
        netns.ip("link add br0 type bridge");
        netns.ip("link add va index 11 type veth peer name vb index 12");
        netns.ip("link set va master br0");
        let bridged = within_a_second(&graph, "bridge", |graph| edge(graph, "br0", "va")).await;
        assert_eq!(bridged.metadata, *json!({"RelationType": "layer2"}).as_object().unwrap());
        let id = uuid_v5(&[&bridged.parent, &bridged.child, "layer2"]);
        assert_eq!(bridged.id, id.to_string());

        let pair = within_a_second(&graph, "pair", |graph| edge(graph, "va", "vb")).await;
        assert_eq!(pair.metadata["RelationType"], "layer2");
        assert_eq!(pair.metadata["Type"], "veth");
        let owned = within_a_second(&graph, "owner", |graph| edge(graph, "lab", "br0")).await;
        assert_eq!(owned.metadata["RelationType"], "ownership");
        let va = within_a_second(&graph, "va", |graph| node(graph, "va")).await;
        assert_eq!(va.text("TID"), tid("va", "veth"));
        assert_eq!(va.metadata["PeerIfIndex"], 12);

        netns.ip("link set va nomaster");
        let unbridged = |graph: &Graph| edge(graph, "br0", "va").is_none().then_some(());
        within_a_second(&graph, "leaving the bridge", unbridged).await;
        netns.ip("link del va");
        within_a_second(&graph, "end of va", gone("va")).await;
        within_a_second(&graph, "end of vb", gone("vb")).await;
        let graph = graph.read().unwrap();
        assert!(node(&graph, "br0").is_some());
        let mut edges = graph.edges();
        assert!(edges.all(|edge| edge.metadata["RelationType"] == "ownership"));
    });
}

#[test]
fn changes_are_written_and_keys_of_others_kept() {
    let netns = Netns::new("changes");
    netns.ip("link add d0 type bridge");
    netns.discover(Vec::new(), async |graph| {
        let before = within_a_second(&graph, "d0", |graph| node(graph, "d0")).await;
        assert_eq!(before.text("State"), "DOWN");
        let capture = json!([{"ID": "theirs"}]);
        graph.write().unwrap().update::<Node>(&before.id, Timestamp::default(), |metadata| {
            metadata.insert("Captures".into(), capture.clone());
        });
        netns.ip("address add 10.9.8.7/24 dev d0");
        netns.ip("address add fd00::7/64 dev d0");
        netns.ip("link set d0 mtu 9000 address 02:00:00:00:00:77");
        netns.ip("link set d0 up");
        let up = within_a_second(&graph, "d0 with addresses, up", |graph| {
            let node = node(graph, "d0")?;
            let up = node.metadata["LinkFlags"].as_array()?.contains(&"UP".into());
            let addressed = ["IPV4", "IPV6"].iter().all(|key| node.metadata.contains_key(*key));
            (up && addressed).then_some(node)
        })
        .await;
        assert_eq!(up.id, before.id);
        assert_eq!(up.metadata["IPV4"], json!(["10.9.8.7/24"]));
        assert_eq!(up.metadata["IPV6"][0], "fd00::7/64");
        assert_eq!(up.metadata["MTU"], 9000);
        assert_eq!(up.text("MAC"), "02:00:00:00:00:77");
        assert_eq!(up.text("Driver"), "bridge");
        assert_eq!(up.metadata["Captures"], capture);

        netns.ip("address del 10.9.8.7/24 dev d0");
        netns.ip("link set d0 down");
        netns.ip("link set d0 name d1");
        let renamed = within_a_second(&graph, "d1 without addresses", |graph| {
            node(graph, "d1").filter(|node| !node.metadata.contains_key("IPV4"))
        })
        .await;
        assert_eq!(renamed.id, before.id);
        assert_eq!(renamed.text("TID"), tid("d1", "bridge"));
        assert_eq!(renamed.metadata["Captures"], capture);
    });
}

#[test]
fn counters_are_written_when_they_move() {
    let netns = Netns::new("counters");
    netns.ip("link set lo up");
    netns.discover(Vec::new(), async |graph| {
        within_a_second(&graph, "lo", |graph| node(graph, "lo")).await;
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let own = socket.local_addr().unwrap();
        socket.send_to(b"count me", own).await.unwrap();
        let metric = within_a_second(&graph, "counters", |graph| {
            node(graph, "lo")?.metadata.get("Metric").cloned()
        })
        .await;
        assert_eq!(metric["RxPackets"], 1);
        assert_eq!(metric["TxBytes"], 20 + 8 + 8);
    });
}

#[test]
fn a_port_stands_on_its_link_which_owns_the_address() {
    let netns = Netns::new("ports");
    netns.ip("link add va address 02:00:00:00:00:aa type veth peer name vb");
    let port = PortNode {
        name: "tap".into(),
        device: "net_af_packet0,iface=va".into(),
        mac: Some([2, 0, 0, 0, 0, 0xaa]),
        ..PortNode::default()
    };
    netns.discover(vec![port], async |graph| {
        let edge = within_a_second(&graph, "edge", |graph| edge(graph, "va", "tap")).await;
        assert_eq!(edge.metadata["RelationType"], "layer2");
        let owner = MacTids::follow(&graph).tid_of("02:00:00:00:00:aa");
        assert_eq!(owner.as_deref(), Some(tid("va", "veth").as_str()));
    });
}

#[test]
fn a_peer_in_another_namespace_is_no_neighbour() {
    let (netns, other) = (Netns::new("here"), Netns::new("there"));
    netns.ip("link add va index 11 type veth peer name vb index 12");
    netns.discover(Vec::new(), async |graph| {
        within_a_second(&graph, "pair", |graph| edge(graph, "va", "vb")).await;
        netns.ip(&format!("link set vb netns {}", other.name()));
        within_a_second(&graph, "end of vb", gone("vb")).await;
        // Another link gets the index that is vb's over there.
        netns.ip("link add d0 index 12 type bridge");
        netns.ip("link set va mtu 1400");
        let va = within_a_second(&graph, "changed va", |graph| {
            node(graph, "va").filter(|node| node.metadata["MTU"] == 1400)
        })
        .await;
        assert!(va.metadata.contains_key("LinkNetNsID"));
        within_a_second(&graph, "d0", |graph| edge(graph, "lab", "d0")).await;
        let graph = graph.read().unwrap();
        assert!(edge(&graph, "d0", "va").is_none() && edge(&graph, "va", "d0").is_none());
    });
}

#[test]
fn a_storm_of_changes_ends_in_the_truth() {
    let netns = Netns::new("storm");
    netns.discover(Vec::new(), async |graph| {
        within_a_second(&graph, "lo", |graph| node(graph, "lo")).await;
        // Nothing runs beside this loop: all of it waits for discovery in the socket.
        for number in 0..40 {
            netns.ip(&format!("link add d{number} type ifb"));
            if number % 2 == 0 {
                netns.ip(&format!("link del d{number}"));
            }
        }
        within_a_second(&graph, "twenty links", |graph| {
            let nodes = graph.nodes();
            let links = nodes.filter(|node| node.text("Type") == "ifb").count();
            (links == 20 && node(graph, "d39").is_some()).then_some(())
        })
        .await;
    });
}

#[test]
fn a_node_deleted_by_somebody_comes_back() {
    let netns = Netns::new("deleted");
    netns.ip("link add va index 11 type veth peer name vb index 12");
    netns.discover(Vec::new(), async |graph| {
        let pair = within_a_second(&graph, "pair", |graph| edge(graph, "va", "vb")).await;
        let va = pair.parent.clone();
        graph.write().unwrap().delete::<Node>(&va, Timestamp::default());
        netns.ip("link set va mtu 1400");
        let pair = within_a_second(&graph, "pair", |graph| edge(graph, "va", "vb")).await;
        assert_ne!(pair.parent, va);
        assert!(edge(&graph.read().unwrap(), "lab", "va").is_some());
    });
}

#[test]
fn an_overrun_of_the_socket_is_survived() {
    let netns = Netns::new("overrun");
    netns.ip("link add gone type ifb");
    netns.ip("link add d0 type bridge");
    netns.discover(Vec::new(), async |graph| {
        within_a_second(&graph, "gone", |graph| node(graph, "gone")).await;
        // More changes than the socket holds, while discovery cannot run.
        let mut batch: String =
            (0..20_000).map(|n| format!("link set d0 mtu {}\n", 1400 + n % 2)).collect();
        batch += "link del gone\nlink add last type ifb\nlink set d0 mtu 1450\n";
        netns.ip_batch(&batch);
        within_a_second(&graph, "the last state", |graph| {
            let changed = node(graph, "d0")?.metadata["MTU"] == 1450;
            (changed && node(graph, "gone").is_none()).then_some(())?;
            node(graph, "last")
        })
        .await;
    });
}

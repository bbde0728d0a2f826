//! Namespaces that come and go, and what leads from one into another.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use sonde_control_plane::discovery::HostConfig;
use sonde_proto::graph::uuid_v5;

use crate::netns::{
    Netns, edge, gone, host, host_tid, node, run_command, tid_in, within, within_a_second,
};

/// A directory of names, and the namespaces in it.
struct Names(tempfile::TempDir);

impl Names {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// As `ip netns add` does it.
    fn add(&self, name: &str, netns: &Netns) {
        let file = self.path().join(name);
        fs::write(&file, "").unwrap();
        run_command("mount", &["--bind", &netns.path(), file.to_str().unwrap()]);
    }

    /// As `ip netns delete` does it.
    fn remove(&self, name: &str) {
        let file = self.path().join(name);
        run_command("umount", &["-l", file.to_str().unwrap()]);
        fs::remove_file(file).unwrap();
    }

    /// TID of a namespace's node.
    fn tid(&self, name: &str) -> String {
        uuid_v5(&[&host_tid(), self.path().join(name).to_str().unwrap(), "netns"]).to_string()
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        for name in fs::read_dir(self.path()).unwrap() {
            let file = name.unwrap().path();
            let _ = Command::new("umount").arg("-l").arg(file).stderr(Stdio::null()).status();
        }
    }
}

#[test]
fn a_network_is_discovered_while_it_is_built_and_torn_down() {
    let (host, red, blue) = (Netns::new("lab"), Netns::new("red"), Netns::new("blue"));
    let names = Names::new();
    host.discover_in(names.path(), async |graph| {
        names.add("red", &red);
        names.add("blue", &blue);
        // The host's own namespace has a name too, and is no other for it.
        names.add("own", &host);
        // A bridge on the host, a pair into each namespace, and one between these.
        host.ip("link add br0 type bridge");
        for (name, index, netns) in [("vred", 11, &red), ("vblue", 12, &blue)] {
            host.ip(&format!("link add {name} index {index} type veth peer name eth0 index 21"));
            host.ip(&format!("link set {name} master br0"));
            host.ip(&format!("link set eth0 netns {}", netns.name()));
        }
        red.ip("link add cross index 31 type veth peer name cross2 index 32");
        red.ip(&format!("link set cross2 netns {}", blue.name()));
        host.ip(
            "link add vx0 type vxlan id 42 local 10.0.0.1 remote 10.0.0.2 dstport 4789 dev br0",
        );

        let tid = names.tid("red");
        let netns = within_a_second(&graph, "red", |graph| node(graph, "red")).await;
        let file = fs::metadata(red.path()).unwrap();
        assert_eq!(
            netns.metadata,
            *json!({
                "Name": "red", "Type": "netns", "Path": names.path().join("red").to_str(),
                "Inode": file.ino(), "Device": file.dev(), "TID": tid,
            })
            .as_object()
            .unwrap()
        );
        for (parent, child, kind) in [
            ("lab", "red", "ownership"),
            ("lab", "blue", "ownership"),
            ("red", "cross", "ownership"),
            ("blue", "cross2", "ownership"),
            ("br0", "vred", "layer2"),
            ("br0", "vblue", "layer2"),
        ] {
            let edge = within_a_second(&graph, child, |graph| edge(graph, parent, child)).await;
            assert_eq!(edge.metadata, *json!({"RelationType": kind}).as_object().unwrap());
        }
        for (parent, child, kind) in [("cross", "cross2", "veth"), ("br0", "vx0", "vxlan")] {
            let edge = within_a_second(&graph, child, |graph| edge(graph, parent, child)).await;
            let layer2 = json!({"RelationType": "layer2", "Type": kind});
            assert_eq!(edge.metadata, *layer2.as_object().unwrap());
        }
        let cross = within_a_second(&graph, "cross", |graph| {
            node(graph, "cross").filter(|node| node.text("LinkNetNsName") == "blue")
        })
        .await;
        assert_eq!(cross.text("TID"), tid_in(&tid, "cross", "veth"));
        assert_eq!(cross.metadata["PeerIfIndex"], 32);
        // Both namespaces have an eth0 of the index 21: each is the peer of its own.
        for (peer, netns) in [("vred", "red"), ("vblue", "blue")] {
            within_a_second(&graph, peer, |graph| {
                let peer = node(graph, peer)?;
                let mut pairs = graph.edges().filter(|edge| edge.parent == peer.id);
                let eth0 =
                    graph.node(&pairs.find(|edge| edge.metadata["Type"] == "veth")?.child)?;
                (eth0.text("TID") == tid_in(&names.tid(netns), "eth0", "veth")).then_some(())
            })
            .await;
        }
        let vxlan = within_a_second(&graph, "vx0", |graph| node(graph, "vx0")).await;
        assert_eq!(
            vxlan.metadata["VXLAN"],
            json!({"VNI": 42, "Local": "10.0.0.1", "Remote": "10.0.0.2", "Port": 4789})
        );
        let count = |name: &str, graph: &sonde_control_plane::graph::Graph| {
            graph.nodes().filter(|node| node.text("Name") == name).count()
        };
        assert_eq!(count("own", &graph.read().unwrap()), 0);
        assert_eq!(count("lo", &graph.read().unwrap()), 3);

        names.remove("red");
        for name in ["red", "cross"] {
            within_a_second(&graph, "end of red", gone(name)).await;
        }
        // Its namespace lives on: the peers have lost sight of it, and not more.
        within_a_second(&graph, "cross2 alone", |graph| {
            let alone = !node(graph, "cross2")?.metadata.contains_key("LinkNetNsName");
            alone.then_some(())
        })
        .await;
        names.add("red", &red);
        within_a_second(&graph, "red again", |graph| edge(graph, "cross", "cross2")).await;
        names.remove("red");
        names.remove("blue");
        host.ip("link del vx0");
        host.ip("link del vred");
        host.ip("link del vblue");
        host.ip("link del br0");
        within_a_second(&graph, "nothing but the host", |graph| {
            let mut left: Vec<&str> = graph.nodes().map(|node| node.text("Name")).collect();
            left.sort_unstable();
            let owned = graph.edges().all(|edge| edge.metadata["RelationType"] == "ownership");
            (left == ["lab", "lo"] && owned).then_some(())
        })
        .await;
    });
}

#[test]
fn the_directory_may_come_later_and_a_namespace_dies_with_its_name() {
    let host = Netns::new("later");
    let names = Names::new();
    let directory = names.path().join("run/netns");
    host.discover_in(&directory, async |graph| {
        within_a_second(&graph, "lo", |graph| node(graph, "lo")).await;
        let other = Netns::new("mortal");
        host.ip("link add va index 11 type veth peer name vb index 12");
        host.ip(&format!("link set vb netns {}", other.name()));
        fs::create_dir_all(&directory).unwrap();
        symlink(other.path(), directory.join("mortal")).unwrap();
        within_a_second(&graph, "pair", |graph| edge(graph, "va", "vb")).await;
        // Discovery must not keep the namespace alive: its links die with it.
        drop(other);
        fs::remove_file(directory.join("mortal")).unwrap();
        for name in ["mortal", "vb", "va"] {
            within_a_second(&graph, name, gone(name)).await;
        }
    });
}

#[test]
fn files_that_are_no_namespaces_are_left_alone() {
    let host = Netns::new("odd");
    let names = Names::new();
    fs::write(names.path().join("empty"), "").unwrap();
    symlink("/proc/self/ns/mnt", names.path().join("mounts")).unwrap();
    symlink("/dev/zero", names.path().join("device")).unwrap();
    host.discover_in(names.path(), async |graph| {
        let other = Netns::new("even");
        names.add("real", &other);
        within_a_second(&graph, "real", |graph| {
            edge(graph, "real", "lo").or(edge(graph, "lab", "real"))
        })
        .await;
        let graph = graph.read().unwrap();
        for name in ["empty", "mounts", "device"] {
            assert!(node(&graph, name).is_none(), "{name}");
        }
    });
}

#[test]
fn a_namespace_of_a_process_lives_as_long_as_it() {
    let (here, other) = (Netns::new("procs"), Netns::new("nameless"));
    let host = HostConfig { processes: true, ..host() };
    here.discover_as(host, Vec::new(), async |graph| {
        let mut command = Command::new("ip");
        let mut process =
            command.args(["netns", "exec", other.name(), "sleep", "60"]).spawn().unwrap();
        let name = format!("sleep-{}", process.id());
        let limit = Duration::from_secs(25);
        within(limit, &graph, "the process", |graph| edge(graph, "lab", &name)).await;
        let path = format!("/proc/{}/ns/net", process.id());
        assert_eq!(node(&graph.read().unwrap(), &name).unwrap().text("Path"), path);
        process.kill().unwrap();
        process.wait().unwrap();
        within(limit, &graph, "its end", gone(&name)).await;
    });
}

#[test]
fn sockets_are_shown_where_they_are() {
    let (here, other) = (Netns::new("talk"), Netns::new("talker"));
    let names = Names::new();
    names.add("talker", &other);
    other.ip("link set lo up");
    let host = HostConfig { sockets: true, netns_dir: names.path().to_owned(), ..host() };
    here.discover_as(host, Vec::new(), async |graph| {
        let listener = other.inside(|| TcpListener::bind("127.0.0.1:0").unwrap());
        let port = listener.local_addr().unwrap().port();
        let limit = Duration::from_secs(25);
        let socket = within(limit, &graph, "the socket", |graph| {
            let node = node(graph, "talker")?;
            let sockets = node.metadata.get("Sockets").and_then(Value::as_array)?;
            sockets.iter().find(|socket| socket["LocalPort"] == port).cloned()
        })
        .await;
        assert_eq!(socket["Pid"], std::process::id());
        assert_eq!(socket["State"], "LISTEN");
    });
}

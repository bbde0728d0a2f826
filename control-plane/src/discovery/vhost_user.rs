//! vhost-user sockets: the ports that stand on them, and the processes at the other side, as
//! sock_diag(7) tells (QEMU's vhost-user specification; DPDK's guides of `net_vhost` and
//! `net_virtio_user`).

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use sonde_proto::graph::{Metadata, Node};
use tokio::task::spawn_blocking;
use tracing::debug;

use super::element::{lock, put};
use super::follow::{FollowError, ticks};
use super::netlink::{Requests, sock_diag};
use super::other_end::{OtherEnd, Port, argument};
use super::process::{Process, holders};
use crate::graph::SharedGraph;
use sonde_proto::time::Timestamp;

/// The key of a port's node.
pub(super) const KEY: &str = "VhostUser";

/// One side of a vhost-user socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    path: String,
    /// Whether this side listens.
    server: bool,
}

/// The two ends of a connection, by inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Connection {
    server: u32,
    client: u32,
}

impl Socket {
    /// Of DPDK's device string.
    pub(super) fn of(device: &str) -> Option<Self> {
        let is = |name: &str, value: &str| argument(device, name) == Some(value);
        let driver = device.trim_start();
        let (path, server) = if driver.starts_with("net_vhost") || driver.starts_with("eth_vhost") {
            (argument(device, "iface")?, !is("client", "1"))
        } else if driver.starts_with("net_virtio_user") || driver.starts_with("virtio_user") {
            (argument(device, "path")?, is("server", "1"))
        } else {
            return None;
        };
        // A device file is the kernel's vhost, whose other end is a link.
        (!path.is_empty() && !path.starts_with("/dev/"))
            .then(|| Self { path: path.to_owned(), server })
    }

    /// The same socket from the other side.
    pub(super) fn other_side(&self) -> Self {
        Self { server: !self.server, path: self.path.clone() }
    }

    /// What a node says of it. `peer` holds the other side.
    pub(super) fn json(&self, peer: Option<&Process>) -> Value {
        let mut json = Metadata::new();
        put(&mut json, "Path", Some(self.path.as_str()));
        put(&mut json, "Role", Some(if self.server { "server" } else { "client" }));
        if let Some(peer) = peer {
            peer.write(&mut json);
        }
        Value::Object(json)
    }

    fn far_end(&self, connection: Connection) -> u32 {
        if self.server { connection.client } else { connection.server }
    }
}

/// Writes on the nodes of ports which process is at the other side of their socket, again and
/// again. Returns at once when no port has one.
pub(super) async fn follow(graph: SharedGraph, ports: Vec<Port>, clock: fn() -> Timestamp) {
    let sockets = ports.into_iter().filter_map(|port| match port.end {
        Some(OtherEnd::Socket(socket)) => Some((port.node, socket)),
        _ => None,
    });
    let sockets: Vec<(String, Socket)> = sockets.collect();
    if sockets.is_empty() {
        return;
    }
    let mut ticks = ticks(EVERY);
    loop {
        ticks.tick().await;
        let connections = match connections().await {
            Ok(connections) => connections,
            Err(error) => {
                debug!(%error, "cannot ask for vhost-user sockets");
                continue;
            }
        };
        let far_ends = sockets.iter().map(|(_, socket)| {
            connections.get(&socket.path).map(|connection| socket.far_end(*connection))
        });
        let far_ends: Vec<Option<u32>> = far_ends.collect();
        let inodes = far_ends.clone().into_iter().flatten();
        let holders = spawn_blocking(move || holders(Path::new("/proc"), inodes)).await;
        let holders = holders.unwrap_or_default();
        for ((node, socket), far_end) in sockets.iter().zip(far_ends) {
            let peer = far_end.and_then(|inode| holders.get(&inode));
            lock(&graph).update::<Node>(node, clock(), |metadata| {
                metadata.insert(KEY.to_owned(), socket.json(peer));
            });
        }
    }
}

/// The connections of sockets with a path; one for each.
async fn connections() -> Result<HashMap<String, Connection>, FollowError> {
    let mut requests = Requests::open(sock_diag::PROTOCOL)?;
    let mut connections = HashMap::new();
    requests.ask(request(), |frame| connections.extend(read(frame.body))).await?;
    Ok(connections)
}

/// `struct unix_diag_req` for all connections, their names and peers.
fn request() -> Vec<u8> {
    let mut body = vec![AF_UNIX, 0, 0, 0];
    for field in [1 << ESTABLISHED, 0, SHOW_NAME | SHOW_PEER, u32::MAX, u32::MAX] {
        body.extend_from_slice(&field.to_ne_bytes());
    }
    sock_diag::request(&body)
}

/// Reads a `struct unix_diag_msg` and its attributes. `None` for an end without a path: that of the
/// client, which the other end names.
fn read(body: &[u8]) -> Option<(String, Connection)> {
    let word = |bytes: &[u8]| Some(u32::from_ne_bytes(*bytes.first_chunk::<4>()?));
    let server = word(body.get(4..)?)?;
    let (mut path, mut client) = (None, None);
    let mut rest = body.get(16..)?;
    while let (Some(length), Some(kind)) = (rest.first_chunk::<2>(), rest.get(2..4)) {
        let length = usize::from(u16::from_ne_bytes(*length));
        let value = rest.get(4..length)?;
        match u16::from_ne_bytes(*kind.first_chunk::<2>()?) {
            NAME => path = std::str::from_utf8(value).ok().map(|path| path.trim_end_matches('\0')),
            PEER => client = word(value),
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    let path = path.filter(|path| !path.is_empty())?.to_owned();
    Some((path, Connection { server, client: client? }))
}

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(10);

// linux/unix_diag.h, linux/net/tcp_states.h
const AF_UNIX: u8 = 1;
const ESTABLISHED: u32 = 1;
const SHOW_NAME: u32 = 1;
const SHOW_PEER: u32 = 4;
const NAME: u16 = 0;
const PEER: u16 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn sides_of_sockets_are_read_from_devices() {
        let socket = |path: &str, server| Some(Socket { path: path.into(), server });
        for (device, expected) in [
            ("net_vhost0,iface=/run/vm.sock,queues=1", socket("/run/vm.sock", true)),
            ("net_vhost0,iface=/run/vm.sock,client=1", socket("/run/vm.sock", false)),
            ("eth_vhost0,iface=/run/vm.sock,client=0", socket("/run/vm.sock", true)),
            ("net_virtio_user0,path=/run/vm.sock", socket("/run/vm.sock", false)),
            ("virtio_user0,server=1,path=/run/vm.sock", socket("/run/vm.sock", true)),
            ("net_virtio_user0,path=/dev/vhost-net,iface=tap0", None),
            ("net_vhost0", None),
            ("net_vhost0,iface=", None),
            ("net_tap0,iface=tap0", None),
        ] {
            assert_eq!(Socket::of(device), expected, "{device}");
        }
    }

    #[tokio::test]
    async fn the_process_at_the_other_side_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vm.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let text = path.to_str().unwrap();
        assert_eq!(connections().await.unwrap().get(text), None, "nobody connected");
        let _client = UnixStream::connect(&path).unwrap();
        let _accepted = listener.accept().unwrap();
        let connection = connections().await.unwrap()[text];
        let server = Socket { path: text.into(), server: true };
        for socket in [server.other_side(), server] {
            let inode = socket.far_end(connection);
            let holders = holders(Path::new("/proc"), [inode].into_iter());
            let json = socket.json(holders.get(&inode));
            assert_eq!(json["Pid"], std::process::id());
            assert_eq!(json["Role"], json!(if socket.server { "server" } else { "client" }));
        }
    }

    #[test]
    fn answers_that_are_cut_off_are_none() {
        let mut body = vec![0; 16];
        body[4] = 7;
        for (kind, value) in [(NAME, &b"/a/b.sock\0"[..]), (PEER, &[9, 0, 0, 0])] {
            body.extend_from_slice(&(4 + value.len() as u16).to_ne_bytes());
            body.extend_from_slice(&kind.to_ne_bytes());
            body.extend_from_slice(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let expected = ("/a/b.sock".to_owned(), Connection { server: 7, client: 9 });
        assert_eq!(read(&body), Some(expected));
        for end in 0..body.len() {
            assert_eq!(read(&body[..end]), None, "{end}");
        }
    }
}

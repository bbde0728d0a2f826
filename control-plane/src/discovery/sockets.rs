//! Which processes talk to whom: the TCP and UDP sockets of each network namespace (API §3.7,
//! `Sockets`), asked by sock_diag(7), with the processes that hold them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use sonde_proto::graph::Metadata;
use tokio::task::spawn_blocking;
use tracing::debug;

use super::element::put;
use super::follow::{Entrance, FollowError, ticks};
use super::namespaces::SharedNamespaces;
use super::netlink::{Requests, sock_diag};
use super::process::{Process, holders};

/// A socket as the kernel tells of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Socket {
    protocol: &'static str,
    local: (IpAddr, u16),
    remote: (IpAddr, u16),
    state: u8,
    inode: u32,
}

/// Writes the sockets of each namespace on the node that owns its links, again and again.
pub(super) async fn follow(namespaces: SharedNamespaces) {
    let mut ticks = ticks(EVERY);
    loop {
        let all = namespaces.lock().all();
        let mut found = Vec::new();
        for (key, identity) in all {
            match of_namespace(&identity.entrance()).await {
                Ok(sockets) => found.push((key, sockets)),
                Err(error) => debug!(%error, name = identity.name, "no sockets"),
            }
        }
        let named = spawn_blocking(move || {
            let inodes = found.iter().flat_map(|(_, sockets)| sockets);
            let processes = holders(Path::new("/proc"), inodes.map(|socket| socket.inode));
            let written = found.into_iter();
            written.map(|(key, sockets)| (key, metadata(sockets, &processes))).collect::<Vec<_>>()
        });
        for (key, metadata) in named.await.unwrap_or_default() {
            namespaces.lock().renew_owner(key, KEYS, &metadata);
        }
        ticks.tick().await;
    }
}

async fn of_namespace(entrance: &Entrance) -> Result<Vec<Socket>, FollowError> {
    let mut requests = entrance.open(|| Requests::open(sock_diag::PROTOCOL)).await?;
    let mut sockets = Vec::new();
    for (protocol, number) in [("TCP", IPPROTO_TCP), ("UDP", IPPROTO_UDP)] {
        for family in [AF_INET, AF_INET6] {
            let request = request(family, number);
            requests.ask(request, |frame| sockets.extend(read(protocol, frame.body))).await?;
        }
    }
    Ok(sockets)
}

/// `struct inet_diag_req_v2` for all sockets.
fn request(family: u8, protocol: u8) -> Vec<u8> {
    let mut body = vec![family, protocol, 0, 0];
    body.extend_from_slice(&u32::MAX.to_ne_bytes());
    body.resize(REQUEST, 0);
    sock_diag::request(&body)
}

/// Reads a `struct inet_diag_msg`. `None` for a socket that no process holds any more.
fn read(protocol: &'static str, body: &[u8]) -> Option<Socket> {
    let port = |at: usize| Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?));
    let address = |at: usize| -> Option<IpAddr> {
        let bytes: [u8; 16] = body.get(at..at + 16)?.try_into().ok()?;
        match body.first()? {
            &AF_INET => Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()),
            // IPv4 in a socket of both: as the packets have it.
            _ => Some(Ipv6Addr::from(bytes).to_canonical()),
        }
    };
    let inode = u32::from_ne_bytes(body.get(68..72)?.try_into().ok()?);
    Some(Socket {
        protocol,
        local: (address(8)?, port(4)?),
        remote: (address(24)?, port(6)?),
        state: *body.get(1)?,
        inode,
    })
    .filter(|socket| socket.inode != 0)
}

fn metadata(mut sockets: Vec<Socket>, processes: &HashMap<u32, Process>) -> Metadata {
    sockets.sort_unstable();
    let more = sockets.len().saturating_sub(LISTED);
    sockets.truncate(LISTED);
    let listed = sockets.iter().map(|socket| json(socket, processes.get(&socket.inode)));
    let listed: Vec<Value> = listed.collect();
    let mut metadata = Metadata::new();
    put(&mut metadata, "Sockets", (!listed.is_empty()).then_some(listed));
    let more = (more != 0).then(|| Metadata::from_iter([("Sockets".to_owned(), more.into())]));
    put(&mut metadata, "Truncated", more);
    metadata
}

fn json(socket: &Socket, process: Option<&Process>) -> Value {
    let mut json = Metadata::new();
    if let Some(process) = process {
        process.write(&mut json);
    }
    put(&mut json, "Protocol", Some(socket.protocol));
    put(&mut json, "State", STATES.get(usize::from(socket.state)).copied());
    put(&mut json, "LocalAddress", Some(socket.local.0.to_string()));
    put(&mut json, "LocalPort", Some(socket.local.1));
    put(&mut json, "RemoteAddress", Some(socket.remote.0.to_string()));
    put(&mut json, "RemotePort", Some(socket.remote.1));
    Value::Object(json)
}

/// The keys written here.
const KEYS: &[&str] = &["Sockets", "Truncated"];

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(10);

/// Sockets of one namespace that are listed.
const LISTED: usize = 4096;

/// By the kernel's number (net/tcp_states.h).
const STATES: [&str; 13] = [
    "UNKNOWN",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
    "NEW_SYN_RECV",
];

// linux/inet_diag.h
const REQUEST: usize = 56;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[tokio::test]
    async fn a_socket_of_ours_is_found_with_its_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let sockets = of_namespace(&Entrance::Here).await.unwrap();
        let ours = sockets.iter().find(|socket| socket.local.1 == port && socket.state == 10);
        let ours = ours.unwrap().clone();
        let processes = holders(Path::new("/proc"), [ours.inode].into_iter());
        let metadata = metadata(vec![ours], &processes);
        let socket = metadata["Sockets"][0].as_object().unwrap();
        assert_eq!(socket["Pid"], std::process::id());
        assert_eq!(socket["Protocol"], "TCP");
        assert_eq!(socket["State"], "LISTEN");
        assert_eq!(socket["LocalAddress"], "127.0.0.1");
        assert_eq!(socket["LocalPort"], port);
        assert_eq!(socket["RemoteAddress"], "0.0.0.0");
        let program = std::env::current_exe().unwrap();
        assert_eq!(socket["Process"], program.to_str().unwrap());
        assert!(!metadata.contains_key("Truncated"));
    }

    #[test]
    fn long_lists_are_cut_and_counted() {
        let socket = Socket {
            protocol: "UDP",
            local: (Ipv4Addr::LOCALHOST.into(), 1),
            remote: (Ipv4Addr::UNSPECIFIED.into(), 0),
            state: 99,
            inode: 1,
        };
        let metadata = metadata(vec![socket; LISTED + 5], &HashMap::new());
        assert_eq!(metadata["Sockets"].as_array().unwrap().len(), LISTED);
        assert_eq!(metadata["Truncated"]["Sockets"], 5);
        assert!(!metadata["Sockets"][0].as_object().unwrap().contains_key("State"));
    }

    #[test]
    fn answers_that_are_cut_off_are_none() {
        let mut body = [0; 72];
        body[0] = AF_INET6;
        body[18] = 0xff;
        body[19] = 0xff;
        body[20..24].copy_from_slice(&[10, 0, 0, 1]);
        body[68] = 1;
        let socket = read("TCP", &body).unwrap();
        assert_eq!(socket.local.0, IpAddr::from([10, 0, 0, 1]));
        for end in 0..body.len() {
            assert_eq!(read("TCP", &body[..end]), None);
        }
    }
}

//! A veth pair between two network namespaces, for tests. Needs root, iproute2 and python3.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Two namespaces, `left` and `right`, gone when dropped; their ends of the pair are `end`.
pub(crate) struct Pair {
    pub(crate) left: String,
    pub(crate) right: String,
}

impl Pair {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sonde-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let pair = Self { left: format!("{name}-l"), right: format!("{name}-r") };
        for namespace in [&pair.left, &pair.right] {
            ip(&["netns", "add", namespace]);
            // No neighbour discovery, so that every frame is ours.
            let quiet = "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6";
            ip(&["netns", "exec", namespace, "sh", "-c", quiet]);
        }
        let (left, right) = (pair.left.as_str(), pair.right.as_str());
        ip(&[
            "link", "add", "end", "netns", left, "type", "veth", "peer", "name", "end", "netns",
            right,
        ]);
        for namespace in [left, right] {
            ip(&["-n", namespace, "link", "set", "end", "up"]);
        }
        pair
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for namespace in [&self.left, &self.right] {
            let _ = Command::new("ip").args(["netns", "del", namespace]).status();
        }
    }
}

pub(crate) fn ip(args: &[&str]) -> String {
    let output = Command::new("ip")
        .args(args)
        .output()
        .expect("this test makes network namespaces: it needs iproute2");
    assert!(
        output.status.success(),
        "this test makes network namespaces, and needs root: ip {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn netns(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

pub(crate) fn index(namespace: &str, interface: &str) -> u32 {
    let line = ip(&["-n", namespace, "-o", "link", "show", interface]);
    line.split(':').next().unwrap().parse().unwrap()
}

/// Sends frames out of an interface, byte for byte.
pub(crate) fn send(namespace: &str, interface: &str, frames: &[Vec<u8>]) {
    let script = "import socket, sys\n\
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n\
        s.bind((sys.argv[1], 0))\n\
        [s.send(bytes.fromhex(line)) for line in sys.stdin]";
    let mut child = Command::new("ip")
        .args(["netns", "exec", namespace, "python3", "-c", script, interface])
        .stdin(Stdio::piped())
        .spawn()
        .expect("this test needs python3");
    let mut input = child.stdin.take().unwrap();
    for frame in frames {
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(input, "{hex}").unwrap();
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

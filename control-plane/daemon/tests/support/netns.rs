//! Network namespaces made for one test, and gone with it.

use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

/// A named network namespace with its loopback up; deleted when dropped.
pub(crate) struct Netns {
    pub(crate) name: String,
}

impl Netns {
    /// Makes a namespace whose name no other test has.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sonde-e2e-{}-{n}", std::process::id());
        ip(&format!("netns add {name}"));
        let netns = Self { name };
        netns.ip("link set lo up");
        netns
    }

    /// Runs `ip` with these arguments in the namespace.
    pub(crate) fn ip(&self, arguments: &str) {
        ip(&format!("-n {} {arguments}", self.name));
    }

    /// Runs `body` on a thread whose network is this namespace's, and gives what it gives.
    pub(crate) fn within<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let file = File::open(format!("/run/netns/{}", self.name)).unwrap();
                setns(file, CloneFlags::CLONE_NEWNET).unwrap();
                body()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A command that runs in the namespace, with its own `/sys`.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// Two hosts and a bridge between them:
///
/// ```text
/// a: eth0 ---- left  m: br0  right ---- eth0 :b
/// ```
///
/// IPv6 is off, so that the kernels say nothing of their own accord.
pub(crate) struct Wire {
    pub(crate) a: Netns,
    pub(crate) middle: Netns,
    pub(crate) b: Netns,
}

impl Wire {
    pub(crate) fn new() -> Self {
        let wire = Self { a: Netns::new(), middle: Netns::new(), b: Netns::new() };
        for netns in [&wire.a, &wire.middle, &wire.b] {
            let quiet = "net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1";
            let done =
                netns.command("sysctl").args(["-q", "-w"]).args(quiet.split(' ')).status().unwrap();
            assert!(done.success());
        }
        wire.middle.ip("link add br0 type bridge");
        wire.middle.ip("link set br0 up");
        for (end, port) in [(&wire.a, "left"), (&wire.b, "right")] {
            let end = &end.name;
            wire.middle.ip(&format!("link add {port} type veth peer name eth0 netns {end}"));
            wire.middle.ip(&format!("link set {port} master br0 up"));
        }
        wire.a.ip("link set eth0 up");
        wire.b.ip("link set eth0 up");
        wire
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip")
        .args(arguments.split_whitespace())
        .status()
        .expect("these tests need iproute2: use scripts/test");
    assert!(status.success(), "ip {arguments}: {status}; these tests need root: use scripts/test");
}

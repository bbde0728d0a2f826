//! The real binary, started and asked as a user would.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::netns::Netns;

/// The binary under test.
pub(crate) const SONDE: &str = env!("CARGO_BIN_EXE_sonde");

/// A running daemon; killed when dropped.
pub(crate) struct Sonde {
    child: Child,
    /// Where its configuration is, and its namespaces would be.
    directory: PathBuf,
    pub(crate) address: SocketAddr,
    /// What it logged so far.
    log: Arc<Mutex<String>>,
    /// Who takes it down, until the daemon ends.
    reader: Option<JoinHandle<()>>,
}

impl Sonde {
    /// Starts the daemon with this configuration and waits until it answers. `netns`: in that
    /// namespace, which the calling thread must be in.
    pub(crate) fn start(config: &str, directory: &Path, netns: Option<&Netns>) -> Self {
        let command = match netns {
            Some(netns) => netns.command(SONDE),
            None => Command::new(SONDE),
        };
        Self::spawn(command, config, directory)
    }

    /// The same with these variables in its environment.
    pub(crate) fn start_with(
        variables: &[(&str, &str)],
        config: &str,
        directory: &Path,
        netns: &Netns,
    ) -> Self {
        let mut command = netns.command(SONDE);
        command.envs(variables.iter().copied());
        Self::spawn(command, config, directory)
    }

    /// The same with so many open files at most.
    pub(crate) fn start_with_files(files: u32, directory: &Path, netns: &Netns) -> Self {
        let mut command = netns.command("prlimit");
        command.args([&format!("--nofile={files}:{files}"), SONDE]);
        Self::spawn(command, "", directory)
    }

    /// Starts a daemon that speaks TLS, and waits until it takes connections.
    pub(crate) fn start_encrypted(config: &str, directory: &Path, netns: &Netns) -> Self {
        let mut sonde = Self::launch(netns.command(SONDE), config, directory);
        sonde.wait("the daemon listens", |sonde| TcpStream::connect(sonde.address).is_ok());
        sonde
    }

    /// Starts the daemon in that namespace and kills it so much later, whatever it does then.
    pub(crate) fn start_and_kill(config: &str, directory: &Path, netns: &Netns, later: Duration) {
        let daemon = Self::launch(netns.command(SONDE), config, directory);
        std::thread::sleep(later);
        daemon.kill();
    }

    fn spawn(command: Command, config: &str, directory: &Path) -> Self {
        let daemon = Self::try_start(command, config, directory);
        daemon.unwrap_or_else(|(status, log)| panic!("the daemon ended, {status}:\n{log}"))
    }

    /// Starts the daemon by this command; or how it ended, and what it said.
    pub(crate) fn try_start(
        command: Command,
        config: &str,
        directory: &Path,
    ) -> Result<Self, (ExitStatus, String)> {
        let mut sonde = Self::launch(command, config, directory);
        let mut ended = None;
        sonde.wait("the daemon answers", |sonde| {
            ended = sonde.child.try_wait().unwrap();
            ended.is_some() || agent().get(format!("http://{}/api", sonde.address)).call().is_ok()
        });
        match ended {
            Some(status) => {
                sonde.reader.take().unwrap().join().unwrap();
                Err((status, sonde.log()))
            }
            None => Ok(sonde),
        }
    }

    /// A daemon that may not answer yet.
    fn launch(mut command: Command, config: &str, directory: &Path) -> Self {
        let address = free_address();
        let file = configure(directory, config);
        let mut child = command
            .args(["run", "--listen", &address.to_string(), "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::<Mutex<String>>::default();
        // A full pipe must not hold the daemon up.
        let (lines, read) = (child.stderr.take().unwrap(), log.clone());
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                read.lock().unwrap().extend([&line, "\n"]);
            }
        });
        let directory = directory.to_owned();
        Self { child, directory, address, log, reader: Some(reader) }
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Answer to a Gremlin query.
    pub(crate) fn query(&self, gremlin: &str) -> Value {
        let (status, body) = self.post("topology", json!({ "GremlinQuery": gremlin }).to_string());
        assert_eq!(status, 200, "{gremlin}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Creates a capture; its UUID.
    pub(crate) fn capture(&self, capture: Value) -> String {
        let (status, body) = self.post("capture", capture.to_string());
        assert_eq!(status, 201, "{body}");
        let created: Value = serde_json::from_str(&body).unwrap();
        created["UUID"].as_str().unwrap().to_owned()
    }

    /// Status and body of a POST.
    pub(crate) fn post(&self, resource: &str, body: impl AsRef<[u8]>) -> (u16, String) {
        let request = agent().post(format!("http://{}/api/{resource}", self.address));
        let mut response =
            request.header("Content-Type", "application/json").send(body.as_ref()).unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    /// Status and body of a GET.
    pub(crate) fn get(&self, resource: &str) -> (u16, Value) {
        let url = format!("http://{}/api/{resource}", self.address);
        let mut response = agent().get(url).call().unwrap();
        let body = response.body_mut().read_to_string().unwrap();
        (response.status().as_u16(), serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }

    /// Status of a DELETE.
    pub(crate) fn delete(&self, resource: &str) -> u16 {
        let url = format!("http://{}/api/{resource}", self.address);
        agent().delete(url).call().unwrap().status().as_u16()
    }

    /// Waits until `done`, for ten seconds at most.
    pub(crate) fn wait(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < Duration::from_secs(10), "not within 10 s: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sum of a counter over all queues, from `/api/status`.
    pub(crate) fn counter(&self, name: &str) -> i64 {
        let (status, body) = self.get("status");
        assert_eq!(status, 200, "{body}");
        body["Totals"][name].as_i64().unwrap_or_else(|| panic!("no counter {name} in {body}"))
    }

    /// Has another configuration, and says so by SIGHUP.
    pub(crate) fn reconfigure(&self, config: &str) {
        configure(&self.directory, config);
        self.hang_up();
    }

    /// Sends SIGHUP.
    pub(crate) fn hang_up(&self) {
        signal(&self.child, "HUP");
    }

    /// Bytes of memory that the daemon holds.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// Sends SIGINT and waits for the end, which must be clean and within five seconds.
    pub(crate) fn stop(mut self) {
        let start = Instant::now();
        signal(&self.child, "INT");
        let status = self.child.wait().unwrap();
        assert!(status.success(), "after SIGINT: {status}");
        assert!(start.elapsed() < Duration::from_secs(5), "took {:?}", start.elapsed());
    }

    /// Kills the daemon without a warning.
    pub(crate) fn kill(mut self) {
        signal(&self.child, "KILL");
        self.child.wait().unwrap();
    }
}

impl Drop for Sonde {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        if let Ok(None) = self.child.try_wait() {
            signal(&self.child, "KILL");
            let _ = self.child.wait();
        }
    }
}

/// Runs a command of the binary to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(SONDE).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Sends a signal by `kill`, which is in every base system.
pub(crate) fn signal(child: &Child, name: &str) {
    let _ = Command::new("kill").args(["-s", name, &child.id().to_string()]).status();
}

/// Writes the configuration into its file.
fn configure(directory: &Path, config: &str) -> PathBuf {
    let file = directory.join("sonde.toml");
    // Namespaces of tests that run beside this one are none of its business.
    let none = directory.join("netns");
    let config = format!("{config}\n[discovery]\nnetns_dir = '{}'\n", none.display());
    std::fs::write(&file, config).unwrap();
    file
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

/// A loopback address with a port that is free now.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

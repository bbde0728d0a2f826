//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A flow probe that speaks Skydive's API.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the daemon: poll ports, keep the topology, serve REST and WebSocket.
    Run(Run),
    /// Read capture files and print their flows.
    Read(Read),
    /// Ask a running daemon a Gremlin query.
    Query(Query),
    /// Create, list and delete captures of a running daemon.
    Capture(Capture),
    /// Watch the flows of a running daemon.
    Flows(Flows),
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Configuration file (TOML); without one the built-in defaults hold.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Address of REST and WebSocket, in place of the configured one.
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct Read {
    /// Capture files: pcap or pcapng.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// What to print on stdout.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) output: Output,
    /// What keys a flow: MAC addresses and up, or IP addresses and up.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) layer_key_mode: LayerKeyMode,
    /// Meter only the frames that this filter admits (libpcap syntax).
    #[arg(long, value_name = "FILTER")]
    pub(crate) bpf: Option<String>,
    /// Flows held at once; beyond it the least recently used leave early.
    #[arg(long, value_name = "FLOWS", default_value_t = 1_000_000, value_parser = max_flows)]
    pub(crate) max_flows: usize,
}

/// The form of the flows on stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// One JSON array, as `G.Flows()` answers.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// Columns for people.
    #[default]
    Table,
    /// Nothing but the summary.
    None,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LayerKeyMode {
    #[default]
    #[value(name = "L2", alias = "l2")]
    L2,
    #[value(name = "L3", alias = "l3")]
    L3,
}

/// Where the daemon is.
#[derive(Debug, Args)]
pub(crate) struct Daemon {
    /// The daemon's address.
    #[arg(
        long,
        global = true,
        value_name = "HOST:PORT",
        env = "SKYDIVE_ANALYZER",
        default_value = "127.0.0.1:8082"
    )]
    pub(crate) analyzer: String,
}

#[derive(Debug, Args)]
pub(crate) struct Query {
    #[command(flatten)]
    pub(crate) daemon: Daemon,
    /// A Gremlin query, for instance `G.Flows().Limit(5)`.
    pub(crate) query: String,
}

#[derive(Debug, Args)]
pub(crate) struct Capture {
    #[command(flatten)]
    pub(crate) daemon: Daemon,
    #[command(subcommand)]
    pub(crate) action: CaptureAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CaptureAction {
    /// Capture on every node that a query gives.
    Create {
        /// A Gremlin query that gives nodes, for instance `G.V().Has('Name','eth0')`.
        #[arg(long, value_name = "QUERY")]
        gremlin: String,
        /// Meter only the frames that this filter admits (libpcap syntax).
        #[arg(long, value_name = "FILTER")]
        bpf: Option<String>,
        /// Name of the capture.
        #[arg(long)]
        name: Option<String>,
        /// Description of the capture.
        #[arg(long)]
        description: Option<String>,
        /// Capture type; the node type's default without it.
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        /// What keys a flow.
        #[arg(long, value_enum, default_value_t)]
        layer_key_mode: LayerKeyMode,
    },
    /// List the captures.
    List,
    /// Delete a capture.
    Delete {
        /// UUID of the capture.
        uuid: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Flows {
    #[command(flatten)]
    pub(crate) daemon: Daemon,
    #[command(subcommand)]
    pub(crate) action: FlowsAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FlowsAction {
    /// Print each flow that the daemon streams, one JSON object a line.
    Watch {
        /// How flows travel; what is printed is the same.
        #[arg(long, value_enum, default_value_t)]
        encoding: Encoding,
        /// Only the flows of this capture.
        #[arg(long, value_name = "UUID")]
        capture: Option<String>,
        /// Stop after this many flows.
        #[arg(long, value_name = "FLOWS")]
        count: Option<u64>,
    },
}

/// How flows travel on the WebSocket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Encoding {
    /// Text frames, flows in JSON.
    #[default]
    Json,
    /// Binary frames, flows in Protobuf.
    Protobuf,
}

fn max_flows(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=0x7fff_ffff) => Ok(n),
        _ => Err("expected a number of flows, 1 to 2147483647".into()),
    }
}

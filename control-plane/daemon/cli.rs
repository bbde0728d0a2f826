//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};
use sonde_probe::flow::Timers;
use sonde_probe::traffic::Kind;
use sonde_proto::plan::{ExtraLayers, KeyMode, Options};
use sonde_proto::record::Transport;

use crate::analyzer::Daemon;
use crate::flow_config::or_never;

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
    /// Check or print the configuration that `run` would take.
    Config(Config),
    /// Read capture files and print their flows.
    Read(Read),
    /// Ask a running daemon a Gremlin query.
    Query(Query),
    /// Create, list and delete captures of a running daemon.
    Capture(Capture),
    /// Watch the flows of a running daemon.
    Flows(Flows),
    /// Write made-up traffic into a pcap file: the same frames each time, on any machine.
    Traffic(Traffic),
    /// Measure the data plane of this machine on made-up traffic.
    Bench(Bench),
    /// Run the script that the daemon sends on stdin.
    #[command(hide = true)]
    Script,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) configuration: Configuration,
    /// Address of REST and WebSocket, in place of the configured one.
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,
}

/// Where the configuration comes from, beside the environment.
#[derive(Clone, Debug, Args)]
pub(crate) struct Configuration {
    /// Configuration file: TOML, or Skydive's YAML if it ends in .yml or .yaml. What neither it nor
    /// a variable SONDE_... says has its default.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    pub(crate) action: ConfigAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigAction {
    /// Say `ok`, or what is wrong, with exit code 2.
    Check(Configuration),
    /// Print every key with its value, as TOML; passwords as `***`.
    Show(Configuration),
}

#[derive(Debug, Args)]
pub(crate) struct Read {
    /// Capture files: pcap or pcapng.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// What to print on stdout.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) output: Output,
    /// Meter only the frames that this filter admits (libpcap syntax).
    #[arg(long, value_name = "FILTER")]
    pub(crate) bpf: Option<String>,
    #[command(flatten)]
    pub(crate) metering: Metering,
    /// UDP port that carries MPLS (OpenContrail: 51234).
    #[arg(long, value_name = "PORT", value_parser = value_parser!(u16).range(1..))]
    pub(crate) mpls_udp_port: Option<u16>,
    /// Name the application of a TCP or UDP port; may be repeated.
    #[arg(long = "application-port", value_name = "tcp|udp:PORT=NAME", value_parser = application)]
    pub(crate) application_ports: Vec<ApplicationPort>,
    #[command(flatten)]
    pub(crate) ending: Ending,
    /// Flows held at once; beyond it the least recently used leave early.
    #[arg(long, value_name = "FLOWS", default_value_t = 1_000_000, value_parser = max_flows)]
    pub(crate) max_flows: usize,
}

/// When the flows of a file end, by the time in the file; 0 for never.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Ending {
    /// Silence after which a flow ends.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    expire: u64,
    /// Age at which a flow ends, however busy, and starts anew.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    active: u64,
    /// Silence after which a flow ends whose TCP ends said goodbye.
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    hold: u64,
}

impl Ending {
    /// The timers of a file, which has no update ticks.
    pub(crate) fn timers(&self) -> Timers {
        Timers {
            expire: or_never(self.expire),
            active: or_never(self.active),
            hold: or_never(self.hold),
            ..Timers::NEVER
        }
    }
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

/// What is made of the frames.
#[derive(Debug, Default, Args)]
pub(crate) struct Metering {
    /// What keys a flow: MAC addresses and up, or IP addresses and up.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) layer_key_mode: LayerKeyMode,
    /// Bytes of a frame that are looked at; without it all in a file, 256 in a capture.
    #[arg(long, value_name = "BYTES", value_parser = value_parser!(u32).range(14..=4096))]
    pub(crate) header_size: Option<u32>,
    /// Meter one in so many flows; 0 and 1 meter all.
    #[arg(long, value_name = "FLOWS", default_value_t)]
    pub(crate) sampling: u32,
    /// Packets kept of each flow, 10 at most.
    #[arg(
        long,
        value_name = "PACKETS",
        default_value_t,
        value_parser = value_parser!(u32).range(..=10)
    )]
    pub(crate) raw_packets: u32,
    /// Note the times and TTLs of TCP flags.
    #[arg(long)]
    pub(crate) extra_tcp_metric: bool,
    /// Follow TCP streams: segments out of order, missing, delivered.
    #[arg(long)]
    pub(crate) reassemble_tcp: bool,
    /// Put IP fragments together before they are metered.
    #[arg(long)]
    pub(crate) ip_defrag: bool,
    /// Application layers that are read, separated by commas.
    #[arg(long, value_enum, value_name = "LAYERS", value_delimiter = ',', ignore_case = true)]
    pub(crate) extra_layers: Vec<ExtraLayer>,
}

/// The name of the application at a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApplicationPort {
    pub(crate) protocol: Transport,
    pub(crate) port: u16,
    pub(crate) name: String,
}

/// An application layer that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExtraLayer {
    Dns,
    Dhcpv4,
    Vrrp,
}

impl Metering {
    /// The options as the data plane takes them.
    pub(crate) fn options(&self, header_size: u32, mpls_udp_port: Option<u16>) -> Options {
        Options {
            key_mode: match self.layer_key_mode {
                LayerKeyMode::L2 => KeyMode::L2,
                LayerKeyMode::L3 => KeyMode::L3,
            },
            header_size: self.header_size.unwrap_or(header_size),
            sampling: self.sampling,
            raw_packets: self.raw_packets,
            tcp_metric: self.extra_tcp_metric,
            reassemble_tcp: self.reassemble_tcp,
            defragment: self.ip_defrag,
            extra_layers: self.layers(),
            mpls_udp_port,
            mirror: false,
        }
    }

    /// Skydive's mask of the layers.
    pub(crate) fn layers(&self) -> ExtraLayers {
        let mask = self.extra_layers.iter().map(|layer| match layer {
            ExtraLayer::Dns => ExtraLayers::DNS,
            ExtraLayer::Dhcpv4 => ExtraLayers::DHCPV4,
            ExtraLayer::Vrrp => ExtraLayers::VRRP,
        });
        ExtraLayers(mask.fold(0, |mask, layer| mask | layer.0))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LayerKeyMode {
    #[default]
    #[value(name = "L2", alias = "l2")]
    L2,
    #[value(name = "L3", alias = "l3")]
    L3,
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
        /// Collector that the flows are sent to, for instance `192.0.2.1:4739`, or host that the
        /// frames are mirrored to.
        #[arg(long, value_name = "HOST:PORT", requires = "target_type")]
        target: Option<String>,
        /// How flows are sent: `ipfix` or `netflowv5`; or frames: `erspanv1`.
        #[arg(long, value_name = "TYPE")]
        target_type: Option<String>,
        /// TCP port that a pcapsocket capture listens on; one that is free without it.
        #[arg(long, value_name = "PORT", value_parser = value_parser!(u16).range(1..))]
        port: Option<u16>,
        #[command(flatten)]
        metering: Metering,
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

#[derive(Debug, Args)]
pub(crate) struct Traffic {
    /// What it is like.
    #[arg(value_enum)]
    pub(crate) kind: TrafficKind,
    /// The file, which is replaced; at most 128 bytes of each frame are in it.
    pub(crate) file: PathBuf,
    /// How many frames.
    #[arg(long, value_name = "FRAMES", default_value_t = 5_000_000)]
    pub(crate) packets: u64,
    /// Flows that live at once; 100000 in a mix, 1000 elephants, none in a flood without it.
    #[arg(long, value_name = "FLOWS", value_parser = value_parser!(u32).range(1..=100_000_000))]
    pub(crate) flows: Option<u32>,
    /// Another seed gives other frames of the same kind.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Bench {
    /// What the traffic is like.
    #[arg(long, value_enum, default_value = "mix")]
    pub(crate) traffic: TrafficKind,
    /// Where the frames come from.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) through: Through,
    /// Frames that are measured; of net_pcap, frames that are played again and again. 5000000,
    /// and 100000, without it.
    #[arg(long, value_name = "FRAMES", value_parser = value_parser!(u64).range(1..))]
    pub(crate) packets: Option<u64>,
    /// Flows that live at once: 100000 in a mix, 1000 elephants without it; with a plot, the most.
    #[arg(long, value_name = "FLOWS", value_parser = value_parser!(u32).range(1..=100_000_000))]
    pub(crate) flows: Option<u32>,
    /// How long to measure. From memory, in place of a number of packets; 5 from a port.
    #[arg(long, value_name = "SECONDS", value_parser = value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: Option<u64>,
    /// Another seed gives other frames of the same kind.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Measure from a thousand flows to ten million (or `--flows`), and draw it.
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) plot: Option<PathBuf>,
    /// What to print on stdout.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) output: BenchOutput,
}

/// Where the frames of a bench come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Through {
    /// Memory: nothing is measured but the data plane.
    #[default]
    Memory,
    /// DPDK's net_pcap, which copies frames from memory.
    NetPcap,
    /// DPDK's net_null: empty frames of 64 bytes.
    NetNull,
}

/// The form of figures on stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchOutput {
    /// Lines for people.
    #[default]
    Table,
    /// One JSON object; with a plot, an array of them.
    Json,
}

/// Kinds of made-up traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TrafficKind {
    /// Flows that come and go, the popular ones more often seen; all sizes, IPv6, VLAN, VXLAN.
    Mix,
    /// SYNs, each of another client.
    Flood,
    /// Few flows, large frames.
    Elephants,
}

impl From<TrafficKind> for Kind {
    fn from(kind: TrafficKind) -> Self {
        match kind {
            TrafficKind::Mix => Self::Mix,
            TrafficKind::Flood => Self::Flood,
            TrafficKind::Elephants => Self::Elephants,
        }
    }
}

fn application(text: &str) -> Result<ApplicationPort, String> {
    let read = || {
        let (protocol, rest) = text.split_once(':')?;
        let (port, name) = rest.split_once('=')?;
        let protocol = match protocol {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            _ => return None,
        };
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (!name.is_empty()).then(|| ApplicationPort { protocol, port, name: name.to_owned() })
    };
    read().ok_or_else(|| "expected a protocol, a port and a name: tcp:8080=http".into())
}

fn max_flows(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=0x7fff_ffff) => Ok(n),
        _ => Err("expected a number of flows, 1 to 2147483647".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;
    use sonde_probe::flow::Timers;
    use sonde_proto::plan::{ExtraLayers, KeyMode, Options};

    use super::{Cli, Command};

    fn read(arguments: &str) -> Result<Options, clap::Error> {
        let words = format!("sonde read {arguments} x.pcap");
        match Cli::try_parse_from(words.split_whitespace())?.command {
            Command::Read(read) => Ok(read.metering.options(u32::MAX, read.mpls_udp_port)),
            other => panic!("read was asked for, not {other:?}"),
        }
    }

    #[test]
    fn every_option_of_a_capture_has_a_flag() {
        let none = Options { header_size: u32::MAX, ..Options::default() };
        assert_eq!(read("").unwrap(), none);
        let all = Options {
            key_mode: KeyMode::L3,
            header_size: 96,
            sampling: 100,
            raw_packets: 10,
            tcp_metric: true,
            reassemble_tcp: true,
            defragment: true,
            extra_layers: ExtraLayers(7),
            mpls_udp_port: Some(51234),
            mirror: false,
        };
        let flags = "--layer-key-mode L3 --header-size 96 --sampling 100 --raw-packets 10 \
            --extra-tcp-metric --reassemble-tcp --ip-defrag --extra-layers dns,DHCPv4,vrrp \
            --mpls-udp-port 51234";
        assert_eq!(read(flags).unwrap(), all);
    }

    #[test]
    fn flows_of_a_file_end_when_it_is_said() {
        let timers = |arguments: &str| {
            let words = format!("sonde read {arguments} x.pcap");
            match Cli::try_parse_from(words.split_whitespace()).unwrap().command {
                Command::Read(read) => read.ending.timers(),
                other => panic!("read was asked for, not {other:?}"),
            }
        };
        let without_ticks = Timers { update: Duration::MAX, ..Timers::default() };
        let usual = timers("");
        assert_eq!((usual.update, usual.expire), (Duration::MAX, without_ticks.expire));
        assert_eq!((usual.hold, usual.active), (without_ticks.hold, without_ticks.active));
        assert_eq!(timers("--expire 0 --hold 0"), Timers::NEVER);
        let minute = timers("--expire 60 --active 3600 --hold 1");
        assert_eq!([minute.expire, minute.active, minute.hold].map(|t| t.as_secs()), [60, 3600, 1]);
    }

    #[test]
    fn flags_out_of_range_are_refused() {
        for flags in [
            "--header-size 13",
            "--raw-packets 11",
            "--sampling -1",
            "--mpls-udp-port 0",
            "--extra-layers dns,arp",
            "--application-port sctp:1=x",
            "--application-port tcp:0=x",
            "--application-port udp:1=",
        ] {
            assert!(read(flags).is_err(), "{flags}");
        }
    }
}

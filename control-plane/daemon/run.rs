//! `sonde run`: starts the control plane, then the data plane, and stops them with the data.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sonde_control_plane::control::{self, Control, DataPlane};
use sonde_control_plane::discovery::{self, HostConfig};
use sonde_control_plane::flow_store::Times;
use sonde_control_plane::server::{self, Entrance};
use sonde_control_plane::stream::{BulkConfig, QueueLimits};
use sonde_control_plane::tls::Tls;
use sonde_control_plane::ws::KeepAlive;
use sonde_probe::source::wall_clock;
use sonde_probe::supervisor::{Supervisor, SupervisorConfig};
use sonde_probe::worker::FlowConfig;
use sonde_proto::capture::Capture;
use sonde_proto::graph::Metadata;
use sonde_proto::report::Books;
use sonde_proto::ring;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::cli::Run;
use crate::config::{Config, Loaded};
use crate::config_command;
use crate::injection;
use crate::log::{self, Levels};
use crate::ports::Ports;
use crate::reload::Reload;
use crate::script;
use crate::settings::settings;
use crate::signals::Stop;
use crate::upload;

/// Runs the daemon until it is told to stop. Exit 2 when the configuration is wrong.
pub(crate) fn run(options: &Run) -> anyhow::Result<ExitCode> {
    let loaded = options.load().and_then(|loaded| Ok((loaded.config.log.filter()?, loaded)));
    let (filter, Loaded { config, warnings }) = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("sonde: {error:#}");
            return Ok(ExitCode::from(config_command::WRONG));
        }
    };
    let levels = log::start(filter);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let stop = Stop::on_signals()?;
    let books = Daemon::start(options, config, levels, &stop)?.run(&stop)?;
    let counters: Vec<_> = books.named().iter().map(|(name, n)| format!("{name} {n}")).collect();
    tracing::info!(unaccounted = books.unaccounted(), "ended: {}", counters.join(", "));
    Ok(ExitCode::SUCCESS)
}

/// Says what a start would refuse of the configuration, by building what it is built into. No port,
/// socket or state file is opened.
pub(crate) fn rehearse(config: &Config) -> anyhow::Result<()> {
    let host = host_name()?;
    flow_config(config)?;
    config.tls.files()?.map(Tls::open).transpose()?;
    control_config(config, &host, Metadata::new())?.check()?;
    Ok(())
}

impl Run {
    /// The configuration that these options, and the environment, ask for.
    pub(crate) fn load(&self) -> anyhow::Result<Loaded> {
        let mut loaded = Loaded::new(self.configuration.config.as_deref(), std::env::vars_os())?;
        if let Some(listen) = self.listen {
            loaded.config.listen = listen;
        }
        Ok(loaded)
    }
}

/// Both planes, started.
struct Daemon {
    runtime: Runtime,
    control: Control,
    supervisor: Supervisor,
    ports: Ports,
    server: tokio::task::JoinHandle<()>,
}

impl Daemon {
    /// Starts everything but the lcores of the ports.
    fn start(options: &Run, config: Config, levels: Levels, stop: &Stop) -> anyhow::Result<Self> {
        let host = host_name()?;
        let flow = flow_config(&config)?;
        raise_file_limit();
        // First, because bringing up DPDK pins the thread it runs on, and with it all threads that
        // the pinned one starts.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(CONTROL_THREADS)
            .thread_name("sonde-control")
            .enable_all()
            .build()
            .context("cannot start the control plane")?;
        let tls = config.tls.files()?.map(Tls::open).transpose()?;
        let listener = runtime
            .block_on(TcpListener::bind(config.listen))
            .with_context(|| format!("cannot listen on {}", config.listen))?;
        config.warn_of_dangers();
        let (announcer, rings) = ring::rings();
        let supervisor = SupervisorConfig {
            workers_per_interface: config.af_packet.workers,
            on_damage: |address, why| {
                tracing::warn!(%address, "a capture that a client writes is damaged: {why}");
            },
            ..SupervisorConfig::default()
        };
        let supervisor = Supervisor::start(announcer.clone(), flow, supervisor)
            .context("cannot start the supervisor")?;
        // EAL starts threads that inherit the affinity of the control plane's; then ours is pinned.
        let ports = Ports::bring_up(&config, announcer.clone(), flow)?;
        let data_plane = DataPlane {
            rings,
            ports: ports.nodes(),
            replay: upload::replay(announcer, flow, stop.clone()),
            injector: injection::injector(ports.exits()),
        };
        let control = runtime
            .block_on(Control::start(control_config(&config, &host, ports.facts())?, data_plane))
            .context("cannot start the control plane")?;
        let state = control.state();
        ports.follow(&runtime, state.graph.clone(), state.lcores.clone());
        if let Some(tls) = &tls {
            runtime.spawn(tls.clone().follow());
        }
        let listen = config.listen;
        let reload = Reload {
            options: options.clone(),
            config: config.into(),
            host,
            levels,
            settings: state.settings.clone(),
            access: state.access.clone(),
            tls: tls.clone(),
        };
        let hangups = runtime.block_on(async { reload.on_hangup() });
        runtime.spawn(hangups.context("cannot handle SIGHUP")?);
        let asked = stop.clone();
        let limits = state.settings.connections.clone();
        let entrance = Entrance { listener, tls, limits };
        let server = runtime.spawn(server::serve(entrance, control.router(), async move {
            asked.wait().await;
        }));
        tracing::info!(%listen, "ready");
        Ok(Self { runtime, control, supervisor, ports, server })
    }

    /// Polls the ports on this thread's lcores until the daemon shall stop; then stops in the
    /// order of the data: sources, shards, rings, subscribers, servers.
    fn run(self, stop: &Stop) -> anyhow::Result<Books> {
        let Self { runtime, control, supervisor, ports, server } = self;
        let lcores = control.state().lcores.clone();
        let polled = ports.run(stop, &lcores);
        if polled.is_err() {
            // A daemon that polls nothing must not look healthy.
            stop.ask();
        }
        runtime.block_on(stop.wait());
        tracing::info!("stopping");
        supervisor.stop();
        if !runtime.block_on(control.stop(LIMIT)) {
            tracing::warn!("some flows were not delivered in time");
        }
        let books = lcores.totals();
        runtime.block_on(async { tokio::time::timeout(LIMIT, server).await }).ok();
        runtime.shutdown_timeout(Duration::from_millis(100));
        polled.map(|()| books)
    }
}

/// Allows as many files as this process may have: each network namespace takes four.
fn raise_file_limit() {
    let limits = getrlimit(Resource::RLIMIT_NOFILE);
    if let Err(error) = limits.and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most))
    {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

fn flow_config(config: &Config) -> anyhow::Result<FlowConfig> {
    Ok(FlowConfig {
        max_flows: config.flow.max_flows,
        timers: config.flow.timers()?,
        ..FlowConfig::default()
    })
}

/// Name of this host, as the kernel has it.
fn host_name() -> anyhow::Result<String> {
    let name = std::fs::read_to_string(HOST_NAME);
    let name = name.with_context(|| format!("cannot read {HOST_NAME}"))?;
    Ok(name.trim_end().to_owned())
}

fn control_config(config: &Config, host: &str, facts: Metadata) -> anyhow::Result<control::Config> {
    let timers = config.flow.timers()?;
    Ok(control::Config {
        host: HostConfig {
            id: config.host_id(host).to_owned(),
            metadata: facts,
            clock: wall_clock,
            counters_every: discovery::COUNTERS_EVERY,
            netns_dir: config.discovery.netns_dir.clone(),
            processes: config.discovery.processes,
            sockets: config.discovery.sockets,
        },
        version: env!("CARGO_PKG_VERSION").to_owned(),
        settings: settings(config, host)?,
        access: config.access().access(host)?,
        flows: config.flow.store,
        times: Times {
            hold: timers.hold,
            idle: timers.expire,
            silence: timers.expire.saturating_add(timers.update).saturating_add(SLACK),
        },
        bulk: BulkConfig { flows: config.flow.bulk, delay: config.flow.bulk_delay() },
        history: config.graph.history(),
        limits: QueueLimits::default(),
        keep_alive: KeepAlive::default(),
        directory: config.state_dir.clone(),
        launch: script::launch(),
        key_mode: config.flow.layer_key_mode.into(),
        pcap_sockets: config.pcap_socket.listen(),
        start_up: config.startup_capture.as_ref().map(|asked| Capture {
            gremlin_query: asked.gremlin.clone(),
            bpf_filter: asked.bpf.clone(),
            kind: asked.kind.clone(),
            ..Capture::default()
        }),
    })
}

/// Where the kernel says the name of this host.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// What a report may take from a shard into the flow store.
const SLACK: Duration = Duration::from_secs(30);

/// Threads of the control plane.
const CONTROL_THREADS: usize = 2;

/// How long each part of the stop may take.
const LIMIT: Duration = Duration::from_millis(1500);

//! The `sonde` command: parses the command line and hands over.

use std::process::ExitCode;

use clap::Parser;

mod access_config;
mod analyzer;
mod bench;
mod cli;
mod client;
mod config;
mod config_command;
mod flow_config;
mod injection;
mod log;
mod log_config;
mod output;
mod pcap_socket_config;
mod ports;
mod query_config;
mod read;
mod reload;
mod remote;
mod run;
mod script;
mod settings;
mod signals;
mod traffic;
mod upload;
mod watch;
mod workflow_config;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(options) => run::run(&options),
        Command::Config(options) => config_command::config(&options.action),
        Command::Read(options) => read::read(&options),
        Command::Query(options) => client::query(&options),
        Command::Capture(options) => client::capture(&options),
        Command::Flows(options) => watch::flows(&options),
        Command::Traffic(options) => traffic::write(&options),
        Command::Bench(options) => bench::bench(&options),
        Command::Script => script::script(),
    };
    result.unwrap_or_else(|error| {
        if output::is_closed(&error) {
            return ExitCode::SUCCESS;
        }
        eprintln!("sonde: {error:#}");
        ExitCode::FAILURE
    })
}

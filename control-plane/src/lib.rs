//! The control plane of sonde: topology graph, flow store, captures, REST and WebSocket.

pub mod access;
pub mod additions;
pub mod agent;
pub mod alert;
pub mod api;
mod aside;
pub mod asker;
pub mod assembler;
pub mod bpf;
pub mod capture;
mod causes;
pub mod clock;
pub mod configuration;
pub mod connections;
pub mod control;
pub mod discovery;
pub mod duration;
mod envelope;
pub mod export;
mod files;
pub mod flow;
pub mod flow_store;
pub mod graph;
pub mod gremlin;
pub mod ingest;
pub mod injection;
mod json;
pub mod layer;
pub mod live;
pub mod mirror;
pub mod notice;
pub mod resource;
pub mod rule;
pub mod script;
pub mod server;
pub mod settings;
pub mod state;
pub mod store;
pub mod stream;
pub mod tls;
pub mod topology_stream;
pub mod upload;
pub mod workflow;
pub mod ws;

#[cfg(test)]
mod tests;

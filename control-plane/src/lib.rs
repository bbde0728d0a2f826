//! The control plane of sonde: topology graph, flow store, captures, REST and WebSocket.

pub mod access;
pub mod api;
pub mod assembler;
pub mod bpf;
pub mod capture;
pub mod clock;
pub mod connections;
pub mod control;
pub mod discovery;
mod envelope;
mod files;
pub mod flow;
pub mod flow_store;
pub mod graph;
pub mod gremlin;
pub mod ingest;
mod json;
pub mod layer;
pub mod server;
pub mod state;
pub mod stream;
pub mod tls;
pub mod topology_stream;
pub mod upload;
pub mod ws;

#[cfg(test)]
mod world;

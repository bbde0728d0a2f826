//! The control plane of sonde: topology graph, flow store, captures, REST and WebSocket.

pub mod discovery;
pub mod bpf;
pub mod clock;
pub mod flow_store;
pub mod graph;
pub mod gremlin;
pub mod ingest;
pub mod server;
pub mod stream;
pub mod ws;

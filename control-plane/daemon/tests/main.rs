//! End to end: the real binary, real frames, real sockets. Needs root for namespaces and raw
//! sockets; `scripts/test` sees to that.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]
#![expect(clippy::disallowed_methods, reason = "a test waits on the clock of the wall")]

mod support;

mod access;
mod bench;
mod client;
mod commands;
mod durability;
mod export;
mod live;
mod log;
mod mirror;
mod openapi;
mod pcap_socket;
mod read;
mod reload;
mod replay;
mod strangers;
mod stream;
mod tls;
mod upload;
mod workflow;

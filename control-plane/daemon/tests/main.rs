//! End to end: the real binary, real frames, real sockets. Needs root for namespaces and raw
//! sockets; `scripts/test` sees to that.

mod support;

mod commands;
mod live;
mod read;
mod replay;
mod stream;

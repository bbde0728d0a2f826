//! The envelope of every WebSocket message.

#[allow(clippy::all, missing_docs, rustdoc::all, unreachable_pub)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/websocket.rs"));
}

pub use generated::{Format, StructMessage};

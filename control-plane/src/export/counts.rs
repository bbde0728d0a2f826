//! What became of the records of an exporter.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counters since the start of an exporter.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) records: AtomicU64,
    pub(super) datagrams: AtomicU64,
    pub(super) not_exportable: AtomicU64,
    pub(super) errors: AtomicU64,
    address: Mutex<Option<SocketAddr>>,
}

impl Counts {
    /// A datagram with so many records of flows went out.
    pub(super) fn sent(&self, records: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.datagrams.fetch_add(1, Ordering::Relaxed);
    }

    /// The format has no record for what was reported.
    pub(super) fn cannot_export(&self) {
        self.not_exportable.fetch_add(1, Ordering::Relaxed);
    }

    /// Something could not be sent, or the target not be found.
    pub(super) fn failed(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// The target was found there.
    pub(super) fn found(&self, address: Option<SocketAddr>) {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }

    /// Where datagrams go.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The way out of ingest for the records of one capture.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sonde_proto::record::FlowRecord;
use tokio::sync::mpsc;

use super::FlowNames;

/// Where ingest puts the records of a capture that has a target. Putting never waits: what finds no
/// room is lost and counted. Clones are the same outlet.
#[derive(Clone, Debug)]
pub struct Outlet {
    queue: mpsc::Sender<Told>,
    lost: Arc<AtomicU64>,
    /// What all outlets lost.
    all_lost: Arc<AtomicU64>,
}

/// A record, and what it does not say of its flow.
#[derive(Clone, Debug)]
pub struct Told {
    /// The record.
    pub record: FlowRecord,
    /// The names of its flow.
    pub names: FlowNames,
}

impl Outlet {
    /// An outlet where so many records can wait, and where they are taken. What it loses is counted
    /// in `all_lost`, too.
    pub fn new(room: usize, all_lost: Arc<AtomicU64>) -> (Self, mpsc::Receiver<Told>) {
        let (queue, told) = mpsc::channel(room);
        (Self { queue, lost: Arc::default(), all_lost }, told)
    }

    /// Puts a record, if there is room and somebody who takes it.
    pub fn put(&self, record: &FlowRecord, names: &FlowNames) {
        match self.queue.try_reserve() {
            Ok(place) => place.send(Told { record: *record, names: names.clone() }),
            Err(_) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                self.all_lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Records that found no room.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl PartialEq for Outlet {
    fn eq(&self, other: &Self) -> bool {
        self.queue.same_channel(&other.queue)
    }
}

impl Eq for Outlet {}

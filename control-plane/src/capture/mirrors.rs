//! The mirrors of all captures.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sonde_proto::status::MirrorStatus;

use crate::ingest::Desired;
use crate::mirror::Mirror;

/// The mirrors of all captures. No call waits for more than the opening of a socket.
#[derive(Debug, Default)]
pub(super) struct Mirrors {
    /// By `UUID` of their captures.
    running: Mutex<BTreeMap<String, Running>>,
    /// Frames that were not sent, those of mirrors that are gone included.
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Running {
    mirror: Mirror,
    /// Why it could not be opened.
    error: Option<String>,
}

impl Mirrors {
    /// Ends mirrors of captures that are not `wanted`.
    pub(super) fn keep(&self, wanted: impl Fn(&str) -> bool) {
        self.running().retain(|capture, _| wanted(capture));
    }

    /// Begins to mirror what `capture` sees, if it is not mirrored yet.
    pub(super) fn start(&self, capture: &str, target: IpAddr) {
        self.running().entry(capture.to_owned()).or_insert_with(|| {
            let mirror = Mirror::new(target, self.lost.clone());
            let mut running = Running { mirror, error: None };
            running.open(capture);
            running
        });
    }

    /// Opens those that could not be opened before, if they can now.
    pub(super) fn try_again(&self) {
        for (capture, running) in self.running().iter_mut() {
            if running.error.is_some() {
                running.open(capture);
            }
        }
    }

    /// Says which watches are mirrored where.
    pub(super) fn connect(&self, desired: &mut Desired) {
        let running = self.running();
        for (watch, watched) in &desired.watched {
            if let Some(running) = running.get(&watched.capture_id) {
                desired.mirrors.insert(*watch, running.mirror.clone());
            }
        }
    }

    /// Frames that were not sent, those of mirrors that are gone included.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// What became of the frames of each capture, by its `UUID`.
    pub(super) fn status(&self) -> BTreeMap<String, MirrorStatus> {
        let running = self.running();
        running.iter().map(|(capture, running)| (capture.clone(), running.status())).collect()
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// Opens the mirror. Says so where it fails for another reason than before, and where it no
    /// longer fails.
    fn open(&mut self, capture: &str) {
        let target = self.mirror.target();
        let error = self.mirror.open().err().map(|error| error.to_string());
        if error != self.error {
            match &error {
                Some(error) => tracing::warn!(capture, %target, error, "frames cannot be mirrored"),
                None => tracing::info!(capture, %target, "frames are mirrored"),
            }
        }
        self.error = error;
    }

    fn status(&self) -> MirrorStatus {
        MirrorStatus {
            target: self.mirror.target().to_string(),
            sent: self.mirror.sent(),
            lost: self.mirror.lost(),
            error: self.error.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use bytes::Bytes;
    use sonde_proto::record::WatchId;
    use sonde_proto::report::{PacketHead, PacketWant};
    use sonde_proto::time::Timestamp;

    use super::*;
    use crate::flow::Watched;

    #[test]
    fn what_cannot_be_mirrored_is_lost_and_stays_counted() {
        let mirrors = Mirrors::default();
        // Nobody may send there who did not ask for it, not even root.
        let target = Ipv4Addr::BROADCAST.into();
        mirrors.start("a", target);
        let mut desired = Desired::default();
        let watched = Watched { capture_id: "a".into(), ..Watched::default() };
        desired.watched.insert(WatchId(1), Arc::new(watched));
        mirrors.connect(&mut desired);
        let head = PacketHead::new(WatchId(1), 0, PacketWant::Mirror, Timestamp::default(), 1, 60);
        let mirror = &desired.mirrors[&WatchId(1)];
        mirror.put(&head, Bytes::from_static(&[0; 60]));
        for _ in 0..2 {
            let status = &mirrors.status()["a"];
            assert!(status.error.is_some());
            assert_eq!((status.sent, status.lost, mirrors.lost()), (0, 1, 1));
            mirrors.try_again();
        }
        mirrors.keep(|_| false);
        assert!(mirrors.status().is_empty());
        mirror.put(&head, Bytes::from_static(&[0; 60]));
        assert_eq!(mirrors.lost(), 2, "its last frames come after its capture is gone");
    }
}

//! The mirrors of all captures.

use std::collections::BTreeMap;
use std::net::IpAddr;

use sonde_proto::status::MirrorStatus;

use crate::ingest::Desired;
use crate::mirror::Mirror;

/// The mirrors of all captures.
#[derive(Debug, Default)]
pub(super) struct Mirrors {
    /// By `UUID` of their captures; and why one could not be opened.
    open: BTreeMap<String, (IpAddr, Result<Mirror, String>)>,
    /// Frames that those lost which are gone.
    lost: u64,
}

impl Mirrors {
    /// Ends mirrors of captures that are not `wanted`.
    pub(super) fn keep(&mut self, wanted: impl Fn(&str) -> bool) {
        for (_, (_, mirror)) in self.open.extract_if(.., |capture, _| !wanted(capture)) {
            self.lost += mirror.map_or(0, |mirror| mirror.lost());
        }
    }

    /// Begins to mirror what `capture` sees, if it is not mirrored yet.
    pub(super) fn start(&mut self, capture: &str, target: IpAddr) {
        if self.open.contains_key(capture) {
            return;
        }
        let mirror = Mirror::open(target).map_err(|error| error.to_string());
        if let Err(error) = &mirror {
            tracing::warn!(capture, %target, error, "frames cannot be mirrored");
        }
        self.open.insert(capture.to_owned(), (target, mirror));
    }

    /// Says which watches are mirrored where.
    pub(super) fn connect(&self, desired: &mut Desired) {
        for (watch, watched) in &desired.watched {
            if let Some((_, Ok(mirror))) = self.open.get(&watched.capture_id) {
                desired.mirrors.insert(*watch, mirror.clone());
            }
        }
    }

    /// Frames that were not sent, those of mirrors that are gone included.
    pub(super) fn lost(&self) -> u64 {
        let mirrors = self.open.values().filter_map(|(_, mirror)| mirror.as_ref().ok());
        self.lost + mirrors.map(Mirror::lost).sum::<u64>()
    }

    /// What became of the frames of each capture, by its `UUID`.
    pub(super) fn status(&self) -> BTreeMap<String, MirrorStatus> {
        let status = |(capture, (target, mirror)): (&String, &(IpAddr, Result<Mirror, String>))| {
            let (sent, lost, error) = match mirror {
                Ok(mirror) => (mirror.sent(), mirror.lost(), None),
                Err(error) => (0, 0, Some(error.clone())),
            };
            (capture.clone(), MirrorStatus { target: target.to_string(), sent, lost, error })
        };
        self.open.iter().map(status).collect()
    }
}

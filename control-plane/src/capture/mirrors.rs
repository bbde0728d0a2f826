//! The mirrors of all captures.

use std::collections::BTreeMap;
use std::net::IpAddr;

use sonde_proto::status::MirrorStatus;

use crate::ingest::Desired;
use crate::mirror::Mirror;

/// The mirrors, by `UUID` of their captures; and why one could not be opened.
#[derive(Debug, Default)]
pub(super) struct Mirrors(BTreeMap<String, (IpAddr, Result<Mirror, String>)>);

impl Mirrors {
    /// Ends mirrors of captures that are not `wanted`.
    pub(super) fn keep(&mut self, wanted: impl Fn(&str) -> bool) {
        self.0.retain(|capture, _| wanted(capture));
    }

    /// Begins to mirror what `capture` sees, if it is not mirrored yet.
    pub(super) fn start(&mut self, capture: &str, target: IpAddr) {
        if self.0.contains_key(capture) {
            return;
        }
        let mirror = Mirror::open(target).map_err(|error| error.to_string());
        if let Err(error) = &mirror {
            tracing::warn!(capture, %target, error, "frames cannot be mirrored");
        }
        self.0.insert(capture.to_owned(), (target, mirror));
    }

    /// Says which watches are mirrored where.
    pub(super) fn connect(&self, desired: &mut Desired) {
        for (watch, watched) in &desired.watched {
            if let Some((_, Ok(mirror))) = self.0.get(&watched.capture_id) {
                desired.mirrors.insert(*watch, mirror.clone());
            }
        }
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
        self.0.iter().map(status).collect()
    }
}

//! Tells subscribers what becomes of captures (Skydive API §7.6).

use std::collections::BTreeMap;

use sonde_proto::capture::Capture;

use crate::json;
use crate::notice::{Notice, Notices};

/// The captures, as subscribers know them.
#[derive(Debug, Default)]
pub(super) struct Announced(BTreeMap<String, Capture>);

impl Announced {
    /// Tells what is new, what is gone, and whose `Count` is another.
    pub(super) fn update(&mut self, captures: BTreeMap<String, Capture>, notices: &Notices) {
        let tell = |kind, capture: &Capture| {
            if notices.is_heard() {
                let mut obj = Vec::new();
                json::append(&mut obj, capture);
                notices.tell(Notice { namespace: NAMESPACE, kind, obj: obj.into() });
            }
        };
        for (id, capture) in &captures {
            match self.0.remove(id) {
                None => tell("Added", capture),
                Some(before) if before != *capture => tell("NodeUpdated", capture),
                Some(_) => {}
            }
        }
        self.0.values().for_each(|gone| tell("Deleted", gone));
        self.0 = captures;
    }
}

const NAMESPACE: &str = "OnDemandCaptureNotification";

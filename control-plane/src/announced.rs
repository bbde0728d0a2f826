//! Tells subscribers what becomes of the resources of a kind (Skydive API §7.6).

use std::collections::BTreeMap;

use serde::Serialize;

use crate::json;
use crate::notice::{Notice, Notices};

/// Resources as subscribers know them. Each is written as clients see it; one that is not equal to
/// what it was is told anew.
#[derive(Debug)]
pub(crate) struct Announced<R> {
    namespace: &'static str,
    notices: Notices,
    /// By UUID.
    known: BTreeMap<String, R>,
}

impl<R: PartialEq + Serialize> Announced<R> {
    /// Nothing is known yet in `namespace`.
    pub(crate) fn new(namespace: &'static str, notices: Notices) -> Self {
        Self { namespace, notices, known: BTreeMap::new() }
    }

    /// Tells what is new, what is gone, and what is otherwise.
    pub(crate) fn update(&mut self, resources: BTreeMap<String, R>) {
        let mut before = std::mem::replace(&mut self.known, resources);
        for (id, resource) in &self.known {
            match before.remove(id) {
                None => self.tell("Added", resource),
                Some(before) if before != *resource => self.tell("NodeUpdated", resource),
                Some(_) => {}
            }
        }
        before.values().for_each(|gone| self.tell("Deleted", gone));
    }

    fn tell(&self, kind: &'static str, resource: &R) {
        if self.notices.is_heard() {
            let mut obj = Vec::new();
            json::append(&mut obj, resource);
            self.notices.tell(Notice { namespace: self.namespace, kind, obj: obj.into() });
        }
    }
}

//! The messages that tell of the topology (Skydive API §7.6).

use uuid::Uuid;

use super::operation::PartialUpdate;
use super::{NAMESPACE, text};
use crate::envelope::Letter;
use crate::graph::{Change, Event, Kind};
use crate::notice::Notice;

/// How changes of metadata are told (`X-Update-Policy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// The whole element.
    #[default]
    Full,
    /// What changed of it.
    Partial,
}

/// What the changes of one kind are called.
struct Names {
    added: &'static str,
    updated: &'static str,
    partially: &'static str,
    deleted: &'static str,
}

const NODE: Names = Names {
    added: "NodeAdded",
    updated: "NodeUpdated",
    partially: "NodePartiallyUpdated",
    deleted: "NodeDeleted",
};

const EDGE: Names = Names {
    added: "EdgeAdded",
    updated: "EdgeUpdated",
    partially: "EdgePartiallyUpdated",
    deleted: "EdgeDeleted",
};

/// Tells of a change.
pub(super) fn letter(event: &Event, policy: Policy) -> Letter {
    let (kind, obj) = match event {
        Event::Node(change) => told(&NODE, change, policy),
        Event::Edge(change) => told(&EDGE, change, policy),
    };
    Letter { namespace: NAMESPACE, kind, uuid: Uuid::new_v4().to_string(), status: 200, obj }
}

/// Tells what is no change of the graph.
pub(super) fn notice(notice: &Notice) -> Letter {
    let Notice { namespace, kind, ref obj } = *notice;
    let uuid = Uuid::new_v4().to_string();
    Letter { namespace, kind, uuid, status: 200, obj: obj.to_vec() }
}

/// Tells the graph unasked.
pub(super) fn sync(obj: Vec<u8>) -> Letter {
    let uuid = Uuid::new_v4().to_string();
    Letter { namespace: NAMESPACE, kind: "Sync", uuid, status: 200, obj }
}

/// Asks for the graph.
pub(super) fn ask() -> Letter {
    let uuid = Uuid::new_v4().to_string();
    Letter { namespace: NAMESPACE, kind: "SyncRequest", uuid, status: 200, obj: b"{}".to_vec() }
}

/// Answers a request for the graph.
pub(super) fn reply(uuid: String, status: i64, obj: Vec<u8>) -> Letter {
    Letter { namespace: NAMESPACE, kind: "SyncReply", uuid, status, obj }
}

fn told<K: Kind + serde::Serialize>(
    names: &Names,
    change: &Change<K>,
    policy: Policy,
) -> (&'static str, Vec<u8>) {
    match (change, policy) {
        (Change::Added(new), _) => (names.added, text(&**new)),
        (Change::Updated { after, .. }, Policy::Full) => (names.updated, text(&**after)),
        (Change::Updated { before, after }, Policy::Partial) => {
            let update = PartialUpdate::between(before.element(), after.element());
            (names.partially, text(&update))
        }
        (Change::Deleted(last), _) => (names.deleted, text(&**last)),
    }
}

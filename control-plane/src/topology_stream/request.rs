//! What a client wants: to know the graph, or to change it.

use serde::Deserialize;

use super::NAMESPACE;
use crate::envelope::{Obj, Received};

/// A message that means something here.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Request {
    /// Tell the graph.
    Sync { uuid: String, wanted: Wanted },
    /// Change an element.
    Change { of: Of, action: Action, obj: Obj },
    /// This is all there is of mine.
    Replace(Obj),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Node,
    Edge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Add,
    Update,
    UpdatePartially,
    Delete,
}

/// Which graph.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Wanted {
    /// As it was then, in milliseconds since the epoch.
    pub(super) time: Option<i64>,
    /// From now on only the part that this query finds; the whole when it is empty.
    pub(super) gremlin_filter: Option<String>,
}

impl Request {
    /// `None`: the message is not for us, as Skydive's clients send more than we know. An error says
    /// what is wrong with one that is.
    pub(super) fn read(received: Received) -> Result<Option<Self>, serde_json::Error> {
        let Received { namespace, kind, uuid, obj, .. } = received;
        if namespace != NAMESPACE {
            return Ok(None);
        }
        let (of, action) = match kind.as_str() {
            "SyncRequest" => {
                let wanted: Option<Wanted> = obj.read()?;
                return Ok(Some(Self::Sync { uuid, wanted: wanted.unwrap_or_default() }));
            }
            "Sync" | "SyncReply" => return Ok(Some(Self::Replace(obj))),
            "NodeAdded" => (Of::Node, Action::Add),
            "NodeUpdated" => (Of::Node, Action::Update),
            "NodePartiallyUpdated" => (Of::Node, Action::UpdatePartially),
            "NodeDeleted" => (Of::Node, Action::Delete),
            "EdgeAdded" => (Of::Edge, Action::Add),
            "EdgeUpdated" => (Of::Edge, Action::Update),
            "EdgePartiallyUpdated" => (Of::Edge, Action::UpdatePartially),
            "EdgeDeleted" => (Of::Edge, Action::Delete),
            _ => return Ok(None),
        };
        Ok(Some(Self::Change { of, action, obj }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<Option<Request>, serde_json::Error> {
        Request::read(Received::from_json(&value.to_string().into()).unwrap())
    }

    #[test]
    fn a_sync_request_may_say_nothing() {
        for obj in [json!(null), json!({}), json!({"Time": null, "GremlinFilter": null})] {
            let message =
                json!({"Namespace": "Graph", "Type": "SyncRequest", "UUID": "u", "Obj": obj});
            let expected = Request::Sync { uuid: "u".into(), wanted: Wanted::default() };
            assert_eq!(read(message).unwrap(), Some(expected));
        }
        let message = json!({"Namespace": "Graph", "Type": "SyncRequest", "Obj": {"Time": "now"}});
        assert!(read(message).is_err());
    }

    #[test]
    fn what_is_not_of_the_graph_is_nothing() {
        for (namespace, kind) in [("Graph", "Dance"), ("Flow", "NodeAdded"), ("", "")] {
            let message = json!({"Namespace": namespace, "Type": kind});
            assert_eq!(read(message).unwrap(), None);
        }
    }
}

//! A client that tells of the topology, in either encoding, made of the published messages.

use serde_json::json;
use sonde_proto::graph::Node;

use super::*;

pub(super) const JSON: (&str, &str) = ("x-client-protocol", "json");

pub(super) struct Speaker {
    pub(super) socket: Socket,
    is_json: bool,
}

/// What a client was told: the type, and the IDs it is about.
pub(super) type Told = (String, Vec<String>);

impl Speaker {
    pub(super) async fn join(
        server: &Server,
        (path, kind): (&str, &str),
        host: &str,
        protocol: (&str, &str),
    ) -> Self {
        let headers = [("x-client-type", kind), protocol, ("x-host-id", host)];
        Self { socket: server.connect_at(path, &headers).await, is_json: protocol == JSON }
    }

    pub(super) async fn say(&mut self, kind: &str, obj: Value) {
        let message = self.message("Graph", kind, ("u", 200), obj);
        self.socket.send(message).await.unwrap();
    }

    /// Answers a request to capture.
    pub(super) async fn answer(&mut self, kind: &str, uuid: &str, status: i64, obj: Value) {
        let message = self.message("OnDemandCapture", kind, (uuid, status), obj);
        self.socket.send(message).await.unwrap();
    }

    pub(super) fn message(
        &self,
        namespace: &str,
        kind: &str,
        (uuid, status): (&str, i64),
        obj: Value,
    ) -> Message {
        if self.is_json {
            let message = json!({
                "Namespace": namespace, "Type": kind, "UUID": uuid, "Status": status, "Obj": obj,
            });
            return Message::text(message.to_string());
        }
        let message = StructMessage {
            namespace: namespace.into(),
            r#type: kind.into(),
            uuid: uuid.into(),
            status,
            format: Format::Json.into(),
            obj: obj.to_string().into_bytes(),
        };
        Message::binary(message.encode_to_vec())
    }

    /// The next message: its namespace, its type, its UUID and its object.
    async fn next(&mut self) -> (String, String, String, Value) {
        if self.is_json {
            let message = json(&mut self.socket).await;
            let text = |member: &str| message[member].as_str().unwrap().to_owned();
            return (text("Namespace"), text("Type"), text("UUID"), message["Obj"].clone());
        }
        let bytes = frame(&mut self.socket).await.into_data();
        let StructMessage { namespace, r#type, uuid, obj, .. } =
            StructMessage::decode(bytes).unwrap();
        (namespace, r#type, uuid, serde_json::from_slice(&obj).unwrap())
    }

    /// The next request to capture: its type, its UUID and its object.
    pub(super) async fn asked(&mut self) -> (String, String, Value) {
        let (namespace, kind, uuid, obj) = self.next().await;
        assert_eq!(namespace, "OnDemandCapture");
        (kind, uuid, obj)
    }

    /// The next message: its type and what it is about.
    pub(super) async fn hear(&mut self) -> Told {
        let (namespace, kind, _, obj) = self.next().await;
        assert_eq!(namespace, "Graph");
        let ids = |list: &Value| {
            let all = list.as_array().cloned().unwrap_or_default();
            all.iter().map(|one| one["ID"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        match obj["ID"].as_str() {
            Some(id) => (kind, vec![id.to_owned()]),
            None => (kind, [ids(&obj["Nodes"]), ids(&obj["Edges"])].concat()),
        }
    }

    /// Waits until all that was said before was heard; what is told meanwhile, in the order of its
    /// types and IDs.
    pub(super) async fn settle(&mut self) -> Vec<Told> {
        self.say("SyncRequest", json!({})).await;
        let mut told = Vec::new();
        loop {
            match self.hear().await {
                (kind, _) if kind == "SyncReply" => break,
                message => told.push(message),
            }
        }
        told.sort();
        told
    }
}

impl Server {
    pub(super) fn node(&self, id: &str) -> Option<Arc<Node>> {
        self.asker.look(|graph| graph.node(id).cloned())
    }

    pub(super) fn elements(&self) -> usize {
        self.asker.look(|graph| graph.len())
    }
}

pub(super) fn is(kind: &str, about: &[&str]) -> Told {
    (kind.to_owned(), about.iter().map(|id| (*id).to_owned()).collect())
}

/// A node as Skydive tells it.
pub(super) fn node(id: &str, origin: &str, mtu: i64, revision: i64) -> Value {
    let host = origin.split_once('.').map_or("", |(_, host)| host);
    json!({
        "ID": id, "Metadata": {"Name": id, "Type": "device", "MTU": mtu}, "Host": host,
        "Origin": origin, "CreatedAt": 5, "UpdatedAt": 6, "DeletedAt": null,
        "Revision": revision,
    })
}

pub(super) fn edge(parent: &str, child: &str, origin: &str) -> Value {
    let id = format!("{parent}-{child}");
    let metadata = json!({"RelationType": "ownership"});
    json!({"ID": id, "Parent": parent, "Child": child, "Metadata": metadata, "Origin": origin})
}

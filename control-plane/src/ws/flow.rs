//! `/ws/subscriber/flow`: flows as they are updated and as they end (Skydive API §7.5).

use axum::extract::ws::Message as Frame;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use prost::Message as _;
use sonde_proto::flow::{Flow, FlowSet};
use sonde_proto::message::Format;

use super::clients::{Client, Seat};
use super::envelope::{Envelope, json};
use super::handshake::{Hello, Protocol, close, introduce, upgrade};
use super::session::{self, refuse, text};
use super::{KeepAlive, WsState};
use crate::stream::{Message, Namespaces, Obj, Subscriber};

/// Upgrades to a WebSocket and subscribes the client to the flow stream.
pub async fn subscribe(State(state): State<WsState>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let upgrade = match upgrade(&mut parts).await {
        Ok(upgrade) => upgrade,
        Err(response) => return response,
    };
    let hello = Hello::new(&parts);
    let asked = match Asked::new(&hello) {
        Ok(asked) => asked,
        Err(reason) => {
            let response = upgrade.on_upgrade(move |socket| refuse(socket, reason.into()));
            return introduce(response, &state.host);
        }
    };
    let client = Client {
        host: hello.host.clone(),
        kind: asked.client_type,
        protocol: asked.protocol.name(),
        addr: hello.addr,
        since: (state.clock)(),
        lost: 0,
    };
    let Some(seat) = state.clients.admit(client) else {
        return close(StatusCode::CONFLICT);
    };
    // From here on nothing is missed, although the socket opens a moment later.
    let subscriber = state.stream.subscribe(asked.namespaces, state.limits);
    seat.count_losses(subscriber.lost_counter());
    let served = Served {
        host: hello.host,
        seat,
        subscriber,
        encoding: asked.encoding,
        keep_alive: state.keep_alive,
    };
    introduce(upgrade.on_upgrade(move |socket| served.run(socket)), &state.host)
}

/// What a client asked for, all of it understood.
struct Asked {
    client_type: String,
    protocol: Protocol,
    encoding: Encoding,
    namespaces: Namespaces,
}

impl Asked {
    fn new(hello: &Hello) -> Result<Self, &'static str> {
        let client_type = hello.client_type()?;
        let protocol = hello.protocol()?;
        let encoding = match (protocol, hello.field("x-flow-encoding").as_deref()) {
            (Protocol::Json, None) => Encoding::Json,
            (Protocol::Protobuf, None) => Encoding::JsonInProtobuf,
            (Protocol::Protobuf, Some("protobuf")) => Encoding::Protobuf,
            (Protocol::Json, Some("protobuf")) => {
                return Err("X-Flow-Encoding: protobuf needs X-Client-Protocol: protobuf");
            }
            (_, Some(_)) => return Err("X-Flow-Encoding: expected protobuf"),
        };
        let names = hello.fields("x-websocket-namespace");
        Ok(Self {
            client_type,
            protocol,
            encoding,
            namespaces: Namespaces::parse(names.iter().map(String::as_str)),
        })
    }
}

/// A client that is being served.
struct Served {
    host: String,
    /// Held while it is.
    seat: Seat,
    subscriber: Subscriber,
    encoding: Encoding,
    keep_alive: KeepAlive,
}

impl Served {
    async fn run(mut self, socket: axum::extract::ws::WebSocket) {
        let encoding = self.encoding;
        let frame = |message: &Message| encoding.frame(message);
        let ended = session::run(socket, &mut self.subscriber, self.keep_alive, frame).await;
        let (host, lost) = (&self.host, self.subscriber.lost());
        tracing::debug!(%host, ?ended, lost, "flow subscriber left");
        drop(self.seat);
    }
}

/// How a message is encoded; the discriminant is its form (see [`Message::form`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    /// JSON, in a text frame.
    Json,
    /// JSON in a Protobuf envelope, Skydive's `protobuf`.
    JsonInProtobuf,
    /// Protobuf in a Protobuf envelope, our `X-Flow-Encoding: protobuf`.
    Protobuf,
}

impl Encoding {
    fn frame(self, message: &Message) -> Frame {
        let bytes = message.form(self as usize, |message| self.encode(message));
        match self {
            Self::Json => text(bytes),
            Self::JsonInProtobuf | Self::Protobuf => Frame::Binary(bytes),
        }
    }

    fn encode(self, message: &Message) -> Bytes {
        let obj = message.obj();
        let envelope = Envelope {
            namespace: message.namespace(),
            kind: match obj {
                Obj::Flows(_) => "store",
                Obj::Stats(_) => "stats",
            },
            uuid: message.uuid(),
            status: StatusCode::OK.as_u16().into(),
        };
        match (self, obj) {
            (Self::Json, Obj::Flows(flows)) => envelope.json(flows),
            (Self::Json, Obj::Stats(stats)) => envelope.json(stats),
            (Self::JsonInProtobuf, Obj::Flows(flows)) => {
                envelope.protobuf(Format::Json, json(flows))
            }
            (Self::JsonInProtobuf, Obj::Stats(stats)) => {
                envelope.protobuf(Format::Json, json(stats))
            }
            (Self::Protobuf, Obj::Flows(flows)) => {
                let set = flow_set(flows.iter().map(|flow| Flow::clone(flow)).collect());
                envelope.protobuf(Format::Protobuf, set.encode_to_vec())
            }
            (Self::Protobuf, Obj::Stats(stats)) => {
                envelope.protobuf(Format::Protobuf, stats.encode_to_vec())
            }
        }
    }
}

/// The flows, and the time from the first packet of any to the last of any.
fn flow_set(flows: Vec<Flow>) -> FlowSet {
    FlowSet {
        start: flows.iter().map(|flow| flow.start).min().unwrap_or_default(),
        end: flows.iter().map(|flow| flow.last).max().unwrap_or_default(),
        flows,
    }
}

//! `/ws/subscriber/flow`: flows as they are updated and as they end (Skydive API §7.5).

use axum::extract::ws::Message as Frame;
use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;
use uuid::Uuid;

use super::admission::{Door, Guest, admit};
use super::clients::Seat;
use super::handshake::{Hello, Protocol, SMALL};
use super::session::{self, Ignore, Outbox, Socket, text};
use super::{KeepAlive, WsState};
use crate::envelope::Letter;
use crate::json;
use crate::stream::{Encoding, Message, Namespaces, Subscriber};

/// Upgrades to a WebSocket and subscribes the client to the flow stream.
pub async fn subscribe(State(state): State<WsState>, request: Request) -> Response {
    let door = Door { clients: &state.clients.flows, size: SMALL };
    let asked = |hello: &Hello, _: &str, protocol| Asked::new(hello, protocol);
    let (Guest { seat, asked, .. }, opening) = match admit(&state, request, door, asked).await {
        Ok(admitted) => admitted,
        Err(answer) => return answer,
    };
    // From here on nothing is missed, although the socket opens a moment later.
    let subscriber = state.stream.subscribe(asked.namespaces, state.limits);
    seat.count_losses(subscriber.lost_counter());
    let served = Served {
        seat,
        flows: Flows { subscriber, encoding: asked.encoding, told: 0, held: None },
        keep_alive: state.keep_alive,
    };
    opening.serve(move |socket| served.run(socket))
}

/// What a client asked for, all of it understood.
struct Asked {
    encoding: Encoding,
    namespaces: Namespaces,
}

impl Asked {
    fn new(hello: &Hello, protocol: Protocol) -> Result<Self, &'static str> {
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
        let namespaces = Namespaces::parse(names.iter().map(String::as_str));
        Ok(Self { encoding, namespaces })
    }
}

/// A client that is being served.
struct Served {
    /// Held while it is.
    seat: Seat,
    flows: Flows,
    keep_alive: KeepAlive,
}

/// What it is sent.
struct Flows {
    subscriber: Subscriber,
    encoding: Encoding,
    /// Messages lost that it was told of.
    told: u64,
    /// What follows the telling.
    held: Option<Frame>,
}

/// What was lost before the message that follows, since the connection began.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Loss {
    messages: u64,
    flows: u64,
}

impl Served {
    async fn run(mut self, socket: Socket) {
        let ended = session::run(socket, &mut Ignore, &mut self.flows, self.keep_alive).await;
        let (host, lost) = (self.seat.host(), self.flows.subscriber.lost());
        tracing::debug!(%host, ?ended, lost, "flow subscriber left");
        drop(self.seat);
    }
}

impl Outbox for Flows {
    async fn next(&mut self) -> Option<Frame> {
        if let Some(held) = self.held.take() {
            return Some(held);
        }
        let message = frame(&*self.subscriber.next().await?, self.encoding);
        let messages = self.subscriber.lost();
        if !self.subscriber.wants_losses() || messages == self.told {
            return Some(message);
        }
        self.told = messages;
        self.held = Some(message);
        Some(self.loss(messages))
    }
}

impl Flows {
    fn loss(&self, messages: u64) -> Frame {
        let mut obj = Vec::new();
        json::append(&mut obj, &Loss { messages, flows: self.subscriber.flows_lost() });
        let uuid = Uuid::new_v4().to_string();
        let letter = Letter { namespace: "loss", kind: "loss", uuid, status: 200, obj };
        match self.encoding {
            Encoding::Json => text(letter.json()),
            Encoding::JsonInProtobuf | Encoding::Protobuf => Frame::Binary(letter.protobuf()),
        }
    }
}

/// The frame of a message.
fn frame(message: &Message, encoding: Encoding) -> Frame {
    let bytes = message.encoded(encoding);
    match encoding {
        Encoding::Json => text(bytes),
        Encoding::JsonInProtobuf | Encoding::Protobuf => Frame::Binary(bytes),
    }
}

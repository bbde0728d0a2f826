//! A connection from the upgrade to the last frame (Skydive API §7.3).
//!
//! Reading and writing are two futures of one task, so that neither waits for the other; the
//! first that ends decides how the connection is closed.

use std::error::Error as _;
use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::task::yield_now;
use tokio::time::{Instant, interval, sleep, timeout, timeout_at};
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::error::ProtocolError;

use crate::connections::{Hold, NoRoom, Unfinished};

/// When a silent or stuck client is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Between two pings; the first goes out at once. Skydive: 2 s.
    pub ping: Duration,
    /// Longest silence between two pongs, not counting the time in which a message leaves: no
    /// ping goes out then. Nothing but a pong ends it. Skydive: 7 s.
    pub pong: Duration,
    /// Longest time one message may take to leave.
    pub progress: Duration,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self {
            ping: Duration::from_secs(2),
            pong: Duration::from_secs(7),
            progress: Duration::from_secs(30),
        }
    }
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The client closed it, or it broke.
    Left,
    /// No pong came.
    Silent,
    /// A message did not leave.
    Stuck,
    /// The client sent a message that was too large.
    TooLarge,
    /// There was no room for the client's message.
    Crowded,
    /// The client broke RFC 6455.
    Broken,
    /// The client sent what its inbox will not have, and why.
    Refused(String),
    /// Nothing more will be sent: the daemon stops.
    Finished,
}

/// Where the frames for a client come from.
pub(super) trait Outbox {
    /// The next frame, when there is one; `None` at the end. Nothing is lost when the future is
    /// dropped.
    fn next(&mut self) -> impl Future<Output = Option<Message>> + Send;
}

/// Where go the messages of a client.
pub(super) trait Inbox {
    /// Takes a message. While it waits, the client is not read from. A break ends the connection,
    /// and says why.
    fn take(&mut self, message: Whole) -> impl Future<Output = ControlFlow<String>> + Send;
}

/// A message of a client, text or binary.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) bytes: Bytes,
    /// The room it takes, until it is done with.
    pub(super) hold: Option<Hold>,
}

/// A WebSocket, with what is read of its messages.
#[derive(Debug)]
pub(super) struct Socket {
    socket: WebSocket,
    unfinished: Option<Unfinished>,
}

impl Socket {
    /// One that opened just now.
    pub(super) fn new(socket: WebSocket, unfinished: Option<Unfinished>) -> Self {
        unfinished.iter().for_each(Unfinished::begin);
        Self { socket, unfinished }
    }
}

/// Takes what clients say that have nothing to say.
#[derive(Debug)]
pub(super) struct Ignore;

impl Inbox for Ignore {
    async fn take(&mut self, _: Whole) -> ControlFlow<String> {
        ControlFlow::Continue(())
    }
}

/// Carries frames both ways, until one side has had enough.
pub(super) async fn run(
    Socket { socket, unfinished }: Socket,
    inbox: &mut impl Inbox,
    outbox: &mut impl Outbox,
    keep_alive: KeepAlive,
) -> Ended {
    let (mut sink, mut stream) = socket.split();
    let sending = Sending::default();
    let ended = tokio::select! {
        ended = listen(&mut stream, unfinished, inbox, keep_alive.pong, &sending) => ended,
        ended = send(&mut sink, outbox, keep_alive, &sending) => ended,
    };
    match ended.close() {
        Some((code, reason)) => say_goodbye(sink, stream, code, reason).await,
        // The answer to the client's close frame may still wait.
        None => _ = timeout(GOODBYE, sink.flush()).await,
    }
    ended
}

/// Closes a connection whose handshake was refused.
pub(super) async fn refuse(socket: Socket, reason: impl Into<String>) {
    let (sink, stream) = socket.socket.split();
    let reason = reason.into();
    say_goodbye(sink, stream, close_code::NORMAL, reason).await;
}

/// The frame of a text that is UTF-8; a client of ours never gets another.
pub(super) fn text(json: Bytes) -> Message {
    match Utf8Bytes::try_from(json) {
        Ok(text) => Message::Text(text),
        Err(_) => unreachable!("serde_json writes UTF-8"),
    }
}

impl Ended {
    /// The close frame to send, if there is somebody to send it to.
    fn close(&self) -> Option<(u16, String)> {
        let (code, reason) = match self {
            Self::Left => return None,
            Self::Refused(reason) => return Some((close_code::INVALID, reason.clone())),
            Self::Silent => (close_code::POLICY, "no pong"),
            Self::Stuck => (close_code::POLICY, "too slow"),
            Self::TooLarge => (close_code::SIZE, "message too large"),
            Self::Crowded => (close_code::AGAIN, "too many messages at once"),
            Self::Broken => (close_code::PROTOCOL, "protocol error"),
            Self::Finished => (close_code::AWAY, "shutting down"),
        };
        Some((code, reason.to_owned()))
    }
}

/// Reads messages, and pongs: nothing else says that the client is there.
async fn listen(
    stream: &mut SplitStream<WebSocket>,
    unfinished: Option<Unfinished>,
    inbox: &mut impl Inbox,
    pong: Duration,
    sending: &Sending,
) -> Ended {
    let mut deadline = Instant::now() + pong;
    let mut sent = sending.total();
    loop {
        match timeout_at(deadline, stream.next()).await {
            Err(_) => {
                let more = sending.total().saturating_sub(sent);
                if more.is_zero() {
                    return Ended::Silent;
                }
                sent += more;
                // A message that is stuck is looked at now and then, not all the time.
                deadline += if sending.under_way() { more.max(pong / 8) } else { more };
            }
            Ok(None | Some(Ok(Message::Close(_)))) => return Ended::Left,
            Ok(Some(Ok(control @ (Message::Pong(_) | Message::Ping(_))))) => {
                if let Message::Pong(_) = control {
                    deadline = Instant::now() + pong;
                    sent = sending.total();
                }
                if let Some(unfinished) = &unfinished {
                    unfinished.forget_control(control.into_data().len());
                }
            }
            Ok(Some(Ok(message))) => {
                let begun = Instant::now();
                let hold = unfinished.as_ref().and_then(Unfinished::take);
                let whole = Whole { bytes: message.into_data(), hold };
                if let ControlFlow::Break(reason) = inbox.take(whole).await {
                    return Ended::Refused(reason);
                }
                // A pong that came meanwhile has not been read.
                deadline += begun.elapsed();
            }
            Ok(Some(Err(error))) => return broken(&error),
        }
    }
}

async fn send(
    sink: &mut SplitSink<WebSocket, Message>,
    outbox: &mut impl Outbox,
    keep_alive: KeepAlive,
    sending: &Sending,
) -> Ended {
    let mut pings = interval(keep_alive.ping);
    pings.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let frame = tokio::select! {
            biased;
            _ = pings.tick() => Message::Ping(Bytes::new()),
            frame = outbox.next() => match frame {
                Some(frame) => frame,
                None => return Ended::Finished,
            },
        };
        sending.begin();
        let sent = timeout(keep_alive.progress, sink.send(frame)).await;
        sending.end();
        match sent {
            // A socket with room takes many messages in a row, and ingest shares our threads.
            Ok(Ok(())) => yield_now().await,
            Ok(Err(error)) => return broken(&error),
            Err(_) => return Ended::Stuck,
        }
    }
}

/// The time in which messages were on their way out.
#[derive(Debug, Default)]
struct Sending(Mutex<Sent>);

#[derive(Debug, Default)]
struct Sent {
    /// When the message that leaves now began to.
    since: Option<Instant>,
    /// What those before it took.
    total: Duration,
}

impl Sending {
    fn begin(&self) {
        self.sent().since = Some(Instant::now());
    }

    fn end(&self) {
        let mut sent = self.sent();
        let took = sent.since.take().map(|since| since.elapsed());
        sent.total += took.unwrap_or_default();
    }

    /// All of it until now.
    fn total(&self) -> Duration {
        let sent = self.sent();
        sent.total + sent.since.map(|since| since.elapsed()).unwrap_or_default()
    }

    fn under_way(&self) -> bool {
        self.sent().since.is_some()
    }

    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn broken(error: &axum::Error) -> Ended {
    match error.source().and_then(|source| source.downcast_ref()) {
        Some(WsError::Capacity(_)) => Ended::TooLarge,
        Some(WsError::Protocol(
            ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing,
        )) => Ended::Left,
        Some(WsError::Protocol(_) | WsError::Utf8(_)) => Ended::Broken,
        Some(WsError::Io(error)) if error.get_ref().is_some_and(|error| error.is::<NoRoom>()) => {
            Ended::Crowded
        }
        _ => Ended::Left,
    }
}

/// Sends a close frame and waits a moment for the client's, so that all before it arrives.
async fn say_goodbye(
    mut sink: SplitSink<WebSocket, Message>,
    mut stream: SplitStream<WebSocket>,
    code: u16,
    reason: String,
) {
    let reason = Utf8Bytes::from(fitting(&reason));
    let frame = Message::Close(Some(CloseFrame { code, reason }));
    let goodbye = async {
        sink.send(frame).await?;
        while let Some(Ok(frame)) = stream.next().await {
            if let Message::Close(_) = frame {
                return Ok(());
            }
        }
        // What cannot be read stays in the socket; closing it now would reset the connection, and
        // with it the close frame.
        sleep(LINGER).await;
        Ok::<_, axum::Error>(())
    };
    // The client may be gone or stuck: then there is nobody to be polite to.
    let _ = timeout(GOODBYE, goodbye).await;
}

/// As much of a text as fits into a close frame (RFC 6455, section 5.5).
fn fitting(text: &str) -> String {
    text.chars()
        .scan(0, |bytes, c| {
            *bytes += c.len_utf8();
            (*bytes <= REASON).then_some(c)
        })
        .collect()
}

/// Bytes of the reason in a close frame at most.
const REASON: usize = 123;

/// The longest a goodbye takes.
const GOODBYE: Duration = Duration::from_secs(3);
/// How long a connection that cannot be read is kept for its close frame.
const LINGER: Duration = Duration::from_secs(1);

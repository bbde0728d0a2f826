//! How a client comes in, at every endpoint: it asks for the upgrade, says who it is and what it
//! wants, and has its seat before the socket opens (Skydive API §7.2).

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;

use super::WsState;
use super::clients::{Client, Clients, Seat};
use super::handshake::{Hello, Protocol, Upgrade, close, introduce, upgrade};
use super::session::{Socket, refuse};
use crate::connections::Unfinished;

/// Where clients come in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Door<'a> {
    /// Those who are in.
    pub(super) clients: &'a Clients,
    /// Bytes of a client's message at most.
    pub(super) size: usize,
}

/// A client that was let in.
#[derive(Debug)]
pub(super) struct Guest<A> {
    /// Held while it is served.
    pub(super) seat: Seat,
    pub(super) protocol: Protocol,
    /// What it wants of this endpoint.
    pub(super) asked: A,
}

/// The socket of a client that was let in, which is about to open.
#[derive(Debug)]
pub(super) struct Opening {
    upgrade: Upgrade,
    unfinished: Option<Unfinished>,
    /// Our host id.
    host: String,
}

/// Lets a client in whose wishes `read` understands, told its `X-Client-Type` and what it speaks;
/// or the answer that says why not.
pub(super) async fn admit<A>(
    state: &WsState,
    request: Request,
    door: Door<'_>,
    read: impl FnOnce(&Hello, &str, Protocol) -> Result<A, &'static str>,
) -> Result<(Guest<A>, Opening), Response> {
    let (mut parts, _) = request.into_parts();
    let upgrade = upgrade(&mut parts, door.size).await?;
    let unfinished = parts.extensions.get().cloned();
    let opening = Opening { upgrade, unfinished, host: state.host.clone() };
    let hello = Hello::new(&parts);
    let understood = || {
        let (kind, protocol) = (hello.client_type()?, hello.protocol()?);
        let asked = read(&hello, &kind, protocol)?;
        Ok((kind, protocol, asked))
    };
    let (kind, protocol, asked) = match understood() {
        Ok(understood) => understood,
        Err::<_, &'static str>(reason) => {
            return Err(opening.serve(move |socket| refuse(socket, reason)));
        }
    };
    let client = Client {
        host: hello.host,
        kind,
        protocol: protocol.name(),
        addr: hello.addr,
        since: (state.clock)(),
        lost: 0,
        refused: 0,
    };
    let seat = door.clients.admit(client).ok_or_else(|| close(StatusCode::CONFLICT))?;
    Ok((Guest { seat, protocol, asked }, opening))
}

impl Opening {
    /// The answer that opens the socket, and who has it then.
    pub(super) fn serve<F>(self, serve: impl FnOnce(Socket) -> F + Send + 'static) -> Response
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Self { upgrade, unfinished, host } = self;
        introduce(upgrade.on_upgrade(|socket| serve(Socket::new(socket, unfinished))), &host)
    }
}

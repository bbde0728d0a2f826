//! How many connections there may be, in all and of one address, and how much of requests and
//! messages is held in memory: nobody takes the room of others.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::live::Live;

/// Bounds of what clients take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections in all.
    pub all: usize,
    /// Connections of one address (of one /64 in IPv6).
    pub per_address: usize,
    /// Bytes of request bodies that are being read or worked on, in all; and as many again of
    /// WebSocket messages.
    pub bytes: usize,
    /// The same of one address.
    pub bytes_per_address: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { all: 8192, per_address: 1024, bytes: 256 << 20, bytes_per_address: 32 << 20 }
    }
}

/// All connections. Clones are the same set.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: Live<ConnectionLimits>,
    networks: Mutex<HashMap<IpAddr, Network>>,
    count: AtomicUsize,
    bodies: AtomicUsize,
    messages: AtomicUsize,
}

/// What the clients of one address take.
#[derive(Debug, Default)]
struct Network {
    connections: usize,
    bodies: Arc<AtomicUsize>,
    messages: Arc<AtomicUsize>,
}

/// Why there is no room for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowded {
    /// There are too many in all.
    All,
    /// There are too many of that address.
    Address,
}

impl Connections {
    /// None yet.
    pub fn new(limits: Live<ConnectionLimits>) -> Self {
        let (networks, count, bodies, messages) = Default::default();
        Self(Arc::new(Inner { limits, networks, count, bodies, messages }))
    }

    /// Makes room for a connection of `peer`, until the seat is dropped.
    pub fn admit(&self, peer: IpAddr) -> Result<Seat, Crowded> {
        let inner = &self.0;
        let limits = inner.limits.get();
        let network = network(peer);
        let mut networks = inner.networks();
        if inner.count.load(Ordering::Relaxed) >= limits.all {
            return Err(Crowded::All);
        }
        let there = networks.entry(network).or_default();
        if there.connections >= limits.per_address {
            return Err(Crowded::Address);
        }
        there.connections += 1;
        let room = |kind, bytes: &Arc<AtomicUsize>| {
            let (connections, bytes) = (self.clone(), bytes.clone());
            Room { connections, kind, bytes }
        };
        let bodies = room(Kind::Bodies, &there.bodies);
        let messages = room(Kind::Messages, &there.messages);
        inner.count.fetch_add(1, Ordering::Relaxed);
        let unfinished = Unfinished { room: messages, hold: Arc::default() };
        Ok(Seat { network, room: bodies, unfinished })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::Relaxed)
    }
}

impl Inner {
    fn networks(&self) -> MutexGuard<'_, HashMap<IpAddr, Network>> {
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place.
#[derive(Debug)]
pub struct Seat {
    network: IpAddr,
    room: Room,
    unfinished: Unfinished,
}

impl Seat {
    /// The room for what its requests hold.
    pub fn room(&self) -> Room {
        self.room.clone()
    }

    /// What is read of its messages, once it is a WebSocket.
    pub fn unfinished(&self) -> Unfinished {
        self.unfinished.clone()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let inner = &self.room.connections.0;
        inner.count.fetch_sub(1, Ordering::Relaxed);
        let mut networks = inner.networks();
        if let Some(network) = networks.get_mut(&self.network) {
            network.connections -= 1;
            if network.connections == 0 {
                networks.remove(&self.network);
            }
        }
    }
}

/// Room for the bodies of requests, or for the messages, from one address.
#[derive(Clone, Debug)]
pub struct Room {
    connections: Connections,
    kind: Kind,
    /// Taken by that address.
    bytes: Arc<AtomicUsize>,
}

/// What there is room for. Whoever sends one kind takes none of the room of the other.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Bodies,
    Messages,
}

impl Room {
    /// Takes nothing yet.
    pub fn hold(self) -> Hold {
        Hold { room: self, bytes: 0 }
    }

    /// Taken by all.
    fn all(&self) -> &AtomicUsize {
        match self.kind {
            Kind::Bodies => &self.connections.0.bodies,
            Kind::Messages => &self.connections.0.messages,
        }
    }
}

/// What one request or message takes, until it is dropped.
#[derive(Debug)]
pub struct Hold {
    room: Room,
    bytes: usize,
}

impl Hold {
    /// Takes so many bytes more, if there is room for them.
    pub fn add(&mut self, bytes: usize) -> bool {
        let limits = self.room.connections.0.limits.get();
        let (all, own) = (self.room.all(), &self.room.bytes);
        // What others take and give back at the same time may make it look fuller, never emptier.
        let all = all.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let own = own.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.bytes += bytes;
        all <= limits.bytes && own <= limits.bytes_per_address
    }

    /// Gives back so many of them.
    fn give_back(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.room.all().fetch_sub(bytes, Ordering::Relaxed);
        self.room.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

/// What a WebSocket has read of a message that is not whole. Clones are the same.
#[derive(Clone, Debug)]
pub struct Unfinished {
    room: Room,
    /// None before the connection is a WebSocket.
    hold: Arc<Mutex<Option<Hold>>>,
}

impl Unfinished {
    /// Counts from now on what is read.
    pub fn begin(&self) {
        *self.hold() = Some(self.room.clone().hold());
    }

    /// Gives away what was read, with the message that is whole now.
    pub fn take(&self) -> Option<Hold> {
        let mut hold = self.hold();
        hold.as_mut().map(|hold| std::mem::replace(hold, self.room.clone().hold()))
    }

    /// Forgets a ping or a pong with such a payload (RFC 6455, section 5.5). They may come between
    /// the parts of a message, which is not forgotten with them.
    pub fn forget_control(&self, payload: usize) {
        if let Some(hold) = self.hold().as_mut() {
            hold.give_back(CONTROL_HEADER + payload);
        }
    }

    /// Whether there is room for so many bytes more.
    fn add(&self, bytes: usize) -> bool {
        self.hold().as_mut().is_none_or(|hold| hold.add(bytes))
    }

    fn hold(&self) -> MutexGuard<'_, Option<Hold>> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// There is no room for what a WebSocket reads.
#[derive(Debug, thiserror::Error)]
#[error("too many messages are being worked on")]
pub struct NoRoom;

/// A stream that has its seat for as long as it is open, whoever holds it in the end.
#[derive(Debug)]
pub struct Seated<S> {
    stream: S,
    seat: Seat,
}

impl<S> Seated<S> {
    /// A stream in its seat.
    pub fn new(stream: S, seat: Seat) -> Self {
        Self { stream, seat }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Seated<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = buf.filled().len().saturating_sub(before);
        match self.seat.unfinished.add(read) {
            true => Poll::Ready(Ok(())),
            false => Poll::Ready(Err(std::io::Error::other(NoRoom))),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Seated<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}

/// Who counts as one: an address; in IPv6, where a client has as many as it likes, a /64.
pub(crate) fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & NET)),
        v4 => v4,
    }
}

/// Bytes of a client's ping or pong before its payload: two, and the mask (RFC 6455, section 5.2).
const CONTROL_HEADER: usize = 6;

/// The network's part of an IPv6 address (RFC 4291, section 2.5.4).
const NET: u128 = !0 << 64;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ConnectionLimits =
        ConnectionLimits { all: 4, per_address: 2, bytes: 100, bytes_per_address: 60 };

    fn admit(connections: &Connections, peer: &str) -> Result<Seat, Crowded> {
        connections.admit(peer.parse().unwrap())
    }

    #[test]
    fn an_address_has_its_share() {
        let connections = Connections::new(LIMITS.into());
        let admit = |peer| admit(&connections, peer);
        let mut seats = vec![admit("10.0.0.1").unwrap(), admit("::ffff:10.0.0.1").unwrap()];
        assert_eq!(admit("10.0.0.1").unwrap_err(), Crowded::Address);
        seats.extend(["fd00::1", "fd00::2"].map(|peer| admit(peer).unwrap()));
        assert_eq!(admit("10.0.0.2").unwrap_err(), Crowded::All);
        seats.pop();
        assert_eq!(connections.count(), 3);
        seats.extend(admit("fd00::3"));
        seats.remove(0);
        assert_eq!(admit("fd00::3:4").unwrap_err(), Crowded::Address, "the same network");
        seats.clear();
        assert_eq!((connections.count(), connections.0.networks().len()), (0, 0));
    }

    #[test]
    fn bodies_have_room_until_they_are_done() {
        let connections = Connections::new(LIMITS.into());
        let (a, b) = (admit(&connections, "10.0.0.1"), admit(&connections, "10.0.0.2"));
        let (a, b) = (a.unwrap(), b.unwrap());
        let (mut first, mut second) = (a.room().hold(), a.room().hold());
        assert!(first.add(30) && second.add(30));
        assert!(!second.add(1), "one address has 60");
        drop(second);
        let mut third = b.room().hold();
        assert!(third.add(60));
        let mut fourth = a.room().hold();
        assert!(!fourth.add(20), "all have 100");
        drop((first, third, fourth));
        assert_eq!(connections.0.bodies.load(Ordering::Relaxed), 0);
        assert!(a.room().hold().add(60));
    }
    #[test]
    fn messages_have_room_until_they_are_done() {
        let connections = Connections::new(LIMITS.into());
        let seat = admit(&connections, "10.0.0.1").unwrap();
        let (unfinished, held) =
            (seat.unfinished(), || connections.0.messages.load(Ordering::Relaxed));
        assert!(unfinished.add(1000), "what is no WebSocket is not counted here");
        unfinished.begin();
        assert!(unfinished.add(CONTROL_HEADER + 4));
        unfinished.forget_control(4);
        assert_eq!(held(), 0);
        assert!(unfinished.add(30 + CONTROL_HEADER));
        unfinished.forget_control(0);
        assert_eq!(held(), 30, "a ping between its parts");
        let message = unfinished.take();
        assert!(unfinished.add(30));
        assert!(!seat.unfinished().add(1), "the message is being worked on");
        drop(message);
        assert_eq!(held(), 31);
        unfinished.forget_control(125);
        assert_eq!(held(), 0);
        assert!(unfinished.add(60));
        drop((seat, unfinished));
        assert_eq!(held(), 0);
    }
}

//! The way to a collector.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UdpSocket, lookup_host};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::counts::Counts;
use super::datagram::Datagram;

/// Sends datagrams to a host and port. Its name is looked up at the start, and again after errors;
/// what cannot be sent is counted, and told in the log now and then.
#[derive(Debug)]
pub(super) struct Collector {
    target: String,
    counts: Arc<Counts>,
    socket: Option<UdpSocket>,
    opening: Option<JoinHandle<io::Result<UdpSocket>>>,
    /// When the name may be looked up again.
    again: Instant,
    /// When an error may be told again, and how many were not told.
    quiet: (Instant, u64),
}

impl Collector {
    /// Looks the name up, and waits a while for the answer.
    pub(super) async fn open(target: String, counts: Arc<Counts>) -> Self {
        let now = Instant::now();
        let mut collector =
            Self { target, counts, socket: None, opening: None, again: now, quiet: (now, 0) };
        collector.look_up();
        collector.settle().await;
        collector
    }

    /// Waits for the name that is being looked up, for ever if none is. A call that is dropped loses
    /// nothing.
    pub(super) async fn settle(&mut self) {
        let Some(opening) = &mut self.opening else { return std::future::pending().await };
        let opened = opening.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        self.opening = None;
        match opened {
            Ok(socket) => {
                let address = socket.peer_addr().ok();
                // The same place is told by the same port: collectors know it by that.
                if self.socket.is_none() || address != self.counts.address() {
                    self.counts.found(address);
                    self.socket = Some(socket);
                }
            }
            Err(error) => self.failed(&error),
        }
    }

    /// Sends a datagram. `false` when it could not be sent, or an earlier one was refused.
    pub(super) async fn send(&mut self, datagram: &Datagram) -> bool {
        let mut sent = self.try_send(datagram).await;
        let mut well = true;
        // What is refused is an earlier datagram: this one was not tried.
        if let Err(error) = &sent
            && error.kind() == io::ErrorKind::ConnectionRefused
        {
            self.failed(error);
            well = false;
            sent = self.try_send(datagram).await;
        }
        match sent {
            Ok(()) => self.counts.sent(datagram.records),
            Err(error) => {
                self.failed(&error);
                well = false;
            }
        }
        well
    }

    async fn try_send(&self, datagram: &Datagram) -> io::Result<()> {
        let unknown = || io::Error::other("its address is not known");
        let socket = self.socket.as_ref().ok_or_else(unknown)?;
        socket.send(&datagram.bytes).await.map(drop)
    }

    fn failed(&mut self, error: &io::Error) {
        self.counts.failed();
        self.look_up();
        let now = Instant::now();
        let (until, untold) = &mut self.quiet;
        if now < *until {
            *untold += 1;
            return;
        }
        tracing::warn!(target = self.target, %error, more = *untold, "flows are not exported");
        self.quiet = (now + QUIET, 0);
    }

    /// Looks the name up, unless it was looked up a moment ago.
    fn look_up(&mut self) {
        let now = Instant::now();
        if self.opening.is_none() && now >= self.again {
            self.again = now + AGAIN;
            self.opening = Some(tokio::spawn(open(self.target.clone())));
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(opening) = &self.opening {
            opening.abort();
        }
    }
}

/// A socket that sends to the first address of a target, and is told by the kernel when nobody
/// takes what it sends.
async fn open(target: String) -> io::Result<UdpSocket> {
    let found = timeout(PATIENCE, lookup_host(&target)).await?;
    let address = found?.next().ok_or_else(|| io::Error::other("the name has no address"))?;
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(address).await?;
    Ok(socket)
}

/// How long a name may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a name is not looked up again.
const AGAIN: Duration = Duration::from_secs(30);

/// How long errors are counted only.
const QUIET: Duration = Duration::from_secs(60);

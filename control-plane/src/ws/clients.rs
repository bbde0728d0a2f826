//! Who is connected to an endpoint. A client's host id is there once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use sonde_proto::time::Timestamp;
use tokio::sync::watch;
use tokio::time::timeout;

/// The connected clients of one endpoint. Clones are the same set.
#[derive(Clone, Debug, Default)]
pub struct Clients {
    seats: Arc<Mutex<BTreeMap<String, Entry>>>,
    /// How many there are.
    count: Arc<watch::Sender<usize>>,
}

/// The clients of all endpoints.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// `/ws/subscriber/flow`.
    pub flows: Clients,
    /// `/ws/subscriber`.
    pub subscribers: Clients,
    /// `/ws/publisher`.
    pub publishers: Clients,
    /// `/ws/pubsub`.
    pub pubsubs: Clients,
    /// `/ws/agent/topology`.
    pub agents: Clients,
    /// `/ws/agent/flow`.
    pub agent_flows: Clients,
    /// `/ws/replication`.
    pub peers: Clients,
}

impl Endpoints {
    /// Waits as [`Clients::left`] does, for all of them.
    pub async fn left(&self, limit: Duration) -> bool {
        let Self { flows, subscribers, publishers, pubsubs, agents, agent_flows, peers } = self;
        let all = [flows, subscribers, publishers, pubsubs, agents, agent_flows, peers];
        join_all(all.map(|clients| clients.left(limit))).await.into_iter().all(|left| left)
    }
}

/// A connected client, what `GET /api/status` shows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// `X-Host-ID`, unique.
    pub host: String,
    /// `X-Client-Type`.
    pub kind: String,
    /// `json` or `protobuf`.
    pub protocol: &'static str,
    /// Its end of the connection, where known.
    pub addr: Option<SocketAddr>,
    /// When it connected.
    pub since: Timestamp,
    /// Messages it lost because it was slow.
    pub lost: u64,
    /// Messages of its own that were refused.
    pub refused: u64,
}

#[derive(Debug)]
struct Entry {
    client: Client,
    lost: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
}

impl Clients {
    /// Takes the client in until the seat is dropped. `None`: its host id is taken.
    pub(super) fn admit(&self, client: Client) -> Option<Seat> {
        let mut seats = self.seats();
        if seats.contains_key(&client.host) {
            return None;
        }
        let seat = Seat { clients: self.clone(), host: client.host.clone() };
        let entry = Entry { client, lost: Arc::default(), refused: Arc::default() };
        seats.insert(entry.client.host.clone(), entry);
        self.count.send_replace(seats.len());
        Some(seat)
    }

    /// The clients that are connected now, by host id.
    pub fn list(&self) -> Vec<Client> {
        let seats = self.seats();
        let now = |entry: &Entry| Client {
            lost: entry.lost.load(Ordering::Relaxed),
            refused: entry.refused.load(Ordering::Relaxed),
            ..entry.client.clone()
        };
        seats.values().map(now).collect()
    }

    /// Waits until every client has left, for a stop that cuts nobody off. `false` when `limit`
    /// was over first.
    pub async fn left(&self, limit: Duration) -> bool {
        let mut count = self.count.subscribe();
        timeout(limit, count.wait_for(|count| *count == 0)).await.is_ok_and(|left| left.is_ok())
    }

    fn seats(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client's place among [`Clients`].
#[derive(Debug)]
pub(super) struct Seat {
    clients: Clients,
    host: String,
}

impl Seat {
    /// The client's host id.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Shows `lost` as the messages that the client lost.
    pub(super) fn count_losses(&self, lost: Arc<AtomicU64>) {
        if let Some(entry) = self.clients.seats().get_mut(&self.host) {
            entry.lost = lost;
        }
    }

    /// Shows `refused` as the messages of the client that were refused.
    pub(super) fn count_refusals(&self, refused: Arc<AtomicU64>) {
        if let Some(entry) = self.clients.seats().get_mut(&self.host) {
            entry.refused = refused;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.clients.seats();
        seats.remove(&self.host);
        self.clients.count.send_replace(seats.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(host: &str) -> Client {
        Client {
            host: host.into(),
            kind: "test".into(),
            protocol: "json",
            addr: None,
            since: Timestamp::default(),
            lost: 0,
            refused: 0,
        }
    }

    #[tokio::test]
    async fn a_host_id_is_taken_until_its_client_leaves() {
        let clients = Clients::default();
        let a = clients.admit(client("a")).unwrap();
        assert!(clients.admit(client("a")).is_none());
        let b = clients.admit(client("b")).unwrap();
        a.count_losses(Arc::new(AtomicU64::new(7)));
        let lost: Vec<_> = clients.list().into_iter().map(|c| (c.host, c.lost)).collect();
        assert_eq!(lost, [("a".to_owned(), 7), ("b".to_owned(), 0)]);
        assert!(!clients.left(Duration::from_millis(1)).await);
        drop((a, b));
        assert!(clients.left(Duration::from_millis(1)).await);
        assert!(clients.admit(client("a")).is_some());
    }
}

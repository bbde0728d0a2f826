//! Which node owns a link-layer address: asked for each end of each flow.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use ahash::RandomState;
use sonde_proto::graph::Node;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tracing::debug;

use super::port;
use crate::graph::{Change, Event, Graph, SharedGraph};

/// TIDs by address, at a moment.
pub type MacTable = hashbrown::HashMap<[u8; 6], Arc<str>, RandomState>;

/// The TID of the node that owns an address, kept current by a task of its own.
///
/// Clones share the table. A lookup holds a read lock for one hash lookup; who looks up many takes
/// [`Self::table`] once. The table is replaced, never edited, so that no writer makes a reader wait.
#[derive(Clone, Debug, Default)]
pub struct MacTids(Arc<RwLock<Arc<MacTable>>>);

impl MacTids {
    /// Starts to follow the graph, until the graph is dropped. Needs a tokio runtime.
    pub fn follow(graph: &SharedGraph) -> Self {
        let tids = Self::default();
        let (events, claims) = {
            let graph = graph.read().unwrap_or_else(PoisonError::into_inner);
            (graph.subscribe(), Claims::of(&graph))
        };
        tids.replace(claims.table());
        tokio::spawn(tids.clone().keep(events, claims, Arc::downgrade(graph)));
        tids
    }

    /// The TID of the node that owns `mac`.
    pub fn tid(&self, mac: &[u8; 6]) -> Option<Arc<str>> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table.get(mac).cloned()
    }

    /// As [`Self::tid`], for an address as text: six bytes of hex between colons.
    pub fn tid_of(&self, mac: &str) -> Option<Arc<str>> {
        self.tid(&parse(mac)?)
    }

    /// All addresses as they are now.
    pub fn table(&self) -> Arc<MacTable> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, table: MacTable) {
        let table = Arc::new(table);
        // The old one is freed when no reader waits for it any more.
        let _old =
            std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), table);
    }

    async fn keep(
        self,
        mut events: Receiver<Event>,
        mut claims: Claims,
        graph: Weak<RwLock<Graph>>,
    ) {
        loop {
            let mut changed = false;
            let mut event = events.recv().await;
            // A burst of changes makes one new table.
            loop {
                match event {
                    Ok(event) => changed |= claims.apply(&event),
                    Err(RecvError::Closed) => return,
                    Err(RecvError::Lagged(lost)) => {
                        debug!(lost, "reading the addresses of all nodes again");
                        let Some(graph) = graph.upgrade() else { return };
                        let graph = graph.read().unwrap_or_else(PoisonError::into_inner);
                        // What happened until now is in the graph already.
                        events = events.resubscribe();
                        claims = Claims::of(&graph);
                        changed = true;
                    }
                }
                event = match events.try_recv() {
                    Ok(event) => Ok(event),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Closed) => Err(RecvError::Closed),
                    Err(TryRecvError::Lagged(lost)) => Err(RecvError::Lagged(lost)),
                };
            }
            if changed {
                self.replace(claims.table());
            }
        }
    }
}

/// What each node says of its address, by node ID.
#[derive(Debug, Default)]
struct Claims(HashMap<String, Claim>);

/// Ordered: the least of several owns the address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    mac: [u8; 6],
    rank: u8,
    tid: Arc<str>,
}

impl Claims {
    fn of(graph: &Graph) -> Self {
        let nodes = graph.nodes();
        Self(nodes.filter_map(|node| Some((node.id.clone(), Claim::of(node)?))).collect())
    }

    /// True if something changed.
    fn apply(&mut self, event: &Event) -> bool {
        match event {
            Event::Node(Change::Added(node) | Change::Updated { after: node, .. }) => {
                match Claim::of(node) {
                    Some(claim) if self.0.get(&node.id) == Some(&claim) => false,
                    Some(claim) => {
                        self.0.insert(node.id.clone(), claim);
                        true
                    }
                    None => self.0.remove(&node.id).is_some(),
                }
            }
            Event::Node(Change::Deleted(node)) => self.0.remove(&node.id).is_some(),
            Event::Edge(_) => false,
        }
    }

    fn table(&self) -> MacTable {
        let claims: BTreeSet<&Claim> = self.0.values().collect();
        let mut table = MacTable::with_capacity_and_hasher(claims.len(), RandomState::new());
        for claim in claims {
            table.entry(claim.mac).or_insert_with(|| claim.tid.clone());
        }
        table
    }
}

impl Claim {
    /// `None` for a node without TID or address, or with an address of zeros, which is nobody's.
    fn of(node: &Node) -> Option<Self> {
        let mac = parse(node.text("MAC")).filter(|mac| *mac != [0; 6])?;
        let tid = node.text("TID");
        (!tid.is_empty()).then(|| Self { mac, rank: rank(node.text("Type")), tid: tid.into() })
    }
}

/// Which type of node owns an address that several have: the interface itself, then the DPDK port
/// on it, then what is stacked on it and took over its address.
fn rank(kind: &str) -> u8 {
    match kind {
        "device" => 0,
        "veth" | "tun" | "internal" => 1,
        "vlan" | "macvlan" | "macvtap" | "ipvlan" => 4,
        "bridge" | "bond" | "team" | "ovsbridge" => 5,
        port::TYPE => 3,
        _ => 2,
    }
}

fn parse(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts.next().filter(|part| is_byte(part))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

fn is_byte(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|digit| digit.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sonde_proto::graph::Metadata;
    use sonde_proto::time::Timestamp;
    use std::time::Duration;

    fn node(id: &str, kind: &str, mac: &str) -> Node {
        let mut metadata = Metadata::new();
        for (key, value) in [("Type", kind), ("MAC", mac), ("TID", id)] {
            metadata.insert(key.into(), value.into());
        }
        Node { id: id.into(), metadata, ..Node::default() }
    }

    fn add(graph: &SharedGraph, node: Node) {
        let mut graph = graph.write().unwrap();
        graph.add(node, Timestamp::default()).unwrap();
    }

    /// Waits until the owner is as expected.
    async fn owner(tids: &MacTids, mac: &str, expected: Option<&str>) {
        let wait = async {
            while tids.tid_of(mac).as_deref() != expected {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(5), wait).await;
        assert!(waited.is_ok(), "{mac} has {:?}, not {expected:?}", tids.tid_of(mac));
    }

    #[tokio::test]
    async fn the_interface_owns_the_address_while_it_lives() {
        let graph = SharedGraph::default();
        let mac = "02:00:00:00:00:01";
        add(&graph, node("bridge", "bridge", mac));
        let tids = MacTids::follow(&graph);
        assert_eq!(tids.tid_of(mac).as_deref(), Some("bridge"));
        add(&graph, node("port", "dpdkport", mac));
        owner(&tids, mac, Some("port")).await;
        add(&graph, node("device", "device", mac));
        add(&graph, node("edevice", "device", mac));
        owner(&tids, mac, Some("device")).await;
        assert_eq!(tids.table()[&[2, 0, 0, 0, 0, 1]].as_ref(), "device");
        for id in ["device", "edevice"] {
            graph.write().unwrap().delete::<Node>(id, Timestamp::default());
        }
        owner(&tids, mac, Some("port")).await;
        graph.write().unwrap().update::<Node>("port", Timestamp::default(), |metadata| {
            metadata.insert("MAC".into(), "02:00:00:00:00:02".into());
        });
        owner(&tids, mac, Some("bridge")).await;
        owner(&tids, "02:00:00:00:00:02", Some("port")).await;
    }

    #[tokio::test]
    async fn a_flood_of_changes_is_caught_up_with() {
        let graph = SharedGraph::default();
        let tids = MacTids::follow(&graph);
        // The runtime has one thread: the follower runs after all of these, and has lagged.
        for id in 0..10_000 {
            add(
                &graph,
                node(
                    &id.to_string(),
                    "device",
                    &format!("02:00:00:00:{:02x}:{:02x}", id >> 8, id & 255),
                ),
            );
        }
        owner(&tids, "02:00:00:00:00:00", Some("0")).await;
        owner(&tids, "02:00:00:00:27:0f", Some("9999")).await;
        assert_eq!(tids.table().len(), 10_000);
    }

    #[test]
    fn addresses_of_nobody() {
        for mac in [
            "",
            "00:00:00:00:00:00",
            "02:00:00:00:00",
            "02:00:00:00:00:01:01",
            "+2:00:00:00:00:01",
            "2:0:0:0:0:1",
        ] {
            assert_eq!(Claim::of(&node("n", "device", mac)), None, "{mac}");
        }
    }
}

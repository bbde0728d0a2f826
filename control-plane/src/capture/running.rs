//! Captures x graph -> what the data plane shall do.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use sonde_proto::graph::Node;
use sonde_proto::plan::{Options, Plan, PlannedPoint, Point, Watch};
use sonde_proto::record::WatchId;
use uuid::Uuid;

use super::kind::Kind;
use super::listen::ListenConfig;
use super::place::{Refusal, if_index, mpls_udp_port, point, tapped, tid};
use super::validate::Runnable;
use crate::graph::Topology;
use crate::ingest::{Desired, Watched};

/// The captures that run, each on each of its nodes.
#[derive(Debug)]
pub(super) struct Running {
    /// The host whose nodes are captured.
    host: String,
    listen: ListenConfig,
    pairs: BTreeMap<Pair, Run>,
    /// Those that a capture asks for and that do not run.
    refused: BTreeMap<Pair, Refused>,
    /// The newest ID given; none is given twice.
    newest: u32,
}

/// A capture on a node, by their IDs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pair {
    /// ID of the node.
    pub(super) node: String,
    /// `UUID` of the capture.
    pub(super) capture: String,
}

/// How a capture runs on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// What the data plane calls it.
    pub(super) watch: WatchId,
    /// How frames are taken.
    pub(super) kind: Kind,
    /// Where they are seen.
    pub(super) point: Point,
    /// The port that the capture asks for.
    port: Option<u16>,
    tid: Uuid,
    /// `IfIndex` of the node, 0 without one.
    if_index: u32,
    /// The UDP port on which the node carries MPLS.
    mpls_udp_port: Option<u16>,
}

/// How a capture would run on a node, and why it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) kind: Kind,
    pub(super) why: Refusal,
}

impl Running {
    /// Nothing runs yet on the nodes of `host`.
    pub(super) fn new(host: String, listen: ListenConfig) -> Self {
        let (pairs, refused) = (BTreeMap::new(), BTreeMap::new());
        Self { host, listen, pairs, refused, newest: 0 }
    }

    /// Starts `capture` on those of `nodes` that can be captured on this host, and where it does not
    /// run yet. A node that no longer matches is not stopped, as in Skydive (API §9.3).
    pub(super) fn start(
        &mut self,
        capture: &str,
        runnable: &Runnable,
        nodes: &[Arc<Node>],
        graph: &Topology,
    ) {
        for node in nodes {
            let pair = Pair { node: node.id.clone(), capture: capture.to_owned() };
            if self.pairs.contains_key(&pair) || node.host != self.host {
                continue;
            }
            let Some(kind) = Kind::on(node.text("Type"), runnable.kind) else {
                continue;
            };
            match self.run(kind, runnable.port, node, graph) {
                Ok(run) => drop(self.pairs.insert(pair, run)),
                Err(why) => drop(self.refused.insert(pair, Refused { kind, why })),
            }
        }
    }

    /// Stops captures that are not `wanted` and those whose node went away, and forgets who was
    /// refused, who is to be asked again. A node that is called or found otherwise now gets a new
    /// watch: the old one's flows carry what it was before.
    pub(super) fn keep(&mut self, wanted: impl Fn(&str) -> bool, graph: &Topology) {
        self.refused.clear();
        self.pairs.retain(|pair, _| wanted(&pair.capture) && graph.node(&pair.node).is_some());
        for (pair, run) in &mut self.pairs {
            let Some(node) = graph.node(&pair.node) else { continue };
            run.mpls_udp_port = mpls_udp_port(node);
            let point = match run.point {
                // It is ours, whatever becomes of the node.
                Point::Socket(_) => Some(run.point.clone()),
                _ => point(node, graph),
            };
            if let (Ok(tid), Some(point)) = (tid(node), point)
                && (tid != run.tid || point != run.point)
            {
                self.newest += 1;
                run.watch = WatchId(self.newest);
                (run.tid, run.point, run.if_index) = (tid, point, if_index(node));
            }
        }
    }

    /// Moves captures to the next port whose socket is `taken` by another program, unless they ask
    /// for that port; whether there was any.
    pub(super) fn make_way(&mut self, taken: impl Fn(&Run) -> bool) -> bool {
        let stuck: Vec<_> = (self.pairs.iter())
            .filter(|(_, run)| run.port.is_none() && taken(run))
            .filter_map(|(pair, run)| match run.point {
                Point::Socket(address) => Some((pair.clone(), address)),
                _ => None,
            })
            .collect();
        let mut moved = false;
        for (pair, address) in stuck {
            let next = self.listen.next(Some(address.port()), |other| self.has(other));
            // What is said of the old port must not be said of the new one.
            let watch = self.name();
            if let (Some(next), Some(run)) = (next, self.pairs.get_mut(&pair)) {
                (run.point, run.watch) = (Point::Socket(next), watch);
                moved = true;
            }
        }
        moved
    }

    /// All that runs, node by node.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&Pair, &Run)> {
        self.pairs.iter()
    }

    /// All that was refused when the graph was last looked at.
    pub(super) fn refused(&self) -> impl Iterator<Item = (&Pair, &Refused)> {
        self.refused.iter()
    }

    /// What the data plane shall do. `runnable` finds a capture by its ID.
    pub(super) fn desired<'a>(&self, runnable: impl Fn(&str) -> Option<&'a Runnable>) -> Desired {
        let mut points: Vec<PlannedPoint> = Vec::new();
        let mut watched = HashMap::new();
        for (pair, run) in &self.pairs {
            let Some(capture) = runnable(&pair.capture) else {
                continue;
            };
            let watch = Watch {
                id: run.watch,
                node_tid: Some(run.tid),
                filter: capture.filter.clone(),
                options: Options { mpls_udp_port: run.mpls_udp_port, ..capture.options },
            };
            match points.iter_mut().find(|planned| planned.point == run.point) {
                Some(planned) => planned.watches.push(watch),
                None => {
                    points.push(PlannedPoint { point: run.point.clone(), watches: vec![watch] })
                }
            }
            let meaning = Watched {
                capture_id: pair.capture.clone(),
                node_id: pair.node.clone(),
                node_tid: run.tid.to_string(),
                if_index: run.if_index,
                outlet: None,
            };
            watched.insert(run.watch, Arc::new(meaning));
        }
        let plan = Plan { points, ..Plan::default() };
        Desired { plan, watched, ..Desired::default() }
    }

    fn run(
        &mut self,
        kind: Kind,
        port: Option<u16>,
        node: &Node,
        graph: &Topology,
    ) -> Result<Run, Refusal> {
        let tid = tid(node)?;
        let point = match kind {
            Kind::PcapSocket => Point::Socket(self.address(port)?),
            Kind::AfPacket | Kind::Pcap | Kind::Dpdk => tapped(node, graph)?,
        };
        let (if_index, mpls_udp_port) = (if_index(node), mpls_udp_port(node));
        Ok(Run { watch: self.name(), kind, point, port, tid, if_index, mpls_udp_port })
    }

    /// Where a new capture may listen: on the `port` that it asks for, or on any.
    fn address(&self, port: Option<u16>) -> Result<SocketAddr, Refusal> {
        let listen = &self.listen;
        let Some(port) = port else {
            return listen.next(None, |address| self.has(address)).ok_or(Refusal::PortTaken);
        };
        let (address, (first, last)) =
            (listen.at(port), (*listen.ports.start(), *listen.ports.end()));
        if !listen.ports.contains(&port) {
            return Err(Refusal::PortForbidden { first, last });
        }
        if self.has(address) { Err(Refusal::PortTaken) } else { Ok(address) }
    }

    /// Whether a capture listens there.
    fn has(&self, address: SocketAddr) -> bool {
        self.pairs.values().any(|run| run.point == Point::Socket(address))
    }

    fn name(&mut self) -> WatchId {
        self.newest += 1;
        WatchId(self.newest)
    }
}

#[cfg(test)]
mod tests;

//! Captures x graph -> what the data plane shall do.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sonde_proto::graph::Node;
use sonde_proto::plan::{Options, Plan, PlannedPoint, Point, Watch};
use sonde_proto::record::WatchId;
use uuid::Uuid;

use super::kind::Kind;
use super::place::{Refusal, if_index, mpls_udp_port, point, tapped, tid};
use super::validate::Runnable;
use crate::graph::Topology;
use crate::ingest::{Desired, Watched};

/// The captures that run, each on each of its nodes.
#[derive(Debug, Default)]
pub(super) struct Running {
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
    /// Starts `capture` on those of `nodes` that can be captured on `host`, and where it does not
    /// run yet. A node that no longer matches is not stopped, as in Skydive (API §9.3).
    pub(super) fn start(
        &mut self,
        capture: &str,
        runnable: &Runnable,
        nodes: &[Arc<Node>],
        graph: &Topology,
        host: &str,
    ) {
        for node in nodes {
            let pair = Pair { node: node.id.clone(), capture: capture.to_owned() };
            if self.pairs.contains_key(&pair) || node.host != host {
                continue;
            }
            let Some(kind) = Kind::on(node.text("Type"), runnable.kind) else {
                continue;
            };
            match self.run(kind, node, graph) {
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
            if let (Ok(tid), Some(point)) = (tid(node), point(node, graph))
                && (tid != run.tid || point != run.point)
            {
                self.newest += 1;
                run.watch = WatchId(self.newest);
                (run.tid, run.point, run.if_index) = (tid, point, if_index(node));
            }
        }
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
        Desired { plan, watched }
    }

    fn run(&mut self, kind: Kind, node: &Node, graph: &Topology) -> Result<Run, Refusal> {
        let (tid, point) = (tid(node)?, tapped(node, graph)?);
        let (if_index, mpls_udp_port) = (if_index(node), mpls_udp_port(node));
        Ok(Run { watch: self.name(), kind, point, tid, if_index, mpls_udp_port })
    }

    fn name(&mut self) -> WatchId {
        self.newest += 1;
        WatchId(self.newest)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use sonde_proto::capture::Capture;
    use sonde_proto::graph::{Edge, uuid_v5};
    use sonde_proto::plan::KeyMode;
    use sonde_proto::time::Timestamp;

    use super::*;
    use crate::graph::Graph;
    use crate::resource::Resource as _;

    const NOW: Timestamp = Timestamp::from_millis(1);

    fn node(id: &str, index: u32) -> Node {
        let metadata = json!({
            "Name": id, "Type": "device", "IfIndex": index, "LinkFlags": ["BROADCAST", "UP"],
            "EncapType": "ether", "TID": uuid_v5(&[id]),
        });
        Node {
            id: id.into(),
            host: "here".into(),
            metadata: metadata.as_object().unwrap().clone(),
            ..Node::default()
        }
    }

    fn with(mut node: Node, key: &str, value: Value) -> Node {
        node.metadata.insert(key.into(), value);
        node
    }

    fn graph(nodes: impl IntoIterator<Item = Node>) -> Graph {
        let mut graph = Graph::new();
        for node in nodes {
            graph.add(node, NOW).unwrap();
        }
        graph
    }

    fn capture(kind: &str, filter: &str) -> Runnable {
        let mut capture = Capture {
            gremlin_query: "G.V()".into(),
            kind: kind.into(),
            bpf_filter: filter.into(),
            ..Capture::default()
        };
        capture.parse(&KeyMode::L2).unwrap()
    }

    fn start(running: &mut Running, id: &str, runnable: &Runnable, graph: &Graph) {
        let nodes: Vec<_> = graph.nodes().cloned().collect();
        running.start(id, runnable, &nodes, graph, "here");
    }

    #[test]
    fn runs_where_it_can_and_nowhere_else() {
        let mut foreign = node("foreign", 9);
        foreign.host = "there".into();
        let graph = graph([
            node("eth0", 2),
            with(node("p0", 0), "Type", json!("dpdkport")),
            with(node("down", 3), "LinkFlags", json!(["BROADCAST"])),
            with(node("flagless", 4), "LinkFlags", Value::Null),
            with(node("unknown", 5), "TID", json!("soon")),
            with(node("bare", 8), "EncapType", Value::Null),
            with(node("host", 6), "Type", json!("host")),
            with(node("odd", 7), "IfIndex", json!(-1)),
            foreign,
        ]);
        let runnable = capture("", "udp");
        let mut running = Running::default();
        start(&mut running, "c", &runnable, &graph);
        let kinds: Vec<_> =
            running.pairs().map(|(pair, run)| (pair.node.as_str(), run.kind)).collect();
        assert_eq!(kinds, [("eth0", Kind::AfPacket), ("p0", Kind::Dpdk)]);
        let refused: Vec<_> =
            running.refused().map(|(pair, refused)| (pair.node.as_str(), refused.why)).collect();
        let expected = [
            ("bare", Refusal::NoEncapsulation),
            ("down", Refusal::Down),
            ("flagless", Refusal::Down),
            ("odd", Refusal::NoIndex),
            ("unknown", Refusal::NoTid),
        ];
        assert_eq!(refused, expected);

        let desired = running.desired(|_| Some(&runnable));
        let watch = |id, name| Watch {
            id: WatchId(id),
            node_tid: Some(uuid_v5(&[name])),
            filter: runnable.filter.clone(),
            options: Options::default(),
        };
        let eth0 = Point::Interface { index: 2, netns: None };
        let [first, second] =
            [&eth0, &Point::Port("p0".into())].map(|point| desired.plan.watches(point));
        let id = first[0].id.0;
        assert_eq!(first, [watch(id, "eth0")]);
        assert_eq!(second, [watch(3 - id, "p0")]);
        let watched = &desired.watched[&WatchId(id)];
        assert_eq!((watched.capture_id.as_str(), watched.node_id.as_str()), ("c", "eth0"));
        assert_eq!(watched.node_tid, uuid_v5(&["eth0"]).to_string());
    }

    #[test]
    fn type_chooses_among_nodes() {
        let graph = graph([node("eth0", 2), with(node("p0", 0), "Type", json!("dpdkport"))]);
        for (kind, node) in [("dpdk", "p0"), ("afpacket", "eth0"), ("pcap", "eth0")] {
            let mut running = Running::default();
            start(&mut running, "c", &capture(kind, ""), &graph);
            let nodes: Vec<_> = running.pairs().map(|(pair, _)| pair.node.as_str()).collect();
            assert_eq!(nodes, [node], "{kind}");
        }
    }

    #[test]
    fn captures_share_a_point() {
        let graph = graph([node("eth0", 2)]);
        let runnable = capture("", "");
        let mut running = Running::default();
        start(&mut running, "a", &runnable, &graph);
        start(&mut running, "b", &runnable, &graph);
        let plan = running.desired(|_| Some(&runnable)).plan;
        assert_eq!(plan.points.len(), 1);
        assert_eq!(plan.points[0].watches.len(), 2);
    }

    #[test]
    fn a_watch_is_stable_and_its_id_never_comes_back() {
        let mut graph = graph([node("eth0", 2)]);
        let runnable = capture("", "");
        let mut running = Running::default();
        let ids = |running: &Running| -> Vec<u32> {
            running.pairs().map(|(_, run)| run.watch.0).collect()
        };
        start(&mut running, "c", &runnable, &graph);
        start(&mut running, "c", &runnable, &graph);
        running.keep(|_| true, &graph);
        assert_eq!(ids(&running), [1]);

        // It no longer matches, then is down: it runs on.
        running.start("c", &runnable, &[], &graph, "here");
        graph.update::<Node>("eth0", NOW, |metadata| {
            metadata.insert("LinkFlags".into(), json!([]));
        });
        running.keep(|_| true, &graph);
        assert_eq!(ids(&running), [1]);

        // Renamed, so its TID is another: a new watch.
        graph.update::<Node>("eth0", NOW, |metadata| {
            metadata.insert("TID".into(), json!(uuid_v5(&["other"])));
        });
        running.keep(|_| true, &graph);
        assert_eq!(ids(&running), [2]);

        // The capture goes and comes again; then the node goes.
        running.keep(|_| false, &graph);
        assert_eq!(ids(&running), [0; 0]);
        graph.update::<Node>("eth0", NOW, |metadata| {
            metadata.insert("LinkFlags".into(), json!(["UP"]));
        });
        start(&mut running, "c", &runnable, &graph);
        assert_eq!(ids(&running), [3]);
        graph.delete::<Node>("eth0", NOW);
        running.keep(|_| true, &graph);
        assert_eq!(ids(&running), [0; 0]);
    }

    #[test]
    fn a_node_says_which_udp_port_carries_mpls() {
        let mut graph = graph([node("eth0", 2)]);
        let runnable = capture("", "");
        let mut running = Running::default();
        start(&mut running, "c", &runnable, &graph);
        let eth0 = Point::Interface { index: 2, netns: None };
        for (value, port) in [
            (json!(51234), Some(51234)),
            (json!(0), None),
            (json!(65536), None),
            (json!("51234"), None),
            (Value::Null, None),
        ] {
            graph.update::<Node>("eth0", NOW, |metadata| {
                metadata.insert("MPLSUDPPort".into(), value.clone());
            });
            running.keep(|_| true, &graph);
            let plan = running.desired(|_| Some(&runnable)).plan;
            // The watch stays: only how its frames are read changes.
            let [watch] = plan.watches(&eth0) else { panic!("one watch, not {plan:?}") };
            assert_eq!((watch.id, watch.options.mpls_udp_port), (WatchId(1), port), "{value}");
        }
    }

    #[test]
    fn an_interface_is_opened_in_the_namespace_that_owns_it() {
        let mut netns = with(node("vm1", 0), "Type", json!("netns"));
        netns.metadata.insert("Path".into(), json!("/run/netns/vm1"));
        let mut graph = graph([netns, node("eth0", 2)]);
        let edge = Edge {
            element: Node {
                id: "e".into(),
                metadata: json!({"RelationType": "ownership"}).as_object().unwrap().clone(),
                ..Node::default()
            },
            parent: "vm1".into(),
            child: "eth0".into(),
        };
        graph.add(edge, NOW).unwrap();
        let mut running = Running::default();
        start(&mut running, "c", &capture("", ""), &graph);
        let (_, run) = running.pairs().next().unwrap();
        let netns = Some("/run/netns/vm1".into());
        assert_eq!(run.point, Point::Interface { index: 2, netns });
    }
}

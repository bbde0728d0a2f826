//! Gremlin queries of a large graph and a full flow store, and what a change of that graph costs:
//! CPU time of this thread, and allocations, per query or change. `cargo bench --bench query`;
//! compare figures of one run only.

#![expect(clippy::expect_used, reason = "a bench that cannot go on fails here")]

mod conversations;
#[path = "../harness/mod.rs"]
mod harness;
mod site;

use std::hint::black_box;

use sonde_control_plane::flow_store::SharedFlowStore;
use sonde_control_plane::graph::Graph;
use sonde_control_plane::gremlin::{Limits, parse};
use sonde_proto::graph::{Edge, Node};
use sonde_proto::time::Timestamp;

use crate::harness::Bench;

fn main() {
    let mut bench = Bench::from_arguments();
    let (hosts, flows) = if bench.is_short() { (5, 10_000) } else { (site::HOSTS, 1_000_000) };
    let mut graph = held(|| site::graph(hosts), &bench, "node and its edges", hosts * site::NODES);
    let none = conversations::store(0);
    for (name, text) in site::queries(hosts) {
        bench.case(name, 1, || (), |()| ask(&graph, &none, &text));
    }
    changes(&mut bench, &mut graph);

    let store = held(|| conversations::store(flows), &bench, "flow", flows);
    for (name, text) in conversations::QUERIES {
        bench.case(name, 1, || (), |()| ask(&graph, &store, text));
    }
    ingest(&mut bench, &store, flows);
}

/// Updates of flows that the store has, far from each other in memory.
fn ingest(bench: &mut Bench, store: &SharedFlowStore, flows: u32) {
    let count = flows / 10;
    let scattered = |n: u32| (u64::from(n) * 7_919 % u64::from(flows)) as u32;
    let locked = || store.write().expect("nobody panics");
    bench.case("flows/update", count.into(), locked, |store| {
        conversations::put(store, (0..count).map(scattered));
    });
}

/// A query as the API runs it: text in, answer out.
fn ask(graph: &Graph, store: &SharedFlowStore, text: &str) {
    let limits = Limits::default();
    let query = parse(text, &limits).expect("it is a query");
    let graph = graph.snapshot();
    let answer = query.run(&*graph, store, &limits, &|| false);
    black_box(answer.expect("within the limits"));
}

/// Changes while somebody holds a snapshot, as subscribers and queries do all the time.
fn changes(bench: &mut Bench, graph: &mut Graph) {
    let ids = site::some_ids();
    let changes = ids.len() as u64;
    let mut turn = 0;
    bench.case("change/update", changes, Vec::new, |held| {
        turn += 1;
        for id in &ids {
            held.push(graph.snapshot());
            let set = |metadata: &mut _| site::count(metadata, turn);
            black_box(graph.update::<Node>(id, NOW, set)).expect("the node is there");
        }
    });
    bench.case("change/add_delete", 2 * changes, Vec::new, |held| {
        for id in &ids {
            held.push(graph.snapshot());
            let edge = Edge {
                element: Node { id: format!("{id}+"), ..Node::default() },
                parent: id.clone(),
                child: site::ROOT.into(),
            };
            let edge = graph.add(edge, NOW).expect("it is new");
            held.push(graph.snapshot());
            black_box(graph.delete::<Edge>(&edge.id, NOW));
        }
    });
}

/// Makes what is measured, and says how many bytes each of `count` parts takes.
fn held<T>(make: impl FnOnce() -> T, bench: &Bench, what: &str, count: u32) -> T {
    let mut made = None;
    let taken = allocation_counter::measure(|| made = Some(make()));
    if !bench.is_short() {
        println!("a {what} takes {} bytes", taken.bytes_current / i64::from(count));
    }
    made.expect("it was made")
}

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_600_000_000_000);

//! What a query does while it holds a shelf of the store, and others wait for it.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde_json::json;
use sonde_proto::flow::Flow;

use super::super::{Limits, parse};
use super::hosts;
use crate::flow::LazyFlow;
use crate::flow_store::{Flows, Rows};

/// Shelves that see what is kept of the flows on them.
#[derive(Debug)]
struct Watched {
    shelves: Vec<Vec<LazyFlow>>,
    /// Flows kept when a look began, at most.
    kept: Cell<u64>,
    /// Flows let go during looks.
    let_go: Cell<u64>,
}

impl Watched {
    /// Flows by the time they started.
    fn new(shelves: i64) -> Self {
        let flow = |start| LazyFlow::from(Arc::new(Flow { start, ..Flow::default() }));
        let shelf = |n| (n * SHELF..(n + 1) * SHELF).map(flow).collect();
        Self {
            shelves: (0..shelves).map(shelf).collect(),
            kept: Cell::new(0),
            let_go: Cell::new(0),
        }
    }

    fn owners(&self) -> u64 {
        self.shelves.iter().flatten().map(|flow| flow.owners() - 1).sum()
    }
}

impl Flows for Watched {
    fn shelf(
        &self,
        number: usize,
        brief: bool,
        look: &mut dyn FnMut(Rows<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        assert!(brief, "it holds the shelf");
        let Some(flows) = self.shelves.get(number) else { return ControlFlow::Break(()) };
        let before = self.owners();
        self.kept.set(self.kept.get().max(before));
        let looked = flows.shelf(0, brief, look);
        self.let_go.set(self.let_go.get() + before.saturating_sub(self.owners()));
        looked
    }

    fn known_since(&self) -> i64 {
        0
    }

    fn idle(&self) -> i64 {
        0
    }
}

#[test]
fn flows_that_no_window_needs_are_let_go_between_shelves() {
    let last = 20 * SHELF - 1;
    for (query, kept) in [
        ("G.Flows().Sort(DESC, 'Start').Limit(2).Values('Start')", 5 * SHELF),
        ("G.Flows().Sort(DESC, 'Start').Limit(5000).Limit(2).Values('Start')", 11 * SHELF),
        ("G.Flows().Sort(DESC, 'Start').Dedup('Start').Limit(2).Values('Start')", 20 * SHELF),
    ] {
        let flows = Watched::new(20);
        let limits = Limits::default();
        let answer = parse(query, &limits).unwrap().run(&*hosts(), &flows, &limits, &|| false);
        assert_eq!(serde_json::to_value(answer.unwrap()).unwrap(), json!([last, last - 1]));
        assert_eq!(flows.let_go.get(), 0, "{query}");
        assert!(flows.kept.get() < kept as u64, "{query} keeps {}", flows.kept.get());
    }
}

const SHELF: i64 = 1000;

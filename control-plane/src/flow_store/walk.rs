//! How queries look at flows, while ingest goes on.

use std::fmt::Debug;
use std::ops::ControlFlow;
use std::sync::PoisonError;

use super::{FlowStore, SharedFlowStore};
use crate::flow::{Headline, LazyFlow};

/// Flows that a query reads.
pub trait Flows: Debug {
    /// Shows flows to `look` until it breaks, in no order. With `brief` it promises to take some
    /// hundred nanoseconds for a flow, so that others may wait for as long as it looks at a few.
    fn walk(&self, brief: bool, look: &mut dyn FnMut(Rows<'_>) -> ControlFlow<()>);

    /// All flows are there that were heard of after so many milliseconds since the epoch.
    fn known_since(&self) -> i64;
}

/// Flows that lie side by side.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'f> {
    /// Of each flow, or of none.
    headlines: &'f [Option<Headline>],
    flows: &'f [LazyFlow],
}

/// A flow among others.
#[derive(Clone, Copy, Debug)]
pub struct Row<'f> {
    /// What can be read without a look at the flow itself.
    pub(crate) headline: Option<&'f Headline>,
    pub(crate) flow: &'f LazyFlow,
}

impl<'f> Rows<'f> {
    /// Flows and their headlines, as many of them.
    pub(super) fn new(headlines: &'f [Option<Headline>], flows: &'f [LazyFlow]) -> Self {
        Self { headlines, flows }
    }

    pub(crate) fn len(self) -> usize {
        self.flows.len()
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Row<'f>> {
        let headline = |place| self.headlines.get(place).and_then(Option::as_ref);
        let flows = self.flows.iter().enumerate();
        flows.map(move |(place, flow)| Row { headline: headline(place), flow })
    }

    /// The same, so many at a time.
    pub(crate) fn chunks(self, size: usize) -> impl Iterator<Item = Self> {
        let headlines = self.headlines.chunks(size).chain(std::iter::repeat([].as_slice()));
        headlines.zip(self.flows.chunks(size)).map(|(headlines, flows)| Self { headlines, flows })
    }
}

impl Row<'_> {
    /// TID of the node where the flow was metered.
    pub(crate) fn node_tid(&self) -> &str {
        self.headline.map_or_else(|| self.flow.node_tid(), Headline::node_tid)
    }

    /// Milliseconds since the epoch of its first and of its last packet.
    pub(crate) fn times(&self) -> (i64, i64) {
        self.headline.map_or_else(|| self.flow.times(), Headline::times)
    }
}

impl<'f> From<&'f LazyFlow> for Row<'f> {
    fn from(flow: &'f LazyFlow) -> Self {
        Self { headline: None, flow }
    }
}

impl Flows for FlowStore {
    fn walk(&self, _: bool, look: &mut dyn FnMut(Rows<'_>) -> ControlFlow<()>) {
        let _ = (0..).map_while(|number| self.flows.rows(number)).try_for_each(look);
    }

    fn known_since(&self) -> i64 {
        self.horizon.millis()
    }
}

/// Flows that a query selected already.
impl Flows for Vec<LazyFlow> {
    fn walk(&self, _: bool, look: &mut dyn FnMut(Rows<'_>) -> ControlFlow<()>) {
        let _ = look(Rows::new(&[], self));
    }

    fn known_since(&self) -> i64 {
        i64::MIN
    }
}

/// Shelf by shelf, and locked for one at a time: each flow that is there from begin to end is shown
/// once, as it is when its shelf is looked at.
impl Flows for SharedFlowStore {
    fn walk(&self, brief: bool, look: &mut dyn FnMut(Rows<'_>) -> ControlFlow<()>) {
        for number in 0.. {
            let store = self.read().unwrap_or_else(PoisonError::into_inner);
            let Some(rows) = store.flows.rows(number) else { return };
            let looked = if brief {
                look(rows)
            } else {
                let (headlines, flows) = (rows.headlines.to_vec(), rows.flows.to_vec());
                drop(store);
                look(Rows::new(&headlines, &flows))
            };
            if looked.is_break() {
                return;
            }
        }
    }

    fn known_since(&self) -> i64 {
        self.read().unwrap_or_else(PoisonError::into_inner).known_since()
    }
}
